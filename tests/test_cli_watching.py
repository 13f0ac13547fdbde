"""`deeptraffic watch`, `play` and `record` as a user meets them: real windows, traces, and what is refused."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from deeptraffic.cli.episodes import find_episode
from deeptraffic.episodes.trace import Trace
from deeptraffic.evaluation.loss_causes import stuck_level
from deeptraffic.render.screen import ViewerOptions
from deeptraffic.render.viewer import Viewer
from deeptraffic.sim.compiled import NOTICE
from deeptraffic.sim.rules import Sensor

Tool = Callable[..., str]


@contextmanager
def window(requires_system: Callable[[str, str], Path], folder: Path, *arguments: str) -> Iterator[tuple[Tool, object]]:
    """Run the command on a display of its own; give what sends keys, and the process."""
    xvfb, xdotool = requires_system("xvfb", "Xvfb"), requires_system("xdotool", "xdotool")
    read, write = os.pipe()
    options = ["-displayfd", str(write), "-noreset", "-screen", "0", "1600x900x24"]
    server = subprocess.Popen([xvfb, *options], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        display = pipe.readline().strip()
    env = os.environ | {
        "DISPLAY": f":{display}",
        "SDL_VIDEODRIVER": "x11",
        "DEEPTRAFFIC_TABLE": str(folder / "runs.json"),
    }
    command = [sys.executable, "-c", "from deeptraffic.cli import main; main()", *arguments]
    program = subprocess.Popen(command, env=env, cwd=folder, stdout=subprocess.PIPE, text=True)

    def tool(*keys: str) -> str:
        return subprocess.run([xdotool, *keys], env=env, capture_output=True, text=True, timeout=30).stdout.strip()

    try:
        deadline = time.monotonic() + 180
        while "DeepTraffic" not in tool("getwindowfocus", "getwindowname"):
            assert program.poll() is None and time.monotonic() < deadline, "no window appeared"
            time.sleep(0.2)
        yield tool, program
    finally:
        program.kill()
        program.wait()
        server.terminate()
        server.wait()


def test_a_window_shows_what_was_asked_for_and_obeys_keys(requires_system, tmp_path: Path) -> None:
    keys = ("space", "o", "o", "f", "g", "1", "2", "3", "Return", "period")
    with window(requires_system, tmp_path, "watch", "gap") as (tool, program):
        assert tool("getwindowfocus", "getwindowname") == "DeepTraffic: gap"
        for key in (*keys, "s", "q"):
            tool("key", key)
            time.sleep(0.15)
        program.communicate(timeout=60)
        assert program.returncode == 0
    found = find_episode("gap")
    viewer = Viewer(found.make, options=ViewerOptions(found.sensor, found.insight, stuck=stuck_level))
    viewer.image()  # of the first frame, whose speed is in the graph
    for key in keys:
        viewer.press({"Return": "return", "period": "."}.get(key, key))
    assert (viewer.episode.frame, viewer.controls.overlay, viewer.controls.follow) == (124, "safety", 1)
    (screenshot,) = tmp_path.glob("deeptraffic-*.png")
    different = (np.asarray(Image.open(screenshot)) != viewer.image()).any(axis=2)
    assert not different[:, :220].any() and not different[:, 434:].any()
    assert different.mean() < 0.05  # lane marks, which flow from image to image


def test_closing_the_window_ends_the_viewer(requires_system, tmp_path: Path) -> None:
    with window(requires_system, tmp_path, "watch", "gap", "--beside", "idle", "--overlay", "input") as (tool, program):
        tool("getwindowfocus", "windowclose")
        program.communicate(timeout=60)
        assert program.returncode is not None


def test_play_keeps_a_demonstration_and_a_trace_and_prints_the_score(requires_system, tmp_path: Path) -> None:
    arguments = ("play", "--against", "gap", "--other-agents", "1", "--name", "Ada", "--output", "kept", "--json")
    with window(requires_system, tmp_path, *arguments) as (tool, program):
        tool("keydown", "Up")
        tool("key", "3")
        time.sleep(1)
        tool("keyup", "Up")
        deadline = time.monotonic() + 120
        while not (tmp_path / "runs.json").exists() and time.monotonic() < deadline:
            time.sleep(0.5)
        tool("key", "q")
        output, _ = program.communicate(timeout=60)
    facts = json.loads(output)
    trace = Trace.load(tmp_path / facts["trace"])
    assert (facts["place"], facts["of"], trace.label, trace.frames) == (1, 1, "Ada", 2000)
    with np.load(tmp_path / facts["demonstration"]) as kept:
        assert kept["observations"].shape == (66, 420) and set(kept["actions"]) >= {1}


@pytest.mark.parametrize("arguments", [("watch", "gap"), ("play",)])
def test_without_a_display_the_way_out_is_named(run, monkeypatch: pytest.MonkeyPatch, arguments) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert "no display" in err and "deeptraffic record" in err


def test_a_recorded_trace_is_filmed_as_it_was_driven(run, tmp_path: Path) -> None:
    path = str(tmp_path / "gap.trace")
    _, out, _ = run("record", "gap", "-o", path, "--seconds", "2", "--seed", "7", "--other-agents", "1", "--json")
    driven = json.loads(out)
    code, out, _ = run("record", path, "-o", str(tmp_path / "gap.png"), "--overlay", "input", "--json")
    filmed = json.loads(out)
    same = ("policy", "other_agents", "frames", "mean_mph", "passed")
    assert code == 0 and [filmed[name] for name in same] == [driven[name] for name in same]
    assert (driven["seed"], filmed["seed"], driven["frames"]) == (7, None, 120)
    assert Trace.load(path).sensor == Sensor()
    code, out, _ = run("record", path, "-o", str(tmp_path / "start.png"), "--seconds", "1", "--json")
    assert json.loads(out)["frames"] == 60


def test_showcase_is_a_video_of_its_own_size(run, tmp_path: Path) -> None:
    import imageio.v3 as iio

    path = tmp_path / "ada.mp4"
    card = ("--name", "Ada", "--best-mph", "74.21", "--rank", "3", "--seconds", "1")
    code, _, err = run("record", "gap", "-o", str(path), "--style", "showcase", *card)
    assert code == 0 and err in ("", f"{NOTICE}\n")
    pictures = iio.imread(path)
    assert pictures.shape == (30, 720, 1280, 3)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["record", "gap", "-o", "x.trace", "--style", "showcase"], "holds no images"),
        (["record", "gap", "-o", "x.mp4", "--style", "showcase", "--overlay", "map"], "--overlay"),
        (["record", "gap", "-o", "x.mp4", "--rank", "3"], "--style showcase"),
        (["record", "gap", "-o", "x.mp4", "--tall"], "--tall"),
        (["record", "gap", "-o", "x.mp4", "--style", "showcase", "--scale", "1"], "--scale"),
        (["record", "gap", "-o", "x.mp4", "--style", "showcase", "--no-panel"], "--no-panel"),
        (["record", "gap", "-o", "x.mp4", "--scale", "9"], "--scale must be in [0.25, 5.85] on this road, got 9"),
        (["record", "gap", "-o", "no/folder/x.trace"], "does not exist"),
        (["record", "gap", "-o", "x.png", "--vehicle", "nobody.png"], "nobody.png"),
        (["record", "gap", "-o", "x.png", "--trail", "pink"], "fuchsia"),
        (["watch", "gap", "--theme", "blue"], "dark, light"),
        (["watch", "gap", "--overlay", "radar"], "safety"),
        (["watch", "gap", "--vehicle", "README.md"], "not a readable PNG"),
        (["watch", "gap", "--ghost"], "--beside"),
        (["watch", "gap", "--caption", "README.md"], "no weights file"),
        (["record", "gap", "--race", "idle,gap", "-o", "x.webp"], "give one POLICY, or several with --race"),
        (["record", "-o", "x.webp"], "give one POLICY, or several with --race"),
        (["record", "--race", "gap", "-o", "x.webp"], "2 to 8 entrants, got 1"),
        (["record", "--race", "gap,nobody", "-o", "x.webp"], "there is no policy 'nobody'"),
        (["record", "--race", "gap,idle", "-o", "x.webp", "--style", "showcase"], "--race is of no use here"),
        (["record", "--race", "gap,idle", "-o", "x.webp", "--no-panel"], "--no-panel is of no use here"),
        (["record", "runs/mine", "--training", "-o", "x.webp", "--layer", "values"], "--layer is of no use here"),
        (["play", "--ghost"], "--against"),
        (["play", "--against", "nobody"], "nobody"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_shown_is_refused(run, arguments: list[str], reason: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert reason in err


def test_each_decision_is_put_into_words_where_they_are_asked_for(tmp_path: Path) -> None:
    found = find_episode("accelerate", caption=lambda sim, action: f"{action} in frame {sim.state.frame[0]}")
    episode = found.make(1)
    assert found.insight is not None and found.insight() is None
    for _ in range(40):
        episode.advance()
    insight = found.insight()
    assert insight is not None and insight.sentence == "1 in frame 30"
    episode.trace().save(tmp_path / "drive.trace")
    with pytest.raises(ValueError, match="is a trace"):
        find_episode(str(tmp_path / "drive.trace"), caption=lambda sim, action: "")


@pytest.mark.parametrize(
    "options, size",
    [
        (["x.gif"], (400, 700)),
        (["x.webp", "--scale", "0.5", "--no-panel"], (90, 350)),
        (["x.mp4"], (800, 1400)),
        (["x.mp4", "--no-panel"], (360, 1400)),
        (["x.mp4", "--scale", "1.5"], (600, 1050)),
    ],
)
def test_a_recording_has_the_size_of_its_scale_and_panel(
    run, options: list[str], size: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / options[0]
    code, _, err = run("record", "gap", "-o", str(path), *options[1:], "--seconds", "0.3")
    assert code == 0, err
    if path.suffix == ".mp4":
        assert next(imageio_ffmpeg.read_frames(str(path)))["size"] == size
    else:
        with Image.open(path) as film:
            assert film.size == size


def test_a_recording_has_the_layers_that_it_is_asked_for(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("record", "gap", "-o", "run.png", "--seconds", "1")
    Path("mine.py").write_text("def layer(canvas, camera, state):\n    canvas.fill((1, 254, 3))\n")
    for layers, is_green in (([], False), (["--layer", "attention"], False), (["--layer", "mine.py"], True)):
        assert run(*command, *layers)[0] == 0
        image = np.asarray(Image.open("run.png").convert("RGB"))
        assert (image == (1, 254, 3)).all(axis=2).any() == is_green
    code, _, err = run(*command, "--layer", "nothing")
    assert code == 2 and "choose one of attention," in err


def test_a_trace_has_no_layers_that_explain_a_policy(tmp_path: Path) -> None:
    trace = find_episode("gap", frames=40).make(1).finish().trace().save(tmp_path / "gap.trace")
    with pytest.raises(ValueError, match="explains a policy, and here is none"):
        find_episode(str(trace)).with_layers(["attention"], None)


def test_a_race_is_recorded(run, tmp_path: Path) -> None:
    path = str(tmp_path / "race.webp")
    assert run("record", "--race", "gap,idle,random", "-o", path, "--seconds", "1")[0] == 0
    with Image.open(path) as image:
        assert image.size == (1280, 720) and image.n_frames > 10
