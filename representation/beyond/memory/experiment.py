"""Experiment on external memory: a neural Turing machine against a GRU on hidden speeds."""

import torch

from deeptraffic.figure import BLUE, ORANGE, new_figure, save_figure
from representation.beyond.memory.model import MemoryEncoder
from representation.data.sequences import DEGRADED
from representation.encoder import Encoder
from representation.experiment import Experiment, ExperimentResult, Metric, Plot, TrainingJob
from representation.fit import FitConfig
from representation.metrics import rmse
from representation.paradigms.recurrent.experiment import SPEED_UNIT, Sequences, estimated_speeds, speed_sequences
from representation.paradigms.recurrent.model import RecurrentEncoder
from representation.paradigms.recurrent.sequence_model import SpeedModel
from representation.plots import REPORT_DPI
from representation.weights import parameter_count

WEIGHTS = "encoder.safetensors"


class MemorySpeed(Experiment):
    """Hidden speeds, as in `recurrent-speed`, by a neural Turing machine and a GRU on the same small budget."""

    name, paradigm = "memory-speed", "beyond"
    summary = "A neural Turing machine against a GRU: hidden speeds under a sensor that loses 30% of frames."
    source = "Graves, Wayne and Danihelka 2014, arXiv:1410.5401, equations 2-9"
    config = FitConfig(epochs=8, batch_size=8, learning_rate=3e-3, learning_rate_end=2e-4, patience=0)

    def run(self, job: TrainingJob) -> ExperimentResult:
        """Train both on the same runs for the same epochs; measure on held-out runs."""
        splits = (("train", 200), ("validation", 40), ("test", 150))
        data = {split: speed_sequences(job, split, runs) for split, runs in splits}
        figure, axes = new_figure("Hidden speeds: error on validation runs while training")
        errors, sizes, seconds = {}, {}, {}
        for name, colour in (("memory", BLUE), ("gru", ORANGE)):
            torch.manual_seed(0)
            encoder: Encoder = (
                MemoryEncoder(DEGRADED.space, 48) if name == "memory" else RecurrentEncoder(DEGRADED.space, 64)
            )
            model = SpeedModel(encoder, data["train"]["target"].shape[-1])
            result = job.fit(name, model, data["train"], data["validation"], self.config)
            curve = [SPEED_UNIT * line["validation_loss"] ** 0.5 for line in result.curves]
            axes.plot(range(1, len(curve) + 1), curve, color=colour, marker="o", ms=4, label=name)
            errors[name], sizes[name] = self._error(model, data["test"]), parameter_count(encoder)
            seconds[name] = result.cpu_seconds
            if name == "memory":
                encoder.summary = result.summary(self.name)
                encoder.save(job.folder / WEIGHTS)
        axes.set_xlabel("epoch")
        axes.set_ylabel("RMSE [mph]")
        axes.legend(frameon=False)
        save_figure(figure, job.folder / "memory-speed.png", REPORT_DPI)
        note = "; ".join(f"{name}: {sizes[name]:,} parameters, {seconds[name]:.0f} CPU s" for name in errors)
        metric = Metric("RMSE of hidden speeds", errors["memory"], {"gru": errors["gru"]}, "mph", False, None, note)
        caption = (
            "A neural Turing machine and a GRU learn to estimate hidden speeds, on the same runs for the same epochs."
        )
        return ExperimentResult([metric], [Plot("memory-speed.png", caption)], [WEIGHTS])

    def _error(self, model: SpeedModel, test: Sequences) -> float:
        known = test["known"]
        return rmse(estimated_speeds(model, test)[known], SPEED_UNIT * test["target"][known])
