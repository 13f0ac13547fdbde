"""Render modes: an image on request ("rgb_array"), or a window that shows every frame in real time ("human").

An env whose window is closed runs on without rendering. pygame is loaded when the first run with a render mode starts,
so that nothing else needs it.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.settings import check_choice
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor

if TYPE_CHECKING:
    from deeptraffic.render.painter import Painter
    from deeptraffic.render.window import Window

RENDER_MODES = ["human", "rgb_array"]
RENDER_FPS = 60  # frames of the simulation per second, as in the original game
SMALLEST = 200  # [pixels] side of a window that an image is fitted to
FULL_SIZE_ENVS = 4  # of a batch, that are painted at full size; more envs are painted smaller
MIN_IMAGE = 32  # [pixels] side of an image in a large batch
NO_RENDER_MODE = 'no render_mode was chosen: make the environment with render_mode="rgb_array"'


def steps_per_second(rules: Rules) -> int:
    """Return the decisions per second in real time, for `metadata["render_fps"]`."""
    return max(1, round(RENDER_FPS / rules.decision_period))


def check_batch_render_mode(render_mode: str | None) -> str | None:
    """Return the render mode if a vector environment has it."""
    if render_mode not in (None, "rgb_array"):
        raise ValueError(
            f"render_mode must be 'rgb_array' or None for many envs, got {render_mode!r}; "
            "gymnasium.wrappers.vector.HumanRendering shows 'rgb_array' in a window"
        )
    return render_mode


class EnvRenderer:
    """Renders env 0 of a simulator; painter and window are left behind when it is copied or pickled.

    Args:
        rules: of the simulator
        sensor: whose cells an overlay would show
        render_mode: "human" or "rgb_array"
    """

    def __init__(self, rules: Rules, sensor: Sensor, render_mode: str) -> None:
        check_choice("render_mode", render_mode, [None, *RENDER_MODES])
        self.rules, self.sensor, self.render_mode = rules, sensor, render_mode
        self._painter: Painter | None = None
        self._window: Window | None = None

    def start(self) -> None:
        """Forget the previous run."""
        if self._painter is not None:
            self._painter.forget(0)

    def watch(self, sim: Simulator) -> None:
        """Record a frame that has just ended, and show it where there is a window."""
        if self.render_mode == "rgb_array":
            self.painter.observe(sim.state, 0)
        elif self.window.is_open:
            self._show(sim)

    def render(self, sim: Simulator) -> NDArray[np.uint8] | None:
        """Return a new image (H, W, 3) in mode "rgb_array", None where the window shows it."""
        return self.painter.paint(sim.state, 0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    @property
    def painter(self) -> "Painter":
        """The painter, made when first needed."""
        if self._painter is None:
            from deeptraffic.render.painter import Painter

            self._painter = Painter(self.rules, sensor=self.sensor)
        return self._painter

    @property
    def window(self) -> "Window":
        """The window, made when first needed."""
        if self._window is None:
            from deeptraffic.render.window import Window

            self._window = Window(self.painter.size, f"DeepTraffic {self.rules.year}")
        return self._window

    def _show(self, sim: Simulator) -> None:
        window = self.window
        window.events()
        if not window.show(self._fitted_painter(window.size).paint(sim.state, 0), RENDER_FPS):
            window.close()

    def _fitted_painter(self, size: tuple[int, int]) -> "Painter":
        """Return the painter, made anew if the user gave the window another size."""
        if size != self.painter.size and min(size) >= SMALLEST:
            from deeptraffic.render.painter import Painter

            old, self._painter = self.painter, Painter(self.rules, size, sensor=self.sensor)
            self._painter.take_over(old)
        return self.painter

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own painter and window."""
        return {**self.__dict__, "_painter": None, "_window": None}


def batch_painter(rules: Rules, sensor: Sensor, num_envs: int) -> "Painter":
    """Return a painter for many envs; the more envs, the smaller the image of each."""
    from deeptraffic.render.painter import Painter, default_size

    scale = min(1.0, (FULL_SIZE_ENVS / num_envs) ** 0.5)
    width, height = (max(MIN_IMAGE, round(side * scale)) for side in default_size(rules))
    return Painter(rules, (width, height), sensor=sensor)
