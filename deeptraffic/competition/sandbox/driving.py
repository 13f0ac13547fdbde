"""The child that drives: reads a policy file, then answers observations with actions."""

from typing import Any

import numpy as np

from deeptraffic.competition.sandbox import wire
from deeptraffic.competition.sandbox.channel import Channel
from deeptraffic.competition.sandbox.ipc import HEAD, answer_decisions
from deeptraffic.policies.brain import NetworkPolicy
from deeptraffic.policies.file import PolicyFile, PolicyFileError, pack_policy, policy_content, read_policy
from deeptraffic.policies.layers import Layer
from deeptraffic.policies.network import Network
from deeptraffic.policies.vocabulary import Dense, Elu, Relu
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import I64


def make_ready() -> None:
    """Load the machine code of every kernel and every module that driving needs, compiling what was never compiled."""
    for activation in (Relu(), Elu()):  # of the layers that most networks have, and of the others: two programs
        policy = read_policy(policy_content(tiny_policy(activation))).policy()
        policy.reset(np.arange(2))
        policy.act(np.zeros((2, 1)), np.arange(2))
        answer_alone(Channel(-1, -1), policy, np.zeros(HEAD, np.int64))


def tiny_policy(activation: Layer) -> PolicyFile:
    """Return a policy of one neuron a layer that sees one cell."""
    layers = (Dense(outputs=1), activation, Dense(outputs=5))
    numbers = {"1.weight": np.ones((1, 1)), "1.bias": np.ones(1), "3.weight": np.ones((5, 1)), "3.bias": np.ones(5)}
    return pack_policy(Network(1, layers, numbers), Sensor(0, 1, 0), "ready")


def serve(channel: Channel) -> None:
    """Answer requests until there are no more."""
    request = channel.receive()
    try:
        policy = read_policy(bytes(request.content)).policy()
    except PolicyFileError as error:
        channel.report({"fault": ["broken", str(error)]})
        return
    channel.report(facts_of(policy))
    head = np.zeros(HEAD, np.int64)
    while answer_alone(channel, policy, head):
        request = channel.receive(head.tobytes())
        rows = np.frombuffer(request.content, np.int64, request.rows)
        if request.kind == wire.ACT:
            shape = (request.rows, request.columns)
            obs = np.frombuffer(request.content, np.float64, offset=rows.nbytes).reshape(shape)
            channel.answer(policy.act(obs, rows).astype(np.uint8).tobytes())
        elif request.kind == wire.RESET:
            policy.reset(rows)
            channel.answer(b"")
        elif request.kind == wire.ATTACH:
            policy.agents = request.columns
            channel.answer(b"")


def answer_alone(channel: Channel, policy: NetworkPolicy, head: I64) -> bool:
    """Answer requests for one decision until another is asked, whose head (5,) is read; False at the end."""
    p = policy.program
    program = (p.table, p.weights, p.scratch, p.out, p.outputs, policy.observation.size)
    brain = (policy.past, policy.memory, policy.more, policy.seed, policy.agents)
    return bool(answer_decisions(channel.source, channel.sink, head, *program, *brain))


def facts_of(policy: NetworkPolicy) -> dict[str, Any]:
    """What the worker must know of a policy."""
    return {
        "label": policy.label,
        "sensor": list(policy.observation),
        "rules": policy.rules,
        "other_agents": policy.other_agents,
        "operations": operations_of(policy.network),
        "values": policy.program.scratch.size,
        "vehicle_numbers": vehicle_numbers_of(policy),
    }


def operations_of(network: Network) -> int:
    """Return the multiplications of one decision."""
    pairs = zip(network.layers, network.given_shapes(), strict=True)
    return sum(layer.operations(given) for layer, given in pairs)


def vehicle_numbers_of(policy: NetworkPolicy) -> int:
    """Return how many numbers the memory of one vehicle holds."""
    return policy.program.memory + 1 + policy.temporal_window * (policy.observation.size + 1)
