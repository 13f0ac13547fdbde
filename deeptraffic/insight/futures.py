"""Futures: where the ego car would get by each of its actions, in copies of the simulator.

For every action a fan of rollouts: the action first, then what the policy itself decides, in traffic that continues
with newly drawn random numbers, the same for all actions (common random numbers). A line shows the car's way relative
to the traffic, and its colour the mean speed on it. A policy that plans shows the plans that it has tried instead.

The simulator is copied for the picture alone; the policy does not see these futures, unless it plans.
"""

import copy
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.evaluation.play import PolicyRunner
from deeptraffic.insight.decision_layer import DecisionLayer
from deeptraffic.policies.base import Policy
from deeptraffic.render.compositor import Camera
from deeptraffic.render.layers import draw_lines
from deeptraffic.render.strokes import Strokes
from deeptraffic.render.theme import Colour, mix
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.random import MODULUS
from deeptraffic.sim.rules import MPH_PER_PX, VEHICLE_WIDTH, Action
from deeptraffic.sim.state import F64, I64, NOBODY

if TYPE_CHECKING:
    import pygame

ROLLOUTS, DECISIONS = 10, 5  # of each action; of each rollout
STEP = 15  # [frames] between two points of a line
SLOWEST, FASTEST = 50.0, 80.0  # [mph] ends of the scale of colours
SCALE: tuple[Colour, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis
SEED = 0


class Rollouts(NamedTuple):
    """R rollouts of P points.

    first: (R,) the first action; chosen: the one that the policy took, -1 before it decides
    x: (R, P) [px] left side; ahead: (R, P) [px] distance gained on the traffic since the decision
    mph: (R,) mean speed
    """

    first: I64
    chosen: int
    x: F64
    ahead: F64
    mph: F64


class Futures(DecisionLayer[Rollouts]):
    """Fans of rollouts, one for each action that the policy considers."""

    def explain(self, sim: Simulator) -> Rollouts:
        """Return rollouts of all actions."""
        rollouts = max(3, ROLLOUTS // (1 + self.rules.other_agents // 3))  # each other agent has to decide, too
        return self._roll(sim, np.repeat(np.arange(len(Action)), rollouts)[:, None], rollouts)

    def after_decision(self, sim: Simulator, action: int) -> None:
        """Mark the action that was chosen; take a planner's own plans."""
        frame = int(sim.state.frame[0])
        plans = self.policy.tried_plans()
        if plans is not None and len(plans):
            self._found[frame] = self._roll(sim, np.repeat(plans, 2, axis=0), 2)
        self._found[frame] = self._found[frame]._replace(chosen=action)

    def _roll(self, sim: Simulator, plans: I64, rollouts: int) -> Rollouts:
        """Play plans (R, L) in copies of env 0, with the same `rollouts` random streams for each plan."""
        copies = Simulator(self.rules, len(plans), threads=1)
        copies.set_state(sim.get_state(np.zeros(1, np.int64)))
        copies.starts[:] = sim.starts[:1]
        random = np.random.default_rng([SEED, int(sim.state.rng[0])])  # a moment has the same futures again
        streams = random.integers(1, MODULUS - 1, rollouts)
        runner = PolicyRunner(_continuing(self.policy), copies)
        _share_memory(self.policy, runner.policy, len(plans) * (self.rules.other_agents + 1))
        copies.games["rng"] = np.tile(streams, len(plans) // rollouts)
        ahead = np.zeros(len(plans))
        points = [(copies.games["x"][:, 0].copy(), ahead.copy())]
        speeds, start = [], int(sim.state.frame[0])
        decisions, actions = 0, np.zeros(len(plans), np.int64)
        for end in range(start + STEP, start + DECISIONS * self.rules.decision_period + 1, STEP):
            while (agent := int(copies.games["waiting"][0])) != NOBODY or copies.games["frame"][0] < end:
                if agent == 0 and decisions < plans.shape[1]:
                    actions = plans[:, decisions]
                elif agent != NOBODY:
                    actions = runner.decide(agent)
                decisions += agent == 0
                copies.run_to_frame(end, actions)
            speed = copies.games["following_speed"] * copies.games["speed_factor"]
            ahead = ahead + STEP * (speed[:, 0] - speed[:, 1:].mean(1))
            points.append((copies.games["x"][:, 0].copy(), ahead.copy()))
            speeds.append(speed[:, 0])
        x, gained = (np.stack(part, 1) for part in zip(*points, strict=True))
        return Rollouts(plans[:, 0], -1, x, gained, MPH_PER_PX * np.mean(speeds, axis=0))

    def draw(self, canvas: "pygame.Surface", camera: Camera, scene: np.void, content: Rollouts, age: int) -> None:
        """Draw the lines from the car on, those of the chosen action on top and thicker."""
        done = min(age / STEP, content.x.shape[1] - 1.0)
        first = int(done)
        of_choice = content.first == content.chosen if content.chosen >= 0 else np.ones(len(content.first), np.bool_)
        driven = np.interp(done, np.arange(content.x.shape[1]), content.ahead[of_choice].mean(0))
        across, gained = content.x[:, first + 1 :] + VEHICLE_WIDTH / 2, content.ahead[:, first + 1 :] - driven
        alike = np.rint(np.column_stack([of_choice, across, gained]))
        _, different = np.unique(alike, axis=0, return_index=True)
        y, scale = float(scene["y"][0]), camera.scale
        start = camera.pixel(float(scene["x"][0]) + VEHICLE_WIDTH / 2, y)
        lines = np.stack(camera.pixel(across, y - gained), 2)  # (R, P, 2)
        order = np.array(sorted(different.tolist(), key=lambda k: (of_choice[k], content.mph[k])))
        points = np.empty((len(order), lines.shape[1] + 1, 2))
        for row, k in zip(points, order.tolist(), strict=True):
            ahead = lines[k][gained[k] > 0.0]
            row[0], row[1 : 1 + len(ahead)], row[1 + len(ahead) :] = start, ahead, ahead[-1] if len(ahead) else start
        counts = 1 + (gained[order] > 0.0).sum(1)
        inks = np.array([speed_colour(float(mph)) for mph in content.mph[order]])
        bold = of_choice[order]
        draw_lines(canvas, Strokes(points, counts, np.where(bold, 1.3, 0.65) * scale, inks, np.where(bold, 0.75, 0.5)))
        dots = np.where(bold, 3.2, 2.2) * scale
        draw_lines(canvas, Strokes(points[:, -1:], np.ones_like(counts), dots, inks, np.full(len(order), 0.95)))


def speed_colour(mph: float) -> Colour:
    """Return the colour of a mean speed, on one scale for all pictures."""
    at = float(np.clip((mph - SLOWEST) / (FASTEST - SLOWEST), 0.0, 1.0)) * (len(SCALE) - 1)
    k = min(int(at), len(SCALE) - 2)
    return mix(SCALE[k], SCALE[k + 1], at - k)


def _continuing(policy: Policy) -> Policy:
    """Return what decides in rollouts: a copy of the policy, or the network that a planner plans with."""
    made = copy.deepcopy(policy.rollout_policy())
    made.activity = None
    return made


def _share_memory(original: Policy, made: Policy, agents: int) -> None:
    """Give every copy of an agent the memory of the original's, where the memory has a row for each agent."""
    if type(original) is not type(made):
        return
    state, room = original.get_state(), made.get_state()

    def spread(name: str) -> NDArray:
        part, wanted = state[name], room[name]
        axis = next((k for k, (a, b) in enumerate(zip(part.shape, wanted.shape, strict=True)) if a != b), None)
        if axis is None or part.shape[axis] == 0:
            return wanted
        return np.take(part, np.arange(wanted.shape[axis]) % part.shape[axis], axis=axis)

    if state.keys() == room.keys() and all(state[name].ndim == room[name].ndim for name in state):
        made.set_state({name: spread(name) for name in state})
