"""Images of all environments: their look, copies that paint the same, and every road that can be configured."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.rendering import BatchRenderer, EnvRenderer, RenderOptions
from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv
from deeptraffic.envs.vector_env import DeepTrafficVectorEnv
from deeptraffic.render.painter import lay_out
from deeptraffic.render.theme import DARK, LIGHT
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import RULES_2018, RoadConfig, Sensor
from deeptraffic.sim.state import make_games

SMALL = {"kind": "gaps", "lanes_side": 1, "patches_ahead": 10, "patches_behind": 2}
IMAGES = {"render_mode": "rgb_array", "observation": SMALL}
CLONES = [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))]
MAKERS: dict[str, Callable[..., Any]] = {
    "gym": DeepTrafficEnv,
    "aec": lambda **options: DeepTrafficAECEnv(other_agents=2, **options),
    "vector": lambda **options: DeepTrafficVectorEnv(2, **options),
    "sb3": lambda **options: DeepTrafficVecEnv(2, **options),
}


def images(env: Any) -> list[np.ndarray]:
    if isinstance(env, DeepTrafficVecEnv):
        return list(env.get_images())
    painted = env.render()
    return list(painted) if isinstance(painted, tuple | list) else [painted]


def drive(env: Any, steps: int, start: bool = True) -> Any:
    """Drive some steps, painting every third as a user does."""
    if start and isinstance(env, DeepTrafficVecEnv):
        env.seed(3)
    if start:
        env.reset() if isinstance(env, DeepTrafficVecEnv) else env.reset(seed=3)
    for k in range(steps):
        env.step([k % 5, 1] if isinstance(env, DeepTrafficVecEnv | DeepTrafficVectorEnv) else k % 5)
        if k % 3 == 0:
            images(env)
    return env


@pytest.mark.parametrize("clone", CLONES, ids=["copy", "pickle"])
@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("look", [{}, {"render_size": (333, 500), "overlay": "input", "theme": "light"}], ids=str)
def test_copy_paints_the_same_images(maker: str, clone: Any, look: dict[str, Any]) -> None:
    env = drive(MAKERS[maker](**IMAGES, **look), 11)
    twin = clone(env)
    np.testing.assert_array_equal(images(env), images(twin))
    drive(env, 4, start=False), drive(twin, 4, start=False)
    np.testing.assert_array_equal(images(env), images(twin))


@pytest.mark.parametrize("maker", ["vector", "sb3"])
@pytest.mark.parametrize("options", [{}, {"other_agents": 2, "others": "gap"}], ids=str)
def test_each_image_of_many_envs_is_that_of_the_single_env_trail_and_readings_included(
    maker: str, options: dict[str, Any]
) -> None:
    kind = DeepTrafficVectorEnv if maker == "vector" else DeepTrafficVecEnv
    many, one = kind(3, **IMAGES, **options), DeepTrafficEnv(**IMAGES, **options)
    many.seed(5) if maker == "sb3" else many.reset(seed=[5, 6, 7])
    if maker == "sb3":
        many.reset()
    one.reset(seed=6)
    for step in range(9):
        many.step([2, step % 5, 0]), one.step(step % 5)
    np.testing.assert_array_equal(images(many)[1], one.render())


def test_every_frame_is_recorded_only_where_images_are_asked_for() -> None:
    plain, watched = DeepTrafficVectorEnv(2, observation=SMALL), DeepTrafficVectorEnv(2, **IMAGES)
    for env in (plain, watched):
        env.reset(seed=3)
    for step in range(8):
        (obs, rewards, *_), (again, same, *_) = (env.step([step % 5, 1]) for env in (plain, watched))
        np.testing.assert_array_equal(obs, again)
        np.testing.assert_array_equal(rewards, same)
    assert len(plain.batch.renderer.histories.rings.heads) == 0
    assert watched.batch.renderer.histories.rings.heads[:, 1].tolist() == [101, 101]


@pytest.mark.parametrize("num_envs", [5, 8, 16, 64, 256])
def test_small_images_of_many_envs_are_of_the_road_alone(num_envs: int) -> None:
    renderer = BatchRenderer(RULES_2018, Sensor(), num_envs, RenderOptions(None, "none", "dark"))
    sim = Simulator(RULES_2018, 1, threads=1)
    sim.reset_open([1])
    sim.step([0], periods=3)
    (image,) = renderer.paint(sim)
    layout = lay_out(RULES_2018, renderer.size)
    assert layout.panel.width == 0 and layout.road.width == image.shape[1]
    assert image.shape[0] / image.shape[1] == pytest.approx(700 / 180, rel=0.1) or image.shape[1] == 32
    assert (np.abs(image.astype(int) - DARK.ego).max(axis=2) < 90).any()


def test_copy_of_a_list_holds_the_same_images() -> None:
    env = DeepTrafficEnv(render_mode="rgb_array_list", observation=SMALL)
    env.reset(seed=3)
    env.step(1)
    twin = copy.deepcopy(env)
    env.step(3), twin.step(3)
    np.testing.assert_array_equal(env.render(), twin.render())


def test_restored_envs_paint_the_same_images() -> None:
    env = drive(MAKERS["sb3"](**IMAGES), 11)
    other = MAKERS["sb3"](**IMAGES)
    other.set_state(env.get_state())
    np.testing.assert_array_equal(images(env), images(other))
    drive(env, 4, start=False), drive(other, 4, start=False)
    np.testing.assert_array_equal(images(env), images(other))


@pytest.mark.parametrize("maker", MAKERS)
def test_images_have_the_size_overlay_and_theme_that_were_asked_for(maker: str) -> None:
    plain, marked = (
        drive(MAKERS[maker](**IMAGES, render_size=(240, 420), theme="light", overlay=overlay), 1)
        for overlay in ("none", "map")
    )
    assert {image.shape for image in images(marked)} == {(420, 240, 3)}
    assert all((one != other).any() for one, other in zip(images(plain), images(marked), strict=True))
    for image in images(plain):
        assert (image == LIGHT.page).all(axis=2).any() and not (image == DARK.page).all(axis=2).any()


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
@pytest.mark.parametrize(
    "look, message",
    [({"render_size": (1, 1)}, "render_size"), ({"overlay": "x"}, "overlay"), ({"theme": "x"}, "theme")],
)
def test_impossible_looks_are_refused(maker: str, render_mode: str | None, look: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be"):
        MAKERS[maker](render_mode=render_mode, **look)


@pytest.mark.parametrize("rows", [20, 70, 409, 410, 1000])
@pytest.mark.parametrize("lanes", [1, 7, 16])
def test_every_road_is_painted(lanes: int, rows: int) -> None:
    vehicles = min(3, (lanes * rows - 1) // 16 + 1)
    rules = RoadConfig(lanes=lanes, rows=rows, vehicles=vehicles).build()
    sim = Simulator.__new__(Simulator)  # a real one would be compiled anew for each size of road
    sim.state = make_games(rules, 1)
    sim.state["lane"], sim.state["x"], sim.state["y"] = 0, 4.0, rules.ego_y
    for overlay in ("none", "input", "safety", "map"):
        renderer = EnvRenderer(rules, Sensor(0, 10, 2), "rgb_array", RenderOptions(None, overlay, "dark"))
        image = renderer.render(sim)
        assert image.shape[0] == min(10 * rows, 4096) and image.shape[1] >= 260
        reddish = image[image[..., 0] > DARK.ego[0] - 60]
        assert (np.abs(reddish.astype(int) - DARK.ego).max(axis=1) < 60).sum() > 20


def test_metadata_names_the_rate_at_which_images_play_in_real_time() -> None:
    assert DeepTrafficEnv(render_mode="rgb_array").metadata["render_fps"] == 2
    assert DeepTrafficEnv(render_mode="rgb_array_list").metadata["render_fps"] == 60
    assert DeepTrafficEnv(render_mode="human").metadata["render_fps"] == 60
    assert DeepTrafficAECEnv(other_agents=4, render_mode="rgb_array").metadata["render_fps"] == 10  # an image per turn
    assert DeepTrafficVectorEnv(2, render_mode="rgb_array").metadata["render_fps"] == 2
    assert DeepTrafficVecEnv(2, render_mode="rgb_array").metadata["render_fps"] == 2


def test_list_of_turns_holds_every_frame_once() -> None:
    env = DeepTrafficAECEnv(other_agents=2, render_mode="rgb_array_list", observation=SMALL)
    env.reset(seed=0)
    counts = [len(env.render())]
    for _ in range(6):
        env.step(0)
        counts.append(len(env.render()))
    assert counts == [1, 3, 3, 24, 3, 3, 24]


def test_renderer_refuses_modes_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="None, 'human', 'rgb_array', 'rgb_array_list', got 'ansi'"):
        EnvRenderer(RULES_2018, Sensor(), "ansi", RenderOptions(None, "none", "dark"))


# --- windows --------------------------------------------------------------------------------------------------------

WINDOWS = """
import copy, pickle
import gymnasium, deeptraffic
from deeptraffic.envs.aec_env import DeepTrafficAECEnv
from deeptraffic.render.window import Window
show = Window.show
Window.show = lambda window, image, fps: show(window, image)  # no waiting
sensor = {"kind": "gaps", "lanes_side": 1, "patches_ahead": 10, "patches_behind": 2}
def make(**options):
    return gymnasium.make("DeepTraffic2018-v0", observation=sensor, **options)
one, other = make(render_mode="human"), make(render_mode="human")
turns = DeepTrafficAECEnv(other_agents=2, render_mode="human")
for env in (one, other, turns):
    env.reset(seed=0)
for close in (one.close, one.close):
    close()
    other.step(1), turns.step(1)
    assert other.render() is None and turns.render() is None
for wrapped in (
    gymnasium.wrappers.HumanRendering(make(render_mode="rgb_array")),
    gymnasium.wrappers.vector.HumanRendering(gymnasium.make_vec("DeepTraffic2018-v0", 2, render_mode="rgb_array")),
):
    wrapped.reset(seed=0)
    other.step(1)
    wrapped.close()  # calls pygame.quit()
    other.step(1), turns.step(1)
twin = pickle.loads(pickle.dumps(other))
twin.step(1), other.step(1)
twin.close()
other.step(1)
copy.deepcopy(other).step(1)  # closed by the garbage collector
both = gymnasium.make_vec("DeepTraffic2018-v0", 2, vectorization_mode="sync", render_mode="human", observation=sensor)
both.reset(seed=0), both.step([0, 1])
both.close()
one.reset(seed=1), one.step(0)  # opened again, and left open
"""


@pytest.mark.parametrize("display", ["dummy", "xvfb"])
def test_windows_of_environments_do_not_disturb_each_other(
    requires_system: Callable[..., Any], display: str, tmp_path: Any
) -> None:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        env.pop(name, None)
    command = [sys.executable, "-X", "faulthandler", "-c", WINDOWS]
    if display == "xvfb":
        requires_system("xauth", "xauth")  # of xvfb-run, which Debian only recommends
        command = [str(requires_system("xvfb", "xvfb-run")), "-a", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "xception" not in done.stderr
    warned = done.stderr.count(
        "render_mode='human' shows nothing: there is no display, and SDL's video driver is 'dummy'"
    )
    assert warned == (display == "dummy"), done.stderr
