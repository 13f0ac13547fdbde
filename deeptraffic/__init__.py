"""MIT DeepTraffic in Python: an exact, fast highway environment with agents, perception and a competition.

Importing it registers the environments:

    >>> import gymnasium, deeptraffic
    >>> env = gymnasium.make("DeepTraffic2018-v0", other_agents=0, observation="vector")

Made so, an episode has 67 steps, which cover 2,000 frames; `max_episode_steps=200` asks for more, -1 for no end.
"""

from gymnasium.envs.registration import register

__version__ = "0.1.0"

for _year in (2017, 2018):
    register(
        id=f"DeepTraffic{_year}-v0",
        entry_point="deeptraffic.envs.gym_env:DeepTrafficEnv",
        vector_entry_point="deeptraffic.envs.vector_env:DeepTrafficVectorEnv",
        max_episode_steps=67,
        kwargs={"rules": _year, "max_steps": None},  # Gymnasium counts
    )
