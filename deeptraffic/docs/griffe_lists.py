"""Extension of Griffe: in the API reference, "name: meaning" lines of docstrings are lists."""

from typing import Any

from griffe import Extension

from deeptraffic.docs.fields import with_lists


class FieldLists(Extension):
    """Rewrites every docstring before it is rendered."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = with_lists(obj.docstring.value)
