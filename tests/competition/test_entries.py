"""Entries: what the sandbox found in a file, as the store takes it."""

from dataclasses import replace

import pytest

from deeptraffic.competition.config import CompetitionConfig
from deeptraffic.competition.entries import check_entry, from_intake, read_entry
from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.sandbox import intake
from deeptraffic.competition.sandbox.faults import SubmissionFault
from deeptraffic.competition.store.faults import Refusal
from deeptraffic.policies.file import policy_content
from deeptraffic.sim.rules import Sensor

CONTENT = policy_content(idle_policy())


def test_a_file_becomes_an_entry_with_what_pages_show() -> None:
    entry = read_entry(CONTENT, "mine.safetensors")
    assert (entry.content, entry.filename, entry.label) == (CONTENT, "mine.safetensors", "idle")
    assert (entry.rules, entry.other_agents, entry.access) == (2018, 0, "contest")
    assert (entry.cells, entry.layers, entry.parameters) == (1, 1, 10)
    assert entry.facts["sensor"] == {"lanes_side": 0, "patches_ahead": 1, "patches_behind": 0}


def test_a_file_that_is_no_policy_is_the_authors_fault() -> None:
    with pytest.raises(SubmissionFault):
        read_entry(CONTENT[:-1], "mine.safetensors")


def test_a_sensor_wider_than_the_road_is_refused_before_it_is_queued() -> None:
    found = intake.check(CONTENT, "mine.safetensors")
    with pytest.raises(SubmissionFault) as fault:
        from_intake(replace(found, sensor=Sensor(15, 1, 0)), "mine.safetensors")
    assert fault.value.code == "broken"


def test_a_competitions_settings_are_checked_without_its_database() -> None:
    entry = read_entry(CONTENT, "mine.safetensors")
    check_entry(CompetitionConfig(parameter_cap=10), entry)
    with pytest.raises(Refusal) as refused:
        check_entry(CompetitionConfig(parameter_cap=9), entry)
    assert refused.value.code == "parameters"
