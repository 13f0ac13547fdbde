"""Figure of a world model's predictions: decoded latent states beside the observations of the next decisions.

Upper row: observations, decision by decision, while the policy head acts. Lower row: predictions from the first
observation and the actions alone, of images the nearest image of another run. Below: the prediction error in many
environments, beside those of two baselines, the first observation and the mean of all observations.

    >>> agent, config = load_world_model("runs/world")
    >>> save_imagination(agent, config, "imagined.png")

Letters in shapes: K decisions ahead, T all decisions played, B envs, N features of an observation as the decoder gives
it (behind a frozen encoder, of its features), L lanes of the sensor, H rows of cells.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.algorithms.world_model.agent import WorldModelAgent
from agents.algorithms.world_model.networks import WorldModel
from agents.config import TrainConfig
from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.envs.observations.grid import OCCUPIED, OFF_ROAD, OWN, SPEED
from deeptraffic.envs.observations.pixels import PixelsObservation
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.evaluation.statistics import mean_interval
from deeptraffic.figure import BLUE, GREEN, INK, ORANGE, empty_figure, save_figure, style_axes
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import VEHICLE_CELLS, Action, Sensor
from representation.plots import add_road_legend, draw_road

F32 = NDArray[np.float32]
ENVS, WARM_UP = 200, 20  # environments, and decisions before the first prediction
CELLS = ("vector", "gaps")  # kinds of observation that can be drawn as cells
IMAGES = "pixels"
BESIDE, VEHICLE, FREE = 0.0, 0.5, 1.0  # shades of cells
ON_ROAD = 0.2  # mean value of a lane's cells; less is beside the road, since most cells of a lane are free


@dataclass(frozen=True)
class Prediction:
    """Observations, and their predictions from the first one on.

    observed, predicted: (K + 1, B, N); actions: (K, B)
    recorded: (T, B, N) all observations of the runs, of which `observed` are the last
    images: (T, B, height, width, channels) uint8 the newest images of these; None for other kinds
    """

    observed: F32
    predicted: F32
    actions: NDArray[np.int64]
    recorded: F32 | None = None
    images: NDArray[np.uint8] | None = None

    def errors(self) -> dict[str, NDArray[np.float64]]:
        """Return root mean squared errors by decisions ahead, of the model and of the baselines, (K + 1, 3).

        Mean over the envs, then both ends of its 95% interval. Squared, because the model is trained to predict the
        mean.
        """
        first = np.broadcast_to(self.observed[0], self.observed.shape)
        mean = self.observed.mean((0, 1))
        predictions = {"model": self.predicted, "first observation": first, "mean observation": mean}
        squares = {name: np.square(self.observed - made).mean(2, np.float64) for name, made in predictions.items()}
        return {
            name: np.sqrt([(each.mean(), *np.maximum(mean_interval(each), 0.0)) for each in square])
            for name, square in squares.items()
        }

    def nearest_image(self, k: int, env: int) -> NDArray[np.uint8]:
        """Return the image, of another run, whose observation is nearest to an env's prediction k decisions ahead."""
        assert self.recorded is not None and self.images is not None
        distances = np.square(self.recorded - self.predicted[k, env]).sum(2)  # (T, B)
        distances[:, env] = np.inf
        return self.images[np.unravel_index(distances.argmin(), distances.shape)]


@torch.no_grad()
def predict(agent: WorldModelAgent, config: TrainConfig, ahead: int = 6, envs: int = ENVS) -> Prediction:
    """Play open runs on tuning seeds with the policy head, and predict their last `ahead` decisions."""
    model: WorldModel = agent.policy
    model.set_training_mode(False)
    sim = Simulator(config.road.build(), envs)
    sim.reset_open(choose_seeds("tuning", envs))
    observer = Observer(sim.rules, config.observation, envs)
    sim.step(sim.idle)  # to the first decision
    observed: list[torch.Tensor] = []
    images: list[NDArray[np.uint8]] = []
    actions: list[NDArray[np.int64]] = []
    for _ in range(WARM_UP + ahead + 1):
        seen = observer.observe(sim, actions=actions[-1] if actions else None)
        if isinstance(config.observation, PixelsObservation):
            images.append(seen[..., -config.observation.channels :])
        obs = model.obs_to_tensor(seen)[0]
        observed.append(model.flat(model.stored(obs)))
        actions.append(model(obs).argmax(1).cpu().numpy())
        if len(observed) == WARM_UP + 1:
            latents = [model.encode(obs)]
        if len(observed) <= WARM_UP + ahead:
            sim.step(actions[-1])
    taken = np.stack(actions[WARM_UP:-1])  # (K, B)
    for chosen in taken:
        latents.append(model.imagine(latents[-1], torch.from_numpy(chosen).to(agent.device)))
    predicted = torch.stack([model.decoder(latent) for latent in latents])
    recorded = torch.stack(observed).cpu().numpy()
    return Prediction(
        recorded[WARM_UP:], predicted.cpu().numpy(), taken, recorded, np.stack(images) if images else None
    )


def typical_env(prediction: Prediction) -> int:
    """Return the env with the median error of those with two lane changes or more, or of all if none has."""
    turns = np.isin(prediction.actions, (Action.LEFT, Action.RIGHT)).sum(0)
    envs = np.flatnonzero(turns >= min(2, turns.max()))
    errors = np.abs(prediction.observed - prediction.predicted).mean((0, 2))[envs]
    return int(envs[np.argsort(errors)[len(envs) // 2]])


def cell_shades(flat: F32, observation: Observation) -> NDArray[np.float64]:
    """Return an observation as shades (H, L): 0 beside the road, about half a vehicle, 1 free; row 0 farthest ahead."""
    sensor = observation.sensor
    if observation.kind == "vector":
        cells = np.clip(flat.reshape(-1, sensor.columns).astype(np.float64), 0.0, 1.0)
        return np.where(cells.mean(0) < ON_ROAD, BESIDE, VEHICLE + (FREE - VEHICLE) * cells)
    return gap_cells(flat.reshape(sensor.columns, GAP_FEATURES), sensor)


def gap_cells(gaps: F32, sensor: Sensor) -> NDArray[np.float64]:
    """Return shades (H, L) of lane gaps (L, 6): each lane is free up to its first vehicles ahead and behind."""
    ahead, rows = sensor.patches_ahead, sensor.length
    shades = np.full((rows, sensor.columns), FREE)
    for lane, (free, _, free_behind, _, _, on_road) in enumerate(gaps):
        first = ahead - 1 - round(float(np.clip(free, 0.0, 1.0)) * ahead)  # row of the first occupied cell
        shades[max(0, first - VEHICLE_CELLS + 1) : max(0, first + 1), lane] = VEHICLE
        start = ahead + (VEHICLE_CELLS if lane == sensor.lanes_side else 0)
        last = start + round(float(np.clip(free_behind, 0.0, 1.0)) * sensor.patches_behind)
        shades[last : last + VEHICLE_CELLS, lane] = VEHICLE
        if on_road < 0.5:
            shades[:, lane] = BESIDE
    return shades


def save_imagination(agent: WorldModelAgent, config: TrainConfig, path: str | Path, ahead: int = 6) -> Path:
    """Draw the predictions in a typical env, and the errors in all; ValueError for observations without a drawing."""
    observation = config.observation
    is_drawn = observation.kind in CELLS and not (observation.temporal_window or observation.latency)
    if not (is_drawn or observation.kind == IMAGES):
        raise ValueError(
            f"observation.kind must be {', '.join(CELLS)} (without temporal_window and latency) or {IMAGES} to be "
            f"drawn, got {observation.kind!r}"
        )
    prediction = predict(agent, config, ahead)
    env = typical_env(prediction)
    figure = empty_figure((1.3 * (ahead + 1) + 0.5, 9.5))
    grid = figure.add_gridspec(3, ahead + 1, height_ratios=(3, 3, 2))
    rows = {"observed": prediction.observed, "predicted": prediction.predicted}
    for row, (name, values) in enumerate(rows.items()):
        for k in range(ahead + 1):
            axes = figure.add_subplot(grid[row, k])
            if prediction.images is None:
                draw_road(axes, road_grid(cell_shades(values[k, env], observation), observation.sensor))
            else:
                shown = prediction.images[WARM_UP + k, env] if row == 0 else prediction.nearest_image(k, env)
                axes.imshow(shown, cmap="gray", vmin=0, vmax=255, aspect="auto")
                axes.set_xticks([])
                axes.set_yticks([])
            axes.set_title(_step_title(k, prediction.actions[:, env]) if row == 0 else "", fontsize=9, color=INK)
            if k == 0:
                axes.set_ylabel(name, fontsize=12, fontweight="bold", color=INK)
    if prediction.images is None:
        add_road_legend(figure, has_speeds=False)
    axes = figure.add_subplot(grid[2, :])
    style_axes(axes, f"Prediction error in {prediction.observed.shape[1]} environments")
    for (name, errors), colour, style in zip(
        prediction.errors().items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=True
    ):
        axes.plot(errors[:, 0], color=colour, ls=style, lw=2.0, marker="o", label=name)
        axes.fill_between(range(len(errors)), *errors[:, 1:].T, color=colour, alpha=0.18, lw=0)
    axes.set_xlabel("decisions ahead")
    axes.set_ylabel("root mean squared error,\n95% interval")
    axes.set_ylim(0.0, None)
    axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, path, colours=256)


def road_grid(shades: NDArray[np.float64], sensor: Sensor) -> NDArray[np.float64]:
    """Return shades (H, L) as a grid (4, H, L) to be drawn as a road, speeds unknown."""
    grid = np.zeros((4, *shades.shape))
    grid[OFF_ROAD] = shades == BESIDE
    grid[OCCUPIED] = np.where(shades == BESIDE, 0.0, np.clip((FREE - shades) / (FREE - VEHICLE), 0.0, 1.0))
    grid[SPEED] = np.nan
    grid[OWN, sensor.patches_ahead : sensor.patches_ahead + VEHICLE_CELLS, sensor.lanes_side] = 1.0
    return grid


def _step_title(k: int, actions: NDArray[np.int64]) -> str:
    done = f"after {Action(int(actions[k - 1])).name.lower()}" if k else "now"
    return f"+{k}\n{done}" if k else f"{done}\n"
