"""Files: each kind plays, and a failure leaves nothing behind."""

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from deeptraffic.render.recorder import contact_sheet, record_frames
from deeptraffic.run_dir import WriteError


def read_mp4(path) -> tuple[dict, list[np.ndarray]]:
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return meta, [np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader]


def test_an_mp4_holds_every_picture_as_h264_yuv420p(tmp_path, noise_frames):
    meta, frames = read_mp4(record_frames(noise_frames, tmp_path / "a.mp4", fps=30))
    assert meta["codec"] == "h264" and meta["pix_fmt"].startswith("yuv420p") and meta["fps"] == 30
    assert len(frames) == len(noise_frames)
    assert np.abs(frames[5].astype(int) - noise_frames[5]).mean() < 6


def test_a_side_of_odd_length_loses_one_pixel(tmp_path):
    meta, _ = read_mp4(record_frames([np.zeros((33, 65, 3), np.uint8)] * 4, tmp_path / "a.mp4"))
    assert meta["size"] == (64, 32)


@pytest.mark.parametrize("fps", [60, 30, 25, 20, 10])
@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_a_loop_lasts_exactly_as_long_as_the_mp4(tmp_path, noise_frames, suffix, fps):
    frames = (noise_frames * 7)[:199]
    with Image.open(record_frames(frames, tmp_path / f"a.{suffix}", fps=fps)) as film:
        durations = []
        for k in range(film.n_frames):
            film.seek(k)
            film.load()
            durations.append(film.info["duration"])
        assert film.size == (60, 40)
    assert abs(sum(durations) - 1000 * 199 / fps) <= 10
    assert max(durations[:-1]) - min(durations[:-1]) <= 10, "the film stutters"


def test_the_palette_of_a_gif_is_that_of_the_whole_film(tmp_path):
    frames = []
    for k in range(60):
        frame = np.full((120, 160, 3), 30, np.uint8)
        frame[:, :, 2] = np.linspace(20, 90, 160)
        if k >= 10:  # what appears later is a small part
            frame[50:54, 40 : 40 + k] = (255, 214, 36)
            frame[80:84, 40 : 40 + k] = (48, 222, 240)
        frames.append(frame)
    with Image.open(record_frames(frames, tmp_path / "a.gif", fps=60)) as film:
        film.seek(film.n_frames - 1)
        last = np.asarray(film.convert("RGB")).astype(int)
    assert np.abs(last[51, 60] - (255, 214, 36)).max() < 12 and np.abs(last[81, 60] - (48, 222, 240)).max() < 12
    assert np.abs(last[20] - frames[-1][20]).mean() < 4


def test_a_contact_sheet_shows_first_and_last_picture(tmp_path, noise_frames):
    sheet = np.asarray(Image.open(record_frames(iter(noise_frames), tmp_path / "a.png")))
    assert np.array_equal(sheet[8:48, 8:68], noise_frames[0])
    assert (sheet == noise_frames[-1][15, 35]).all(axis=2).any()
    assert contact_sheet(noise_frames[:2]).shape[2] == 3


def test_a_long_recording_becomes_a_sheet_without_keeping_all_pictures(tmp_path):
    sheet = record_frames((np.full((8, 8, 3), k // 4, np.uint8) for k in range(1000)), tmp_path / "a.png")
    values = set(np.unique(np.asarray(Image.open(sheet))))
    assert 0 in values and 249 in values and len(values) == 12


@pytest.mark.parametrize("name, words", [("a.avi", "mp4"), ("none/a.mp4", "create it")])
def test_paths_that_cannot_be_written_are_refused_before_painting(tmp_path, name, words, noise_frames):
    with pytest.raises(ValueError, match=words):
        record_frames(noise_frames, tmp_path / name)


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_a_painter_that_fails_midway_leaves_no_file(tmp_path, suffix, noise_frames):
    def failing():
        yield from noise_frames[:10]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_frames(failing(), tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_pictures_of_changing_size_or_none_at_all_are_refused(tmp_path, suffix, noise_frames):
    with pytest.raises(ValueError, match="one size"):
        record_frames([*noise_frames, np.zeros((8, 8, 3), np.uint8)], tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match="at least one"):
        record_frames([], tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_encoder_is_told_and_keeps_the_earlier_file(tmp_path, noise_frames, monkeypatch):
    path = record_frames(noise_frames, tmp_path / "a.mp4")
    earlier = path.read_bytes()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(WriteError, match="encoder"):
        record_frames(noise_frames * 50, path)
    assert path.read_bytes() == earlier and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp", "png"])
def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (200, 200, 3), np.uint8) for _ in range(30)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # as a full disk: writing on fails
    try:
        with pytest.raises(WriteError, match="space"):
            record_frames(frames, tmp_path / f"a.{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
