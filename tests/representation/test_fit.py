"""The training loop: it learns, keeps the best, resumes to the same bits, and moves its players in turn."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeptraffic.run_dir import Interrupted
from representation import fit as loop
from representation.fit import Batch, FitConfig, Trainable, fit

QUICK = FitConfig(epochs=4, batch_size=32, learning_rate=0.05, learning_rate_end=0.01, patience=0)


class Line(Trainable):
    """y = 3 x0 - 2 x1 + 0.5, with dropout, so that the noise stream matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.layer, self.dropout = nn.Linear(2, 1), nn.Dropout(0.05)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        error = self.layer(self.dropout(batch["x"]))[:, 0] - batch["y"]
        return error.pow(2).mean(), {"bias": error.mean()}


def line_data(seed: int, count: int = 200) -> dict[str, Any]:
    x = np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)
    return {"x": x, "y": (x @ np.array([3.0, -2.0]) + 0.5).astype(np.float32)}


def weights(model: nn.Module) -> list[float]:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()


def test_a_line_is_learned_and_the_curves_fall() -> None:
    model = Line()
    result = fit(model, line_data(0), line_data(1), replace(QUICK, epochs=30))
    assert weights(model) == pytest.approx([3.0, -2.0, 0.5], abs=0.25)  # dropout shrinks them a little
    assert result.validation_loss < 0.05 * result.curves[0]["validation_loss"]
    assert result.curves[0].keys() == {"train_loss", "train_bias", "validation_loss", "validation_bias"}


def test_training_is_the_same_each_time_and_another_with_another_seed() -> None:
    runs = []
    for seed in (0, 0, 1):
        model = Line()
        fit(model, line_data(0), line_data(1), replace(QUICK, seed=seed))
        runs.append(weights(model))
    assert runs[0] == runs[1] != runs[2]


def test_predictions_in_chunks_are_those_of_all_at_once_without_dropout() -> None:
    model, x = Line().train(), line_data(0, 10)["x"]
    whole = model.layer(torch.from_numpy(x)).detach().numpy()
    assert model.in_chunks(lambda x: model.layer(model.dropout(x)), x, size=4) == pytest.approx(whole)
    both = model.in_chunks(lambda obs, index: model.layer(obs["x"])[:, 0] + index, {"x": x}, np.arange(10), size=3)
    assert both == pytest.approx(whole[:, 0] + np.arange(10))
    assert not model.training


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    model = Line()
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    fit(model, line_data(0), line_data(1), QUICK)
    assert torch.rand(3).tolist() == expected


def test_a_stopped_training_goes_on_to_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Line()
    fit(whole, line_data(0), line_data(1), QUICK)
    validate = loop._Loop._validate

    def stop_in_the_second_epoch(self: Any) -> dict[str, float]:
        self.stop.requested = self.epoch == 1
        return validate(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_validate", stop_in_the_second_epoch)
        with pytest.raises(Interrupted, match="stopped after 2 of 4 epochs; the same command resumes"):
            fit(Line(), line_data(0), line_data(1), QUICK, tmp_path)
    resumed = Line()
    result = fit(resumed, line_data(0), line_data(1), QUICK, tmp_path)
    assert weights(resumed) == weights(whole)
    assert result.epochs == 4
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_best_epoch_is_kept_and_waiting_ends_the_training() -> None:
    class Rising(Line):
        """A validation loss of 1, 0, 1, 2, ...: the second epoch is the best."""

        calls = 0

        def validation(self, batch: Batch) -> dict[str, Tensor]:
            Rising.calls += 1
            return {"loss": torch.tensor(abs(Rising.calls - 2.0))}

    second = Line()
    fit(second, line_data(0), line_data(1), replace(QUICK, epochs=2))
    model = Rising()
    result = fit(model, line_data(0), line_data(1), replace(QUICK, epochs=9, patience=3))
    assert (result.best_epoch, result.epochs, result.validation_loss) == (2, 5, 0.0)
    again = Rising()
    Rising.calls = 0
    kept = fit(again, line_data(0), line_data(1), replace(QUICK, epochs=9, patience=1))
    assert kept.epochs == 3
    assert weights(again) == weights(model)


def test_players_move_their_own_parameters_in_turn() -> None:
    class Duel(Trainable):
        """The first player pulls its number to 1, the second its own to the first's."""

        players = ("first", "second")

        def __init__(self) -> None:
            super().__init__()
            self.numbers = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in self.players})

        def player_parameters(self, player: str) -> list[nn.Parameter]:
            return [self.numbers[player]]

        def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            goal = torch.tensor(1.0) if player == "first" else self.numbers["first"]
            return (self.numbers[player] - goal).pow(2), {}

    model = Duel()
    result = fit(model, line_data(0), line_data(1), replace(QUICK, epochs=40))
    assert model.numbers["first"].item() == pytest.approx(1.0, abs=0.05)
    assert model.numbers["second"].item() == pytest.approx(1.0, abs=0.1)
    assert {"train_loss", "train_loss_first"} <= result.curves[0].keys()


def test_other_settings_and_other_models_are_refused_on_the_same_folder(tmp_path: Path) -> None:
    fit(Line(), line_data(0), line_data(1), QUICK, tmp_path)
    with pytest.raises(ValueError, match="has other settings .batch_size was 32, now 16"):
        fit(Line(), line_data(0), line_data(1), replace(QUICK, batch_size=16), tmp_path)
    other = Line()
    other.layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="delete it to start over"):
        fit(other, line_data(0), line_data(1), QUICK, tmp_path)


@pytest.mark.parametrize(("arrays", "lengths"), [({}, "{}"), ({"x": np.zeros(3), "y": np.zeros(2)}, "'x': 3, 'y': 2")])
def test_data_that_do_not_fit_are_refused(arrays: dict[str, Any], lengths: str) -> None:
    with pytest.raises(ValueError, match=f"arrays must have one length above 0, got .*{lengths}"):
        fit(Line(), arrays, line_data(1), QUICK)


def test_a_missing_gpu_is_said_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("needs a machine without a GPU")
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        fit(Line(), line_data(0), line_data(1), replace(QUICK, device="cuda"))
