"""The child that reads what was uploaded: tells its kind, checks it, and gives it back as a policy file."""

from dataclasses import replace
from pathlib import PurePath
from typing import Any

from deeptraffic.competition.sandbox.channel import Channel
from deeptraffic.competition.sandbox.driving import operations_of, tiny_policy, vehicle_numbers_of
from deeptraffic.competition.sandbox.formats import REMEDY, is_policy_file, is_text, refused_kind
from deeptraffic.policies.convnetjs.parse import SubmissionError
from deeptraffic.policies.convnetjs.read import read_submission
from deeptraffic.policies.convnetjs.write import write_submission
from deeptraffic.policies.file import (
    PolicyFile,
    PolicyFileError,
    pack_submission,
    policy_content,
    read_policy,
)
from deeptraffic.policies.vocabulary import Relu
from deeptraffic.sim.rules import Sensor

MAX_LABEL = 100  # [characters] of a policy file


class Refusal(Exception):
    """A fault code and a sentence."""


def make_ready() -> None:
    """Read one file of each kind, so that every module that reading needs is loaded."""
    policy_file = tiny_policy(Relu())
    original = write_submission(policy_file.network, Sensor(0, 1, 0)).encode()
    for content, name in ((policy_content(policy_file), "ready.safetensors"), (original, "ready.js")):
        facts_of(*read(content, name))
    for content in (b"", b"{}", b"brain = (", b"PK\x03\x04"):
        try:
            read(content, "ready.js")
        except Refusal:
            continue


def serve(channel: Channel) -> None:
    """Read one file: answer its facts or its fault, then the policy file."""
    request = channel.receive()
    name, content = bytes(request.content[: request.columns]), bytes(request.content[request.columns :])
    try:
        policy_file, kind = read(content, name.decode("utf-8", "replace"))
        facts, canonical = facts_of(policy_file, kind)
    except Refusal as refusal:
        channel.report({"fault": refusal.args})
        return
    channel.report(facts)
    channel.receive()
    channel.answer(canonical)


def read(content: bytes, filename: str) -> tuple[PolicyFile, str]:
    """Return the policy in a file, and which kind of file it was; Refusal if there is none."""
    if not content:
        raise Refusal("format", f"the file is empty; {REMEDY}")
    if kind := refused_kind(content):
        raise Refusal("format", f"this is {kind}; {REMEDY}")
    suffix = PurePath(filename).suffix.lower()
    if is_policy_file(content) or suffix == ".safetensors":
        try:
            return read_policy(content), "policy"
        except PolicyFileError as error:
            raise Refusal("broken", f"{error}; {REMEDY}") from None
    if suffix in (".js", ".txt") or is_text(content):
        return read_original(content, filename), "convnetjs"
    raise Refusal("format", f"this is neither a policy file nor an original game's .js text; {REMEDY}")


def read_original(content: bytes, filename: str) -> PolicyFile:
    """Return an original game's file as a policy file: the same bytes for the same text and name."""
    try:
        submission = read_submission(content.decode("utf-8"), label_of(filename))
        policy_file = pack_submission(submission)
        policy_file = PolicyFile(replace(policy_file.manifest, created=""), policy_file.network)
        policy_content(policy_file)
        return policy_file
    except UnicodeDecodeError as error:
        place = f"byte {error.start}"
        raise Refusal("format", f"this is no UTF-8 text ({place}); save the code in the game and upload that") from None
    except SubmissionError as error:
        raise Refusal("broken", str(error)) from None
    except PolicyFileError as error:
        raise Refusal("size", f"as a policy file it is too large: {error}; make its layers smaller") from None
    except ValueError as error:
        raise Refusal("broken", str(error)) from None


def label_of(filename: str) -> str:
    """A file's name without folders and suffix, in characters that a label may have."""
    stem = PurePath(filename.replace("\\", "/")).stem
    return "".join(c if c.isprintable() else " " for c in stem).strip()[:MAX_LABEL] or "submission"


def facts_of(policy_file: PolicyFile, kind: str) -> tuple[dict[str, Any], bytes]:
    """Facts about a policy, and its file as it is kept."""
    manifest, content = policy_file.manifest, policy_content(policy_file)
    seen, policy = manifest.observation, policy_file.policy()
    facts = {
        "kind": kind,
        "label": manifest.label,
        "rules": manifest.rules,
        "other_agents": manifest.other_agents,
        "observation": seen.kind,
        "access": manifest.access,
        "sensor": list(seen.sensor),
        "temporal_window": seen.temporal_window,
        "layers": [layer.kind for layer in manifest.layers],
        "parameters": policy_file.network.parameters,
        "operations": operations_of(policy_file.network),
        "values": policy.program.scratch.size,
        "vehicle_numbers": vehicle_numbers_of(policy),
    }
    return facts, content
