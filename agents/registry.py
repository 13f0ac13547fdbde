"""Registry of algorithms: name, kind and summary of each; a module is imported only when its algorithm is loaded.

    >>> ALGORITHMS["ppo"].load().config                  # imports agents/algorithms/ppo, and torch with it
    <class 'agents.algorithms.ppo.config.PPOConfig'>

To add an algorithm, write `agents/algorithms/NAME.py` with an `ALGORITHM` (`agents.algorithm.Algorithm`), and one line
here: `deeptraffic train`, its help, presets, sweeps and tests take it from this list.
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeptraffic.policies.base import PROBABILITY, ValueKind

if TYPE_CHECKING:
    from agents.algorithm import Algorithm

PRESETS = ("default", "demo", "quick", "fast")
RETURNS, LEADS = ValueKind("value", "reward"), ValueKind("difference", "reward")


@dataclass(frozen=True)
class Entry:
    """One line of the registry.

    name: of the algorithm and of its module
    kind: policy-based, value-based, model-based, imitation or offline
    summary: one line
    outputs: what its network's outputs are
    can_warm_start: whether its network can be initialised from a policy (`--init`), and so follow a curriculum
    presets: names of its presets; the first is taken where none is given
    """

    name: str
    kind: str
    summary: str
    outputs: ValueKind
    can_warm_start: bool = False
    presets: tuple[str, ...] = PRESETS

    def load(self) -> "Algorithm":
        """Import the algorithm's module and return the algorithm."""
        return importlib.import_module(f"agents.algorithms.{self.name}").ALGORITHM


ENTRIES = (
    Entry("reinforce", "policy-based", "REINFORCE with a mean baseline", PROBABILITY),
    Entry("a2c", "policy-based", "advantage actor-critic", PROBABILITY),
    Entry("ppo", "policy-based", "proximal policy optimisation", PROBABILITY, can_warm_start=True),
    Entry("team_ppo", "policy-based", "PPO for all agents at once", PROBABILITY, can_warm_start=True),
    Entry("maskable_ppo", "policy-based", "PPO that masks actions without effect", PROBABILITY),
    Entry("recurrent_ppo", "policy-based", "PPO with an LSTM", PROBABILITY),
    Entry("dqn", "value-based", "deep Q-learning with a replay buffer", RETURNS),
    Entry("qrdqn", "value-based", "quantile-regression DQN", RETURNS),
    Entry(
        "pqn", "value-based", "Q-learning without replay buffer or target network", RETURNS, presets=(*PRESETS, "lanes")
    ),
    Entry(
        "world_model",
        "model-based",
        "a learned latent model of the environment, and a policy trained in it",
        PROBABILITY,
    ),
    Entry("expert_iteration", "model-based", "learning from rollouts in the simulator", LEADS, can_warm_start=True),
    Entry(
        "distil",
        "imitation",
        "imitation of any policy through any encoder (DAgger)",
        PROBABILITY,
        presets=(*PRESETS, "frames", "vehicles"),
    ),
    Entry("bc", "offline", "behaviour cloning of a data set", PROBABILITY),
    Entry("cql", "offline", "conservative Q-learning from a data set", RETURNS),
    Entry(
        "deepqlearn",
        "value-based",
        "the original game's own learner",
        RETURNS,
        presets=("mit-basic", "mit-default", "lab"),
    ),
)
ALGORITHMS: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
WARM_STARTABLE = tuple(entry.name for entry in ENTRIES if entry.can_warm_start)
PRESET_NAMES = tuple(dict.fromkeys(preset for entry in ENTRIES for preset in entry.presets))


def entry_of(name: str) -> Entry:
    """Return an algorithm's entry; ValueError, with the names there are, if there is none."""
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm {name!r} does not exist; choose one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[name]
