"""Training loop of all models: minibatches, early stopping, checkpoints, learning curves.

    >>> result = fit(model, train_arrays, validation_arrays, FitConfig(epochs=20), folder="runs/pretrain/dense")
    >>> result.best_epoch, result.validation_loss

A model defines its loss (`Trainable`). One with adversaries, such as a GAN, names several players, each with parameters
and a loss of its own; they are updated in turn on each minibatch. The model is left with the weights of its best epoch
on the validation data, or of its last where `patience` is 0.

In a folder the loop keeps metrics.jsonl, curves.png (learning curves of training and validation), tensorboard/ and
checkpoint.pt. The same call on the same folder resumes after an interruption and ends with the weights of an
uninterrupted run; on one CPU thread the same seed gives the same bits.
"""

import io
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from deeptraffic.run_dir import Interrupted, Stop, stop_requests, write_atomically
from deeptraffic.settings import Checked, choice, integer, real
from representation.encoder import CHUNK, to_tensors
from representation.plots import Curve, save_curves

Arrays = Mapping[str, Any]  # name -> (N, ...) array, or a dict of such arrays for observations that are dicts
Batch = dict[str, Any]  # name -> (B, ...) tensor, or a dict of tensors
VALIDATION_BATCH = 512


class Trainable(nn.Module):
    """A network with its loss."""

    players: tuple[str, ...] = ("model",)  # updated in turn on each minibatch

    def player_parameters(self, player: str) -> Iterable[nn.Parameter]:
        """Return the parameters of a player: all, where there is one player."""
        return self.parameters()

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (the player's loss, further metrics by name) on a minibatch."""
        raise NotImplementedError

    def validation(self, batch: Batch) -> dict[str, Tensor]:
        """Return validation metrics, `loss` among them: the lowest determines the best epoch."""
        loss, watched = self.loss(batch, self.players[-1])
        return {"loss": loss, **watched}

    def in_chunks(self, work: Callable[..., Tensor], *arrays: Any, size: int = CHUNK) -> NDArray[Any]:
        """Return work(*tensors) for arrays (N, ...), so many examples at a time, in evaluation mode, no gradients."""
        self.eval()
        device = next(self.parameters()).device
        pieces = []
        with torch.no_grad():
            for start in range(0, length_of({"first": arrays[0]}), size):
                piece = slice(start, start + size)
                pieces.append(work(*(to_tensors(array, piece, device) for array in arrays)).cpu().numpy())
        return np.concatenate(pieces)


@dataclass(frozen=True)
class FitConfig(Checked):
    """Hyperparameters of training.

    epochs: maximum passes over the training data
    batch_size: examples per step
    learning_rate, learning_rate_end: of Adam, at the start and the end, linear in between
    beta1: of Adam (Kingma and Ba 2014, arXiv:1412.6980); GANs take 0.5 or 0
    weight_decay: decoupled, as AdamW does (Loshchilov and Hutter 2017, arXiv:1711.05101)
    max_grad_norm: gradient-norm clipping threshold
    patience: epochs without a better validation loss before training stops; 0 never stops, and keeps the last
    seed: of shuffling, noise and dropout; not of the initial weights, which come with the model
    device: cpu or cuda
    """

    epochs: int = integer(20, 1, 100_000)
    batch_size: int = integer(256, 1, 1_000_000)
    learning_rate: float = real(1e-3, 1e-8, 1.0)
    learning_rate_end: float = real(1e-4, 0.0, 1.0)
    beta1: float = real(0.9, 0.0, 0.999)
    weight_decay: float = real(0.0, 0.0, 1.0)
    max_grad_norm: float = real(1.0, 1e-6, 1e6)
    patience: int = integer(5, 0, 100_000)
    seed: int = integer(0, 0, 2**31 - 1)
    device: str = choice("cpu", "cpu", "cuda")


@dataclass(frozen=True)
class FitResult:
    """Result of a training.

    epochs: completed passes; best_epoch: the one whose weights are kept, from 1
    validation_loss: of those weights
    curves: one dict per epoch, metrics train_* and validation_* by name
    seconds, cpu_seconds: of all sessions; earlier: both, of the sessions before this one
    """

    epochs: int
    best_epoch: int
    validation_loss: float
    curves: list[dict[str, float]]
    seconds: float
    cpu_seconds: float
    earlier: tuple[float, float] = (0.0, 0.0)

    def summary(self, experiment: str) -> dict[str, Any]:
        """Return the summary of the training for a weights file."""
        return {"experiment": experiment, "epochs": self.best_epoch, "validation_loss": self.validation_loss}


def fit(
    model: Trainable,
    train: Arrays,
    validation: Arrays,
    config: FitConfig,
    folder: str | Path | None = None,
    console: Console | None = None,
    title: str = "training",
) -> FitResult:
    """Train a model in place and return the result.

    Args:
        model: with its initial weights; ends with the best ones, on its device
        train, validation: arrays by name, all of the same length along their first axis
        config: see `FitConfig`
        folder: for checkpoint, metrics, curves and TensorBoard; None for none, without resuming
        console: for progress; None for standard error
        title: of the progress bar and of curves.png

    Raises ValueError for arrays of unequal lengths or a checkpoint of another training; Interrupted after Ctrl-C or
    SIGTERM.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda': torch finds no GPU here; use device=cpu")
    check_arrays(train, validation)
    with stop_requests() as stop, torch.random.fork_rng():
        loop = _Loop(model, train, validation, config, Path(folder) if folder else None, stop)
        loop.resume()
        with epoch_bar(console, config.epochs, title) as advance:
            while not loop.is_finished:
                loop.run_epoch()
                advance(loop.epoch, loop.curves[-1])
        loop.finish(title)
    return loop.result()


def batches(arrays: Arrays, order: NDArray[np.int64], size: int, device: str = "cpu") -> Iterator[Batch]:
    """Yield minibatches of tensors in a given order of indices."""
    for start in range(0, len(order), size):
        piece = order[start : start + size]
        yield {name: to_tensors(array, piece, device) for name, array in arrays.items()}


def length_of(arrays: Arrays) -> int:
    """Return the number of examples in arrays."""
    first = next(iter(arrays.values()))
    return len(next(iter(first.values()))) if isinstance(first, Mapping) else len(first)


def check_arrays(*sets: Arrays) -> None:
    """Raise ValueError unless each set's arrays have one length above 0."""
    for arrays in sets:
        lengths = {name: length_of({name: array}) for name, array in arrays.items()}
        if not lengths or len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(f"arrays must have one length above 0, got {lengths}")


class _Loop:
    """A training in progress; its state between two epochs is what the checkpoint holds."""

    def __init__(
        self, model: Trainable, train: Arrays, validation: Arrays, config: FitConfig, folder: Path | None, stop: Stop
    ) -> None:
        self.model, self.train, self.validation = model.to(config.device), train, validation
        self.config, self.folder, self.stop = config, folder, stop
        adam: dict[str, Any] = {"betas": (config.beta1, 0.999), "weight_decay": config.weight_decay}
        self.optimizers = {
            player: torch.optim.AdamW(list(model.player_parameters(player)), config.learning_rate, **adam)
            for player in model.players
        }
        self.epoch, self.best_epoch, self.best_loss = 0, 0, math.inf
        self.best_weights = _copy(model)
        self.curves: list[dict[str, float]] = []
        self.seconds = self.cpu_seconds = 0.0
        self.earlier = (0.0, 0.0)
        self.clock, self.cpu_clock = time.perf_counter(), time.process_time()
        self.random = np.random.default_rng(config.seed)
        torch.manual_seed(config.seed)

    # --- one epoch ------------------------------------------------------------------------------------------------

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are completed, or the patience is exhausted."""
        waited = self.epoch - self.best_epoch
        return self.epoch >= self.config.epochs or 0 < self.config.patience <= waited

    def run_epoch(self) -> None:
        """Train on all examples once, validate and save; stop here if requested."""
        line = {f"train_{name}": value for name, value in self._train().items()}
        line |= {f"validation_{name}": value for name, value in self._validate().items()}
        self.epoch += 1
        self.curves.append(line)
        if line["validation_loss"] < self.best_loss or not self.config.patience:
            self.best_loss, self.best_epoch, self.best_weights = line["validation_loss"], self.epoch, _copy(self.model)
        if self.folder:
            self._save(self.folder)
        if self.stop.requested and not self.is_finished:
            where = f"; the same command resumes from there ({self.folder})" if self.folder else ""
            raise Interrupted(f"stopped after {self.epoch} of {self.config.epochs} epochs{where}")

    def _train(self) -> dict[str, float]:
        self.model.train()
        self._set_learning_rate()
        sums = _Means()
        order = self.random.permutation(length_of(self.train))
        for batch in batches(self.train, order, self.config.batch_size, self.config.device):
            for player in self.model.players:
                loss, watched = self.model.loss(batch, player)
                self._move(player, loss)
                name = "loss" if player == self.model.players[-1] else f"loss_{player}"
                sums.add({name: loss, **watched}, length_of(batch))
        return sums.means()

    def _move(self, player: str, loss: Tensor) -> None:
        optimizer = self.optimizers[player]
        self.model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], self.config.max_grad_norm)
        optimizer.step()

    def _validate(self) -> dict[str, float]:
        self.model.eval()
        sums = _Means()
        with torch.no_grad(), torch.random.fork_rng():  # the same noise in every epoch
            torch.manual_seed(self.config.seed)
            order = np.arange(length_of(self.validation))
            for batch in batches(self.validation, order, VALIDATION_BATCH, self.config.device):
                sums.add(self.model.validation(batch), length_of(batch))
        return sums.means()

    def _set_learning_rate(self) -> None:
        done = self.epoch / max(1, self.config.epochs - 1)
        rate = self.config.learning_rate + (self.config.learning_rate_end - self.config.learning_rate) * done
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = rate

    # --- saving and resuming --------------------------------------------------------------------------------------

    def _save(self, folder: Path) -> None:
        self._note_time()
        state = {
            "config": json.dumps(asdict(self.config)),
            "model": self.model.state_dict(),
            "best": self.best_weights,
            "optimizers": {player: optimizer.state_dict() for player, optimizer in self.optimizers.items()},
            "notes": json.dumps([self.epoch, self.best_epoch, self.best_loss, self.seconds, self.cpu_seconds]),
            "curves": json.dumps(self.curves),
            "shuffling": json.dumps(self.random.bit_generator.state),
            "noise": torch.get_rng_state(),
        }
        content = io.BytesIO()
        torch.save(state, content)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "checkpoint.pt", content.getvalue())
        lines = "".join(json.dumps({"epoch": k + 1, **line}) + "\n" for k, line in enumerate(self.curves))
        write_atomically(folder / "metrics.jsonl", lines.encode())

    def resume(self) -> None:
        """Resume from the folder's checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt" if self.folder else None
        if path is None or not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.config.device, weights_only=True)
            self._check_same(path, json.loads(state["config"]))
            self.model.load_state_dict(state["model"])
            for player, optimizer in self.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][player])
        except (RuntimeError, KeyError, EOFError, OSError) as error:
            raise ValueError(
                f"checkpoint {str(path)!r} cannot be read or is of another model ({str(error).splitlines()[0]:.200}); "
                "delete it to start over, or name another folder"
            ) from error
        self.epoch, self.best_epoch, self.best_loss, self.seconds, self.cpu_seconds = json.loads(state["notes"])
        self.earlier = (self.seconds, self.cpu_seconds)
        self.best_weights, self.curves = state["best"], json.loads(state["curves"])
        self.random.bit_generator.state = json.loads(state["shuffling"])
        torch.set_rng_state(state["noise"].cpu())

    def _check_same(self, path: Path, was: dict[str, Any]) -> None:
        changed = {name: now for name, now in asdict(self.config).items() if was.get(name) != now and name != "device"}
        if changed:
            listed = "; ".join(f"{name} was {was.get(name)!r}, now {now!r}" for name, now in changed.items())
            raise ValueError(f"the training in {str(path.parent)!r} has other settings ({listed}); name another folder")

    def finish(self, title: str) -> None:
        """Restore the best weights, and plot the learning curves."""
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        self._note_time()
        if self.folder:
            save_curves(self.curves, self.folder / "curves.png", title, self.best_epoch)
            with SummaryWriter(str(self.folder / "tensorboard")) as writer:
                for epoch, line in enumerate(self.curves, start=1):
                    for name, value in line.items():
                        writer.add_scalar(name.replace("_", "/", 1), value, epoch)

    def result(self) -> FitResult:
        """Return the result of the training."""
        best = self.curves[self.best_epoch - 1]["validation_loss"]
        return FitResult(self.epoch, self.best_epoch, best, self.curves, self.seconds, self.cpu_seconds, self.earlier)

    def _note_time(self) -> None:
        now, cpu_now = time.perf_counter(), time.process_time()
        self.seconds += now - self.clock
        self.cpu_seconds += cpu_now - self.cpu_clock
        self.clock, self.cpu_clock = now, cpu_now


class _Means:
    """Means of named metrics over minibatches, weighted by their example counts."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, values: Mapping[str, Tensor], count: int) -> None:
        """Add one minibatch."""
        for name, value in values.items():
            total, examples = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + float(value.detach()) * count, examples + count

    def means(self) -> dict[str, float]:
        """Return the means so far."""
        return {name: total / examples for name, (total, examples) in self.sums.items()}


@contextmanager
def epoch_bar(console: Console | None, epochs: int, title: str) -> Iterator[Callable[[int, Curve], None]]:
    """Show a progress bar on standard error, if it is a terminal; yield (epoch, metrics) -> None, which updates it."""
    console = console or Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=epochs)

        def advance(epoch: int, line: Curve) -> None:
            losses = f"training {line['train_loss']:.4f}, validation {line['validation_loss']:.4f}"
            bar.update(task, completed=epoch, description=f"{title}: {losses}")

        yield advance


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
