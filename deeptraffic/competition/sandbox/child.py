"""The fork server's main loop, and the children that it forks: each locks itself down and serves one role.

Started by `fork_server.py` with an empty environment in an empty folder. A child reads requests from one pipe and
writes answers to another (`messages.py`); its standard output and error go to /dev/null.
"""

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from itertools import product
from typing import Any, NamedTuple, NoReturn

import numpy as np

from deeptraffic.competition.sandbox import escape_attempts, messages
from deeptraffic.competition.sandbox.errors import InvalidSubmission
from deeptraffic.competition.sandbox.ipc import HEAD, answer_decisions
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lockdown import lock_down
from deeptraffic.competition.sandbox.messages import Channel
from deeptraffic.competition.sandbox.validation import facts_of, read_upload
from deeptraffic.policies.convnetjs.write import write_convnetjs
from deeptraffic.policies.file import PolicyFile, PolicyFileError, pack_policy, policy_content, read_policy
from deeptraffic.policies.layer import Layer
from deeptraffic.policies.layers import Dense, Elu, Relu
from deeptraffic.policies.network import EVERY_GROUP, Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import I64

MAX_MESSAGE = 4096  # [bytes]


# --- the fork server ----------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Load everything, then fork a child whenever the worker asks; end with the worker."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    warm_up_evaluation()
    warm_up_validation()
    os.environ.clear()
    gc.collect()
    gc.freeze()  # so that a child's collections do not copy the pages that it shares with this process
    os.dup2(null, 1)
    os.dup2(null, 2)
    connection.send(b"ready")
    while True:
        message, handles, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 2)
        if not message:
            os._exit(0)
        connection.send(json.dumps(_handle(json.loads(message), handles)).encode())
        for handle in handles:
            os.close(handle)


def _handle(request: dict[str, Any], handles: list[int]) -> Any:
    """Answer the worker: a new child's process id, or an ended child's exit status and processor time."""
    if "role" not in request:
        return _reap(request)
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        return str(error)
    if pid == 0:
        run_child(request["role"], Limits(**request["limits"]), server, *handles)
    return pid


def _reap(request: dict[str, int]) -> tuple[int, float] | None:
    pid = request.get("kill") or request["reap"]
    if "kill" in request:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
    try:
        found, status, used = os.wait4(pid, 0 if "kill" in request else os.WNOHANG)
    except ChildProcessError:
        return 0, 0.0
    return (os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime) if found else None


# --- a child ------------------------------------------------------------------------------------------------------


def run_child(role: str, limits: Limits, server: int, source: int, sink: int) -> NoReturn:
    """Lock this fork down, report the protections, and serve a role until the worker closes the pipes."""
    code = messages.EXIT_CRASH
    try:
        os.setsid()
        close_other_files(source, sink)
        report = lock_down(limits, server) if ROLES[role].locked else []
        channel = Channel(source, sink)
        channel.report({"protections": [asdict(protection) for protection in report]})
        ROLES[role].serve(channel)
        code = 0
    except EOFError:
        code = 0  # the worker is done
    except MemoryError:
        code = messages.EXIT_MEMORY
    finally:
        os._exit(code)


def close_other_files(*kept: int) -> None:
    """Close every file descriptor but the given ones, and 0, 1 and 2, which are /dev/null."""
    ends = [*sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, end in zip([2, *ends], ends, strict=False):
        os.closerange(before + 1, end)


# --- evaluation ---------------------------------------------------------------------------------------------------


def warm_up_evaluation() -> None:
    """Load every module and every compiled kernel that evaluation needs, compiling what was never compiled."""
    # Programs of the layers that most networks have and of the others, without and with random actions.
    for activation, epsilon in product((Relu(), Elu()), (0.0, 0.5)):
        policy = known_policy(read_policy(policy_content(tiny_policy(activation, epsilon))))
        policy.reset(np.arange(2))
        policy.act(np.zeros((2, 1)), np.arange(2))
        answer_single_decisions(Channel(-1, -1), policy, np.zeros(HEAD, np.int64))


def known_policy(policy_file: PolicyFile) -> NetworkPolicy:
    """Return the policy, for which everything is compiled before a child is locked down, whatever its layers are."""
    policy = policy_file.policy()
    net = policy.driver.net
    if any(net.groups):
        policy.driver = policy.driver._replace(net=net._replace(groups=EVERY_GROUP))
    return policy


def tiny_policy(activation: Layer, epsilon: float = 0.0) -> PolicyFile:
    """Return a policy whose layers have one neuron and which sees one cell."""
    layers = (Dense(outputs=1), activation, Dense(outputs=5))
    tensors = {"1.weight": np.ones((1, 1)), "1.bias": np.ones(1), "3.weight": np.ones((5, 1)), "3.bias": np.ones(5)}
    return pack_policy(Network(1, layers, tensors), Sensor(0, 1, 0), "tiny", epsilon=epsilon)


def serve_evaluation(channel: Channel) -> None:
    """Read a policy file, then answer observations with actions."""
    request = channel.receive()
    try:
        policy_file = read_policy(bytes(request.content))
    except PolicyFileError as error:
        channel.report({"error": ["broken", str(error)]})
        return
    policy = known_policy(policy_file)
    channel.report(facts_of(policy_file, policy, "policy"))
    head = np.zeros(HEAD, np.int64)
    while answer_single_decisions(channel, policy, head):
        request = channel.receive(head.tobytes())
        agent_indices = np.frombuffer(request.content, np.int64, request.rows)
        if request.kind == messages.ACT:
            shape = (request.rows, request.columns)
            obs = np.frombuffer(request.content, np.float64, offset=agent_indices.nbytes).reshape(shape)
            channel.answer(policy.act(obs, agent_indices).astype(np.uint8).tobytes())
        elif request.kind == messages.RESET:
            policy.reset(agent_indices)
            policy.start_streams(agent_indices, np.frombuffer(request.content, np.uint64, offset=agent_indices.nbytes))
            channel.answer(b"")
        elif request.kind == messages.ATTACH:
            policy.set_agents(request.columns)
            channel.answer(b"")


def answer_single_decisions(channel: Channel, policy: NetworkPolicy, head: I64) -> bool:
    """Answer requests for one decision until another request comes, whose head (5,) is read; False at the end."""
    return bool(answer_decisions(channel.source, channel.sink, head, policy.driver))


# --- validation ---------------------------------------------------------------------------------------------------


def warm_up_validation() -> None:
    """Read one file of each kind, so that every module that validation needs is loaded."""
    policy_file = tiny_policy(Relu())
    original = write_convnetjs(policy_file.network, Sensor(0, 1, 0)).encode()
    for content, name in ((policy_content(policy_file), "tiny.safetensors"), (original, "tiny.js")):
        read_upload(content, name)
    for content in (b"", b"{}", b"brain = (", b"PK\x03\x04"):
        with suppress(InvalidSubmission):
            read_upload(content, "tiny.js")


def serve_validation(channel: Channel) -> None:
    """Read one uploaded file: answer its facts or its error, then its canonical policy file."""
    request = channel.receive()
    name, content = bytes(request.content[: request.columns]), bytes(request.content[request.columns :])
    try:
        facts, canonical = read_upload(content, name.decode("utf-8", "replace"))
    except InvalidSubmission as error:
        channel.report({"error": [error.code, str(error)]})
        return
    channel.report(facts)
    channel.receive()
    channel.answer(canonical)


# --- roles --------------------------------------------------------------------------------------------------------


class Role(NamedTuple):
    """What a child serves; all roles are locked down but the doctor's test of single protections."""

    serve: Callable[[Channel], None]
    locked: bool = True


ROLES = {
    "evaluate": Role(serve_evaluation),
    "validate": Role(serve_validation),
    "attempt escapes": Role(escape_attempts.serve_locked),
    "test protections": Role(escape_attempts.serve_unlocked, locked=False),
}
