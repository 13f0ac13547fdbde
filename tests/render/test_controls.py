"""The viewer's keys, without a window."""

import pytest

from deeptraffic.render.controls import HELP, PACES, Command, Controls


def press(controls: Controls, *keys: str) -> list[Command | None]:
    return [controls.press(key) for key in keys]


def test_space_pauses_and_goes_on():
    controls = Controls(20)
    press(controls, "space")
    assert controls.paused
    press(controls, "space")
    assert not controls.paused


def test_a_single_frame_pauses_first():
    controls = Controls(20)
    assert press(controls, ".", ",") == [Command("step", 1), Command("step", -1)]
    assert controls.paused


def test_numbers_set_the_pace_and_end_a_pause():
    controls = Controls(20)
    for key, pace in zip("123", PACES, strict=True):
        press(controls, "space", key)
        assert controls.pace == pace and not controls.paused


def test_a_typed_frame_is_jumped_to():
    controls = Controls(20)
    orders = press(controls, "g", "1", "[2]", "x", "5", "backspace", "return")
    assert orders == [None] * 6 + [Command("seek", 12)]
    assert controls.prompt is None


def test_a_typed_seed_restarts_and_none_typed_keeps_the_seed():
    controls = Controls(20)
    assert press(controls, "r", "7", "return")[-1] == Command("restart", 7)
    assert press(controls, "r", "return")[-1] == Command("restart", None)


def test_escape_leaves_a_prompt_then_the_help_then_the_viewer():
    controls = Controls(20)
    press(controls, "h", "g", "4", "escape")
    assert controls.prompt is None and controls.help
    assert press(controls, "escape") == [None] and not controls.help
    assert press(controls, "escape") == [Command("quit")]


def test_overlays_cycle_both_ways():
    controls, seen = Controls(20), []
    for _ in range(5):
        press(controls, "o")
        seen.append(controls.overlay)
    assert seen == ["input", "safety", "map", "none", "input"]
    controls.press("o", shift=True)
    assert controls.overlay == "none"


def test_following_goes_through_all_vehicles_and_back_to_the_ego_car():
    controls = Controls(3)
    press(controls, "f", "f")
    assert controls.follow == 2
    press(controls, "f")
    assert controls.follow == 0
    controls.press("f", shift=True)
    assert controls.follow == 2
    press(controls, "e")
    assert controls.follow == 0


@pytest.mark.parametrize("key", ["c", "t", "n"])
def test_the_look_changes_by_keys(key):
    controls = Controls(20)
    before = (controls.trail, controls.theme, controls.dashboard)
    press(controls, key)
    assert before != (controls.trail, controls.theme, controls.dashboard)


def test_the_help_names_every_key_that_does_something():
    named = " ".join(key.lower() for key, _ in HELP)
    for key in "gromfectnhq.,123".replace("m", ""):
        assert key in named


def test_a_question_mark_opens_the_help_on_any_keyboard():
    for key, shift in (("?", False), ("/", True)):
        controls = Controls(20)
        assert controls.press(key, shift) is None and controls.help
