"""What `render_mode` asks for: a picture on request, or a window that shows every frame at the game's own speed.

pygame is loaded when the first run with a render mode starts, so that nothing else needs it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeptraffic.envs.settings import RENDER_FPS, check_render_mode
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Rules, Sensor

RENDER_MODES = ["human", "rgb_array"]


def steps_per_second(rules: Rules) -> int:
    """Return the decisions per second at the game's own speed, for `metadata["render_fps"]`."""
    return max(1, round(RENDER_FPS / rules.decision_period))


class Pictures:
    """Paints game 0 of a simulator; painter and window are left behind when it is copied or pickled.

    Args:
        rules: of the simulator
        sensor: whose cells an overlay would show
        render_mode: "human" or "rgb_array"
    """

    def __init__(self, rules: Rules, sensor: Sensor, render_mode: str) -> None:
        self.rules, self.sensor, self.render_mode = rules, sensor, check_render_mode(render_mode, RENDER_MODES)
        self._painter: Any = None
        self._window: Any = None

    def start(self) -> None:
        """Forget the run before."""
        if self._painter is not None:
            self._painter.forget(0)

    def watch(self, sim: Simulator) -> None:
        """Take notice of a frame that has just ended, and show it where there is a window."""
        if self.render_mode == "rgb_array":
            self.painter.observe(sim.state, 0)
        else:
            self.window.show(self.painter.paint(sim.state, 0))

    def render(self, sim: Simulator) -> NDArray[np.uint8] | None:
        """Return a new picture (H, W, 3) in mode "rgb_array", None where the window shows it."""
        return self.painter.paint(sim.state, 0) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    @property
    def painter(self) -> Any:
        """The painter, made when first needed."""
        if self._painter is None:
            from deeptraffic.render.painter import Painter

            self._painter = Painter(self.rules, sensor=self.sensor)
        return self._painter

    @property
    def window(self) -> "Window":
        """The window, made when first needed."""
        if self._window is None:
            self._window = Window(f"DeepTraffic {self.rules.year}", RENDER_FPS)
        return self._window

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own painter and window."""
        return {**self.__dict__, "_painter": None, "_window": None}


class Window:
    """A pygame window of the size of its first picture.

    Args:
        title: of the window
        fps: pictures shown per second
    """

    def __init__(self, title: str, fps: int) -> None:
        import pygame

        pygame.display.init()
        self.title, self.fps, self.clock = title, fps, pygame.time.Clock()
        self.screen: Any = None

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture (H, W, 3) and wait until the next is due."""
        import pygame

        size = (picture.shape[1], picture.shape[0])
        if self.screen is None or self.screen.get_size() != size:
            self.screen = pygame.display.set_mode(size)
            pygame.display.set_caption(self.title)
        self.screen.blit(pygame.image.frombuffer(np.ascontiguousarray(picture).data, size, "RGB"), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self.clock.tick(self.fps)

    def close(self) -> None:
        """Close the window."""
        import pygame

        pygame.display.quit()
        self.screen = None
