"""What TensorBoard shows of a training, read with its own reader."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from agents.benchmark.tasks import TASKS
from agents.config import TrainConfig
from agents.event_log import SPEED
from agents.trainer import train
from deeptraffic.sim.rules import Action

SCALARS = [f"actions/{action.name.lower()}" for action in Action]


@pytest.fixture
def events(small_config: Callable[..., TrainConfig], tmp_path: Path) -> Callable[..., Any]:
    """Give a function that trains and returns what TensorBoard reads."""

    def read(**settings: Any) -> Any:
        train(small_config("ppo", **settings), tmp_path / "run", Console(quiet=True))
        found = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"images": 0})
        return found.Reload()

    return read


def test_the_log_has_curve_known_scores_actions_video_and_settings(events: Callable[..., Any]) -> None:
    log = events(total_timesteps=640, learning_rate=0.00123)
    evaluated = [event.step for event in log.Scalars(SPEED)]
    assert evaluated == [128, 256, 384, 512, 640]
    for name, mph in (("random", TASKS["solo"].random_mph), ("champion-solo", TASKS["solo"].reference_mph)):
        known = log.Scalars(f"known/{name}_mph")
        assert [event.step for event in known] == evaluated and known[0].value == pytest.approx(mph)
    fractions = np.array([[event.value for event in log.Scalars(tag)] for tag in SCALARS])
    assert fractions.shape == (5, 5) and np.allclose(fractions.sum(0), 1.0) and (fractions >= 0).all()
    videos = log.Images("evaluation/video")
    assert [event.step for event in videos] == [512, 640]  # number 4 and the end
    video = Image.open(io.BytesIO(videos[-1].encoded_image_string))
    assert video.format == "GIF" and getattr(video, "n_frames", 1) > 10 and video.size == (100, 350)
    layout = layout_pb2.Layout.FromString(log.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert [list(chart.multiline.tag) for chart in layout.category[0].chart] == [
        [SPEED, "known/random_mph", "known/champion-solo_mph"],
        SCALARS,
    ]
    session = log.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(session).session_start_info.hparams
    assert settings["agent.learning_rate"].number_value == 0.00123 and settings["algo"].string_value == "ppo"


def test_a_road_of_no_task_has_no_known_scores(events: Callable[..., Any]) -> None:
    log = events(**{"road.lanes": 4, "road.vehicles": 1, "total_timesteps": 128})
    assert [tag for tag in log.Tags()["scalars"] if tag.startswith("known/")] == []
    assert len(log.Images("evaluation/video")) == 1
