"""How fast policy files are evaluated, one by one and side by side, for `deeptraffic bench`.

>>> with policy_files(1000) as files:
...     print(one_by_one(files[:100], Plan("open", runs=10)), side_by_side(files, Plan("open", runs=10), threads=2))
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from deeptraffic.evaluation.batch import Plan, PolicySource, evaluate_many, headline_interval
from deeptraffic.evaluation.protocol import evaluate_official, evaluate_open
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile, pack_policy, policy_content, read_policy
from deeptraffic.policies.network import Network
from deeptraffic.policies.vocabulary import Dense, Relu
from deeptraffic.sim.rules import Sensor

BASIC = Sensor(lanes_side=1, patches_ahead=10, patches_behind=0)  # of MIT's basic network, 30-10-5


def basic_network(number: int) -> PolicyFile:
    """Return a network of the size of MIT's basic one, with random weights of its own."""
    random = np.random.default_rng(number)
    sizes = {"1": (10, BASIC.size), "3": (5, 10)}
    tensors = {}
    for layer, shape in sizes.items():
        tensors[f"{layer}.weight"] = random.normal(0.0, shape[1] ** -0.5, shape).astype(np.float32)
        tensors[f"{layer}.bias"] = np.zeros(shape[0], np.float32)
    network = Network(BASIC.size, (Dense(outputs=10), Relu(), Dense(outputs=5)), tensors)
    return pack_policy(network, BASIC, f"basic {number}")


@contextmanager
def policy_files(count: int) -> Iterator[list[Path]]:
    """Give so many files of basic networks, which are gone in the end."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.safetensors" for number in range(count)]
        for number, file in enumerate(files):
            file.write_bytes(policy_content(basic_network(number)))
        yield files


def one_by_one(files: Sequence[Path], plan: Plan) -> float:
    """Return the seconds in which these files are read and scored by the protocols, one after another."""
    started = time.perf_counter()
    for file in files:
        policy = _read(file)
        if plan.protocol == "official":
            score = evaluate_official(policy)
        else:
            score = evaluate_open(policy, runs=plan.runs, seed_set=plan.seed_set)
        headline_interval(score)
    return time.perf_counter() - started


def side_by_side(files: Sequence[Path], plan: Plan, threads: int) -> float:
    """Return the seconds in which these files are read and scored in one batched evaluation."""
    entries = [PolicySource(str(file), partial(_read, file)) for file in files]
    started = time.perf_counter()
    outcomes = list(evaluate_many(entries, plan, threads))
    seconds = time.perf_counter() - started
    errors = [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.error]
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(files)} files were not evaluated, {errors[0]}")
    return seconds


def _read(file: Path) -> Policy:
    return read_policy(file).policy()
