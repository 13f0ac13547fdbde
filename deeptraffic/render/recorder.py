"""Recording of images to files: mp4 (H.264), gif, animated webp, or a contact sheet as png.

A file is written under a temporary name and renamed when it is complete, so that a broken encoder, a full disk or an
interruption leaves no partial file.

    >>> record_frames(painter_frames, "run.mp4", fps=60)
"""

import itertools
import math
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeptraffic.render.drawing import ByteArray
from deeptraffic.run_dir import WriteError, whole_file

SUFFIXES = (".mp4", ".gif", ".webp", ".png")
GIF_FPS = 50 / 3  # a third of 50, the highest rate that all browsers support, keeps files small
GIF_COLOURS, PALETTE_SAMPLES = 128, 60_000
SHEET_IMAGES = 12
SHEET_GAP = 8  # [pixels]


def check_recording_path(path: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> Path:
    """Return the path; raise ValueError if its suffix is not supported or its folder does not exist."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{str(path)!r} does not end in {', '.join(suffixes)}; choose one of these suffixes")
    if not path.parent.is_dir():
        raise ValueError(f"folder {str(path.parent)!r} of {path.name!r} does not exist; create it first")
    return path


def record_frames(frames: Iterable[ByteArray], path: str | Path, fps: float = 60.0) -> Path:
    """Write images (H, W, 3) uint8, all of one size, in the format of the path's suffix; return the path.

    mp4: H.264, yuv420p; a side of odd length loses one pixel
    gif, webp: subsampled in time, as long as the mp4, in a loop; a webp has all colours and a third of a gif's size
    png: a contact sheet of 12 evenly spaced images

    Raises ValueError for an invalid path, fps or image, WriteError if the file could not be written.
    """
    path = check_recording_path(path)
    if not 1 <= fps <= 240:
        raise ValueError(f"fps must be in [1, 240] frames per second, got {fps}")
    write = {".mp4": _write_mp4, ".gif": _write_loop, ".webp": _write_loop, ".png": _write_sheet}[path.suffix.lower()]
    with whole_file(path) as unfinished:
        write(_checked(frames), unfinished, fps)
    return path


def _checked(frames: Iterable[ByteArray]) -> Iterator[ByteArray]:
    """Yield the images; raise ValueError for one of another shape or dtype than the first, or without any."""
    shape = None
    for index, frame in enumerate(frames):
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise ValueError(
                f"image {index} is {frame.dtype} of shape {frame.shape}; give uint8 images (H, W, 3), all of one size"
            )
        yield frame
    if shape is None:
        raise ValueError("there is no image to record; give at least one")


def _write_mp4(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    import imageio_ffmpeg

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
        with closing(writer):  # also when a painter fails, so that the encoder releases the file
            writer.send(None)
            for frame in itertools.chain([first], frames):
                writer.send(np.ascontiguousarray(frame[:height, :width]))
    except (OSError, RuntimeError, StopIteration) as error:
        reason = _first_line(error)
        raise WriteError(f"the video encoder failed ({reason}); free some space, or record a .gif") from error
    if not _is_whole_mp4(path):
        raise WriteError(f"the video encoder left no whole file for {path.name}; free some space, or record a .gif")


def _is_whole_mp4(path: Path) -> bool:
    """Whether the file has an index, which an incomplete one lacks; the encoder's exit status is not available."""
    with path.open("rb") as file:
        return b"moov" in file.read(4096)


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _write_loop(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    """Write a gif, with one palette for the whole film, or a webp; images wait compressed until that is known."""
    every, shape, packed, count = max(1, round(fps / GIF_FPS)), (0, 0, 0), [], 0
    is_gif, colours, weights = path.suffix.lower() == ".gif", np.zeros((4, 1 << 15)), np.zeros(1 << 15)
    for count, frame in enumerate(frames, 1):
        if (count - 1) % every == 0:
            shape = frame.shape
            packed.append(zlib.compress(frame.tobytes(), 1))
            if is_gif:
                found = _colours(frame)
                colours += found
                weights += np.sqrt(found[3])
    images = (Image.fromarray(np.frombuffer(zlib.decompress(each), np.uint8).reshape(shape)) for each in packed)
    options: dict[str, Any] = {"quality": 60, "method": 4}
    if is_gif:
        palette, options = _palette(colours, weights), {"optimize": False}
        images = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
    options["duration"] = _durations(len(packed), every, count, fps, 10 if is_gif else 1)
    kind = "GIF" if is_gif else "WEBP"
    next(images).save(path, kind, save_all=True, append_images=images, loop=0, **options)


def _colours(image: ByteArray) -> NDArray[np.float64]:
    """Return sums of red, green and blue and the number of pixels, by colour of 5 bits per channel, (4, 32768)."""
    channels = image.reshape(-1, 3).T.astype(np.int64)
    bins = channels[0] >> 3 << 10 | channels[1] >> 3 << 5 | channels[2] >> 3
    return np.stack([np.bincount(bins, each, 1 << 15) for each in (*channels, None)])


def _palette(colours: NDArray[np.float64], weights: NDArray[np.float64]) -> Image.Image:
    """Return a palette for colours as `_colours` returns them.

    weights: (32768,) sums of the square roots of their areas, so that a small part keeps colours of its own
    """
    found = np.flatnonzero(weights)
    times = np.ceil(weights[found] * PALETTE_SAMPLES / weights.sum()).astype(np.int64)
    means = np.rint(colours[:3, found] / colours[3, found]).astype(np.uint8).T
    sample = Image.fromarray(means.repeat(times, axis=0)[None])
    return sample.quantize(GIF_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def _durations(images: int, every: int, frames: int, fps: float, unit: int) -> list[int]:
    """Return how long each image is shown [ms], in whole units, so that image k begins at k * every / fps."""
    ends = [min((k + 1) * every, frames) for k in range(images)]
    times = [round(1000 * end / fps / unit) * unit for end in [0, *ends]]
    return [max(end - start, 2 * unit if unit > 1 else 1) for start, end in itertools.pairwise(times)]


def _write_sheet(frames: Iterator[ByteArray], path: Path, fps: float) -> None:
    Image.fromarray(contact_sheet(_thinned(frames, 6 * SHEET_IMAGES))).save(path, "PNG", optimize=True)


def _thinned(frames: Iterator[ByteArray], most: int) -> list[ByteArray]:
    """Return at most `most` evenly spaced images of a stream of unknown length, the last one included."""
    kept: list[ByteArray] = []
    every, index = 1, 0
    for index, frame in enumerate(frames):
        last = frame
        if index % every == 0:
            kept.append(frame)
        if len(kept) > most:
            kept, every = kept[::2], 2 * every
    return kept if index % every == 0 else [*kept, last]


def contact_sheet(frames: list[ByteArray]) -> ByteArray:
    """Return up to 12 evenly spaced frames on one contact sheet (H, W, 3)."""
    chosen = [frames[round(k)] for k in np.linspace(0, len(frames) - 1, min(SHEET_IMAGES, len(frames)))]
    height, width = chosen[0].shape[:2]
    columns = min(len(chosen), max(1, round(math.sqrt(len(chosen) * 1.6 * height / width))))
    lines = math.ceil(len(chosen) / columns)
    gap = SHEET_GAP
    sheet = np.full((lines * (height + gap) + gap, columns * (width + gap) + gap, 3), chosen[0][0, 0], np.uint8)
    for k, image in enumerate(chosen):
        top, left = gap + k // columns * (height + gap), gap + k % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet
