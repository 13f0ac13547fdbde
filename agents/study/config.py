"""Configuration of a sweep, read from a TOML or JSON file.

algorithm = "deepqlearn"         # any that `deeptraffic train` knows
preset = "mit-basic"
trials = 150
sampler = "tpe"                  # see SAMPLERS
pruner = "median"                # see PRUNERS
evaluations = 4                  # of each training, for the pruner

[settings]                       # the same for all trials, as `deeptraffic train --set` takes them
total_timesteps = 20000

[space]                          # what varies, see `agents.study.space`
gamma = { float = [0.5, 0.99] }

>>> read_sweep("sweep.toml", trials=10).trials
10
"""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from agents.config import TrainConfig
from agents.registry import ALGORITHMS
from agents.settings import build_config
from agents.study.space import Parameter, Params, parse_space
from deeptraffic.settings import Checked, choice, flatten, integer, read_settings

JOURNAL = "journal"  # the storage in the sweep's own folder
DATABASES = ("sqlite://", "postgresql://", "postgresql+psycopg://")
CHECKED, CHECKED_BESIDE = 200, 10  # example draws that are checked: of all parameters, and beside each end of one
SEED_STRIDE = 100_000  # between the seeds of two trainings, more than any has environments

# Optuna's samplers by name, with their arguments: independent draws; tree-structured Parzen estimator (Bergstra et al.
# 2011), to which running trials count as bad ones; all combinations (which the storage enqueues itself).
SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("RandomSampler", {}),
    "tpe": ("TPESampler", {"constant_liar": True}),
    "grid": ("RandomSampler", {}),
}
# Optuna's pruners by name, with their arguments: stop what is below the median of earlier trials; let the best quarter
# go on to four times as many evaluations (Li et al. 2018, arXiv:1810.05934); the same with several first stops (Li et
# al. 2018, JMLR 18:185).
PRUNERS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("NopPruner", {}),
    "median": ("MedianPruner", {}),
    "successive_halving": ("SuccessiveHalvingPruner", {"min_resource": 1}),
    "hyperband": ("HyperbandPruner", {"min_resource": 1}),
}


@dataclass(frozen=True)
class SweepConfig(Checked):
    """One sweep.

    algorithm, preset: of the trainings; "" for the algorithm's default preset
    settings: by name, the same for all trials; space: the parameters that vary
    trials: total number, including finished ones when a sweep is resumed
    sampler, pruner: how trials are drawn, and which are stopped early; one of SAMPLERS and of PRUNERS
    seed: of the sampler and, with a trial's number, of its trainings
    seeds_per_trial: trainings of a trial, whose scores are averaged
    objective: "median" of the run scores, as in the contest, or their "mean"
    tuning_runs: open runs on tuning seeds that score a trial
    reporting_runs: open runs on reporting seeds that score the best trial, once, at the end
    evaluations: of each training, which the pruner sees; the last one is at its end
    evaluation_runs: open runs on tuning seeds of the evaluations before the end
    storage: "journal", a file in the sweep's folder; or a database, sqlite:///FILE or postgresql://...
    name: of the study in its storage and its table; "" for the name of the sweep's folder
    """

    algorithm: str = choice("deepqlearn", *ALGORITHMS)
    preset: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    space: tuple[Parameter, ...] = ()
    trials: int = integer(100, 1, 1_000_000)
    sampler: str = choice("random", *SAMPLERS)
    pruner: str = choice("none", *PRUNERS)
    seed: int = integer(0, 0, 1_000_000)
    seeds_per_trial: int = integer(1, 1, 100)
    objective: str = choice("median", "median", "mean")
    tuning_runs: int = integer(1000, 1, 100_000)
    reporting_runs: int = integer(5000, 1, 100_000)
    evaluations: int = integer(1, 1, 1000)
    evaluation_runs: int = integer(200, 1, 100_000)
    storage: str = JOURNAL
    name: str = ""

    def check(self) -> None:
        """Raise ValueError if a value of the space is impossible, or settings contradict each other."""
        if not self.space:
            raise ValueError('nothing varies; name a setting under [space], such as "gamma = { float = [0.5, 0.99] }"')
        if self.pruner != "none" and self.evaluations < 2:
            raise ValueError(
                f"pruner={self.pruner!r} sees nothing before a training's end with evaluations={self.evaluations}; "
                "raise evaluations to 2 or more, or take pruner='none'"
            )
        if self.storage != JOURNAL and not self.storage.startswith(DATABASES):
            raise ValueError(f"storage must be {JOURNAL!r}, sqlite:///FILE or postgresql://..., got {self.storage!r}")
        self._check_names()
        self._check_ends()
        self._check_draws()

    # --- trials -------------------------------------------------------------------------------------------------------

    def run_config(self, params: Params, seed: int = 0) -> TrainConfig:
        """Return the configuration of a training: fixed and drawn settings; ValueError for contradictions."""
        settings = {**self.settings, **self._drawn(params), "seed": seed}
        return build_config(self.algorithm, self.preset or None, settings=settings)

    def seeds(self, number: int) -> list[int]:
        """Seeds of a trial's trainings, which depend on its number alone."""
        first = (self.seed * 1_000_003 + number) * self.seeds_per_trial
        return [(first + k) * SEED_STRIDE % 999_000_000 for k in range(self.seeds_per_trial)]

    def grid(self) -> list[dict[str, Any]]:
        """All combinations of values, in order; ValueError if there is no end of them."""
        values: dict[str, list[Any]] = {}
        for parameter in self.space:
            values |= parameter.grid()
        return [dict(zip(values, combination, strict=True)) for combination in product(*values.values())]

    @property
    def total_trials(self) -> int:
        """Number of trials that the sweep ends with: a grid may have fewer combinations than `trials`."""
        return min(self.trials, len(self.grid())) if self.sampler == "grid" else self.trials

    def to_json(self) -> dict[str, Any]:
        """The configuration as JSON values."""
        return json.loads(json.dumps(asdict(self)))

    # --- checks -------------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        names = [parameter.name for parameter in self.space]
        for name in ["seed", *self.settings]:
            if name in names:
                remedy = "trials have seeds of their own" if name == "seed" else "leave it out of one of them"
                raise ValueError(f"{name!r} cannot vary under [space]: {remedy}")
        if "seed" in self.settings:
            raise ValueError("seed stands under [settings]; write the sweep's seed at the top of the file")

    def _check_ends(self) -> None:
        """Check both ends of every range, and every choice: beside the defaults, else beside draws of the others.

        A value that contradicts the default of another varied setting may agree with draws of it.
        """
        draws = [self._drawn(params) for params in example_draws(self.space, CHECKED_BESIDE)]
        for parameter in self.space:
            for value in parameter.ends():
                alone = self._error_of({parameter.name: value})
                if alone and all(self._error_of(drawn | {parameter.name: value}) for drawn in draws):
                    raise ValueError(f"space.{parameter.name} contains {value!r}: {alone}")

    def _check_draws(self) -> None:
        """Check example draws of all parameters together."""
        if self.sampler == "grid":
            self.grid()
        for params in example_draws(self.space, CHECKED):
            error = self._error_of(self._drawn(params))
            if error is not None:
                raise ValueError(f"the space contains {params}, which is impossible: {error}")

    def _drawn(self, params: Params) -> dict[str, Any]:
        return {parameter.name: parameter.value(params) for parameter in self.space}

    def _error_of(self, drawn: Mapping[str, Any]) -> ValueError | None:
        """The error in a trial of these settings, None if it is possible."""
        try:
            build_config(self.algorithm, self.preset or None, settings={**self.settings, **drawn})
        except ValueError as error:
            return error
        return None


def example_draws(space: tuple[Parameter, ...], count: int) -> Iterator[dict[str, Any]]:
    """Yield draws from a space, the same on every call, often from the ends of its ranges."""
    draw = random.Random(0)
    for _ in range(count):
        params: dict[str, Any] = {}
        for parameter in space:
            for name, distribution in parameter.distributions().items():
                params[name] = _example(distribution, draw)
        yield params


def _example(distribution: Any, draw: random.Random) -> Any:
    if hasattr(distribution, "choices"):
        return draw.choice(distribution.choices)
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None:
        return low + step * draw.randint(0, round((high - low) / step))
    return draw.choice((low, high, draw.uniform(low, high)))


# --- reading ----------------------------------------------------------------------------------------------------------


def read_sweep(path: str | Path, **changes: Any) -> SweepConfig:
    """Read a sweep's TOML or JSON file; changes: settings that replace the file's, unless None."""
    given = read_settings(path) | {name: value for name, value in changes.items() if value is not None}
    return build_sweep(given)


def build_sweep(given: Mapping[str, Any]) -> SweepConfig:
    """Return a sweep from the tables of a config file; ValueError for unknown or impossible settings."""
    names = [setting.name for setting in fields(SweepConfig)]
    for name in given:
        if name not in names:
            raise ValueError(f"a sweep has no setting {name!r}; there are: {', '.join(names)}")
    for name in ("settings", "space"):
        if not isinstance(given.get(name, {}), Mapping):
            raise ValueError(f"{name} must be a table, got {given[name]!r}; write [{name}] and a line for each setting")
    for name in ("preset", "storage", "name"):
        if not isinstance(given.get(name, ""), str):
            raise ValueError(f"{name} must be text, got {given[name]!r}; put it in quotation marks")
    parts = {"settings": dict(flatten(given.get("settings", {}))), "space": tuple(parse_space(given.get("space", {})))}
    return SweepConfig(**{**given, **parts})
