"""Pictures into files: an mp4 (H.264), a gif, or a contact sheet as png.

A file is written beside its final place under another name and moved there when it is whole, so that a broken encoder,
a full disk or an interruption leaves no half file.

    >>> record_frames(painter_frames, "run.mp4", fps=60)
"""

import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from deeptraffic.render.shapes import ByteArray

SUFFIXES = (".mp4", ".gif", ".png")
GIF_FPS = 50 / 3  # fastest rate that all browsers keep is 50; a third of it keeps files small
GIF_COLOURS = 96
SHEET_PICTURES = 12
SHEET_GAP = 8  # [pixels]


class RecordingError(RuntimeError):
    """A file could not be written; the message says why and what to do."""


def check_recording_path(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Return the path if its ending is one that can be written and its folder exists, else raise ValueError."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{str(path)!r} does not end in {', '.join(suffixes)}; choose one of these endings")
    if not path.parent.is_dir():
        raise ValueError(f"folder {str(path.parent)!r} of {path.name!r} does not exist; create it first")
    return path


def record_frames(frames: Iterable[ByteArray], path: str | Path, fps: float = 60.0) -> Path:
    """Write pictures (H, W, 3) uint8, all of one size, to `path`; the ending says as what. Return the path.

    mp4: H.264, yuv420p, plays everywhere; a side of odd length loses one pixel
    gif: every so-many-th picture, so that time runs as fast as in the mp4
    png: a contact sheet of 12 pictures, evenly spread

    Raises ValueError for a wrong path, fps or picture, RecordingError if the file could not be written.
    """
    path = check_recording_path(path)
    if not 1 <= fps <= 240:
        raise ValueError(f"fps={fps} is not possible; give 1 to 240 frames per second")
    write = {".mp4": _write_mp4, ".gif": _write_gif, ".png": _write_sheet}[path.suffix.lower()]
    with whole_file(path) as unfinished:
        write(_checked(frames), unfinished, fps)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; move it to `path` if all went well, else remove it.

    Raises RecordingError in place of any OSError of the writer.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise RecordingError(f"{path.parent} cannot be written to ({error.strerror}); choose another folder") from error
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        os.chmod(unfinished, 0o666 & ~_umask())
        os.replace(unfinished, path)
    except OSError as error:
        reason = error.strerror or error
        raise RecordingError(f"{path} was not written ({reason}); free some space or choose another folder") from error
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _checked(frames: Iterable[ByteArray]) -> Iterator[ByteArray]:
    """Pass pictures on; raise ValueError for one of another shape or type than the first, or if there is none."""
    shape = None
    for number, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise ValueError(
                f"picture {number} is {frame.dtype} of shape {frame.shape}; "
                "give uint8 pictures (H, W, 3), all of one size"
            )
        yield frame
    if shape is None:
        raise ValueError("there is no picture to record; give at least one")


def _write_mp4(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    import imageio_ffmpeg  # type: ignore[import-untyped]

    first = next(frames)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=fps,
        codec="libx264",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        quality=None,
        output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
        ffmpeg_log_level="error",
    )
    try:
        with closing(writer):  # also when a painter fails: only then the encoder no longer holds the file
            writer.send(None)
            for frame in itertools.chain([first], frames):
                writer.send(np.ascontiguousarray(frame[:height, :width]))
    except (OSError, RuntimeError, StopIteration) as error:
        reason = _first_line(error)
        raise RecordingError(f"the video encoder failed ({reason}); free some space, or record a .gif") from error
    if not _is_whole_mp4(path):
        raise RecordingError(f"the video encoder left no whole file for {path.name}; free some space, or record a .gif")


def _is_whole_mp4(path: Path) -> bool:
    """Whether the file holds an index: the encoder's exit status does not reach us, but a file cut short has none."""
    with path.open("rb") as file:
        return b"moov" in file.read(4096)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _write_gif(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    every = max(1, round(fps / GIF_FPS))
    first = Image.fromarray(next(frames))
    palette = first.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    later = (Image.fromarray(frame) for frame in itertools.islice(frames, every - 1, None, every))
    small = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in itertools.chain([first], later)]
    duration = max(20, round(1000 * every / fps / 10) * 10)
    small[0].save(path, "GIF", save_all=True, append_images=small[1:], duration=duration, loop=0, optimize=False)


def _write_sheet(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    Image.fromarray(contact_sheet(_thinned(frames, 6 * SHEET_PICTURES))).save(path, "PNG", optimize=True)


def _thinned(frames: Iterator[ByteArray], most: int) -> list[ByteArray]:
    """Return at most `most` evenly spaced pictures of a stream of unknown length, and its last one."""
    kept: list[ByteArray] = []
    every, number = 1, 0
    for number, frame in enumerate(frames):
        last = frame
        if number % every == 0:
            kept.append(frame)
        if len(kept) > most:
            kept, every = kept[::2], 2 * every
    return kept if number % every == 0 else [*kept, last]


def contact_sheet(frames: list[ByteArray], pictures: int = SHEET_PICTURES) -> ByteArray:
    """Return up to `pictures` of the frames, evenly spread, side by side on one (H, W, 3) sheet."""
    chosen = [frames[round(k)] for k in np.linspace(0, len(frames) - 1, min(pictures, len(frames)))]
    height, width = chosen[0].shape[:2]
    columns = min(len(chosen), max(1, round(math.sqrt(len(chosen) * 1.6 * height / width))))
    lines = math.ceil(len(chosen) / columns)
    gap = SHEET_GAP
    sheet = np.full((lines * (height + gap) + gap, columns * (width + gap) + gap, 3), chosen[0][0, 0], np.uint8)
    for k, picture in enumerate(chosen):
        top, left = gap + k // columns * (height + gap), gap + k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet
