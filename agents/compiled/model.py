"""Networks that compiled learners train: dense, or with a layer shared by all lanes, and their gradient steps.

A loop over samples is compiled for each kind of network: it calls the functions of its `NetFunctions`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.lane_net import (
    backward_lanes,
    finish_gradient,
    new_lane_net,
    new_lane_tape,
    predict_lanes,
    prepare,
    shared_params,
)
from agents.compiled.network import (
    F32,
    CompiledNet,
    Tape,
    backward,
    branch_params,
    initialise,
    initialise_orthogonal,
    layer_weights,
    new_network,
    new_tape,
    predict,
)
from agents.compiled.optimiser import Moments, adam_step, clip, new_moments
from agents.config import NetworkConfig
from agents.export import Weights
from deeptraffic.sim.compiled import compiled, learner_compiled
from deeptraffic.sim.random import GOLDEN, mix
from deeptraffic.sim.state import I64

if TYPE_CHECKING:
    from agents.config import TrainConfig


class NetFunctions(NamedTuple):
    """Compiled functions of a kind of network, of the parameters that the ones of `agents.compiled.lane_net` have."""

    new_tape: Any
    predict: Any
    backward: Any
    finish_gradient: Any
    prepare: Any


@compiled
def dense_gradient(net: CompiledNet, tape: Tape) -> F32:
    """Return the tape's gradient (P,)."""
    return tape.gradient


@compiled
def prepare_dense(net: CompiledNet) -> None:
    """Do nothing: from these parameters nothing is derived."""


DENSE = NetFunctions(new_tape, predict, backward, dense_gradient, prepare_dense)
LANES = NetFunctions(new_lane_tape, predict_lanes, backward_lanes, finish_gradient, prepare)


class Model(NamedTuple):
    """A network that learns.

    functions: of its kind; net: a `CompiledNet` or a `agents.compiled.lane_net.LaneNet`; dense: its dense layers, which
        hold the parameters of all
    moments: of the optimiser; tape: of the gradient
    """

    functions: NetFunctions
    net: Any
    dense: CompiledNet
    moments: Moments
    tape: Any


def new_model(config: "TrainConfig", inputs: int, outputs: Sequence[int], layer_norm: bool) -> Model:
    """Return the model of a run, of zeros.

    outputs: of each branch behind the inputs or the shared layer; all have the run's hidden layers
    """
    agent, sensor = config.agent, config.observation.sensor
    assert isinstance(agent, NetworkConfig)
    branches = [(*agent.hidden, count) for count in outputs]
    if agent.lane_units:
        rows = sensor.patches_ahead + sensor.patches_behind
        lanes = new_lane_net(sensor.columns, rows, agent.lane_units, branches, agent.activation, layer_norm)
        return Model(LANES, lanes, lanes.dense, new_moments(lanes.dense), new_lane_tape(lanes, True))
    net = new_network([(inputs, *sizes) for sizes in branches], agent.activation, layer_norm)
    return Model(DENSE, net, net, new_moments(net), new_tape(net, True))


def lane_params(model: Model) -> list[dict[str, F32]]:
    """Return views of the shared layer's "weight" (U, 2 H) and "bias" (U,), in a list; [] without one."""
    if model.functions is DENSE:
        return []
    weight, bias = shared_params(model.net)
    return [{"weight": weight.T, "bias": bias}]


def draw_uniform_weights(model: Model, rng: np.random.Generator) -> None:
    """Draw weights as torch does, see `initialise`; of a network with one branch."""
    initialise([*lane_params(model), *branch_params(model.dense, 0, 1)], rng)


def draw_orthogonal_weights(model: Model, rng: np.random.Generator, last_gains: Sequence[float]) -> None:
    """Draw weights as SB3's actors and critics begin, see `initialise_orthogonal`; last_gains: of each branch's end."""
    gain = math.sqrt(2.0)
    initialise_orthogonal(lanes := lane_params(model), rng, [gain] * len(lanes))
    for k, last in enumerate(last_gains):
        parts = branch_params(model.dense, k, len(last_gains))
        initialise_orthogonal(parts, rng, [gain] * (len(parts) - 1) + [last])


def model_weights(model: Model, branches: int) -> Weights:
    """Return copies of the parameters of the first branch as `agents.export.to_network` reads them."""
    lanes = {f"lanes.{name}": array.copy() for parts in lane_params(model) for name, array in parts.items()}
    return lanes | layer_weights(branch_params(model.dense, 0, branches))


class Updates(NamedTuple):
    """Gradient steps of a round.

    n_epochs: passes over the samples; batch_size: samples of a step
    learning_rate, max_grad_norm: see `agents.config.TorchConfig`
    epsilon: of the optimiser; rectified: whether it is RAdam, otherwise Adam
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    max_grad_norm: float
    epsilon: float
    rectified: bool


# parameters: the loss as data, function and settings
@learner_compiled
def improve(
    model: Model, samples: Any, order: I64, random: NDArray[np.uint64], updates: Updates, add_gradient: Any, loss: Any
) -> Any:
    """Take the gradient steps of a round; return the losses of the last batch.

    order: (M,) a permutation of the samples, shuffled anew for each pass
    add_gradient: (model, samples, batch, loss) -> losses; adds the gradient of a batch, indices (N,) of samples, to the
        tape's
    """
    for _ in range(updates.n_epochs):
        shuffle(order, random)
        for first in range(0, order.size, updates.batch_size):
            losses = add_gradient(model, samples, order[first : first + updates.batch_size], loss)
            gradient = model.functions.finish_gradient(model.net, model.tape)
            clip(gradient, updates.max_grad_norm)
            rate, epsilon = updates.learning_rate, updates.epsilon
            adam_step(model.dense.params, gradient, model.moments, rate, epsilon, updates.rectified)
            model.functions.prepare(model.net)
    return losses


@learner_compiled
def shuffle(order: I64, random: NDArray[np.uint64]) -> None:
    """Shuffle in place (Fisher and Yates) from the SplitMix64 stream random (1,)."""
    for i in range(order.size - 1, 0, -1):
        random[0] += GOLDEN
        j = np.int64(mix(random[0]) % np.uint64(i + 1))
        order[i], order[j] = order[j], order[i]
