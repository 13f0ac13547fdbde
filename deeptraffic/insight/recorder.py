"""Recorder of a policy's last decision: its action, the values of its actions, and the activity of its network.

>>> recorder = InsightRecorder(policy)
>>> episode = watch_decisions(policy_episode(policy, rules, Start.open(1)), [recorder])
>>> episode.advance(), recorder().values.text(Action.LEFT)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.other_agents import policy_observation
from deeptraffic.episodes.decision import ActionValues, Insight
from deeptraffic.policies.base import Policy, ValueKind
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor
from deeptraffic.sim.state import F64

RULED_OUT = 500.0  # a value so far below the largest says that an action is not considered at all

Caption = Callable[[Simulator, int], str]
"""(simulator of one env, action) -> a sentence that describes the decision."""


def action_values(values: F64, kind: ValueKind) -> ActionValues:
    """Return what one decision was made by.

    values: (5,) as in `deeptraffic.policies.base.Policy.values`
    """
    is_asked = not np.isnan(values).any()
    candidates = values > np.max(values) - RULED_OUT if is_asked else np.zeros(len(values), np.bool_)
    shown = np.where(candidates, values, 0.0)
    if kind.kind == "probability" and is_asked:
        shown = np.where(candidates, _softmax(values), 0.0)
    return ActionValues(kind.kind, kind.unit, shown, candidates)


def _softmax(values: F64) -> F64:
    """Return probabilities; values that are some already, as a softmax layer's, are returned as they are."""
    if (values >= 0.0).all() and abs(values.sum() - 1.0) < 1e-6:
        return values
    weights = np.exp(values - values.max())
    return weights / weights.sum()


class InsightRecorder:
    """Recorder of the ego car's last decision, a listener of episodes.

    caption: describes each decision; None for no captions
    """

    def __init__(self, policy: Policy, caption: Caption | None = None) -> None:
        self.policy, self.caption = policy, caption
        self.policy.activity = []
        self._insight: Insight | None = None

    def after_decision(self, sim: Simulator, action: int) -> None:
        """Record a decision."""
        values = self.policy.values
        shown = None if values is None else action_values(values[0], self.policy.value_kind)
        sentence = self.caption(sim, action) if self.caption is not None else ""
        self._insight = Insight(self._layers(shown, sim.rules), shown, action, sentence)

    def __call__(self) -> Insight | None:
        """Return the record; None before the first decision."""
        return self._insight

    def _layers(self, values: ActionValues | None, rules: Rules) -> list[NDArray[np.floating]]:
        """Return the activity of the network, cells or pixels in their shape and ruled out outputs as 0."""
        layers = self.policy.activity
        if not layers:
            return []
        outputs = layers[-1]
        if values is not None and outputs.shape == values.candidates.shape:
            outputs = np.where(values.candidates, outputs, 0.0)
        return [self._input(layers[0], rules), *layers[1:-1], outputs]

    def _input(self, flat: F64, rules: Rules) -> NDArray[np.floating]:
        """Return what a network read in the shape in which it is drawn: the newest cells, or the newest frame."""
        sensor = self.policy.observation
        if isinstance(sensor, Sensor):
            return flat[: sensor.size].reshape(-1, sensor.columns)
        shape = policy_observation(self.policy).space(rules).shape or ()
        return flat.reshape(shape)[..., -1] if len(shape) == 3 and flat.size == np.prod(shape) else flat
