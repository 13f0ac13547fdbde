"""Windows for images, by pygame-ce's display and window modules alone (no audio).

Several may be open in a process, beside a user's own and Gymnasium's: a window takes its own events only, closing one
closes no other, and one that another program part's `pygame.quit()` closed is opened again. Without a display (a
server, a notebook, CI) SDL's dummy driver is chosen, so that code which opens a window runs there too.
"""

import os
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pygame

from deeptraffic.render.drawing import ByteArray

if not hasattr(pygame, "Window"):
    raise ImportError(
        "pygame.Window is missing: pygame has replaced pygame-ce, which cannot be installed beside it; "
        "run pip uninstall -y pygame pygame-ce, then pip install pygame-ce"
    )

DRIVER, ACCELERATION = "SDL_VIDEODRIVER", "SDL_FRAMEBUFFER_ACCELERATION"
DESKTOPS = ("win32", "darwin")
UNSEEN_DRIVERS = ("dummy", "offscreen")
_KEYS = (pygame.KEYDOWN, pygame.KEYUP)
_MOUSE = (pygame.MOUSEBUTTONDOWN, pygame.MOUSEBUTTONUP, pygame.MOUSEMOTION, pygame.MOUSEWHEEL)
_KINDS = (pygame.WINDOWCLOSE, *_KEYS, *_MOUSE)


def open_display() -> str:
    """Initialise pygame's display unless it is; return the name of SDL's video driver, one of those if there is none.

    A driver that is named in SDL_VIDEODRIVER is tried first.
    """
    if not pygame.display.get_init():
        has_server = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in DESKTOPS
        try:
            with _environment({} if has_server or os.environ.get(DRIVER) else {DRIVER: "dummy"}):
                pygame.display.init()
        except pygame.error:
            with _environment({DRIVER: "dummy"}):
                pygame.display.init()
    return pygame.display.get_driver()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables that SDL reads when it starts, and restore them."""
    values = {"SDL_VIDEO_X11_WMCLASS": "DeepTraffic", "SDL_NO_SIGNAL_HANDLERS": "1"} | values  # else SIGTERM is no end
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def has_display() -> bool:
    """Whether a window would be seen."""
    return open_display() not in UNSEEN_DRIVERS


class Window:
    """A resizable window for images (H, W, 3).

    Args:
        size: (width, height) at first, in the desktop's units, which on a dense screen are several pixels each
        title: of the window

    is_open: until `close`, or until the user closes it
    """

    def __init__(self, size: tuple[int, int], title: str = "DeepTraffic") -> None:
        self._size, self._title = size, title
        self._clock = pygame.time.Clock()
        self._keys: list[pygame.event.Event] = []
        self.is_open, self._is_full = True, False
        self._corner = (0, 0)  # of the image in the window
        self._open()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) [pixels of the screen], as resized by the user."""
        if self.is_open and _is_alive(self._window, self._title):
            width, height = self._window.get_surface().get_size()
            self._size = (width, height)
        return self._size

    @property
    def fullscreen(self) -> bool:
        """Whether it fills the screen."""
        return self._is_full

    @fullscreen.setter
    def fullscreen(self, wanted: bool) -> None:
        if wanted == self._is_full or not self.is_open or not _is_alive(self._window, self._title):
            return
        if wanted:
            self._window.set_fullscreen(desktop=True)
        else:
            self._window.set_windowed()
        self._is_full = wanted

    def events(self) -> list[pygame.event.Event]:
        """Return the key and mouse events since the last call; `is_open` becomes False once the user has closed it."""
        _deliver_events()
        keys, self._keys = self._keys, []
        return keys

    def show(self, image: ByteArray, fps: float | None = None) -> bool:
        """Show an image in the window's middle, at most `fps` per second; False once the window is closed.

        Call `events` between two images to keep the window responsive.
        """
        if not self.is_open:
            return False
        if not _is_alive(self._window, self._title):
            self._discard()
            self._open()
        height, width = image.shape[:2]
        surface = pygame.image.frombuffer(np.ascontiguousarray(image).data, (width, height), "RGB")
        screen = self._window.get_surface()
        left, top = (screen.get_width() - width) // 2, (screen.get_height() - height) // 2
        self._corner = (left, top)
        if left > 0 or top > 0:
            screen.fill(tuple(image[0, 0].tolist()))
        screen.blit(surface, (left, top))
        self._window.flip()
        if fps is not None:
            self.wait(fps)
        return self.is_open

    def point(self, event: pygame.event.Event) -> tuple[int, int]:
        """Return where in the image a mouse event was, (x, y) [pixels]."""
        dense = self.size[0] / max(self._window.size[0], 1)  # pixels per unit of the desktop
        return round(event.pos[0] * dense) - self._corner[0], round(event.pos[1] * dense) - self._corner[1]

    def wait(self, fps: float) -> None:
        """Wait until the next of `fps` images a second is due."""
        self._clock.tick(fps)

    def close(self) -> None:
        """Close the window; may be called again."""
        self.is_open = False
        self._discard()

    def _open(self) -> None:
        open_display()
        self._window = pygame.Window(self._title, self._size, resizable=True, allow_high_dpi=True)
        # X11 shares memory with its clients: SDL's default, a texture, costs ten times as much without a GPU.
        with _environment({ACCELERATION: "0"} if open_display() == "x11" and ACCELERATION not in os.environ else {}):
            self._window.get_surface()  # now: the first call makes the window anew, and keys before it are lost
        self._discard = weakref.finalize(self, _discard, self._window, self._title)  # also when it is never closed
        self._discard.atexit = False  # pygame closes its windows by itself
        _OPEN.add(self)


_OPEN: weakref.WeakSet[Window] = weakref.WeakSet()
_DEAD: list[pygame.Window] = []  # kept for ever: freeing one would close what SDL has put in its place in memory


def _is_alive(window: pygame.Window, title: str) -> bool:
    """Whether a window is still ours: `pygame.quit` or `pygame.display.quit`, called by anyone, closes all."""
    return pygame.display.get_init() and window.title == title


def _discard(window: pygame.Window, title: str) -> None:
    if _is_alive(window, title):
        window.destroy()
    else:
        _DEAD.append(window)


def _deliver_events() -> None:
    """Give every window its key events and close those that the user has closed; other events stay in the queue."""
    if not pygame.display.get_init():
        return
    ours_alone = pygame.display.get_surface() is None
    # Another program part may leave its queue full: then only few kinds are looked through.
    for event in pygame.event.get() if ours_alone else pygame.event.get(_KINDS):
        windows = [window for window in list(_OPEN) if window.is_open]
        owner = getattr(event, "window", None)
        if owner is None and ours_alone and event.type < pygame.USEREVENT:
            addressed = windows if event.type == pygame.QUIT or len(windows) == 1 else []
        else:
            addressed = [window for window in windows if window._window is owner]
            if not addressed:
                pygame.event.post(event)
        for window in addressed:
            if event.type in (pygame.WINDOWCLOSE, pygame.QUIT):
                window.close()
            elif event.type in (*_KEYS, *_MOUSE):
                window._keys.append(event)
