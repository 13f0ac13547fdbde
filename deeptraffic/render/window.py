"""Window for images, by pygame's display module alone (no audio).

Without a display (a server, a notebook, CI) SDL's dummy driver is chosen, so that code which opens a window runs there
too; `has_display` tells the two cases apart.
"""

import os
import sys
from typing import TYPE_CHECKING

from deeptraffic.render.drawing import ByteArray

if TYPE_CHECKING:
    import pygame


def has_display() -> bool:
    """Whether there is a display."""
    if os.environ.get("SDL_VIDEODRIVER") == "dummy":
        return False
    on_desktop = sys.platform in ("win32", "darwin")
    return on_desktop or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Window:
    """A resizable window for images (H, W, 3).

    Args:
        size: (width, height) [pixels] at first
        title: of the window
    """

    def __init__(self, size: tuple[int, int], title: str = "DeepTraffic") -> None:
        import pygame

        if not has_display():
            os.environ["SDL_VIDEODRIVER"] = "dummy"
        os.environ.setdefault("SDL_VIDEO_X11_WMCLASS", "DeepTraffic")
        pygame.display.init()
        pygame.display.set_caption(title)
        self._screen = pygame.display.set_mode(size, pygame.RESIZABLE)
        self._clock = pygame.time.Clock()
        self.is_open = True

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [pixels], as resized by the user."""
        width, height = self._screen.get_size()
        return width, height

    def events(self) -> "list[pygame.event.Event]":
        """Return the events since the last call; closing the window sets `is_open` to False."""
        import pygame

        events = pygame.event.get()
        for event in events:
            if event.type == pygame.QUIT:
                self.is_open = False
            elif event.type == pygame.VIDEORESIZE:
                self._screen = pygame.display.get_surface() or self._screen
        return events

    def show(self, image: ByteArray, fps: float | None = None) -> bool:
        """Show an image in the window's middle, at most `fps` per second; False once the window is closed.

        Call `events` between two images to keep the window responsive.
        """
        import pygame

        if not self.is_open:
            return False
        height, width = image.shape[:2]
        surface = pygame.image.frombuffer(image.tobytes(), (width, height), "RGB")
        left, top = (self.size[0] - width) // 2, (self.size[1] - height) // 2
        if left > 0 or top > 0:
            self._screen.fill(tuple(image[0, 0].tolist()))
        self._screen.blit(surface, (left, top))
        pygame.display.flip()
        if fps is not None:
            self._clock.tick(fps)
        return self.is_open

    def close(self) -> None:
        """Close the window; may be called again."""
        import pygame

        self.is_open = False
        pygame.display.quit()
