"""Screenshots and videos of what a window shows, written while it goes on.

>>> capture = Capture(Path.cwd())
>>> capture.screenshot(image)
PosixPath('deeptraffic-20261130-134500.png')
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from time import monotonic, strftime

from PIL import Image

from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.recorder import record_frames
from deeptraffic.run_dir import WriteError, whole_file

WAITING = 30  # images at most for the encoder, which is then waited for


class Capture:
    """Writes files into a folder, named by the time; videos run at the pace at which the images were shown.

    Args:
        folder: of the files
        fps: images a second of a video; one that is shown for longer is repeated
        clock: returns the time [s]
    """

    def __init__(self, folder: Path, fps: float = 60.0, clock: Callable[[], float] = monotonic) -> None:
        self.folder, self.fps, self.clock = folder, fps, clock
        self._video: _Video | None = None
        self._began, self._written = 0.0, 0

    @property
    def is_recording(self) -> bool:
        """Whether a video is being written."""
        return self._video is not None

    def screenshot(self, image: ByteArray) -> Path:
        """Write an image as .png; return its path. Raises WriteError if it cannot be written."""
        path = self._path(".png")
        with whole_file(path) as unfinished:
            Image.fromarray(image).save(unfinished, "PNG")
        return path

    def start(self) -> None:
        """Start a video (.mp4)."""
        self._video, self._began, self._written = _Video(self._path(".mp4"), self.fps), self.clock(), 0

    def add(self, image: ByteArray) -> Path | None:
        """Add an image to the video, if one is being written; an image of another size ends it: return its path."""
        if self._video is None:
            return None
        due = 1 + round((self.clock() - self._began) * self.fps)
        while self._written < due:
            if not self._video.add(image):
                return self.stop()
            self._written += 1
        return None

    def stop(self) -> Path:
        """End the video; return its path. Raises WriteError if it could not be written."""
        assert self._video is not None
        video, self._video = self._video, None
        return video.close()

    def _path(self, suffix: str) -> Path:
        stem = strftime("deeptraffic-%Y%m%d-%H%M%S")
        path, number = self.folder / f"{stem}{suffix}", 2
        while path.exists():
            path, number = self.folder / f"{stem}-{number}{suffix}", number + 1
        return path


class _Video:
    """A video that a thread encodes."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._images: Queue[ByteArray | None] = Queue(WAITING)
        self._shape: tuple[int, ...] | None = None
        self._error: Exception | None = None
        self._thread = Thread(target=self._encode, name="video", daemon=True)
        self._thread.start()

    def add(self, image: ByteArray) -> bool:
        """Add an image; False if it has another size than the others, or the encoder has failed."""
        self._shape = self._shape or image.shape
        if image.shape != self._shape or not self._thread.is_alive():
            return False
        self._images.put(image)
        return True

    def close(self) -> Path:
        """Wait for the encoder."""
        if self._thread.is_alive():
            self._images.put(None)
        self._thread.join()
        if self._error is not None:
            raise WriteError(f"the video was not written: {self._error}") from self._error
        return self.path

    def _encode(self) -> None:
        try:
            record_frames(self._taken(), self.path, self.fps)
        except Exception as error:
            self._error = error
            self._drain()

    def _taken(self) -> Iterator[ByteArray]:
        while (image := self._images.get()) is not None:
            yield image

    def _drain(self) -> None:
        while not self._images.empty():
            self._images.get()
