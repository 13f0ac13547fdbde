"""What notebooks show."""

import base64
import io

import imageio_ffmpeg
import numpy as np
from PIL import Image

from deeptraffic.render.notebook import StillImage, Video


def test_a_video_is_a_player_that_holds_the_whole_mp4(tmp_path, noise_frames):
    html = Video(noise_frames, fps=30, width=200)._repr_html_()
    assert html.startswith("<video controls") and 'width="200"' in html
    data = base64.b64decode(html.split("base64,")[1].split('"')[0])
    path = tmp_path / "a.mp4"
    path.write_bytes(data)
    assert imageio_ffmpeg.count_frames_and_secs(str(path)) == (30, 1.0)


def test_a_picture_is_a_png_of_the_same_pixels(noise_frames):
    shown = Image.open(io.BytesIO(StillImage(noise_frames[3])._repr_png_()))
    assert shown.format == "PNG" and np.array_equal(np.asarray(shown), noise_frames[3])
