"""Losses of official evaluations: every frame counted once, and the longest slow times of the runs."""

import pytest

from deeptraffic.episodes.episode import Episode
from deeptraffic.evaluation.loss_causes import CAUSES
from deeptraffic.evaluation.official_losses import official_losses
from deeptraffic.evaluation.protocol import evaluate_official
from deeptraffic.evaluation.replays import ActionLog, ReplayError, official_traces, pack_decisions
from deeptraffic.policies.builtin import make_builtin


@pytest.mark.parametrize(("name", "rules", "others"), [("gap", 2018, 0), ("idle", 2018, 2), ("gap", 2017, 0)])
def test_causes_add_up_to_80_less_the_mean_of_the_official_runs(name: str, rules: int, others: int) -> None:
    log = ActionLog(make_builtin(name))
    score = evaluate_official(log, rules, others)
    losses = official_losses(log.packed(), rules, others)
    assert losses.lost_mph.shape == (len(CAUSES),)
    assert losses.lost_mph.sum() + score.unrounded_mean_mph == pytest.approx(80.0, abs=1e-9)


def test_the_longest_slow_time_is_where_the_replay_is_slow() -> None:
    log = ActionLog(make_builtin("gap"))
    score = evaluate_official(log)
    worst = int(score.run_scores.argmin())
    slow = official_losses(log.packed(), 2018, 0).slow
    first, last = slow[worst]
    episode = Episode.replay(official_traces(log.packed(), 2018, 0, [worst], "gap")[worst])
    below = []
    while episode.advance():
        game = episode.state[0]
        below.append("x" if game["following_speed"][0] * game["speed_factor"][0] < 3.0 else " ")
    assert "".join(below[first:last]) == max("".join(below).split(), key=len)
    assert (slow[:, 1] <= 2000).all() and (slow[:, 0] <= slow[:, 1]).all()


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ReplayError):
        official_losses(pack_decisions(b"\x09" * 10), 2018, 0)
