"""Submissions that ask for another observation than cells: computed by the worker, the network in the child."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.limits import EVALUATION
from deeptraffic.competition.sandbox.policy import SandboxedPolicy
from deeptraffic.competition.sandbox.validation import from_report, read_upload, validate, validate_unsandboxed
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.envs.observations import make_observation
from deeptraffic.evaluation.protocol import OFFICIAL, Protocol, evaluate_official, evaluate_open
from deeptraffic.policies.base import EnvObservation
from deeptraffic.policies.file import pack_policy, policy_content, read_policy
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Conv2d, Dense, Flatten, Gru, Relu, Reshape
from deeptraffic.policies.network import Network
from deeptraffic.sim.rules import RULES_2018

IMAGE = {"kind": "pixels", "height": 20, "width": 16, "grey": True, "temporal_window": 1}
LAYERS: dict[str, tuple[Layer, ...]] = {
    "images": (
        Reshape(shape=(20, 16, 2)),
        Conv2d(filters=3, kernel=(3, 3), stride=(4, 4)),
        Relu(),
        Flatten(),
        Gru(hidden=4),
        Dense(outputs=5),
    ),
    "list": (Gru(hidden=6), Dense(outputs=5)),
    "linear": (Dense(outputs=5),),
}


def content_of(observation: Any, layers: str = "linear", other_agents: int = 0, **changes: Any) -> bytes:
    """A policy file of random weights."""
    seen = EnvObservation(**(vars(make_observation(observation).by_name(RULES_2018)) | changes))
    network = Network.__new__(Network)
    object.__setattr__(network, "inputs", seen.size)
    object.__setattr__(network, "layers", LAYERS[layers])
    rng = np.random.default_rng(3)
    tensors = {name: rng.normal(0, 0.05, shape) for name, shape in network.tensor_shapes().items()}
    return policy_content(
        pack_policy(Network(seen.size, LAYERS[layers], tensors), seen, "eye", other_agents=other_agents)
    )


@pytest.mark.parametrize(
    ("content", "other_agents"),
    [(content_of(IMAGE, "images"), 0), (content_of("kinematics", "list", 2), 2)],
    ids=["images", "kinematics"],
)
def test_it_drives_in_the_sandbox_as_in_this_process(
    content: bytes, other_agents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFICIAL, 2018, Protocol(runs=4, frames=2000, block=2))
    upload = validate(content, "eye.safetensors")
    assert upload.access == "open" and upload.content == content
    assert upload.observation == upload.asked == read_policy(content).policy().observation
    with SandboxedPolicy(upload.content) as there:
        here = read_policy(content).policy()
        scores = [evaluate_official(policy, other_agents=other_agents) for policy in (here, there)]
        np.testing.assert_array_equal(scores[0].run_scores, scores[1].run_scores)
        assert len(there.decisions) == 4 * 67 * (1 + other_agents) and len(set(there.decisions)) > 1
        scores = [evaluate_open(policy, other_agents=other_agents, runs=9) for policy in (here, there)]
        np.testing.assert_array_equal(scores[0].run_scores, scores[1].run_scores)


def test_a_competition_takes_it_where_the_organiser_opens_it() -> None:
    upload = validate_unsandboxed(content_of(IMAGE), "eye.safetensors")
    CompetitionConfig(access="open").check_upload(upload)
    with pytest.raises(RequestError, match="observes pixels, not what the contest's sensor shows"):
        CompetitionConfig().check_upload(upload)
    assert upload.facts["asked"]["kind"] == "pixels" and upload.facts["asked"]["size"] == 640


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (content_of("lossy"), "weakened sensor"),
        (content_of("full"), "whole state, which no competition takes"),
        (content_of(IMAGE, other_agents=2), "does not say which vehicle a copy drives"),
        (content_of(IMAGE, kind="radar"), "kind must be one of"),
        (content_of(IMAGE, options={"height": 5}), r"height must be an integer in \[16, 1024\]"),
        (content_of(IMAGE, options={"height": 20, "width": 16}), "reads 640 values, but its pixels has 960"),
        (content_of(IMAGE, options={"height": 1024, "width": 1024, "temporal_window": 15}), "its pixels has 50331648"),
    ],
)
def test_what_cannot_be_computed_or_compared_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidSubmission, match=message) as caught:
        validate_unsandboxed(content, "eye.safetensors")
    assert caught.value.code == "broken"


@pytest.mark.parametrize(
    "asked",
    ["pixels", {}, {"kind": "pixels", "options": {}}, {"kind": "pixels", "options": {"a": [1]}, "size": 640},
     {"kind": 3, "options": {}, "size": 640}, {"kind": "pixels", "options": {}, "size": "640"}],
)  # fmt: skip
def test_a_report_that_no_child_would_give_is_refused(asked: Any) -> None:
    content = content_of(IMAGE)
    facts, _ = read_upload(content, "eye.safetensors")
    with pytest.raises(InvalidSubmission, match="impossible report"):
        from_report(content, "", facts | {"asked": asked}, EVALUATION)
    tight = replace(EVALUATION, activations=600)
    with pytest.raises(InvalidSubmission, match="make its layers, its sensor or its temporal window smaller"):
        from_report(content, "", facts, tight)
