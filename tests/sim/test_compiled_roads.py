"""Machine code that processes cached for different roads serves a process that drives on both."""

import os
import subprocess
import sys
from pathlib import Path

DRIVE = """
import sys
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RoadConfig
for road in sys.argv[1:]:
    lanes, vehicles = map(int, road.split("x"))
    sim = Simulator(RoadConfig(lanes=lanes, vehicles=vehicles).build(), 1, threads=1)
    sim.reset_open([5])
    print([sim.games[name][0].tolist() for name in sim.games.dtype.names])
"""


def drive(cache: Path, *roads: str) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run(
        [sys.executable, "-c", DRIVE, *roads], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_cached_code_of_two_roads_does_not_mix(tmp_path: Path) -> None:
    alone = drive(tmp_path, "1x3") + drive(tmp_path, "7x25")
    assert drive(tmp_path, "1x3", "7x25") == alone
