"""What TensorBoard shows of a training, written without torch.

    $ tensorboard --logdir runs

- Scalars: speeds in training and of evaluations, losses, and `actions/`, how often the network chose each action
- Custom scalars: the evaluations' curve beside known scores on this road, and all actions in one chart
- Images: `evaluation/video`, a run of the network, at the evaluations number 4, 8, 16, ... and at the end
- HParams: every setting of the run
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar.metadata import CONFIG_SUMMARY_TAG, PLUGIN_NAME
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from agents.benchmark.tasks import task_of
from agents.config import TrainConfig
from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.policies.base import Policy
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.painter import Painter
from deeptraffic.render.recorder import record_frames
from deeptraffic.settings import flatten
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import F64, NOBODY

SPEED = "evaluation/tuning_mean_mph"
ACTIONS = [f"actions/{action.name.lower()}" for action in Action]
RUNS, FRAMES = 16, 1000  # tuning runs whose actions are counted, and their length; the first is recorded
EVERY, FPS = 12, 12.0  # [frames] between images of the video, and its images per second
SIZE = (100, 350)  # [pixels] of the video
RGB = 3  # in TensorBoard's list of colour spaces


class EventLog:
    """Writer of a run's events, with the part of Stable-Baselines3's `Logger` that learners use.

    Args:
        folder: of TensorBoard's files
        config: of the run
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self.config = config
        self.writer = EventFileWriter(str(folder))
        self.values: dict[str, float] = {}
        task = task_of(config.road)
        self.known = {} if task is None else {"random": task.random_mph, task.reference: task.reference_mph}
        self._write(_charts([SPEED, *(f"known/{name}_mph" for name in self.known)]), 0)
        settings = flatten(config.to_json())
        plain = {name: given if isinstance(given, int | float | str) else str(given) for name, given in settings}
        self._write(hparams_pb(plain, trial_id=str(folder)), 0)

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep a value for the next `dump`, unless "tensorboard" is among the formats to exclude."""
        if "tensorboard" not in (exclude or ()):
            self.values[key] = float(value)

    def dump(self, step: int = 0) -> None:
        """Write the values kept; step: decisions."""
        self._write(
            Summary(value=[Summary.Value(tag=key, simple_value=each) for key, each in self.values.items()]), step
        )
        self.values.clear()

    def add_evaluation(self, policy: Policy, decisions: int, with_video: bool) -> None:
        """Write the known scores, how often a network chose each action, and a video of it, an animated GIF."""
        images, fractions = played(policy, self.config, with_video)
        for name, mph in self.known.items():
            self.record(f"known/{name}_mph", mph)
        for tag, fraction in zip(ACTIONS, fractions, strict=True):
            self.record(tag, fraction)
        self.dump(decisions)
        if images:
            with tempfile.TemporaryDirectory() as folder:
                content = record_frames(images, Path(folder) / "video.gif", FPS).read_bytes()
            height, width, _ = images[0].shape
            video = Summary.Image(height=height, width=width, colorspace=RGB, encoded_image_string=content)
            self._write(Summary(value=[Summary.Value(tag="evaluation/video", image=video)]), decisions)

    def close(self) -> None:
        """Close the file."""
        self.writer.close()

    def _write(self, summary: Summary, step: int) -> None:
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
        self.writer.flush()


def _charts(speeds: list[str]) -> Summary:
    """Return the charts of *Custom scalars*."""
    charts = [
        layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
        for title, tags in (("mean speed [mph] of tuning runs", speeds), ("fractions of actions", ACTIONS))
    ]
    layout = layout_pb2.Layout(category=[layout_pb2.Category(title="evaluations", chart=charts)])
    tensor = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()])
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME))
    return Summary(value=[Summary.Value(tag=CONFIG_SUMMARY_TAG, tensor=tensor, metadata=metadata)])


def played(policy: Policy, config: TrainConfig, with_video: bool) -> tuple[list[ByteArray], F64]:
    """Return images of the ego car's first tuning run, none without video, and how often it chose each action, (5,)."""
    rules = config.road.build()
    frames = min(FRAMES, config.envs.max_steps * rules.decision_period)
    sim = Simulator(rules, RUNS, threads=1)
    sim.reset_open(choose_seeds("tuning", RUNS))
    runner = PolicyRunner(policy, sim)
    painter = Painter(rules, SIZE, label=policy.label, panel=False) if with_video else None
    images, counts = [], np.zeros(len(Action))
    for end in range(EVERY, frames + EVERY, EVERY):
        agents = sim.run_to_frame(end)
        while agents[0] != NOBODY:
            actions = runner.decide(int(agents[0]))
            if agents[0] == 0:
                counts += np.bincount(actions, minlength=len(Action))
            agents = sim.run_to_frame(end, actions)
        if painter:
            images.append(painter.paint(sim.state, 0))
    return images, counts / counts.sum()
