"""Compiled IPC: one decision per round trip, up to 368,500 of them in an official evaluation.

The worker plays whole runs and asks the child whenever an agent needs a decision; the child answers until it receives
any other request. The messages are those of `messages.py`; read, write and poll are the C library's.
"""

import select
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from deeptraffic.competition.sandbox import messages
from deeptraffic.policies.network_policy import Driver, decide
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.observation import observation_size, sense
from deeptraffic.sim.rules import Action, Sensor
from deeptraffic.sim.runs import Runs, next_decision
from deeptraffic.sim.state import I64, NOBODY

_read: Any = types.ExternalFunction("read", types.int64(types.int32, types.uintp, types.uintp))
_write: Any = types.ExternalFunction("write", types.int64(types.int32, types.uintp, types.uintp))
_poll: Any = types.ExternalFunction("poll", types.int32(types.uintp, types.uintp, types.int32))
_clock: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
CLOCK_MONOTONIC = 1

U8 = NDArray[np.uint8]
ACT = messages.ACT
HEAD = messages.REQUEST.size // 8  # [int64]
HEAD_BYTES, ANSWER_BYTES = messages.REQUEST.size, messages.ANSWER.size + 1  # one decision is answered by one byte
ACTIONS = len(Action)
OK, CLOSED, TIMED_OUT, INVALID = range(4)  # status of `ask`
SOURCE, SINK, TIMEOUT, DEADLINE = range(4)  # entries of an endpoint


def make_endpoint(source: int, sink: int, timeout_s: float, deadline_s: float) -> I64:
    """Return the worker's endpoint (4,): two of C's struct pollfd, timeout per answer [ms], deadline [ms].

    A struct pollfd is a pipe's descriptor, and 32 bits higher the event to wait for.
    """
    pipes = source | select.POLLIN << 32, sink | select.POLLOUT << 32
    return np.array([*pipes, int(1000 * timeout_s), int(1000 * deadline_s)], np.int64)


@compiled
def wait_for(endpoint: I64, which: int) -> bool:
    """Wait until a pipe is ready; False at the timeout."""
    clock = np.empty(2, np.int64)
    while True:
        _clock(CLOCK_MONOTONIC, clock.ctypes.data)
        timeout = min(endpoint[TIMEOUT], endpoint[DEADLINE] - 1000 * clock[0] - clock[1] // 1_000_000)
        ready = _poll(endpoint[which:].ctypes.data, 1, max(0, timeout)) if timeout > 0 else 0
        if ready >= 0:  # below 0 at a signal, which Python handles later
            return ready > 0


@compiled
def write_bytes(pipe: int, at: Any, count: int) -> bool:
    """Write `count` bytes of memory to a blocking pipe; False if its reader closed it."""
    while count > 0:
        done = _write(pipe, at, count)
        if done < 0:
            return False
        at += done
        count -= done
    return True


@compiled
def read_bytes(pipe: int, at: Any, count: int) -> bool:
    """Read `count` bytes from a blocking pipe into memory; False if its writer closed it."""
    while count > 0:
        done = _read(pipe, at, count)
        if done <= 0:
            return False
        at += done
        count -= done
    return True


# --- the worker's side --------------------------------------------------------------------------------------------


@compiled
def ask(endpoint: I64, message: I64, answer: I64) -> int:
    """Send a message (N,) and read the answer (3,) to one decision; return a status."""
    at, count = message.ctypes.data, 8 * message.size
    while count > 0:
        if not wait_for(endpoint, SINK):
            return TIMED_OUT
        done = _write(endpoint[SINK] & 0xFFFFFFFF, at, count)
        if done < 0:
            return CLOSED
        at += done
        count -= done
    at, count = answer.ctypes.data, ANSWER_BYTES
    while count > 0:
        if not wait_for(endpoint, SOURCE):
            return TIMED_OUT
        done = _read(endpoint[SOURCE] & 0xFFFFFFFF, at, count)
        if done <= 0:
            return CLOSED
        at += done
        count -= done
        if count <= 1 and (answer[0] != message[1] or answer[1] != 1):
            return INVALID
    return OK if answer[2] < ACTIONS else INVALID


@compiled
def play_asking(runs: Runs, sensor: Sensor, endpoint: I64, nonces: I64, decisions: U8) -> tuple[int, int]:
    """Play runs by the child's decisions; return a status and the number of decisions.

    nonces (N,): one per decision; decisions (N,): written; N is at least the number of decisions
    """
    size = observation_size(sensor)
    message, answer = np.zeros(HEAD + 1 + size, np.int64), np.zeros(3, np.int64)
    message[0], message[2], message[3], message[4] = ACT, 1, size, 8 * (1 + size)
    asked, agent = 0, next_decision(runs, 0)
    while agent != NOBODY:
        message[1], message[HEAD] = nonces[asked], agent
        sense(runs.rules[0], sensor, runs.games[0], agent, message[HEAD + 1 :].view(np.float64))
        status = ask(endpoint, message, answer)
        if status != OK:
            return status, asked
        decisions[asked] = answer[2]
        asked += 1
        agent = next_decision(runs, answer[2])
    return OK, asked


# --- the child's side ---------------------------------------------------------------------------------------------


@compiled
def answer_decisions(source: int, sink: int, head: I64, driver: Driver) -> bool:
    """Answer requests for one decision each; True at any other, whose head (5,) is read; False at a closed pipe."""
    size = observation_size(driver.sensor)
    body, answer = np.zeros(1 + size, np.int64), np.zeros(3, np.int64)
    while read_bytes(source, head.ctypes.data, HEAD_BYTES):
        if head[0] != ACT or head[2] != 1:
            return True
        if head[4] != 8 * body.size or not read_bytes(source, body.ctypes.data, 8 * body.size):
            return False
        driver.net.scratch[:size] = body[1:].view(np.float64)
        answer[0], answer[1], answer[2] = head[1], 1, decide(driver, body[0], body[0])
        if not write_bytes(sink, answer.ctypes.data, ANSWER_BYTES):
            return False
    return False
