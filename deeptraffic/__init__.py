"""MIT DeepTraffic in Python: an exact, fast highway environment with agents, perception and a competition.

Importing it registers the environments, and evaluates whatever drives in them:

    >>> import gymnasium, deeptraffic
    >>> env = gymnasium.make("DeepTraffic2018-v0", other_agents=0, observation="vector")

    >>> deeptraffic.evaluate(model, observation="gaps").score    # a Stable-Baselines3 model, a torch module, a function

Made so, an episode has 67 steps, which cover 2,000 frames; `max_episode_steps=200` asks for more, -1 for no end.
"""

from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import register

from deeptraffic.extras import name_missing_extras

if TYPE_CHECKING:
    from deeptraffic.evaluation.model import evaluate

__all__ = ["__version__", "evaluate"]

__version__ = "0.2.0"

name_missing_extras()

for _year in (2017, 2018):
    register(
        id=f"DeepTraffic{_year}-v0",
        entry_point="deeptraffic.envs.gym_env:DeepTrafficEnv",
        vector_entry_point="deeptraffic.envs.vector_env:DeepTrafficVectorEnv",
        max_episode_steps=67,
        kwargs={"rules": _year, "max_steps": None},  # Gymnasium counts
    )


def __getattr__(name: str) -> Any:
    """Import `evaluate` when it is asked for: registering the environments alone takes no time."""
    if name == "evaluate":
        from deeptraffic.evaluation.model import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
