"""PettingZoo AEC environment: all driven vehicles are agents, which act in turn at different frames of a period.

    >>> from deeptraffic.envs.aec_env import DeepTrafficAECEnv
    >>> env = DeepTrafficAECEnv(other_agents=4)
    >>> env.reset(seed=0)
    >>> for agent in env.agent_iter():
    ...     observation, reward, termination, truncation, info = env.last()
    ...     env.step(None if truncation else env.action_space(agent).sample(info["action_mask"]))

The ego car decides at frames 0, 30, ...; other agent i decides 3 i frames later. An agent's action is, in that frame,
also carried out by the other agents after it and by the ego car: the 2018 rules have one pending action for all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import AECEnv
from pettingzoo.utils.env import AECIterable

from deeptraffic.envs.arguments import (
    ACTIONS,
    MAX_STEPS,
    AttributeNeedsReset,
    RulesLike,
    check_action,
    check_max_steps,
    check_options,
    check_reward,
    check_started,
    make_road,
    refuse_unknown,
    resolve_rules,
)
from deeptraffic.envs.masks import action_masks
from deeptraffic.envs.observations import ObservationLike, Observer, make_observation, select_env
from deeptraffic.envs.rendering import NO_RENDER_MODE, RENDER_MODES, EnvRenderer, Image, RenderOptions, render_fps
from deeptraffic.envs.reward import reward_of
from deeptraffic.envs.seeding import check_seed, open_run
from deeptraffic.render.layers import RoadLayer
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.kernel import NOTHING, drive
from deeptraffic.sim.rules import MPH_PER_PX, Rules
from deeptraffic.sim.state import F64, NOBODY, Games

DEFAULT_OTHER_AGENTS = 4


@compiled
def drive_and_sum(rules: NDArray[Any], games: Games, action: int, sums: F64) -> int:
    """Run env 0 to the next decision of any agent, and return the agent.

    Adds each driven vehicle's speed at every frame's end to sums, (A + 1,) [px/frame].
    """
    game, given = games[0], action
    while True:
        frame = game.frame
        drive(rules[0], game, given, frame + 1)
        if game.frame > frame:
            for i in range(sums.size):
                sums[i] += game.following_speed[i] * game.speed_factor[i]
        if game.waiting != NOBODY:
            return game.waiting
        given = NOTHING


class DeepTrafficAECEnv(AECEnv):
    """DeepTraffic for several agents in turn.

    Args:
        rules: 2018, or a RoadConfig
        other_agents: 0..10 driven vehicles besides the ego car; None: those of the RoadConfig, or if it has none
            4, or as many as there are vehicles
        observation: as for `DeepTrafficEnv`, of a kind that other agents have, too: vector, gaps, gaps_ego, grid or
            kinematics
        reward: "mit" or "speed", of an agent's own car since its last decision; an agent's first turn brings 0
        max_steps: decisions after which an agent is truncated, each at its own next turn; None for never
        render_mode, render_size, overlay, theme, layers: as for `DeepTrafficEnv`; "rgb_array_list" has the frames
            between two turns

    Agents are "car_0", the ego car, and "car_1", ... The tenth other vehicle never decides, so it is no agent: it only
    carries out the pending action. The ego car's rewards are the contest's own; another agent's N is its speed
    summed over the ends of 30 frames.

    `observe` returns the observation of the agent's latest turn. `reset(seed=s)` is open run s, and `reset()` draws
    one.
    infos: speed_mph, lane, frame, action_mask ((5,) int8); the ego car's also passed and blocked
    """

    metadata: dict[str, Any] = {
        "name": "deeptraffic2018_v0",
        "render_modes": RENDER_MODES,
        "is_parallelizable": False,
        "render_fps": 2,
    }

    # parameters: those of the Gymnasium environment, each with a default
    def __init__(
        self,
        rules: RulesLike = 2018,
        other_agents: int | None = None,
        observation: ObservationLike = "vector",
        reward: str = "mit",
        max_steps: int | None = MAX_STEPS,
        render_mode: str | None = None,
        *,
        render_size: tuple[int, int] | None = None,
        overlay: str = "none",
        theme: str = "dark",
        layers: Sequence[str | RoadLayer] = (),
        **unknown: Any,
    ) -> None:
        refuse_unknown(unknown)
        super().__init__()
        road = make_road(rules)
        few = min(DEFAULT_OTHER_AGENTS, road.vehicles - 1)
        self.rules: Rules = resolve_rules(road, (road.other_agents or few) if other_agents is None else other_agents)
        self.reward, self.max_steps = check_reward(reward), check_max_steps(max_steps)
        if reward == "passed":
            raise ValueError("reward must be 'mit' or 'speed', got 'passed', which is counted for the ego car alone")
        self.sim = Simulator(self.rules, num_envs=1, threads=1)
        chosen, turns = (
            make_observation(observation).on_road(self.rules),
            self.rules.decision_period // self.rules.agent_stagger,
        )
        deciding = min(self.rules.other_agents + 1, turns)
        self.metadata = {**self.metadata, "render_fps": render_fps(self.rules, render_mode, deciding)}
        self.observers = [Observer(self.rules, chosen, 1, agent) for agent in range(deciding)]
        self.possible_agents = [f"car_{i}" for i in range(deciding)]
        self.agents: list[str] = []
        self._observation_space, self._action_space = self.observers[0].space, spaces.Discrete(ACTIONS)
        self.render_mode = render_mode
        look = RenderOptions(render_size, overlay, theme, layers).check()
        self.renderer = EnvRenderer(self.rules, chosen.sensor, render_mode, look) if render_mode is not None else None
        self.np_random = np.random.default_rng()
        self._sums = np.zeros(self.rules.other_agents + 1)

    def observation_space(self, agent: str) -> spaces.Space:
        """Return the space of an agent's observations, the same for all."""
        return self._observation_space

    def action_space(self, agent: str) -> spaces.Discrete:
        """Return the space of actions: 0 nothing, 1 accelerate, 2 decelerate, 3 left, 4 right."""
        return self._action_space

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Start a run and stop at the ego car's first turn. There are no options here."""
        if not isinstance(options, Mapping) or options.keys() != {"options"}:  # PettingZoo's test of the API passes it
            check_options(options)
        seed = None if seed is None else check_seed(seed)
        if seed is not None:
            self.np_random, _ = gymnasium.utils.seeding.np_random(seed)
        self.sim.reset_open([open_run(seed, self.np_random)])
        if self.renderer:
            self.renderer.start()
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._decisions = dict.fromkeys(self.agents, 0)
        self._taken: dict[str, int | None] = dict.fromkeys(self.agents)
        self._sums[:] = 0.0
        self._run_on(NOTHING)
        for observer in self.observers:
            observer.reset()
        self._obs = {name: self._observe(name) for name in self.agents}
        self.infos = {name: self._info(name) for name in self.agents}

    def step(self, action: int | None) -> None:
        """Carry out the action of the agent at turn (None if it is truncated) and run to the next agent's turn."""
        self._check_started("step()")
        if not self.agents:
            raise gymnasium.error.ResetNeeded("all agents have left, the episode is over: call reset() before step()")
        name = self.agent_selection
        if self.truncations[name]:
            self._was_dead_step(action)
            given = NOTHING
        else:
            given = check_action(action)
            self._cumulative_rewards[name] = 0.0
            self._clear_rewards()
            self._taken[name] = given
            self._decisions[name] += 1
        if self.agents:
            self._run_on(given)
            self._begin_turn(self.agent_selection)
            self._accumulate_rewards()

    def observe(self, agent: str) -> Any:
        """Return a copy of the observation of the agent's latest turn (before its first: of the run's start)."""
        self._check_started("observe()")
        if agent not in self._obs:
            raise ValueError(f"agent must be one of {', '.join(self.possible_agents)}, got {agent!r:.80}")
        obs = self._obs[agent]
        return {name: part.copy() for name, part in obs.items()} if isinstance(obs, dict) else obs.copy()

    def render(self) -> Image | list[Image] | None:
        """Return an image (H, W, 3), or a list of them in mode "rgb_array_list"; None where a window shows them."""
        self._check_started("render()")
        if self.renderer is None:
            gymnasium.logger.warn(NO_RENDER_MODE)
            return None
        return self.renderer.render(self.sim)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self.renderer is not None:
            self.renderer.close()

    def agent_iter(self, max_iter: int = 2**63) -> AECIterable:
        """Yield the agent at turn until all have left, or `max_iter` times."""
        self._check_started("agent_iter()")
        return super().agent_iter(max_iter)

    def _check_started(self, wanted: str) -> None:
        check_started("agent_selection" in vars(self), wanted)

    def __getattr__(self, name: str) -> Any:
        """Name the remedy for attributes that the first reset makes."""
        if name in ("agent_selection", "rewards", "terminations", "truncations", "infos", "_cumulative_rewards"):
            raise AttributeNeedsReset(f"{name} needs an episode, and none was started yet: call reset() first")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # --- turns ----------------------------------------------------------------------------------------------------

    def _run_on(self, action: int) -> None:
        """Carry out the action and run to the next turn: agents that are truncated leave before theirs comes again."""
        self.agent_selection = self.possible_agents[self._run_to_decision(action)]

    def _run_to_decision(self, action: int) -> int:
        if self.renderer is None:
            return int(drive_and_sum(self.sim.table, self.sim.games, action, self._sums))
        state, agent = self.sim.state, NOBODY
        while agent == NOBODY:
            frame = state.frame[0]
            agent, action = int(self.sim.step_frame(action)[0]), NOTHING
            if state.frame[0] > frame:
                driven = slice(self._sums.size)
                self._sums += state.following_speed[0, driven] * state.speed_factor[0, driven]
                self.renderer.watch(self.sim)
        self.renderer.watch(self.sim, is_waiting=True)
        return agent

    def _begin_turn(self, name: str) -> None:
        """Observe for the agent, reward it for the period that ends, and truncate it if that was its last."""
        self._obs[name] = self._observe(name)
        self.infos[name] = self._info(name)
        if self._decisions[name] > 0:
            self.rewards[name] = self._reward(self.possible_agents.index(name))
        self._sums[self.possible_agents.index(name)] = 0.0
        self.truncations[name] = self.max_steps is not None and self._decisions[name] >= self.max_steps

    def _reward(self, agent: int) -> float:
        period = self.rules.decision_period
        mit = float(self.sim.state.reward[0])
        if agent > 0:
            mit = float((self._sums[agent] - 2.0 * period) / (2.0 * period / 3.0))
        return float(reward_of(self.reward, mit, 0.0))

    def _observe(self, name: str) -> Any:
        taken = self._taken[name]
        observer = self.observers[self.possible_agents.index(name)]
        return select_env(observer.observe(self.sim, actions=None if taken is None else (taken,)), 0)

    def _info(self, name: str) -> dict[str, Any]:
        agent, state = self.possible_agents.index(name), self.sim.state
        info: dict[str, Any] = {
            "speed_mph": float(MPH_PER_PX * state.following_speed[0, agent] * state.speed_factor[0, agent]),
            "lane": int(state.lane[0, agent]),
            "frame": int(state.frame[0]),
            "action_mask": action_masks(self.sim, agent)[0],
        }
        if agent == 0:
            info |= {"passed": int(state.passed[0]), "blocked": bool(state.blocked[0])}
        return info


def env(**keywords: Any) -> DeepTrafficAECEnv:
    """Return the environment, as PettingZoo's modules do; keywords as for `DeepTrafficAECEnv`."""
    return DeepTrafficAECEnv(**keywords)
