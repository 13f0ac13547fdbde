"""Pictures and videos as the last expression of a notebook cell; no display and no notebook library is needed.

>>> Video(painter_frames, fps=30)      # shows a player
>>> Picture(painter.paint(state))      # shows the picture
"""

import base64
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from deeptraffic.render.recorder import record_frames
from deeptraffic.render.shapes import ByteArray


class Video:
    """Pictures (H, W, 3) uint8, encoded at once as mp4, that a notebook shows in a player.

    Args:
        frames: the pictures
        fps: pictures per second
        width: of the player [pixels]; None takes the pictures'
    """

    def __init__(self, frames: Iterable[ByteArray], fps: float = 60.0, width: int | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.data = record_frames(frames, Path(folder) / "video.mp4", fps).read_bytes()
        self.width = width

    def save(self, path: str | Path) -> Path:
        """Write the mp4; return its path."""
        path = Path(path)
        path.write_bytes(self.data)
        return path

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a player that holds the video itself."""
        width = f' width="{self.width}"' if self.width else ""
        source = "data:video/mp4;base64," + base64.b64encode(self.data).decode()
        return f'<video controls loop autoplay muted playsinline{width} src="{source}"></video>'


class Picture:
    """A picture (H, W, 3) uint8 that a notebook shows."""

    def __init__(self, pixels: ByteArray) -> None:
        self.pixels = pixels

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()
