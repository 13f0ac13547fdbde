"""How a drive looks: the options that `record`, `watch` and `play` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.sprites import VehicleImage

Overlay = Annotated[
    str | None, typer.Option(help="Overlay on the road: none, input, safety or map.", show_default="none")
]
Theme = Annotated[str | None, typer.Option(help="Colours: dark or light.", show_default="dark")]
Trail = Annotated[str, typer.Option(help="Colour of the trail, one of the contest's thirteen.")]
VehiclePath = Annotated[
    Path | None,
    typer.Option("--vehicle", help="A picture (png) for the ego car, seen from above, its front up."),
]


def read_vehicle(path: Path | None) -> "VehicleImage | None":
    """Return the picture in a file; None for no file."""
    from deeptraffic.render.sprites import VehicleImage

    return None if path is None else VehicleImage(path)


def make_controls(vehicles: int, overlay: str | None, theme: str | None, trail: str) -> "Controls":
    """Return the viewer's controls as they are to begin with; raise ValueError for a look that does not exist."""
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.overlays import check_overlay
    from deeptraffic.render.theme import theme_by_name, trail_colour_by_name

    theme = theme or "dark"
    theme_by_name(theme), trail_colour_by_name(trail)
    return Controls(vehicles, check_overlay(overlay or "none"), trail, theme)
