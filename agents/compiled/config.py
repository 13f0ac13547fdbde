"""Choice between a compiled learner and torch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from agents.config import NetworkConfig
from deeptraffic.settings import choice

if TYPE_CHECKING:
    from agents.config import TrainConfig

BACKENDS = ("auto", "compiled", "torch")


@dataclass(frozen=True)
class CompiledConfig(NetworkConfig):
    """Hyperparameters of an algorithm that has a compiled learner.

    backend: "compiled" trains beside the simulator on the CPU, several times as fast, from lane gaps or the sensor's
        cells; "torch" trains everything; "auto" becomes "compiled" where that can train the run, else "torch"
    """

    backend: str = choice("auto", *BACKENDS)

    @property
    def uses_torch(self) -> bool:
        """Whether torch trains the network."""
        return self.backend != "compiled"

    def check_run(self, run: "TrainConfig") -> None:
        """Choose the backend; raise ValueError if the compiled learner is demanded and cannot train this run."""
        super().check_run(run)
        obstacle = self.obstacle(run)
        if self.backend == "compiled" and obstacle:
            raise ValueError(f"backend='compiled' cannot train {obstacle}; set backend=auto")
        if self.backend == "auto":
            object.__setattr__(run, "agent", replace(self, backend="torch" if obstacle else "compiled"))

    def for_later_stage(self, decisions: int) -> Self:
        """Let a stage that is initialised from another be trained by torch, if the compiled learner cannot."""
        later = super().for_later_stage(decisions)
        return replace(later, backend="auto") if self.backend == "compiled" else later

    def obstacle(self, run: "TrainConfig") -> str:
        """Return what of this run the compiled learner cannot train; "" if it can."""
        seen = run.observation
        if seen.kind not in ("gaps", "vector") or seen.is_weak or seen.temporal_window:
            return f"on this observation (kind={seen.kind!r}, temporal_window or a weakened sensor)"
        if run.encoder.is_used:
            return f"behind an encoder ({run.encoder.name!r})"
        if run.init:
            return f"from init={run.init!r}"
        return f"on device={run.device!r}" if run.device != "cpu" else ""
