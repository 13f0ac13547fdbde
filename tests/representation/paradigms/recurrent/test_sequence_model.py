"""Driving with a memory: drivers do not mix, a new run starts empty, and what is driven equals what is trained on."""

import numpy as np
import pytest
import torch

from representation.data.recording import RecordingConfig, observe, record
from representation.data.sequences import DEGRADED, FULL, SensorConfig, sequence_inputs
from representation.paradigms.recurrent.experiment import SequencePolicy, record_policy, stack_encoder
from representation.paradigms.recurrent.model import RecurrentEncoder
from representation.paradigms.recurrent.sequence_model import ActionModel

CLEAR = SensorConfig(drop_rate=0.0)
RUNS = RecordingConfig(split="validation", runs=5, decisions=8)


def model(kind: str, sensor: SensorConfig) -> ActionModel:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(sensor.space, 16) if kind == "gru" else stack_encoder(sensor, 3, 16)
    made = ActionModel(encoder, 5)
    rows = torch.from_numpy(sequence_inputs(record(RUNS), sensor, seed=0))
    made.head.bias.data -= made.predict(rows).mean((0, 1))  # so that it takes all sorts of actions
    return made


@pytest.mark.parametrize("kind", ["gru", "stack"])
@pytest.mark.parametrize("sensor", [CLEAR, FULL])
def test_it_drives_as_the_network_answers_on_the_recorded_sequence(kind: str, sensor: SensorConfig) -> None:
    network = model(kind, sensor)
    driven = record_policy(SequencePolicy(network, sensor, kind), RUNS)
    answers = network.predict(torch.from_numpy(sequence_inputs(driven, sensor, seed=0))).argmax(-1)
    np.testing.assert_array_equal(driven.actions, answers.numpy())
    assert len(np.unique(driven.actions)) > 2


def test_a_lost_frame_changes_what_it_does_and_the_same_seed_loses_the_same() -> None:
    network = model("gru", DEGRADED)
    runs = [record_policy(SequencePolicy(network, DEGRADED, "gru", seed=seed), RUNS).actions for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_a_driver_s_memory_is_its_own_and_empty_at_the_start() -> None:
    driven = record_policy(SequencePolicy(model("gru", CLEAR), CLEAR, "gru"), RUNS)
    grids = observe(driven.rules, driven.states[:, :-1], "grid")
    driver, rows = SequencePolicy(model("gru", CLEAR), CLEAR, "gru"), np.arange(2)
    driver.reset(rows)
    first = [driver.act(grids[:2, t], rows) for t in range(4)]
    driver.reset(np.array([1]))  # driver 1 starts anew, driver 0 goes on
    again = driver.act(grids[[0, 1], [4, 0]], rows)
    np.testing.assert_array_equal(np.stack(first, 1), driven.actions[:2, :4])
    np.testing.assert_array_equal(again, [driven.actions[0, 4], driven.actions[1, 0]])
