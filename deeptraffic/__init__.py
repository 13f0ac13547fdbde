"""MIT DeepTraffic in Python: an exact, fast highway environment with agents, perception and a competition.

Importing it registers the environments:

    >>> import gymnasium, deeptraffic
    >>> env = gymnasium.make("DeepTraffic2018-v0", other_agents=0, observation="vector")
"""

from gymnasium.envs.registration import register

__version__ = "0.1.0"

for _year in (2017, 2018):
    register(
        id=f"DeepTraffic{_year}-v0",
        entry_point="deeptraffic.envs.gym_env:DeepTrafficEnv",
        vector_entry_point="deeptraffic.envs.vector_env:DeepTrafficVectorEnv",
        kwargs={"rules": _year},
    )
