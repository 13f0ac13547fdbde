"""Key bindings of the viewer, as a state machine from key names to commands that needs no window.

Key names are those of `pygame.key.name`. State of the display is kept here as attributes; what concerns the episode is
returned as a `Command`.
"""

from typing import NamedTuple

from deeptraffic.render.overlays import OVERLAYS, check_overlay
from deeptraffic.render.theme import TRAIL_COLOURS, theme_by_name, trail_colour_by_name

PACES = {"slow": 0.25, "normal": 1.0, "fast": 10.0}  # frames of the episode per 1/60 s
PAGE_FRAMES = 100
MAX_DIGITS = 12
ZOOMS = (1.0, 1.5, 2.0, 3.0)
ZOOM_KEYS = {"+": 1, "=": 1, "[+]": 1, "-": -1, "[-]": -1}
PROMPTS = {"g": "frame", "r": "seed"}
SWITCHES = {"space": "paused", "l": "layers", "n": "dashboard"}
CYCLES = {"o": ("overlay", OVERLAYS), "c": ("trail", tuple(TRAIL_COLOURS)), "t": ("theme", ("dark", "light"))}

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


COMMANDS = {
    ".": Command("step", 1),
    ",": Command("step", -1),
    "page down": Command("step", PAGE_FRAMES),
    "page up": Command("step", -PAGE_FRAMES),
    "home": Command("seek", 0),
    "s": Command("screenshot"),
    "v": Command("video"),
    "f11": Command("fullscreen"),
    "return": Command("again"),
    "enter": Command("again"),
    "q": Command("quit"),
    "escape": Command("quit"),
}


class Controls:
    """The state of the viewer's keys; ValueError for an overlay, theme or trail that does not exist.

    paused, pace: of the episode
    overlay, follow, trail, theme: of the image
    layers, dashboard, help: whether they are shown
    zoom: one of ZOOMS
    prompt: "frame" or "seed" while a number is typed into `typed`; "leave" while that is asked
    """

    def __init__(self, vehicles: int, overlay: str = "none", trail: str = "yellow", theme: str = "dark") -> None:
        theme_by_name(theme), trail_colour_by_name(trail), check_overlay(overlay)
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
        step = -1 if shift else 1
        if key in ("h", "f1", "?") or (key == "/" and shift) or (key == "escape" and self.help):
            self.help = not self.help
            return None
        if key in PROMPTS:
            self.prompt, self.typed = PROMPTS[key], ""
        elif key in SWITCHES:
            setattr(self, SWITCHES[key], not getattr(self, SWITCHES[key]))
        elif key in CYCLES:
            name, values = CYCLES[key]
            setattr(self, name, values[(values.index(getattr(self, name)) + step) % len(values)])
        elif key in ("1", "2", "3"):
            self.pace, self.paused = list(PACES)[int(key) - 1], False
        elif key in ("f", "e"):
            self.follow = (self.follow + step) % self.vehicles if key == "f" else 0
        elif key in ZOOM_KEYS:
            self.change_zoom(ZOOM_KEYS[key])
        self.paused = self.paused or key in (".", ",")
        return COMMANDS.get(key)

    def change_zoom(self, steps: int) -> None:
        """Zoom in by a number of steps, or out."""
        self.zoom = ZOOMS[min(max(ZOOMS.index(self.zoom) + steps, 0), len(ZOOMS) - 1)]

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
