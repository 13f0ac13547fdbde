"""Compiled network of deepqlearn: forward pass of many samples, gradient of one, and the trainer's step.

Weights are one array (P,): per layer weights (outputs, inputs), then biases. A layer table (layers, 7) int64 says where
those of each layer start, and where its values start among all neurons, the network's inputs first. Sums are taken in
the order in which ConvNetJS takes them.
"""

import math
from typing import NamedTuple

from deeptraffic.policies.exponential import sigmoid, tanh_convnetjs
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.rules import Action
from deeptraffic.sim.state import F64, I64

INPUTS, OUTPUTS, ACTIVATION, WEIGHTS, BIASES, FROM, TO = range(7)  # columns of the layer table
LINEAR, RELU, TANH, SIGMOID = range(4)
NUM_ACTIONS = len(Action)
RELU_BIAS = 0.1  # the original starts biases before relu so, to keep them alive


class LearningSettings(NamedTuple):
    """Hyperparameters of the compiled loop, see `agents.algorithms.deepqlearn.config.DeepQLearnConfig`."""

    gamma: float
    start_learn_threshold: int
    learning_steps_total: int
    learning_steps_burnin: int
    epsilon_min: float
    learning_rate: float
    momentum: float
    batch_size: int
    l2_decay: float
    l1_decay: float


@compiled
def place_layers(inputs: int, hidden: I64, layers: I64) -> None:
    """Fill the layer table (K + 1, 7) for hidden layers (K, 2), each neurons and activation, and a linear one."""
    parameter = neuron = 0
    for k in range(layers.shape[0]):
        outputs, activation = (hidden[k, 0], hidden[k, 1]) if k < hidden.shape[0] else (NUM_ACTIONS, LINEAR)
        layer = layers[k]
        layer[INPUTS], layer[OUTPUTS], layer[ACTIVATION] = inputs, outputs, activation
        layer[WEIGHTS], layer[BIASES] = parameter, parameter + inputs * outputs
        layer[FROM], layer[TO] = neuron, neuron + inputs
        parameter, neuron, inputs = layer[BIASES] + outputs, neuron + inputs, outputs


@compiled
def start_weights(layers: I64, params: F64) -> None:
    """Make the first weights of standard normal numbers in their places in params (P,), and the first biases."""
    for k in range(layers.shape[0]):
        layer = layers[k]
        deviation = math.sqrt(1.0 / layer[INPUTS])
        for j in range(layer[WEIGHTS], layer[BIASES]):
            params[j] *= deviation
        for o in range(layer[OUTPUTS]):
            params[layer[BIASES] + o] = RELU_BIAS if layer[ACTIVATION] == RELU else 0.0


@compiled
def forward(layers: I64, params: F64, values: F64) -> None:
    """Compute all layers for S samples. values: (neurons, S), rows 0..D-1 given, each column one sample.

    Each output adds up weight * input in index order, the bias last; samples are the inner loop, so that a vector unit
    computes several at once and still adds in that order.
    """
    for k in range(layers.shape[0]):
        layer = layers[k]
        results = values[layer[TO] : layer[TO] + layer[OUTPUTS]]
        results[:] = 0.0
        for i in range(layer[INPUTS]):
            x = values[layer[FROM] + i]
            for o in range(layer[OUTPUTS]):
                add_scaled(results[o], params[layer[WEIGHTS] + o * layer[INPUTS] + i], x)
        for o in range(layer[OUTPUTS]):
            bias = params[layer[BIASES] + o]
            for b in range(results.shape[1]):
                results[o, b] = activate(layer[ACTIVATION], results[o, b] + bias)


@compiled
def add_scaled(result: F64, factor: float, x: F64) -> None:
    """Add factor * x to result, both (S,)."""
    for b in range(result.size):
        result[b] += factor * x[b]


@compiled
def activate(kind: int, x: float) -> float:
    """The layer's nonlinearity."""
    if kind == RELU:
        return x if x > 0.0 else 0.0
    if kind == TANH:
        return tanh_convnetjs(x)
    if kind == SIGMOID:
        return sigmoid(x)
    return x


@compiled
def activation_derivative(kind: int, y: float) -> float:
    """Derivative of the nonlinearity where its value is y."""
    if kind == RELU:
        return 1.0 if y > 0.0 else 0.0
    if kind == TANH:
        return 1.0 - y * y
    if kind == SIGMOID:
        return y * (1.0 - y)
    return 1.0


@compiled
def argmax(q: F64) -> int:
    """Index of the largest of (5,): the search starts at 0 and moves only on a strictly larger one."""
    best = 0
    for a in range(1, q.size):
        if q[a] > q[best]:
            best = a
    return best


@compiled
def add_gradient(layers: I64, params: F64, gradient: F64, value: F64, delta: F64, action: int, error: float) -> None:
    """Add one sample's gradient of 0.5 * error**2, error = q[action] - target, to gradient (P,).

    value: (neurons,) the sample's forward pass; delta: (neurons,) scratch for the derivatives by each neuron's value.
    """
    delta[:] = 0.0
    delta[layers[-1, TO] + action] = error
    for k in range(layers.shape[0] - 1, -1, -1):
        layer = layers[k]
        inputs = layer[INPUTS]
        x = value[layer[FROM] : layer[FROM] + inputs]
        dx = delta[layer[FROM] : layer[FROM] + inputs]
        for o in range(layer[OUTPUTS]):
            d = delta[layer[TO] + o] * activation_derivative(layer[ACTIVATION], value[layer[TO] + o])
            if d != 0.0:
                row = layer[WEIGHTS] + o * inputs
                add_scaled(gradient[row : row + inputs], d, x)
                gradient[layer[BIASES] + o] += d
                if k > 0:
                    add_scaled(dx, d, params[row : row + inputs])


@compiled
def sgd_step(layers: I64, settings: LearningSettings, params: F64, velocity: F64, gradient: F64) -> None:
    """Take the trainer's step along the batch's summed gradient (P,), and set that to zero.

    As in the original, weight decay is divided by the batch size too, and biases do not decay.
    """
    for k in range(layers.shape[0]):
        layer = layers[k]
        for j in range(layer[WEIGHTS], layer[BIASES] + layer[OUTPUTS]):
            decay = 0.0
            if j < layer[BIASES]:
                l1 = settings.l1_decay if params[j] > 0.0 else -settings.l1_decay
                decay = settings.l2_decay * params[j] + l1
            g = (decay + gradient[j]) / settings.batch_size
            velocity[j] = settings.momentum * velocity[j] - settings.learning_rate * g
            params[j] += velocity[j]
            gradient[j] = 0.0
