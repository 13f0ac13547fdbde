"""Choice between a compiled learner and torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.algorithm import NetworkConfig
from deeptraffic.settings import choice

if TYPE_CHECKING:
    from agents.config import TrainConfig

BACKENDS = ("auto", "compiled", "torch")


@dataclass(frozen=True)
class CompiledConfig(NetworkConfig):
    """Hyperparameters of an algorithm that has a compiled learner.

    backend: "compiled" trains beside the simulator, several times as fast, dense layers on lane gaps or on the sensor's
        cells, on the CPU; "torch" everything; "auto": compiled where that can train the run
    """

    backend: str = choice("torch", *BACKENDS)

    def check_run(self, run: "TrainConfig") -> None:
        """Raise ValueError if the compiled learner is demanded and cannot train this run."""
        super().check_run(run)
        obstacle = self.obstacle(run)
        if self.backend == "compiled" and obstacle:
            raise ValueError(f"backend='compiled' cannot train {obstacle}; set backend=auto")

    def is_compiled(self, run: "TrainConfig") -> bool:
        """Return whether the compiled learner trains this run."""
        return self.backend != "torch" and not self.obstacle(run)

    def obstacle(self, run: "TrainConfig") -> str:
        """Return what of this run the compiled learner cannot train; "" if it can."""
        seen = run.observation
        if seen.kind not in ("gaps", "vector") or seen.is_weak or seen.temporal_window:
            return f"on this observation (kind={seen.kind!r}, temporal_window or a weakened sensor)"
        if run.encoder.is_used:
            return f"behind an encoder ({run.encoder.name!r})"
        if self.lane_units:
            return f"lane_units={self.lane_units}"
        if run.init:
            return f"from init={run.init!r}"
        return f"on device={run.device!r}" if run.device != "cpu" else ""
