"""Configuration of a data set: which policies drive, on which road, and what is observed."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from deeptraffic.envs.observations import Observation, make_observation
from deeptraffic.envs.reward import REWARDS
from deeptraffic.settings import Checked, choice, integer, real
from deeptraffic.sim.rules import RoadConfig

BLOCK = 50  # episodes that are played at once, and kept or lost together


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(Checked):
    """One data set.

    policies: what drives, by name (`agents.loader`): the blocks of 50 episodes take turns; or episode traces, one
        episode each, whose length and number are their own
    episodes: number of episodes that policies drive
    max_steps: [decisions] of an episode; 67 is a run of the 2018 contest
    seed: open run of the first episode; the others follow, and the sets for tuning and reporting cannot be reached
    epsilon: probability with which a random action replaces the ego car's
    reward: as in `gymnasium.make`
    road, observation: of the environment
    """

    policies: tuple[str, ...]
    episodes: int = integer(1500, 1, 1_000_000)
    max_steps: int = integer(67, 1, 100_000)
    seed: int = integer(0, 0, 999_000_000)
    epsilon: float = real(0.0, 0.0, 1.0)
    reward: str = choice("mit", *REWARDS)
    road: RoadConfig = field(default_factory=RoadConfig)
    observation: Observation = field(default_factory=lambda: make_observation("gaps"))

    def check(self) -> None:
        """Raise ValueError if no policy drives; narrow the observation's sensor to the road."""
        if not self.policies:
            raise ValueError("a data set needs at least one policy; name what drives")
        object.__setattr__(self, "policies", tuple(self.policies))
        object.__setattr__(self, "observation", self.observation.on_road(self.road.build()))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as nested plain values."""
        return asdict(self) | {"policies": list(self.policies)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Return the configuration that `to_json` wrote."""
        parts = {
            "policies": tuple(record["policies"]),
            "road": RoadConfig(**record["road"]),
            "observation": make_observation(record["observation"]),
        }
        return cls(**record | parts)
