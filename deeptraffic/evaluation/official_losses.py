"""Speed losses of an official evaluation by cause (`loss_causes`), replayed from its decisions without the policy.

>>> losses = official_losses(log.packed(), rules=2018, other_agents=0)      # log: an `ActionLog`, see `replays`
>>> losses.lost_mph.sum() + score.unrounded_mean_mph                        # 80: every loss has exactly one cause
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeptraffic.evaluation.loss_causes import BIN, LONGEST, NOW, Record, loss_records, step_and_record
from deeptraffic.evaluation.protocol import OFFICIAL
from deeptraffic.evaluation.replays import unpack_decisions
from deeptraffic.sim.compiled import compiled
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.reset import reset_run
from deeptraffic.sim.rules import MPH_PER_PX, RoadConfig
from deeptraffic.sim.runs import Runs
from deeptraffic.sim.state import F64, I64


@dataclass(frozen=True)
class OfficialLosses:
    """Losses of an official evaluation.

    lost_mph: (causes,) mean of all frames and agents
    slow: (runs, 2) [frames] where in each run the ego car's longest time below 60 mph began and ended; equal for none
    """

    lost_mph: F64
    slow: I64


def official_losses(packed: bytes, rules: int, other_agents: int) -> OfficialLosses:
    """Return the losses of an official evaluation from its packed decisions; ReplayError if they cannot be of one."""
    actions, protocol = unpack_decisions(packed), OFFICIAL[rules]
    sim = Simulator(RoadConfig(rules=rules, other_agents=other_agents).build(), threads=1)
    sim.start_program(1)
    runs = Runs.official(sim, 1, protocol.runs, protocol.frames)
    records = loss_records(1, other_agents + 1, protocol.frames // BIN)
    slow = np.zeros((protocol.runs, 2), np.int64)
    _replay_and_record(runs, actions, records, slow)
    lost = records["lost"][0].sum(0) * (MPH_PER_PX / (protocol.runs * protocol.frames))
    return OfficialLosses(lost, slow)


@compiled
def _replay_and_record(runs: Runs, actions: NDArray[np.uint8], records: NDArray[np.void], slow: I64) -> None:
    """Play runs by decisions, and record the losses of all and where each run was slow for longest."""
    game, record, at, action = runs.games[0], records[0], 0, 0
    lanes = np.empty(runs.rules[0].other_agents + 1, np.int32)
    for k in range(runs.passed.size):
        reset_run(runs.rules[0], game, runs.first_run + k)
        _forget(record)
        while game.frame < runs.frames:
            decides = step_and_record(runs.rules[0], game, action, record, lanes)
            if decides and at < actions.size:
                action = int(actions[at])
                at += 1
            if not decides and record.slow[NOW] == record.slow[LONGEST]:
                slow[k, 0], slow[k, 1] = game.frame - record.slow[NOW], game.frame


@compiled
def _forget(record: Record) -> None:
    """Forget the last run's decisions and streaks; its losses stay."""
    for i in range(record.movers.size):
        record.was_open[i], record.movers[i] = 0, i
    record.slow[:] = 0
    record.boxed[:] = 0
