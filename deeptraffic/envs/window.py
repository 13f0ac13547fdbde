"""The window of `render_mode="human"`: shows pictures at the game's own speed, 60 frames a second."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
