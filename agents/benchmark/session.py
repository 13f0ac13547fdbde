"""One training of the benchmark: environments whose decisions are counted, and end when the budget is spent.

>>> def make(session):                               # what `deeptraffic benchmark AGENT.py:make` calls
...     envs = session.make_vec(64)                  # a Gymnasium vector environment of the task
...     model = MyModel(envs, seed=session.seed)
...     try:
...         model.learn()
...     except BudgetSpent:                          # raised by the step that would exceed the budget
...         pass
...     return model                                 # whatever `deeptraffic.evaluate` takes
"""

from typing import TYPE_CHECKING, Any

import gymnasium

from agents.benchmark.tasks import BenchmarkTask
from deeptraffic.envs.batch import EnvBatch
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.run_dir import Stop

if TYPE_CHECKING:
    from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv


class BudgetSpent(Exception):
    """A step would have exceeded the budget of decisions; it was not carried out."""


class BenchmarkSession:
    """What an agent is given to train with.

    Args:
        task: its road and its observation
        budget: decisions that all environments of the session may make together
        seed: of networks and exploration; `make` sees to it that its agent takes it
        stop: whether to stop, which the next step then does

    used: decisions made so far

    The environments' other keywords are those of `gymnasium.make`, but for road and observation, which are the task's.
    They are reset without a seed to runs of the training set, never to those of an evaluation.
    """

    def __init__(self, task: BenchmarkTask, budget: int, seed: int = 0, stop: Stop | None = None) -> None:
        self.task, self.budget, self.seed, self.used = task, budget, seed, 0
        self.stop = stop or Stop()

    @property
    def remaining(self) -> int:
        """Decisions that are left."""
        return self.budget - self.used

    def spend(self, decisions: int) -> None:
        """Count decisions that are about to be made; raise BudgetSpent if so many are not left."""
        self.stop.check("stopped; the same command resumes with a new training")
        if decisions > self.remaining:
            raise BudgetSpent(
                f"{self.used:,} of {self.budget:,} decisions are made, and a step of {decisions:,} would exceed them; "
                "stop training, or catch deeptraffic's BudgetSpent, and return the model"
            )
        self.used += decisions

    def make_env(self, **keywords: Any) -> "CountedEnv":
        """Return a single Gymnasium environment."""
        return CountedEnv(DeepTrafficEnv(**self._of_task(), **keywords), self)

    def make_vec(self, num_envs: int, **keywords: Any) -> DeepTrafficVectorEnv:
        """Return a Gymnasium vector environment; see `DeepTrafficVectorEnv`."""
        envs = DeepTrafficVectorEnv(num_envs, **self._of_task(), **keywords)
        self._count(envs.batch)
        return envs

    def make_sb3(self, num_envs: int, **keywords: Any) -> "DeepTrafficVecEnv":
        """Return a Stable-Baselines3 vector environment; see `DeepTrafficVecEnv`."""
        from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

        envs = DeepTrafficVecEnv(num_envs, **self._of_task(), **keywords)
        self._count(envs.batch)
        envs.seed(self.seed * 1_000_000)
        return envs

    def _of_task(self) -> dict[str, Any]:
        return {"rules": self.task.road, "observation": self.task.observation}

    def _count(self, batch: EnvBatch) -> None:
        """Count the decisions of a batch before they are made."""
        step = batch.step

        def counted(env_indices: Any, actions: Any) -> Any:
            self.spend(len(env_indices))
            return step(env_indices, actions)

        batch.step = counted  # type: ignore[method-assign]


class CountedEnv(gymnasium.Wrapper):
    """A single environment whose steps a session counts."""

    def __init__(self, env: gymnasium.Env, session: BenchmarkSession) -> None:
        super().__init__(env)
        self.session = session

    def step(self, action: Any) -> Any:
        """Count the step, then carry it out."""
        self.session.spend(1)
        return self.env.step(action)
