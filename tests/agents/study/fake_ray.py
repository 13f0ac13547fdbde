"""As much of Ray as a driver uses, in this process: calls are made when they are waited for, and some machines die."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class RayActorError(RayError):
    pass


class Reference:
    """What a call gives at once: its outcome, once it is made."""

    def __init__(self, make: Callable[[], Any], lost: bool) -> None:
        self.make, self.lost, self.made = make, lost, False
        self.value: Any = None

    def finish(self) -> None:
        if not self.made:
            self.made = True
            self.value = RayError("node died\nmore about it") if self.lost else self.make()


class FakeRay:
    """cores: of the cluster; lost: numbers of the calls, in the order of their start, whose machine dies for good."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError, RayActorError=RayActorError)

    def __init__(self, cores: int = 2, lost: tuple[int, ...] = ()) -> None:
        self.cores, self.lost = cores, lost
        self.started, self.cancelled = 0, 0
        self.options: dict[str, Any] = {}
        self.is_up = True

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], SimpleNamespace]:
        self.options = options
        return lambda function: SimpleNamespace(remote=lambda *arguments: self._start(function, arguments))

    def _start(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Reference:
        self.started += 1
        return Reference(lambda: function(*arguments), self.started - 1 in self.lost)

    def wait(self, references: list[Reference], num_returns: int = 1, timeout: float = 0) -> tuple[list, list]:
        if timeout > 0:
            references[0].finish()
        ready = [reference for reference in references if reference.made][:num_returns]
        return ready, [reference for reference in references if reference not in ready]

    def get(self, reference: Reference) -> Any:
        if isinstance(reference.value, Exception):
            raise reference.value
        return reference.value

    def cancel(self, reference: Reference, force: bool) -> None:
        self.cancelled += force

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores)} if self.cores else {}

    def shutdown(self) -> None:
        self.is_up = False
