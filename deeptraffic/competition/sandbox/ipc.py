"""One decision there and back, in compiled code on both sides: what an official evaluation does up to 368,500 times.

The worker plays whole runs and asks over the pipe whenever an agent waits; the child answers until something else than
one decision is asked for. Messages are those of `messages.py`. The C library's read, write and poll are called by name.
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
MONOTONIC = 1  # Linux's number of the clock that nobody sets

U8 = NDArray[np.uint8]
ACT = messages.ACT
HEAD = messages.REQUEST.size // 8  # [whole numbers]
HEAD_BYTES, ANSWER_BYTES = messages.REQUEST.size, messages.ANSWER.size + 1  # one decision is answered by one byte
ACTIONS = len(Action)
DONE, GONE, LATE, WRONG = range(4)  # how `ask` ended
SOURCE, SINK, PATIENCE, DEADLINE = range(4)  # entries of `line`


def line_to(source: int, sink: int, patience_s: float, deadline_s: float) -> I64:
    """Return the worker's line to a child (4,): two of C's struct pollfd, and [ms] for an answer and until the end.

    A struct pollfd is a pipe's number, and 32 bits higher the event that is waited for.
    """
    pipes = source | select.POLLIN << 32, sink | select.POLLOUT << 32
    return np.array([*pipes, int(1000 * patience_s), int(1000 * deadline_s)], np.int64)


@compiled
def wait_for(line: I64, which: int) -> bool:
    """Wait until a pipe is ready; False if it is not within the time."""
    clock = np.empty(2, np.int64)
    while True:
        _clock(MONOTONIC, clock.ctypes.data)
        patience = min(line[PATIENCE], line[DEADLINE] - 1000 * clock[0] - clock[1] // 1_000_000)
        ready = _poll(line[which:].ctypes.data, 1, max(0, patience)) if patience > 0 else 0
        if ready >= 0:  # below 0 a signal came, which Python handles later
            return ready > 0


@compiled
def write_out(pipe: int, at: Any, count: int) -> bool:
    """Write `count` bytes of memory to a blocking pipe; False if its reader is gone."""
    while count > 0:
        done = _write(pipe, at, count)
        if done < 0:
            return False
        at += done
        count -= done
    return True


@compiled
def read_in(pipe: int, at: Any, count: int) -> bool:
    """Read `count` bytes from a blocking pipe into memory; False if its writer is gone."""
    while count > 0:
        done = _read(pipe, at, count)
        if done <= 0:
            return False
        at += done
        count -= done
    return True


# --- the worker's side --------------------------------------------------------------------------------------------


@compiled
def ask(line: I64, message: I64, answer: I64) -> int:
    """Send a message (N,) to the child and read the answer to one decision; return how that ended."""
    at, count = message.ctypes.data, 8 * message.size
    while count > 0:
        if not wait_for(line, SINK):
            return LATE
        done = _write(line[SINK] & 0xFFFFFFFF, at, count)
        if done < 0:
            return GONE
        at += done
        count -= done
    at, count = answer.ctypes.data, ANSWER_BYTES
    while count > 0:
        if not wait_for(line, SOURCE):
            return LATE
        done = _read(line[SOURCE] & 0xFFFFFFFF, at, count)
        if done <= 0:
            return GONE
        at += done
        count -= done
        if count <= 1 and (answer[0] != message[1] or answer[1] != 1):
            return WRONG
    return DONE if answer[2] < ACTIONS else WRONG


@compiled
def play_asking(runs: Runs, sensor: Sensor, line: I64, nonces: I64, decisions: U8) -> tuple[int, int]:
    """Play runs, each decision the child's; return how that ended and how many decisions there were.

    nonces, decisions (N,): more than there are decisions; the second is written
    """
    size = observation_size(sensor)
    message, answer = np.zeros(HEAD + 1 + size, np.int64), np.zeros(3, np.int64)
    message[0], message[2], message[3], message[4] = ACT, 1, size, 8 * (1 + size)
    asked, agent = 0, next_decision(runs, 0)
    while agent != NOBODY:
        message[1], message[HEAD] = nonces[asked], agent
        sense(runs.rules[0], sensor, runs.games[0], agent, message[HEAD + 1 :].view(np.float64))
        ended = ask(line, message, answer)
        if ended != DONE:
            return ended, asked
        decisions[asked] = answer[2]
        asked += 1
        agent = next_decision(runs, answer[2])
    return DONE, asked


# --- the child's side ---------------------------------------------------------------------------------------------


@compiled
def answer_decisions(source: int, sink: int, head: I64, driver: Driver) -> bool:
    """Answer requests for one decision each; return True at another, whose head (5,) is read, False at the end."""
    size = observation_size(driver.sensor)
    body, answer = np.zeros(1 + size, np.int64), np.zeros(3, np.int64)
    while read_in(source, head.ctypes.data, HEAD_BYTES):
        if head[0] != ACT or head[2] != 1:
            return True
        if head[4] != 8 * body.size or not read_in(source, body.ctypes.data, 8 * body.size):
            return False
        driver.net.scratch[:size] = body[1:].view(np.float64)
        answer[0], answer[1], answer[2] = head[1], 1, decide(driver, body[0], body[0])
        if not write_out(sink, answer.ctypes.data, ANSWER_BYTES):
            return False
    return False
