"""A picture of what a world model imagines: its decoder's view of the next decisions, beside what really came.

Upper row: what the sensor really saw, decision by decision, while the policy head drove. Lower row: what the model
makes of the first observation and the decisions alone. Below: how far off it is in many games, beside a driver who
expects that nothing changes, and one who expects the mean of everything seen.

    >>> agent, config = load_world_model("runs/world")
    >>> save_imagination(agent, config, "imagined.png")

Letters in shapes: K decisions ahead, B games, N numbers of an observation, L lanes of the sensor, H rows of cells.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from agents.config import TrainConfig
from agents.world_model import WorldModel
from agents.world_model_agent import WorldModelAgent
from deeptraffic.envs.observations import Observation, Observer
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.figure import BLUE, GREEN, INK, ORANGE, empty_figure, save_figure, style_axes
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import VEHICLE_CELLS, Action, Sensor

F32 = NDArray[np.float32]
GAMES, WARM_UP = 200, 20  # games that are imagined, and decisions that they drive before
DRAWN = ("vector", "gaps")  # kinds of observation that can be drawn as cells
SHADES = LinearSegmentedColormap.from_list("cells", ["#3b3b3b", BLUE, "#ffffff"])  # beside the road, a car, free
OFF_ROAD, CAR, FREE = 0.0, 0.5, 1.0
ON_ROAD = 0.2  # a lane of the road reads more in the mean of its cells, for most of them are free


@dataclass(frozen=True)
class Journey:
    """What came and what was imagined from the first observation on.

    seen, imagined: (K + 1, B, N); actions: (K, B)
    """

    seen: F32
    imagined: F32
    actions: NDArray[np.int64]

    def errors(self) -> dict[str, NDArray[np.float64]]:
        """Return root mean squared errors by decisions ahead, (K + 1,): the model's, and of two simple forecasts.

        Squared, for the model learned to say the mean of what may come.
        """
        still = np.broadcast_to(self.seen[0], self.seen.shape)
        mean = self.seen.mean((0, 1))
        forecasts = {"the model": self.imagined, "nothing changes": still, "the mean of all": mean}
        return {name: np.sqrt(np.square(self.seen - forecast).mean((1, 2))) for name, forecast in forecasts.items()}


@torch.no_grad()
def imagine_journey(agent: WorldModelAgent, config: TrainConfig, ahead: int = 6, games: int = GAMES) -> Journey:
    """Drive open runs on tuning seeds by the policy head, and imagine the last `ahead` decisions from their start."""
    model: WorldModel = agent.policy
    model.set_training_mode(False)
    sim = Simulator(config.road.build(), games)
    sim.reset_open(choose_seeds("tuning", games))
    observer = Observer(sim.rules, config.observation, games)
    sim.step(sim.idle)  # to the first decision
    seen: list[torch.Tensor] = []
    actions: list[NDArray[np.int64]] = []
    for _ in range(WARM_UP + ahead + 1):
        obs = model.obs_to_tensor(observer.observe(sim, actions=actions[-1] if actions else None))[0]
        seen.append(model.flat(obs))
        actions.append(model(obs).argmax(1).cpu().numpy())
        if len(seen) == WARM_UP + 1:
            latents = [model.encode(obs)]
        if len(seen) <= WARM_UP + ahead:
            sim.step(actions[-1])
    driven = np.stack(actions[WARM_UP:-1])  # (K, B)
    for chosen in driven:
        latents.append(model.imagine(latents[-1], torch.from_numpy(chosen).to(agent.device)))
    imagined = torch.stack([model.decoder(latent) for latent in latents])
    return Journey(torch.stack(seen[WARM_UP:]).cpu().numpy(), imagined.cpu().numpy(), driven)


def typical_game(journey: Journey) -> int:
    """Return the game whose error is the median of those that change lanes twice or more, or of all if none does."""
    turns = np.isin(journey.actions, (Action.LEFT, Action.RIGHT)).sum(0)
    games = np.flatnonzero(turns >= min(2, turns.max()))
    errors = np.abs(journey.seen - journey.imagined).mean((0, 2))[games]
    return int(games[np.argsort(errors)[len(games) // 2]])


def cell_picture(flat: F32, observation: Observation) -> NDArray[np.float64]:
    """Return an observation as shades (H, L): 0 beside the road, about half for a car, 1 free; row 0 farthest ahead."""
    sensor = observation.sensor
    if observation.kind == "vector":
        cells = np.clip(flat.reshape(-1, sensor.columns).astype(np.float64), 0.0, 1.0)
        return np.where(cells.mean(0) < ON_ROAD, OFF_ROAD, CAR + (FREE - CAR) * cells)
    return gap_cells(flat.reshape(sensor.columns, GAP_FEATURES), sensor)


def gap_cells(gaps: F32, sensor: Sensor) -> NDArray[np.float64]:
    """Return shades (H, L) of lane gaps (L, 6): each lane is free up to its first car ahead and behind, of 4 cells."""
    ahead, rows = sensor.patches_ahead, sensor.length
    shades = np.full((rows, sensor.columns), FREE)
    for lane, (free, _, free_behind, _, _, on_road) in enumerate(gaps):
        first = ahead - 1 - round(float(np.clip(free, 0.0, 1.0)) * ahead)  # row of the first occupied cell
        shades[max(0, first - VEHICLE_CELLS + 1) : max(0, first + 1), lane] = CAR
        start = ahead + (VEHICLE_CELLS if lane == sensor.lanes_side else 0)
        last = start + round(float(np.clip(free_behind, 0.0, 1.0)) * sensor.patches_behind)
        shades[last : last + VEHICLE_CELLS, lane] = CAR
        if on_road < 0.5:
            shades[:, lane] = OFF_ROAD
    return shades


def save_imagination(agent: WorldModelAgent, config: TrainConfig, path: str | Path, ahead: int = 6) -> Path:
    """Draw a typical journey, really and as imagined, and the errors of all; ValueError where there are no cells."""
    seen = config.observation
    if seen.kind not in DRAWN or seen.temporal_window:
        raise ValueError(f"observation kind {seen.kind!r} cannot be drawn as cells; train on {' or '.join(DRAWN)}")
    journey = imagine_journey(agent, config, ahead)
    game = typical_game(journey)
    figure = empty_figure((1.5 * (ahead + 1) + 0.5, 9.5))
    grid = figure.add_gridspec(3, ahead + 1, height_ratios=(3, 3, 2))
    for row, (name, numbers) in enumerate({"what came": journey.seen, "imagined": journey.imagined}.items()):
        for k in range(ahead + 1):
            axes = figure.add_subplot(grid[row, k])
            _draw_cells(axes, cell_picture(numbers[k, game], seen), seen.sensor)
            axes.set_title(_moment(k, journey.actions[:, game]) if row == 0 else "", fontsize=9, color=INK)
            if k == 0:
                axes.set_ylabel(name, fontsize=12, fontweight="bold", color=INK)
    axes = figure.add_subplot(grid[2, :])
    style_axes(axes, f"Error in {journey.seen.shape[1]} games")
    for (name, errors), colour, style in zip(
        journey.errors().items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=True
    ):
        axes.plot(errors, color=colour, ls=style, lw=2.0, marker="o", label=name)
    axes.set_xlabel("decisions ahead")
    axes.set_ylabel("root mean squared error")
    axes.set_ylim(0.0, None)
    axes.legend(frameon=False, loc="lower right")
    return save_figure(figure, path)


def _draw_cells(axes: Any, shades: NDArray[np.float64], sensor: Sensor) -> None:
    """Draw cells, with the own car in its lane."""
    axes.imshow(shades, cmap=SHADES, vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    box = np.array([-0.4, 0.4]) + sensor.lanes_side
    axes.fill_between(box, sensor.patches_ahead - 0.5, sensor.patches_ahead + VEHICLE_CELLS - 0.5, color=ORANGE)
    axes.set_xticks(np.arange(sensor.columns - 1) + 0.5, [])
    axes.grid(axis="x", color="#cccccc", linewidth=0.6)
    axes.set_yticks([])
    axes.tick_params(length=0)


def _moment(k: int, actions: NDArray[np.int64]) -> str:
    done = f"after {Action(int(actions[k - 1])).name.lower()}" if k else "now"
    return f"+{k}\n{done}" if k else f"{done}\n"
