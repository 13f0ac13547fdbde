"""Scalars of a training in TensorBoard's format, written without torch."""

import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class EventLog:
    """The part of Stable-Baselines3's `Logger` that learners use.

    Args:
        folder: of TensorBoard's files
    """

    def __init__(self, folder: Path) -> None:
        self.writer = EventFileWriter(str(folder))
        self.values: dict[str, float] = {}

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep a value for the next `dump`, unless "tensorboard" is among the formats to exclude."""
        if "tensorboard" not in (exclude or ()):
            self.values[key] = float(value)

    def dump(self, step: int = 0) -> None:
        """Write the values kept; step: decisions."""
        scalars = [Summary.Value(tag=key, simple_value=value) for key, value in self.values.items()]
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        self.writer.flush()
        self.values.clear()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()
