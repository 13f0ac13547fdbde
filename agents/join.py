"""Perception in front of a policy: a model that perceives the sensor's cells, and a network over them, as one.

    >>> detector = load_perception("runs/pretrain/conv-detection/detector.safetensors")
    >>> policy = join(detector, load_policy("champion-solo"))
    >>> write_policy("eye.safetensors", pack_network_policy(policy, "eye"))

The file is evaluated, watched and sandboxed as any other. `deeptraffic join` does all of it.
"""

from dataclasses import replace

from deeptraffic.envs.observations import Observation
from deeptraffic.policies.base import Policy
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.policies.torch_export import NetworkBuilder
from deeptraffic.sim.rules import RoadConfig
from representation.perception import PerceptionModel


def join(
    model: PerceptionModel, policy: Policy, observation: Observation | None = None, label: str | None = None
) -> NetworkPolicy:
    """Return the policy that drives as `policy` does on the cells that the model perceives.

    Args:
        model: gives the cells
        policy: a network over the sensor's cells, without a temporal window
        observation: in place of the one that the model was trained on, such as images in other styles
        label: name of the new policy; None for the policy's own with "perceived cells"

    Raises ValueError for a policy that is no such network, or an observation of another shape.
    """
    if not isinstance(policy, NetworkPolicy) or policy.observation != model.sensor or policy.temporal_window:
        raise ValueError(
            f"{policy.label} is no network over the cells of {model.sensor} without a temporal window, which a "
            "perception model gives; name another policy, such as champion-solo"
        )
    rules = RoadConfig(rules=policy.rules).build()
    own, other = model.observation, observation or model.observation
    if own.space(rules) != other.space(rules):
        raise ValueError(
            f"the model reads {own.space(rules)}, and {other.kind} is {other.space(rules)}; give an observation of the "
            "same shape"
        )
    seen = other.by_name(rules)
    builder = NetworkBuilder(seen.size)
    model.add_layers(builder)
    cells = len(builder.layers)  # the policy's input
    for number, layer in enumerate(policy.network.layers, start=1):
        prefix = f"{number}."
        tensors = policy.network.tensors.items()
        own_tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors if name.startswith(prefix)}
        builder.add(replace(layer, inputs=tuple(cells + i for i in layer.inputs)), own_tensors)
    joined = NetworkPolicy(
        label or f"{policy.label}, perceived cells",
        builder.network(),
        seen,
        0,
        policy.rules,
        policy.other_agents,
        policy.seed,
        policy.epsilon,
        policy.random_actions,
    )
    joined.value_kind = policy.value_kind
    return joined
