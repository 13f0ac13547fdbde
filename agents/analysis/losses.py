"""Where are miles per hour lost? Each frame's loss, 80 mph less the driven cars' mean speed, by its cause.

    $ deeptraffic report losses gap runs/mine                   # a table, JSON and pictures
    >>> found = find_losses(make_builtin("gap"), runs=500)
    >>> found.lost_mph.sum() + found.mean_mph                   # 80: nothing is counted twice or left out

Open runs on tuning seeds. `agents.analysis.loss_causes` defines the causes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.analysis.loss_causes import BIN, BOXED_LONGEST, BOXED_NOW, CAUSES, SLOW_LONGEST, drive_and_note
from agents.champions.registry import FOLDER, with_part
from deeptraffic.evaluation.protocol import OPEN_FRAMES, Drivers, Progress, access_of
from deeptraffic.evaluation.seeds import choose_seeds
from deeptraffic.evaluation.statistics import bootstrap_interval, mean_speed
from deeptraffic.policies.builtin import Policy
from deeptraffic.run_dir import write_atomically, write_json
from deeptraffic.sim.engine import Simulator, run_in_chunks
from deeptraffic.sim.rules import RoadConfig, Rules
from deeptraffic.sim.state import F64, I64, NOBODY, Games

MPH = 20.0  # of 1 px/frame
STARTING = 300  # [frames] that count as the start
STUCK = (0, 50, 100, 200, 400, 2001)  # [frames] between which runs are sorted by their longest time below 60 mph
PAGE = FOLDER.parent / "CHAMPIONS.md"
BEGIN, END = "<!-- table of losses -->", "<!-- end of losses -->"
WORST = 6  # runs whose boxed-in scene is shown


@dataclass(frozen=True)
class Losses:
    """What a policy's runs lost, and how its worst scenes looked.

    lost: (runs, bins, causes) float64 [mph] means over the frames of a bin, see `agents.analysis.loss_causes`
    run_mph: (runs,) float64 mean speed; slow, boxed: (runs,) int64 [frames] longest time of the ego car below 60 mph,
        and boxed in
    scenes: (runs,) games at a decision within the longest time that the ego car was boxed in
    """

    policy: str
    rules: Rules
    access: str
    seed_set: str
    lost: F64 = field(repr=False)
    run_mph: F64 = field(repr=False)
    slow: I64 = field(repr=False)
    boxed: I64 = field(repr=False)
    scenes: Games = field(repr=False)

    @property
    def mean_mph(self) -> float:
        """Mean speed of all runs."""
        return float(self.run_mph.mean())

    @property
    def name(self) -> str:
        """The policy, and with whom it drove."""
        others = self.rules.other_agents
        return f"{self.policy}, {others} others" if others else self.policy

    @property
    def lost_mph(self) -> F64:
        """What each cause costs, (causes,)."""
        return self.lost.mean((0, 1))

    def part_mph(self, begin: int, end: int | None = None) -> F64:
        """What each cause costs from frame `begin` to `end`, both multiples of BIN, (causes,)."""
        return self.lost[:, begin // BIN : None if end is None else end // BIN].mean((0, 1))

    def worst(self) -> I64:
        """Return the slowest runs that were boxed in at all, the slowest first."""
        order = np.argsort(self.run_mph, kind="stable")
        return order[self.boxed[order] > 0][:WORST]

    def by_time_stuck(self) -> list[dict[str, Any]]:
        """Runs sorted by their longest time below 60 mph: share of all runs and mean speed."""
        found = []
        for low, high in zip(STUCK[:-1], STUCK[1:], strict=True):
            some = (self.slow >= low) & (self.slow < high)
            mean = float(self.run_mph[some].mean()) if some.any() else None
            found.append({"frames": [low, high - 1], "share": float(some.mean()), "mean_mph": mean})
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything but runs and scenes, as JSON values."""
        per_run = self.lost.mean(1)
        start, steady = self.part_mph(0, STARTING), self.part_mph(STARTING)
        causes = {
            name: {
                "mph": float(per_run[:, k].mean()),
                "interval": list(bootstrap_interval(per_run[:, k], np.mean)),
                "start_mph": float(start[k]),
                "steady_mph": float(steady[k]),
            }
            for k, name in enumerate(CAUSES)
        }
        return {
            "policy": self.policy,
            "rules": self.rules.year,
            "other_agents": self.rules.other_agents,
            "access": self.access,
            "seed_set": self.seed_set,
            "runs": self.run_mph.size,
            "mean_mph": self.mean_mph,
            "start_mph": 4.0 * MPH - float(start.sum()),
            "steady_mph": 4.0 * MPH - float(steady.sum()),
            "causes": causes,
            "time_stuck": self.by_time_stuck(),
        }


def find_losses(
    policy: Policy,
    rules: int = 2018,
    other_agents: int = 0,
    runs: int = 500,
    seed_set: str = "tuning",
    progress: Progress | None = None,
) -> Losses:
    """Drive open runs, the first `runs` of a seed set, and sort every frame's loss by its cause.

    progress: is called with (frames played, frames in total) of all runs
    """
    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    sim = Simulator(road, runs)
    sim.reset_open(choose_seeds(seed_set, runs))
    drivers = Drivers(policy, sim)
    notes = Notes(sim)
    agent = notes.drive(np.zeros(runs, np.int64))
    while agent != NOBODY:  # the games keep step: the same agent decides in all of them
        agent = notes.drive(drivers.decide(agent))
        if progress:
            progress(int(sim.state.frame[0]) * runs, OPEN_FRAMES * runs)
    return Losses(
        policy.label,
        road,
        access_of(policy),
        seed_set,
        notes.lost * (MPH / BIN),
        mean_speed(sim.state.score_sum, OPEN_FRAMES),
        notes.streaks[:, SLOW_LONGEST].copy(),
        notes.streaks[:, BOXED_LONGEST].copy(),
        notes.scenes,
    )


class Notes:
    """What is noted of a simulator's games while they are driven, see `drive_and_note`."""

    def __init__(self, sim: Simulator) -> None:
        shape = (sim.num_envs, sim.rules.other_agents + 1)
        self.sim = sim
        self.lost = np.zeros((sim.num_envs, OPEN_FRAMES // BIN, len(CAUSES)))
        self.open_before, self.movers = np.zeros(shape, np.bool_), np.tile(np.arange(shape[1]), (shape[0], 1))
        self.streaks = np.zeros((sim.num_envs, 4), np.int64)
        self.scenes = sim.games.copy()

    def drive(self, actions: I64) -> int:
        """Hand the waiting agent its actions (B,) and run on; return who waits in all games, NOBODY at the end."""
        sim = self.sim
        notes = (actions, self.lost, self.open_before, self.movers, self.streaks)
        run_in_chunks(sim, drive_and_note, sim.rows, notes, scalars=(OPEN_FRAMES,))
        now, longest = self.streaks[:, BOXED_NOW], self.streaks[:, BOXED_LONGEST]
        record = (now > 0) & (now == longest)
        self.scenes[record] = sim.games[record]
        return int(sim.games["waiting"][0])


def losses_table(found: Sequence[Losses]) -> str:
    """Return a Markdown table of what each cause costs each policy [mph], the whole run and from frame 300 on."""
    head = ["mph lost", *(losses.name for losses in found)]
    rows = [[name, *(f"{losses.lost_mph[k]:.2f}" for losses in found)] for k, name in enumerate(CAUSES)]
    rows += [
        ["**all causes**", *(f"**{losses.lost_mph.sum():.2f}**" for losses in found)],
        [f"of it in the first {STARTING} frames", *(f"{_start_share(losses):.2f}" for losses in found)],
        ["mean speed", *(f"{losses.mean_mph:.2f}" for losses in found)],
        [f"runs below 60 mph for {STUCK[-2]} frames on end", *(f"{_stuck_share(losses):.0%}" for losses in found)],
        ["their mean speed", *(f"{_stuck_mph(losses):.2f}" for losses in found)],
    ]
    lines = [head, ["---", *["---:"] * len(found)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write_page(found: Sequence[Losses]) -> list[Path]:
    """Write the table and two figures into the page of champions, in this source checkout; return their paths."""
    from agents.analysis.loss_figures import save_causes, save_scenes

    text = with_part(PAGE.read_text(encoding="utf-8"), BEGIN, END, losses_table(found))
    figures = FOLDER / "figures"
    figures.mkdir(exist_ok=True)
    write_atomically(PAGE, text.encode())
    return [PAGE, save_causes(found, figures / "causes.png"), save_scenes(found, figures / "scenes.png")]


def _start_share(losses: Losses) -> float:
    return float(losses.part_mph(0, STARTING).sum()) * STARTING / OPEN_FRAMES


def _stuck_share(losses: Losses) -> float:
    return float((losses.slow >= STUCK[-2]).mean())


def _stuck_mph(losses: Losses) -> float:
    stuck = losses.slow >= STUCK[-2]
    return float(losses.run_mph[stuck].mean()) if stuck.any() else float("nan")


def write_losses(found: Sequence[Losses], folder: Path) -> list[Path]:
    """Write losses.json and the figures of several policies into a folder; return their paths."""
    from agents.analysis.loss_figures import save_causes, save_over_frames, save_scenes, save_time_stuck

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "losses.json", {"policies": [losses.to_json() for losses in found]})
    return [
        folder / "losses.json",
        save_causes(found, folder / "causes.png"),
        save_over_frames(found, folder / "frames.png"),
        save_time_stuck(found, folder / "stuck.png"),
        save_scenes(found, folder / "scenes.png"),
    ]
