"""A competition's settings: what a file may say, and how a wrong one is refused."""

from pathlib import Path
from typing import Any

import pytest

from deeptraffic.competition.config import CompetitionConfig, to_milliseconds, to_time
from deeptraffic.competition.evaluation import idle_policy
from deeptraffic.competition.sandbox.validation import validate
from deeptraffic.competition.store.errors import RequestError
from deeptraffic.policies.file import policy_content
from deeptraffic.settings import read_settings


def test_a_file_becomes_settings_and_a_record_again(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text('title = "Lab"\nother_agents = [3, 0, 3]\ncloses_at = "2026-10-31T23:59:59Z"\ndaily_limit = 5\n')
    config = CompetitionConfig.from_record(read_settings(path))
    assert (config.title, config.other_agents, config.daily_limit) == ("Lab", (0, 3), 5)
    assert config.closes == 1_793_491_199_000 and config.opens is None
    assert CompetitionConfig.from_record(config.to_record()) == config


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"titel": "x"}, "there is no setting titel; a competition has access,"),
        ({"title": "  "}, "title must be a non-blank string of up to 100 characters, got '  '"),
        ({"title": "x" * 101}, "up to 100 characters"),
        ({"rules": 2019}, "choose one of 2017, 2018"),
        ({"other_agents": [11]}, r"in \[0, 10\]"),
        ({"other_agents": []}, "must be a list"),
        ({"other_agents": [True]}, "must be a list"),
        ({"rules": 2017, "other_agents": [1]}, r"in \[0, 0\]"),
        ({"opens_at": "tomorrow"}, "write it as 2026-10-31T23:59:59Z"),
        ({"opens_at": "2026-02-02", "closes_at": "2026-02-01"}, "is not after"),
        ({"daily_limit": 0}, "daily_limit must be .* got 0"),
        ({"access": "all"}, "access must be one of 'contest', 'open'"),
        ({"anonymous": "yes"}, "anonymous must be true or false"),
    ],
)
def test_what_is_wrong_is_named_with_its_remedy(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompetitionConfig.from_record(record)


def test_a_2017_competition_has_no_other_agents() -> None:
    assert CompetitionConfig(rules=2017).other_agents == (0,)


def test_times_without_a_zone_are_utc_and_others_are_turned() -> None:
    assert to_milliseconds("x", "2026-01-01T00:00:00") == to_milliseconds("x", "2026-01-01T01:00:00+01:00")
    assert to_time(1_793_491_199_001) == "2026-10-31T23:59:59.001Z"


def test_a_file_is_checked_against_the_settings_without_a_database() -> None:
    upload = validate(policy_content(idle_policy()), "mine.safetensors")
    CompetitionConfig(parameter_cap=10).check_upload(upload)
    with pytest.raises(RequestError) as refused:
        CompetitionConfig(parameter_cap=9).check_upload(upload)
    assert refused.value.code == "parameters"
