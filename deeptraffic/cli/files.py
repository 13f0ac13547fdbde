"""The commands `export`, `import`, `join` and `inspect`: policy files, and files of the original game."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agents.loader import load_policy, read_file, read_original
from deeptraffic.cli.policies import OWN, POLICY_HELP, Epsilon, complete_policy, note_inputs
from deeptraffic.cli.terminal import Json, messages, print_json, progress_bar, results

if TYPE_CHECKING:
    from deeptraffic.policies.base import Policy
    from deeptraffic.policies.file import PolicyFile
    from deeptraffic.policies.network_policy import NetworkPolicy

SUFFIX = ".safetensors"


def import_(
    submission: Path = typer.Argument(..., help="JavaScript file of the original game, with its weights."),
    output: Path = typer.Option(..., "--output", "-o", help="The policy file to write (.safetensors)."),
    author: str = typer.Option("", help="Author of the policy."),
    json: Json = False,
) -> None:
    """Convert a submission to the original game into a policy file; its text is parsed, never executed."""
    from deeptraffic.policies.file import pack_convnetjs, write_policy

    _check_suffix(output)
    packed = pack_convnetjs(read_original(submission), author)
    note_inputs(packed.manifest.label, packed.network)
    write_policy(output, packed)
    _report(output, packed, json)


def export(
    policy: str = typer.Argument(..., autocompletion=complete_policy, help=POLICY_HELP),
    output: Path | None = typer.Option(None, "--output", "-o", help="The policy file to write (.safetensors)."),
    original: Path | None = typer.Option(None, help="The file of the original game to write (.js)."),
    label: str | None = typer.Option(None, help="Name of the written policy.", show_default=OWN),
    author: str = typer.Option("", help="Author of the policy."),
    epsilon: Epsilon = None,
    check: bool = typer.Option(True, help="Score the written file of the original game and the policy."),
    json: Json = False,
) -> None:
    """Write a policy as a policy file, or as a file that the original game loads."""
    from deeptraffic.policies.file import write_policy

    if (output is None) == (original is None):
        raise ValueError("give one of -o FILE.safetensors and --original FILE.js")
    network_policy = _network_policy(policy, epsilon)
    if output is not None:
        _check_suffix(output)
        packed = _pack(network_policy, label, author)
        write_policy(output, packed)
        _report(output, packed, json)
    elif original is not None:
        _export_original(network_policy, original, label, check, json)


def join(
    weights: Path = typer.Argument(..., help="Weights file of a perception model."),
    policy: str = typer.Argument(..., autocompletion=complete_policy, help=POLICY_HELP),
    output: Path = typer.Option(..., "--output", "-o", help="The policy file to write (.safetensors)."),
    obs: str | None = typer.Option(None, help="Observation, of the same shape.", show_default="the model's own"),
    label: str | None = typer.Option(None, help="Name of the written policy.", show_default=f"{OWN}, perceived cells"),
    author: str = typer.Option("", help="Author of the policy."),
    json: Json = False,
) -> None:
    """Put a perception model in front of a policy over the sensor's cells, as one policy file."""
    from agents.join import join as join_policies
    from deeptraffic.envs.observations import make_observation
    from deeptraffic.policies.file import write_policy
    from representation.perception import load_perception

    _check_suffix(output)
    observation = make_observation(obs) if obs is not None else None
    packed = _pack(join_policies(load_perception(weights), load_policy(policy), observation, label), label, author)
    write_policy(output, packed)
    _report(output, packed, json)


def inspect(
    policy: str = typer.Argument(..., autocompletion=complete_policy, help=POLICY_HELP),
    plot: Path | None = typer.Option(None, help="File (png) for a plot of the first layer's weights."),
    json: Json = False,
) -> None:
    """Show the contents of a policy: manifest, layers, parameters, and a plot of its first layer."""
    from deeptraffic.policies.file import PolicyFile
    from deeptraffic.policies.inspection import describe, draw_first_layer

    found = _find_file(policy)
    if not isinstance(found, PolicyFile):
        if plot is not None:
            raise ValueError(f"{policy!r} has no policy file whose weights could be plotted; leave --plot out")
        _print_facts(found, json)
        return
    if plot is not None:
        draw_first_layer(found, plot)
    if json:
        print_json(found.manifest.to_json() | {"parameters": found.network.parameters})
        return
    results.print(describe(found))
    if plot is not None:
        results.print(f"First layer: {plot}", highlight=False, soft_wrap=True)


def _find_file(name: str) -> "PolicyFile | Policy":
    """Return the policy file that a name stands for or that can be made of it; the policy itself where none can."""
    from agents.champions import registry
    from deeptraffic.policies.convnetjs.read import ConvNetJSFile
    from deeptraffic.policies.file import pack_convnetjs
    from deeptraffic.policies.network_policy import NetworkPolicy

    champion = registry.CHAMPIONS.get(name)
    path = registry.FOLDER / champion.file if champion and champion.planner is None else Path(name)
    if path.is_file():
        found = read_file(path)
        return pack_convnetjs(found) if isinstance(found, ConvNetJSFile) else found
    policy = load_policy(name)
    network = policy.as_network()
    return _pack(network, None, "") if isinstance(network, NetworkPolicy) else policy


def _print_facts(policy: "Policy", json: bool) -> None:
    """Print the properties of a policy that no policy file holds."""
    sensor = policy.sensor
    window = {name: getattr(sensor, name) for name in ("lanes_side", "patches_ahead", "patches_behind")}
    facts = {"label": policy.label, "rules": policy.rules, "other_agents": policy.other_agents, "access": policy.access}
    kind = "vector" if policy.observation is sensor else policy.observation.kind
    facts |= {"observation": {"kind": kind, **window}, "training": dict(policy.notes)}
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        text = ", ".join(f"{key} {one}" for key, one in value.items()) if isinstance(value, dict) else str(value)
        if text:
            results.print(f"{name:13} {text}", highlight=False, markup=False, soft_wrap=True)


def _check_suffix(output: Path) -> None:
    if output.suffix != SUFFIX:
        raise ValueError(f"{output} does not end in {SUFFIX}, as the name of a policy file must")


def _network_policy(name: str, epsilon: float | None) -> "NetworkPolicy":
    from deeptraffic.policies.network_policy import NetworkPolicy

    policy = load_policy(name, epsilon=epsilon).as_network()
    if not isinstance(policy, NetworkPolicy):
        raise ValueError(
            f"{name!r} has no network that a policy file can hold; export an agent trained on the observation "
            "vector or gaps, or behind an encoder such as conv"
        )
    return policy


def _pack(policy: "NetworkPolicy", label: str | None, author: str) -> "PolicyFile":
    import deeptraffic
    from deeptraffic.policies.file import pack_network_policy

    return pack_network_policy(policy, label, author, {"package_version": deeptraffic.__version__} | dict(policy.notes))


def _report(path: Path, packed: "PolicyFile", json: bool) -> None:
    facts = {"path": str(path), "bytes": path.stat().st_size, "parameters": packed.network.parameters}
    if json:
        print_json(facts | packed.manifest.to_json())
    else:
        text = f"{path}: {packed.manifest.label}, {facts['parameters']:,} parameters, {facts['bytes']:,} bytes"
        results.print(text, highlight=False, soft_wrap=True)


def _export_original(policy: "NetworkPolicy", path: Path, label: str | None, check: bool, json: bool) -> None:
    from deeptraffic.policies.convnetjs.read import read_convnetjs
    from deeptraffic.policies.convnetjs.write import write_convnetjs
    from deeptraffic.run_dir import whole_file

    if path.suffix != ".js":
        raise ValueError(f"{path} does not end in .js, as the name of a file of the original game must")
    if policy.rules != 2018:
        raise ValueError("the original game's files belong to the 2018 rules; this policy was trained for 2017's")
    name = label or policy.label
    text = write_convnetjs(
        policy.network,
        policy.observation,
        policy.temporal_window,
        policy.other_agents,
        name,
        policy.epsilon,
        policy.random_actions,
    )
    again = read_convnetjs(text, name).policy()
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    facts: dict[str, Any] = {"path": str(path), "bytes": len(text.encode())}
    if check:
        facts |= {"score": _score(policy), "score_of_file": _score(again), "other_agents": policy.other_agents}
    if json:
        print_json(facts)
        return
    results.print(f"{path}: {name}, {facts['bytes']:,} bytes", highlight=False, soft_wrap=True)
    if check:
        results.print(f"official score {facts['score_of_file']:.2f} mph; of the policy itself {facts['score']:.2f} mph")
        if facts["score"] != facts["score_of_file"]:
            messages.print("Folding layers changed the last bits of some sums, so the file scores differently.")


def _score(policy: Any) -> float:
    from deeptraffic.evaluation.protocol import evaluate_official

    with progress_bar(f"scoring {policy.label}") as progress:
        return evaluate_official(policy, policy.rules, policy.other_agents, progress).score
