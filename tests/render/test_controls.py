"""The viewer's keys, without a window."""

import pytest

from deeptraffic.render.controls import COMMANDS, CYCLES, HELP, PACES, PROMPTS, SWITCHES, ZOOM_KEYS, Command, Controls


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


def test_a_typed_number_is_a_frame_or_a_seed_and_none_keeps_the_seed():
    controls = Controls(20)
    orders = press(controls, "g", "1", "[2]", "x", "5", "backspace", "return")
    assert orders == [None] * 6 + [Command("seek", 12)]
    assert controls.prompt is None
    assert press(controls, "r", "7", "return")[-1] == Command("restart", 7)
    assert press(controls, "r", "return")[-1] == Command("restart", None)


def test_escape_leaves_a_prompt_then_the_help_then_the_viewer():
    controls = Controls(20)
    press(controls, "h", "g", "4", "escape")
    assert controls.prompt is None and controls.help
    assert press(controls, "escape") == [None] and not controls.help
    assert press(controls, "escape") == [Command("quit")]


def test_overlays_and_followed_vehicles_cycle_both_ways():
    controls, seen = Controls(3), []
    for _ in range(5):
        press(controls, "o", "f")
        seen.append((controls.overlay, controls.follow))
    assert seen == [("input", 1), ("safety", 2), ("map", 0), ("none", 1), ("input", 2)]
    controls.press("o", shift=True)
    controls.press("f", shift=True)
    assert (controls.overlay, controls.follow) == ("none", 1)
    press(controls, "e")
    assert controls.follow == 0


@pytest.mark.parametrize("key", ["c", "t", "n", "l", "+"])
def test_the_look_changes_by_keys(key):
    controls = Controls(20)
    before = controls.appearance
    press(controls, key)
    assert before != controls.appearance


def test_the_help_names_every_key_that_does_something():
    named = [key for keys, _ in HELP for key in keys.lower().split()]
    aliases = {"return", "enter", "escape", "page down", "page up", "=", "[+]", "[-]"}
    known = {*COMMANDS, *CYCLES, *PROMPTS, *SWITCHES, *ZOOM_KEYS, *"123fe", "?", "h"} - aliases
    assert known <= set(named) and {"esc", "page"} <= set(named)


@pytest.mark.parametrize(("key", "shift"), [("?", False), ("/", True), ("h", False), ("f1", False)])
def test_a_question_mark_opens_the_help_on_any_keyboard(key, shift):
    controls = Controls(20)
    assert controls.press(key, shift) is None and controls.help
