"""The command `evaluate`: official score of the contest, or score over open runs, of one policy or of many.

Many policies are evaluated in one batch and printed as one table. A folder stands for the policy files, original .js
files and training runs in it; a pattern such as `nets/*.js` for what it matches. A policy that cannot be evaluated is
reported by name; the others are evaluated, and the exit code is 1.
"""

import glob
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agents.loader import POLICY_NAMES, load_policy
from agents.own_model import is_own
from deeptraffic.cli.policies import (
    POLICY_HELP,
    Epsilon,
    OwnOthers,
    OwnRules,
    complete_policy,
    load_noted,
    random_actions,
)
from deeptraffic.cli.terminal import Json, messages, print_json, print_table, progress_bar, sentence

if TYPE_CHECKING:
    from deeptraffic.envs.observations import ObservationLike
    from deeptraffic.evaluation.batch import Outcome, Plan
    from deeptraffic.evaluation.score import Score
    from deeptraffic.evaluation.scores_file import Line, ScoresFile

OPEN_RUNS, OPEN_SEED_SET = 1000, "tuning"
SUFFIXES = (".safetensors", ".js", ".lab")
LINES = 100  # of the table; a file or --json has all
NAMES = 5  # of policies that the last error message lists


class ProtocolName(StrEnum):
    """Evaluation protocol."""

    official = "official"
    open = "open"


def evaluate(
    policy: list[str] = typer.Argument(
        ..., autocompletion=complete_policy, help=f"{POLICY_HELP} Several, or a folder or pattern of them: all at once."
    ),
    rules: OwnRules = None,
    other_agents: OwnOthers = None,
    protocol: ProtocolName = typer.Option(
        ProtocolName.official, help="Protocol. official: the contest's 500 runs (2017: 10). open: independent runs."
    ),
    runs: int | None = typer.Option(None, help="Number of open runs.", show_default=str(OPEN_RUNS)),
    seed_set: str | None = typer.Option(
        None, help="Seed set of the runs: tuning, reporting or training.", show_default=OPEN_SEED_SET
    ),
    observation: str | None = typer.Option(
        None,
        "--obs",
        help='What your own model observes: a kind, or JSON such as \'{"kind": "gaps", "lanes_side": 2}\'.',
        show_default="what its observation_space fits",
    ),
    seed: int = typer.Option(0, help="Random seed of a stochastic policy: of random, or of one with an epsilon."),
    epsilon: Epsilon = None,
    output: Path | None = typer.Option(
        None, "--output", "-o", help="CSV file of the scores; a rerun evaluates only what is missing in it."
    ),
    ray: str = typer.Option(
        "", metavar="ADDRESS", help="Address of a Ray cluster to evaluate on: auto, HOST:PORT or local."
    ),
    json: Json = False,
) -> None:
    """Score policies by the official score of the contest, or by open runs."""
    if protocol == ProtocolName.official and not (runs is None and seed_set is None):
        raise ValueError("--runs and --seed-set belong to --protocol open; the official evaluation has its own runs")
    from deeptraffic.evaluation.batch import Plan

    plan = Plan(
        protocol.value, rules, other_agents, OPEN_RUNS if runs is None else runs, seed_set or OPEN_SEED_SET, epsilon
    )
    if output is None and not ray and not is_many(policy):
        _evaluate_one(policy[0], plan, seed, json, observation)
    elif observation is not None:
        raise ValueError("--obs belongs to a model of your own; evaluate it alone, without --output or --ray")
    else:
        evaluate_all(policy, plan, seed, output, json, ray)


def _evaluate_one(name: str, plan: "Plan", seed: int, json: bool, observation: str | None) -> None:
    from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open

    policy = load_noted(name, plan.rules, seed, plan.epsilon, _read_observation(observation))
    own_rules, own_others = policy.rules, policy.other_agents
    rules = own_rules if plan.rules is None else plan.rules
    other_agents = (own_others if rules == own_rules else 0) if plan.other_agents is None else plan.other_agents
    with progress_bar(f"scoring {policy.label}") as progress:
        if plan.protocol == ProtocolName.official:
            score = evaluate_official(policy, rules, other_agents, progress)
        else:
            score = evaluate_open(policy, rules, other_agents, plan.runs, plan.seed_set, progress=progress)
    if json:
        print_json(score.to_json())
    else:
        print_score(score)


def _read_observation(text: str | None) -> "ObservationLike | None":
    """Return the observation of an option: a kind, or a mapping in JSON; ValueError if it is none."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise ValueError(f"--obs {text!r} is no JSON ({error}); name a kind, or a mapping of options") from None


def print_score(score: "Score") -> None:
    """Print a score as a table."""
    kind = "official score" if score.protocol == "official" else f"score on {score.seed_set} seeds"
    others = f"{score.other_agents} other agent{'' if score.other_agents == 1 else 's'}"
    title = f"{score.policy}: {kind}, {score.rules} rules, {others}"
    low, high = score.median_interval if score.protocol == "open" else score.mean_interval
    interval = f"{low:.2f} to {high:.2f}"
    quantiles = score.quantiles_mph
    rows = [("score", f"{score.score:.2f} mph")]
    if score.protocol == "open":
        rows.append(("95% interval of the score", f"{interval} mph"))
    rows.append(("mean", f"{score.mean_mph:.2f} mph"))
    if score.protocol == "official":
        rows.append(("95% interval of the mean", f"{interval} mph"))
    rows.append(("standard deviation between runs", f"{score.sd_mph:.2f} mph"))
    rows.append(("slowest tenth below", f"{quantiles['p10']:.2f} mph"))
    rows.append(("fastest tenth above", f"{quantiles['p90']:.2f} mph"))
    if score.epsilon > 0.0:
        rows.append(("random actions (epsilon)", f"{100 * score.epsilon:g}% of all decisions"))
    rows.append(("vehicles passed per run", f"{score.run_passed.mean():.1f}"))
    rows.append(("runs", f"{score.runs} of {score.frames:,} frames"))
    rows.append(("time", f"{score.seconds:.1f} s"))
    print_table(title, ("", ""), rows, bold=(0,))
    if score.epsilon > 0.0:
        _say(f"{score.policy}: {random_actions(score.epsilon)}.")
    if score.access != "contest":
        messages.print(f"This policy is {score.access}: it observes more than a contest entry may. Do not compare.")


# --- many policies --------------------------------------------------------------------------------------------------


def is_many(names: Sequence[str]) -> bool:
    """Whether these arguments may stand for several policies."""
    return len(names) > 1 or is_pattern(names[0]) or (Path(names[0]).is_dir() and not _is_run(Path(names[0])))


def is_pattern(name: str) -> bool:
    """Whether a name is a pattern, and not of an existing file with such characters."""
    return glob.has_magic(name) and not Path(name).exists()


def find_policies(names: Sequence[str]) -> list[str]:
    """Return the policies that the arguments stand for, each once; ValueError for an argument without any."""
    found: dict[str, None] = {}
    for name in names:
        path = Path(name)
        if is_pattern(name):
            matches = [match for match in sorted(glob.glob(name, recursive=True)) if _may_be_policy(Path(match))]
        elif path.is_dir() and not _is_run(path):
            matches = [str(child) for child in sorted(path.iterdir()) if _may_be_policy(child)]
        elif name in POLICY_NAMES or path.exists() or is_own(name):
            matches = [name]
        else:
            load_policy(name)  # raises an error that lists the choices
            matches = []
        if not matches:
            what = "pattern" if is_pattern(name) else "folder"
            raise ValueError(
                f"{what} {name!r} has no training run (no config.json) and no policy file ({', '.join(SUFFIXES)}); "
                "name a folder that has"
            )
        found |= dict.fromkeys(matches)
    return list(found)


def _may_be_policy(path: Path) -> bool:
    return _is_run(path) if path.is_dir() else path.suffix in SUFFIXES


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def content_hash(name: str, seed: int, epsilon: float | None = None) -> str:
    """Return the SHA-256 of a policy's content: a file's bytes, a run's settings and best network, a name and seed.

    A seed other than 0 and an epsilon that replaces the file's own are hashed with it, since they make another policy.
    """
    path = Path(name)
    if path.is_dir():
        content = b"".join(part.read_bytes() for part in (path / "config.json", path / "best.safetensors"))
    else:
        content = path.read_bytes() if path.is_file() else f"{name} {seed}".encode()
    if path.exists() and (seed or epsilon is not None):
        content += f" {seed} {epsilon}".encode()
    return hashlib.sha256(content).hexdigest()


def evaluate_all(
    names: Sequence[str], plan: "Plan", seed: int = 0, output: Path | None = None, json: bool = False, ray: str = ""
) -> None:
    """Score all policies that the names stand for, and print them best first.

    seed: of policies that act at random; output: CSV file of the scores, which a rerun does not repeat
    ray: address of a Ray cluster; "" for the threads of this process

    Raises RuntimeError in the end if any could not be evaluated.
    """
    from deeptraffic.evaluation.scores_file import ScoresFile, best_first

    found = find_policies(names)
    with ScoresFile(output).opened(plan) as file:
        batch = Batch(found, seed, file, plan.epsilon)
        try:
            batch.evaluate(plan, ray)
        except KeyboardInterrupt:
            kept = f"{len(file.lines)} scores are kept in {output}; the same command resumes" if output else ""
            raise KeyboardInterrupt(f"interrupted; {kept}" if kept else "interrupted") from None
        lines = best_first(file.lines[sha256] for sha256 in batch.hashes.values() if sha256 in file.lines)
    if json:
        errors = [{"file": name, "error": error} for name, error in batch.errors.items()]
        print_json({"results": [line.to_json() for line in lines], "errors": errors})
    else:
        print_lines(lines)
    if batch.errors:
        named = ", ".join(list(batch.errors)[:NAMES]) + (", ..." if len(batch.errors) > NAMES else "")
        raise RuntimeError(f"{len(batch.errors)} of {len(found)} could not be evaluated: {named}")


class Batch:
    """Policies of one command, and their results.

    hashes: name -> SHA-256 of those to be scored; equal contents under the first name only
    errors: name -> message
    """

    def __init__(self, names: Sequence[str], seed: int, file: "ScoresFile", epsilon: float | None = None) -> None:
        self.seed, self.file = seed, file
        self.hashes: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        first: dict[str, str] = {}
        for name in names:
            try:
                sha256 = content_hash(name, seed, epsilon)
            except OSError as error:
                self.fail(name, sentence(error))
                continue
            if sha256 in first:
                _say(f"{name} has the content of {first[sha256]}, and its score")
            else:
                first[sha256] = name
                self.hashes[name] = sha256

    def fail(self, name: str, error: str) -> None:
        """Record and report a policy that cannot be evaluated."""
        self.errors[name] = error
        _say(f"{name}: {error}")

    def evaluate(self, plan: "Plan", ray: str) -> None:
        """Score the policies that the file lacks."""
        waiting = [name for name, sha256 in self.hashes.items() if sha256 not in self.file.lines]
        if before := len(self.hashes) - len(waiting):
            _say(f"{before} of {len(self.hashes)} are already scored in {self.file.path}")
        with progress_bar(f"scoring {len(waiting)} policies") as progress:
            outcomes = on_ray(waiting, plan, self.seed, ray) if ray else on_threads(waiting, plan, self.seed)
            for finished, outcome in enumerate(outcomes, start=1):
                self.keep(outcome)
                progress(finished, len(waiting))

    def keep(self, outcome: "Outcome") -> None:
        """Record an outcome."""
        from deeptraffic.evaluation.scores_file import Line

        if outcome.score is None:
            self.fail(outcome.name, outcome.error or "")
        else:
            self.file.add(Line.of(outcome.name, self.hashes[outcome.name], outcome.score))


def on_threads(names: Sequence[str], plan: "Plan", seed: int) -> Iterator["Outcome"]:
    """Score policies in this process."""
    from deeptraffic.evaluation.batch import PolicySource, evaluate_many

    return evaluate_many([PolicySource(name, partial(load_noted, name, plan.rules, seed)) for name in names], plan)


def on_ray(names: Sequence[str], plan: "Plan", seed: int, address: str) -> Iterator["Outcome"]:
    """Score policies on a Ray cluster: they are loaded here and sent as data."""
    from agents.study.ray_evaluation import evaluate_on_ray

    return evaluate_on_ray(names, partial(load_noted, rules=plan.rules, seed=seed), plan, address, seed)


def print_lines(lines: Sequence["Line"]) -> None:
    """Print the best of these lines as a table."""
    if not lines:
        return
    first = lines[0]
    official = first.protocol == "official"
    roads = {(line.rules, line.other_agents) for line in lines}
    kind = "official scores" if official else f"scores of {first.runs} runs on {first.seed_set} seeds"
    road = f"{first.rules} rules, {first.other_agents} other agents" if len(roads) == 1 else "each under its own"
    columns = ("score", "mean", "95% of the mean" if official else "95% of the score", "sd")
    headings = ("policy", "file", *(("rules", "other agents") if len(roads) > 1 else ()), *columns)
    rows = []
    names = _short_names(lines)
    for line in lines[:LINES]:
        marks = [line.access] * (line.access != "contest") + [f"epsilon {line.epsilon:g}"] * (line.epsilon > 0.0)
        label = f"{line.policy} ({', '.join(marks)})" if marks else line.policy
        own = (str(line.rules), str(line.other_agents)) if len(roads) > 1 else ()
        values = (
            f"{line.score:.2f}",
            f"{line.mean_mph:.2f}",
            f"{line.low:.2f} to {line.high:.2f}",
            f"{line.sd_mph:.2f}",
        )
        rows.append((label, names[line.file], *own, *values))
    print_table(f"{kind}, {road} [mph]", headings, rows, left=2)
    if len(lines) > LINES:
        _say(f"... and {len(lines) - LINES} more; -o FILE.csv and --json have them all")
    if any(line.epsilon > 0.0 for line in lines):
        _say("Policies with an epsilon act at random with that probability; --epsilon 0 turns it off.")
    if any(line.access != "contest" for line in lines):
        _say("Policies marked open or privileged observe more than a contest entry may. Do not compare.")


def _short_names(lines: Sequence["Line"]) -> dict[str, str]:
    """Return each file's name, or its whole path if several have that name."""
    ends = Counter(Path(line.file).name for line in lines)
    return {line.file: line.file if ends[Path(line.file).name] > 1 else Path(line.file).name for line in lines}


def _say(text: str) -> None:
    messages.print(text, highlight=False, markup=False, soft_wrap=True)
