"""Experiment on external memory: a neural Turing machine against a GRU on hidden speeds."""

from representation.beyond.memory.model import MemoryEncoder
from representation.comparison import NetworkComparison, Way
from representation.data.sequences import DEGRADED, LANES
from representation.experiment import Metric, TrainingJob
from representation.fit import Arrays, FitConfig, Trainable
from representation.paradigms.recurrent.experiment import speed_error, speed_sequences
from representation.paradigms.recurrent.model import RecurrentEncoder
from representation.paradigms.recurrent.sequence_model import SpeedModel


class MemorySpeed(NetworkComparison):
    """Hidden speeds, as in `recurrent-speed`, by a neural Turing machine and a GRU on the same small budget."""

    name, paradigm = "memory-speed", "beyond"
    summary = "A neural Turing machine against a GRU: hidden speeds under a sensor that loses 30% of frames."
    source = "Graves, Wayne and Danihelka 2014, arXiv:1410.5401, equations 2-9"
    metric = Metric("RMSE of hidden speeds", 0.0, unit="mph", higher_is_better=False)
    config = FitConfig(epochs=8, batch_size=8, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)
    caption = "A neural Turing machine and a GRU estimate hidden speeds of held-out runs."

    def ways(self, job: TrainingJob) -> dict[str, Way]:
        """Return both networks on the same runs."""
        sets = [
            speed_sequences(job, split, runs) for split, runs in (("train", 200), ("validation", 40), ("test", 150))
        ]
        return {
            "memory": Way(lambda: SpeedModel(MemoryEncoder(DEGRADED.space, 48), LANES), *sets),
            "gru": Way(lambda: SpeedModel(RecurrentEncoder(DEGRADED.space, 64), LANES), *sets),
        }

    def score(self, model: Trainable, test: Arrays) -> float:
        """Return the error [mph]."""
        assert isinstance(model, SpeedModel)
        return speed_error(model, test)
