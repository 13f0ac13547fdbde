"""Screenshots and videos of what a window shows, written while it goes on.

>>> capture = Capture(Path.cwd())
>>> capture.screenshot(image)
PosixPath('deeptraffic-20261130-134500.png')
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Full, Queue
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
        self._video: Future[Path] | None = None  # what its encoder will have written
        self._images: Queue[ByteArray | None] = Queue(WAITING)
        self._shape: tuple[int, ...] | None = None
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
        """Start a video (.mp4), which a thread encodes."""
        self._video, self._images, self._shape = Future(), Queue(WAITING), None
        self._began, self._written = self.clock(), 0
        work = self._video, self._images, self._path(".mp4"), self.fps
        Thread(target=_encode, args=work, name="video", daemon=True).start()

    def add(self, image: ByteArray) -> Path | None:
        """Add an image to the video, if one is being written; an image of another size ends it: return its path."""
        if self._video is None:
            return None
        self._shape = self._shape or image.shape
        due = 1 + round((self.clock() - self._began) * self.fps)
        while self._written < due:
            if image.shape != self._shape or not self._put(image):
                return self.stop()
            self._written += 1
        return None

    def stop(self) -> Path:
        """End the video; return its path. Raises WriteError if it could not be written."""
        assert self._video is not None
        self._put(None)
        video, self._video = self._video, None
        try:
            return video.result()
        except Exception as error:
            raise WriteError(f"the video was not written: {error}") from error

    def _put(self, image: ByteArray | None) -> bool:
        """Hand an image to the encoder, or None for the end; False if it has failed."""
        while self._video is not None and not self._video.done():
            with suppress(Full):
                self._images.put(image, timeout=0.1)
                return True
        return False

    def _path(self, suffix: str) -> Path:
        stem = strftime("deeptraffic-%Y%m%d-%H%M%S")
        path, number = self.folder / f"{stem}{suffix}", 2
        while path.exists():
            path, number = self.folder / f"{stem}-{number}{suffix}", number + 1
        return path


def _encode(video: Future[Path], images: Queue[ByteArray | None], path: Path, fps: float) -> None:
    try:
        video.set_result(record_frames(_taken(images), path, fps))
    except Exception as error:
        video.set_exception(error)


def _taken(images: Queue[ByteArray | None]) -> Iterator[ByteArray]:
    while (image := images.get()) is not None:
        yield image
