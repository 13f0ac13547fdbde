"""Key bindings of the viewer, as a state machine from key names to commands that needs no window.

Key names are those of `pygame.key.name`. State of the display is kept here as attributes; what concerns the episode is
returned as a `Command`.
"""

from typing import NamedTuple

from deeptraffic.render.overlays import OVERLAYS
from deeptraffic.render.theme import TRAIL_COLOURS

PACES = {"slow": 0.25, "normal": 1.0, "fast": 10.0}  # frames of the episode per 1/60 s
PAGE_FRAMES = 100
MAX_DIGITS = 12
ZOOMS = (1.0, 1.5, 2.0, 3.0)
ZOOM_KEYS = {"+": 1, "=": 1, "[+]": 1, "-": -1, "[-]": -1}
COMMANDS = {"s": "screenshot", "v": "video", "f11": "fullscreen", "return": "again", "enter": "again"}

HELP = (
    ("Space", "pause, resume"),
    (".   ,", "one frame on, one back"),
    ("1  2  3", "slow, normal, fast"),
    ("Page keys", "100 frames on, back"),
    ("Home", "to the start"),
    ("G", "jump to a frame"),
    ("R", "restart with a seed"),
    ("O", "overlay: input, safety, map"),
    ("L", "layers on, off"),
    ("F", "follow the next vehicle"),
    ("E", "follow the ego car"),
    ("+   -", "zoom in, out (or the wheel)"),
    ("Click", "follow a vehicle"),
    ("Point", "value of a unit or a cell"),
    ("C", "trail colour"),
    ("T", "dark, light"),
    ("N", "graph and network"),
    ("S", "save a screenshot"),
    ("V", "start, end a video"),
    ("F11", "full screen"),
    ("H  ?", "this help"),
    ("Q  Esc", "close"),
)
DRIVING_HELP = (
    ("Up  Down", "faster, slower"),
    ("Left  Right", "change lanes"),
)


class Command(NamedTuple):
    """A command to the viewer.

    kind: `step` by a number of frames, `seek` a frame, `restart` with a seed, `screenshot`, `video` (start or end),
        `fullscreen` (or back), `again` (a run that has ended), `quit`, or `leave` (quit without a question)
    value: the number; None for a restart with the same seed
    """

    kind: str
    value: int | None = None


class Controls:
    """The state of the viewer's keys.

    paused, pace: of the episode
    overlay, follow, trail, theme: of the image
    layers, dashboard, help: whether they are shown
    zoom: one of ZOOMS
    prompt: "frame" or "seed" while a number is typed into `typed`; "leave" while that is asked
    """

    def __init__(self, vehicles: int, overlay: str = "none", trail: str = "yellow", theme: str = "dark") -> None:
        self.vehicles = vehicles
        self.paused, self.pace = False, "normal"
        self.overlay, self.follow, self.trail, self.theme = overlay, 0, trail, theme
        self.layers, self.dashboard, self.help = True, True, False
        self.zoom = ZOOMS[0]
        self.prompt: str | None = None
        self.typed = ""

    @property
    def appearance(self) -> tuple[object, ...]:
        """What a change of makes new painters necessary."""
        return self.trail, self.theme, self.layers, self.dashboard, self.zoom

    def press(self, key: str, shift: bool = False) -> Command | None:
        """Handle one key; return its command to the viewer, if any."""
        if self.prompt is not None:
            return self._type(key)
        if key in ("h", "f1", "?") or (key == "/" and shift):
            self.help = not self.help
        elif key == "escape" and self.help:
            self.help = False
        elif key in ("q", "escape"):
            return Command("quit")
        elif key in COMMANDS:
            return Command(COMMANDS[key])
        elif key in ("g", "r"):
            self.prompt, self.typed = ("frame" if key == "g" else "seed"), ""
        else:
            self._change_display(key, shift)
            return self._run(key)
        return None

    def _run(self, key: str) -> Command | None:
        if key == "space":
            self.paused = not self.paused
        elif key in ("1", "2", "3"):
            self.pace, self.paused = list(PACES)[int(key) - 1], False
        elif key in (".", ","):
            self.paused = True
            return Command("step", 1 if key == "." else -1)
        elif key in ("page down", "page up"):
            return Command("step", PAGE_FRAMES if key == "page down" else -PAGE_FRAMES)
        elif key == "home":
            return Command("seek", 0)
        return None

    def change_zoom(self, steps: int) -> None:
        """Zoom in by a number of steps, or out."""
        self.zoom = ZOOMS[min(max(ZOOMS.index(self.zoom) + steps, 0), len(ZOOMS) - 1)]

    def _change_display(self, key: str, shift: bool) -> None:
        if key == "o":
            self.overlay = _next(OVERLAYS, self.overlay, shift)
        elif key == "f":
            self.follow = (self.follow + (-1 if shift else 1)) % self.vehicles
        elif key == "e":
            self.follow = 0
        elif key == "c":
            self.trail = _next(tuple(TRAIL_COLOURS), self.trail, shift)
        elif key == "t":
            self.theme = _next(("dark", "light"), self.theme, shift)
        elif key == "l":
            self.layers = not self.layers
        elif key in ZOOM_KEYS:
            self.change_zoom(ZOOM_KEYS[key])
        elif key == "n":
            self.dashboard = not self.dashboard

    def _type(self, key: str) -> Command | None:
        if self.prompt == "leave":
            self.prompt = None
            return Command("leave") if key in ("return", "enter", "q") else None
        digit = key.strip("[]")  # the number pad's keys are named [0] to [9]
        if digit.isdecimal() and len(digit) == 1 and len(self.typed) < MAX_DIGITS:
            self.typed += digit
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key in ("escape", "q"):
            self.prompt = None
        elif key in ("return", "enter"):
            prompt, self.prompt = self.prompt, None
            if prompt == "seed":
                return Command("restart", int(self.typed) if self.typed else None)
            if self.typed:
                return Command("seek", int(self.typed))
        return None


def _next(names: tuple[str, ...], name: str, backwards: bool) -> str:
    return names[(names.index(name) + (-1 if backwards else 1)) % len(names)]
