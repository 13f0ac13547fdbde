"""Images and videos for notebooks, as the last expression of a cell; need no display and no notebook library.

>>> Video(painter_frames, fps=30)      # shows a player
>>> StillImage(painter.paint(state))   # shows the image
"""

import base64
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.recorder import record_frames


class Video:
    """Frames (H, W, 3) uint8 as an mp4 in a player.

    Args:
        frames: encoded at once
        fps: frames per second
        width: of the player [pixels]; None for that of the frames
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
        """Return the player, with the video embedded."""
        width = f' width="{self.width}"' if self.width else ""
        source = "data:video/mp4;base64," + base64.b64encode(self.data).decode()
        return f'<video controls loop autoplay muted playsinline{width} src="{source}"></video>'


class StillImage:
    """An image (H, W, 3) uint8."""

    def __init__(self, pixels: ByteArray) -> None:
        self.pixels = pixels

    def _repr_png_(self) -> bytes:
        """Return the image as PNG."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, "PNG")
        return buffer.getvalue()
