"""Evaluation of many policies on a Ray cluster: `deeptraffic evaluate FOLDER --ray ADDRESS`.

Policies are sent as data, several in each call, and each machine scores them with `evaluate_many`: on processors of one
kind, the same scores as on this machine to the last bit.

    >>> for outcome in evaluate_on_ray(names, load_policy, Plan("open", runs=100), "auto"):
    ...     print(outcome.name, outcome.error or outcome.score.score)
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

from agents.study.ray_cluster import Calls, Lost, connected, cores
from deeptraffic.evaluation.batch import DEFAULT_RULES, Outcome, Plan, PolicySource, evaluate_many
from deeptraffic.policies.base import Policy
from deeptraffic.policies.builtin import BUILTINS, make_builtin
from deeptraffic.policies.file import pack_network_policy, policy_content, read_policy
from deeptraffic.policies.network_policy import NetworkPolicy

LARGEST_PACK = 16  # policies in one call, so that its overhead does not matter
QUEUED = 2  # calls per core, so that no core waits for the driver
POLL = 1.0  # [s] between two checks for an interruption

Content = bytes | str  # a policy file's content, or a built-in policy's name


def evaluate_on_ray(
    names: Sequence[str], load: Callable[[str], Policy], plan: Plan, address: str, seed: int = 0
) -> Iterator[Outcome]:
    """Yield the outcome of every policy as soon as it is known, in no fixed order.

    Args:
        names: built-in policies, files, run folders
        load: reads a policy that is neither built in nor a policy file
        plan: how they are evaluated
        address: of the cluster, see `agents.study.ray_cluster.connect`
        seed: of policies that act at random
    """
    with connected(address) as ray:
        calls = Calls(ray, evaluate_pack)
        waiting = iter(names)
        size = min(LARGEST_PACK, 1 + len(names) // (4 * max(1, cores(ray))))
        packed: dict[int, list[str]] = {}
        while True:
            while len(calls.running) < QUEUED * max(1, cores(ray)) and (some := list(islice(waiting, size))):
                pack, errors = _pack(some, load)
                yield from errors
                key = len(packed)
                packed[key] = [name for name, _ in pack]
                calls.start(key, pack, plan, seed)
            if not calls.running:
                return
            for ended in calls.wait(POLL):
                yield from _lost(packed[ended.key], ended.reason) if isinstance(ended, Lost) else ended.value


def _pack(names: Sequence[str], load: Callable[[str], Policy]) -> tuple[list[tuple[str, Content]], list[Outcome]]:
    """Return policies as data, and the outcomes of those that cannot be sent."""
    pack: list[tuple[str, Content]] = []
    errors: list[Outcome] = []
    for name in names:
        try:
            pack.append((name, policy_as_data(name, load)))
        except (ValueError, OSError) as error:
            errors.append(Outcome(name, error=str(error)))
    return pack, errors


def _lost(names: Sequence[str], reason: str) -> list[Outcome]:
    return [Outcome(name, error=f"lost with the machines that evaluated it ({reason})") for name in names]


def policy_as_data(name: str, load: Callable[[str], Policy]) -> Content:
    """Return what another machine needs to run a policy; ValueError if it cannot be sent as data."""
    path = Path(name)
    if name in BUILTINS:
        return name
    if path.is_file() and path.suffix != ".js":
        return path.read_bytes()
    policy = load(name)
    if not isinstance(policy, NetworkPolicy):
        raise ValueError("it is no network on the sensor's cells, so it cannot be sent to a cluster; leave --ray out")
    return policy_content(pack_network_policy(policy))


# --- on the cluster ---------------------------------------------------------------------------------------------------


def evaluate_pack(pack: Sequence[tuple[str, Content]], plan: Plan, seed: int) -> list[Outcome]:
    """Evaluate some policies on one core."""
    os.environ["DEEPTRAFFIC_THREADS"] = "1"
    entries = [PolicySource(name, partial(policy_from_data, content, plan.rules, seed)) for name, content in pack]
    return list(evaluate_many(entries, plan, threads=1))


def policy_from_data(content: Content, rules: int | None, seed: int) -> Policy:
    """Return the policy that `policy_as_data` packed; ValueError if the content has none."""
    if isinstance(content, str):
        return make_builtin(content, DEFAULT_RULES if rules is None else rules, seed)
    policy = read_policy(content).policy()
    policy.set_epsilon(seed=seed)
    return policy
