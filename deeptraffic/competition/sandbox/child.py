"""The child process: makes its kernels ready, locks itself in, and only then reads what a stranger sent.

Started by `process.py` with an empty environment in an empty folder. It reads requests from one pipe and writes answers
to another (`wire.py`); whatever it prints goes nowhere.
"""

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

from deeptraffic.competition.sandbox import driving, probing, reading, wire
from deeptraffic.competition.sandbox.channel import Channel, open_channel, silence_errors
from deeptraffic.competition.sandbox.limits import Limits
from deeptraffic.competition.sandbox.lock import lock_in


class Role(NamedTuple):
    """What a child does before and after it is locked in; only the doctor's own test of single layers is not."""

    make_ready: Callable[[], object]
    serve: Callable[[Channel], None]
    locked: bool = True


ROLES = {
    "drive": Role(driving.make_ready, driving.serve),
    "read": Role(reading.make_ready, reading.serve),
    "probe": Role(dict, probing.serve_locked),
    "probe one layer": Role(dict, probing.serve_open, locked=False),
}


def main(role: str, limits: Limits, parent: int) -> None:
    """Play a role to its end; never returns."""
    channel = open_channel()
    ROLES[role].make_ready()
    os.environ.clear()
    silence_errors()
    report = lock_in(limits, parent) if ROLES[role].locked else []
    channel.report({"layers": [asdict(layer) for layer in report]})
    code = 0
    try:
        ROLES[role].serve(channel)
    except EOFError:
        code = 0
    except MemoryError:
        code = wire.EXIT_MEMORY
    except BaseException:
        code = wire.EXIT_CRASH
    finally:
        os._exit(code)
