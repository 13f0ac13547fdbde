"""Options that name a policy, and say how it acts, of all commands that take one."""

from typing import TYPE_CHECKING, Annotated

import typer

from agents.loader import POLICY_NAMES, load_policy
from deeptraffic.cli.terminal import messages

if TYPE_CHECKING:
    from deeptraffic.envs.observations import ObservationLike
    from deeptraffic.policies.base import Policy
    from deeptraffic.policies.network import Network

POLICY_HELP = (
    f"A built-in policy ({', '.join(POLICY_NAMES)}), a policy file, an original .js file, a .lab file of the lab, a "
    "training run's folder, a Stable-Baselines3 model (.zip), or module:object or file.py:object of your own."
)


def complete_policy(incomplete: str) -> list[str]:
    """Return the names of policies that begin so, for the shell's completion; files are the shell's own."""
    return [name for name in POLICY_NAMES if name.startswith(incomplete)]


OTHERS_HELP = "Other agents on the road, 0 to 10, self-play copies of the policy."
OWN = "the policy's own"  # what an option that is not given stands for
OwnRules = Annotated[int | None, typer.Option("--rules", help="Rules of the contest: 2018 or 2017.", show_default=OWN)]
OwnOthers = Annotated[int | None, typer.Option("--other-agents", help=OTHERS_HELP, show_default=OWN)]
Epsilon = Annotated[
    float | None,
    typer.Option(
        help="Probability of a random action in each decision, 0 to 1; original files have one, and 0 turns it off.",
        show_default=OWN,
    ),
]


def load_noted(
    name: str,
    rules: int | None = None,
    seed: int = 0,
    epsilon: float | None = None,
    observation: "ObservationLike | None" = None,
) -> "Policy":
    """Return the policy, as `load_policy`; says on standard error if its network reads only a part of its input."""
    from deeptraffic.policies.network_policy import NetworkPolicy

    policy = load_policy(name, rules, seed, epsilon, observation)
    if isinstance(policy, NetworkPolicy):
        note_inputs(policy.label, policy.network)
    return policy


def note_inputs(label: str, network: "Network") -> None:
    """Say on standard error if a network reads only the first of its inputs."""
    from deeptraffic.policies.inspection import inputs_of

    if network.inputs_read < network.inputs:
        messages.print(f"{label}: a network of {inputs_of(network)}", highlight=False, markup=False)


def load_announced(name: str, rules: int | None = None, epsilon: float | None = None) -> "Policy":
    """Return the policy, as `load_noted`; says on standard error if it acts at random."""
    policy = load_noted(name, rules, epsilon=epsilon)
    if policy.epsilon > 0.0:
        text = f"{policy.label}: {random_actions(policy.epsilon)}."
        messages.print(text, highlight=False, markup=False, soft_wrap=True)
    return policy


def random_actions(epsilon: float) -> str:
    """Return what a policy with this epsilon above 0 does, and how to turn it off."""
    return f"{100 * epsilon:g}% of its decisions are random (epsilon {epsilon:g}); --epsilon 0 turns that off"
