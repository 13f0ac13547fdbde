"""Render modes: images on request ("rgb_array", "rgb_array_list"), or a window that shows every frame ("human").

"rgb_array" returns the image of the present moment, "rgb_array_list" those of all frames since it was last asked, 30
for a step. An env whose window is closed runs on without rendering. pygame is loaded when the first image is painted,
so that nothing else needs it.
"""

import inspect
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.wrappers import RecordVideo
from numpy.typing import NDArray

from deeptraffic.episodes.history import Histories
from deeptraffic.render.layers import LayerContext, RoadLayer, make_layer
from deeptraffic.render.overlays import OVERLAYS
from deeptraffic.render.painter import MAX_SIDE, MIN_SIDE, Painter, default_size
from deeptraffic.render.theme import THEMES
from deeptraffic.settings import check_choice
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor

if TYPE_CHECKING:
    from deeptraffic.render.window import Window

Image = NDArray[np.uint8]

RENDER_MODES = ["human", "rgb_array", "rgb_array_list"]
FRAMES_PER_SECOND = 60  # of the simulation, as in the original game
SMALLEST = 200  # [pixels] side of a window that an image is fitted to
FULL_SIZE_ENVS = 4  # of a batch, that are painted at full size; more envs are painted smaller
NO_RENDER_MODE = 'no render_mode was chosen: make the environment with render_mode="rgb_array"'


def render_fps(rules: Rules, render_mode: str | None = None, turns: int = 1) -> int:
    """Return how many images per second play in real time, for `metadata["render_fps"]`.

    turns: steps of the environment, each with one image, in a decision period
    """
    if render_mode in ("human", "rgb_array_list"):
        return FRAMES_PER_SECOND
    return max(1, round(FRAMES_PER_SECOND * turns / rules.decision_period))


def check_batch_render_mode(render_mode: str | None) -> str | None:
    """Return the render mode if a vector environment has it."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(
            f"render_mode must be 'rgb_array' or None for many envs, got {render_mode!r}; "
            "gymnasium.wrappers.vector.HumanRendering shows 'rgb_array' in a window (pip install 'deeptraffic[video]')"
        )
    return render_mode


class RenderOptions(NamedTuple):
    """Look of an environment's images; raises ValueError in `check`.

    render_size: (width, height) [pixels], each in [32, 4096]; None takes one pixel per px of the road
    overlay: "none", "input" (the sensor's cells), "safety" (cells that the safety system checks) or "map" (speed map)
    theme: "dark" or "light"
    layers: on the road, names or callables, see `deeptraffic.render.layers`
    """

    render_size: tuple[int, int] | None
    overlay: str
    theme: str
    layers: Sequence[str | RoadLayer] = ()

    def check(self) -> "RenderOptions":
        """Return the options in canonical types."""
        check_choice("overlay", self.overlay, OVERLAYS)
        check_choice("theme", self.theme, list(THEMES))
        return self if self.render_size is None else self._replace(render_size=_check_size(self.render_size))

    def make_layers(self, rules: Rules) -> list[RoadLayer]:
        """Return the layers; ValueError for one that does not exist, or that needs a policy and was given by name."""
        return [make_layer(layer, LayerContext(rules, theme=THEMES[self.theme])) for layer in self.layers]

    def painter(
        self, rules: Rules, size: tuple[int, int] | None, sensor: Sensor, layers: Sequence[RoadLayer]
    ) -> Painter:
        """Return a painter of images of this look, with layers that were made before."""
        return Painter(rules, size, overlay=self.overlay, theme=self.theme, sensor=sensor, layers=layers)


def _check_size(size: Any) -> tuple[int, int]:
    sides = list(size) if isinstance(size, list | tuple | np.ndarray) else []
    whole = [isinstance(side, int | np.integer) and not isinstance(side, bool) for side in sides]
    if len(sides) != 2 or not all(whole) or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        limits = f"two integers in [{MIN_SIDE}, {MAX_SIDE}] pixels, or None"
        raise ValueError(f"render_size must be (width, height), {limits}, got {size!r:.80}")
    return int(sides[0]), int(sides[1])


class EnvRenderer:
    """Renders env 0 of a simulator; a copy paints the same images, in a window of its own.

    Args:
        rules: of the simulator
        sensor: whose cells the overlay "input" shows
        render_mode: "human", "rgb_array" or "rgb_array_list"
        options: size, overlay and theme
    """

    def __init__(self, rules: Rules, sensor: Sensor, render_mode: str, options: RenderOptions) -> None:
        check_choice("render_mode", render_mode, [None, *RENDER_MODES])
        self.rules, self.sensor, self.render_mode, self.options = rules, sensor, render_mode, options
        self.layers = options.make_layers(rules)
        self._histories = Histories(rules.vehicles)
        self._images: list[Image] = []  # "rgb_array_list": painted since `render` was last called
        self._painted = -1  # the frame that was shown or kept last
        self._dismissed = False  # whether the user has closed the window
        self._painter: Painter | None = None
        self._window: Window | None = None

    def start(self) -> None:
        """Forget the previous run."""
        self._histories.forget()
        self._images, self._painted = [], -1

    def run_to_frame(self, sim: Simulator, end_frame: int, action: int) -> int:
        """As `Simulator.run_to_frame` for env 0, pausing after every frame unless images are made on request alone."""
        if self.render_mode != "rgb_array":
            return int(sim.run_to_frame(min(end_frame, int(sim.state.frame[0]) + 1), action)[0])
        ends, actions = np.array([end_frame]), np.array([action])
        return int(self._histories.run_to_frame(sim, ends, actions, sim.env_indices[:1])[0])

    def watch(self, sim: Simulator, is_waiting: bool = False) -> None:
        """Record a frame whose moves are done, and show it or keep its image unless that has been done.

        is_waiting: the frame has not ended, for an agent is to decide
        """
        on_request = self.render_mode == "rgb_array"
        if on_request and is_waiting:
            return  # `render` records it
        history = self._histories.observe(sim.state)
        if on_request or history.frame == self._painted:
            return
        self._painted = history.frame
        if self.render_mode == "rgb_array_list":
            self._images.append(self.painter().paint(sim.state))
        elif not self._dismissed:
            self._show(sim)

    def render(self, sim: Simulator) -> Image | list[Image] | None:
        """Return the image (H, W, 3), the list of images since the last call, or None where the window shows them."""
        if self.render_mode == "human":
            return None
        if self.render_mode == "rgb_array":
            return self.painter().paint(sim.state)
        images, self._images = self._images, []
        _hand_to_video(images)
        return images

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def painter(self, size: tuple[int, int] | None = None) -> Painter:
        """Return the painter of images of this size (None: of the size it has), made when first needed."""
        if self._painter is None or size not in (None, self._painter.size):
            size = size or self.options.render_size
            self._painter = self.options.painter(self.rules, size, self.sensor, self.layers)
            self._painter.histories = self._histories
        return self._painter

    @property
    def window(self) -> "Window":
        """The window, made when first needed."""
        if self._window is None:
            from deeptraffic.render.window import Window

            self._window = Window(self.painter().size, f"DeepTraffic {self.rules.year}")
            _warn_unseen()
        return self._window

    def _show(self, sim: Simulator) -> None:
        """Show the frame, fitted to the window if the user gave it another size."""
        window = self.window
        window.events()
        painter = self.painter(window.size if min(window.size) >= SMALLEST else None)
        self._dismissed = not window.show(painter.paint(sim.state), FRAMES_PER_SECOND)

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own painter and window."""
        return {**self.__dict__, "_painter": None, "_window": None}


@cache
def _warn_unseen() -> None:
    """Say on standard error, once, that a window cannot be seen."""
    from deeptraffic.render.window import has_display, open_display

    if not has_display():
        gymnasium.logger.warn(
            f"render_mode='human' shows nothing: there is no display, and SDL's video driver is {open_display()!r}; "
            "set DISPLAY (a virtual one: xvfb-run), or make images with render_mode='rgb_array'"
        )


def _hand_to_video(images: list[Image]) -> None:
    """Give all images but the last to the RecordVideo that asks for them, if one does.

    Of a list, Gymnasium's wrapper records the last image only (`RecordVideo._capture_frame`, 1.4), and an environment
    cannot know its wrappers: the caller is found on the stack.
    """
    caller = inspect.currentframe()
    while caller is not None and caller.f_code is not RecordVideo._capture_frame.__code__:
        caller = caller.f_back
    if caller is not None:
        caller.f_locals["self"].recorded_frames.extend(images[:-1])
        del images[:-1]  # else the wrapper also keeps them for its own `render`, for ever


class BatchRenderer:
    """Renders many envs of a simulator, each in an image of its own.

    Args:
        rules: of the simulator
        sensor: whose cells the overlay "input" shows
        num_envs: more than four get smaller images of the road alone, unless the options give a size
        options: size, overlay and theme
    """

    def __init__(self, rules: Rules, sensor: Sensor, num_envs: int, options: RenderOptions) -> None:
        self.rules, self.sensor, self.options = rules, sensor, options
        scale = min(1.0, (FULL_SIZE_ENVS / num_envs) ** 0.5)
        width, height = (max(MIN_SIDE, round(side * scale)) for side in default_size(rules, panel=scale == 1.0))
        self.size = options.render_size or (width, height)
        self.layers = options.make_layers(rules)
        self.histories = Histories(rules.vehicles)
        self._painter: Painter | None = None

    def paint(self, sim: Simulator) -> list[Image]:
        """Return an image (H, W, 3) of every env."""
        if self._painter is None:
            self._painter = self.options.painter(self.rules, self.size, self.sensor, self.layers)
            self._painter.histories = self.histories
        return [self._painter.paint(sim.state, env) for env in sim.env_indices.tolist()]

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own painter."""
        return {**self.__dict__, "_painter": None}
