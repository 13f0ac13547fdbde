"""Themes: colours and geometry of every rendered image, and the 13 named trail colours.

Windows, files, `rgb_array` and the pixels observation all take their colours from here. The palette is safe for
colour-blind readers: traffic, other agents and the ego vehicle differ in lightness (about 85, 50 and 65 of 100) and in
shape (only the ego vehicle has stripes, a rim and a trail); warnings and all-clear are orange and blue.
"""

from dataclasses import dataclass

from deeptraffic.sim.rules import MPH_PER_PX

Colour = tuple[int, int, int]  # red, green, blue, 0..255

TRAIL_COLOURS: dict[str, Colour] = {
    "red": (255, 64, 52),
    "maroon": (150, 20, 40),
    "black": (6, 8, 10),
    "silver": (198, 204, 212),
    "yellow": (255, 214, 36),
    "lime": (92, 240, 70),
    "green": (24, 150, 64),
    "aqua": (48, 222, 240),
    "teal": (12, 148, 148),
    "blue": (52, 110, 255),
    "navy": (24, 40, 140),
    "fuchsia": (244, 64, 220),
    "purple": (150, 56, 190),
}
TRAIL_FRAMES = 100  # [frames] of the trail
SPEED_FRAMES = 60  # [frames] of the speed read-out's average, as in the original game
PATTERN_PERIOD = 80.0  # [px] after which lane marks and posts repeat along the road
DASH_PERIOD, DASH_LENGTH = 40.0, 16.0  # [px]
SHOULDER = 10.0  # [px] of verge on either side of the road
TOP_SPEED_MPH = 80.0
FEET_PER_PX = MPH_PER_PX * 5280 / 3600 / 60  # at 60 frames a second, the game's normal pace
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Theme:
    """Colours of a theme; `traffic` holds the body shades, taken by vehicle index."""

    page: Colour
    panel: Colour
    track: Colour
    text: Colour
    muted: Colour
    verge: Colour
    post: Colour
    asphalt: Colour
    lane_mark: Colour
    edge_mark: Colour
    traffic: tuple[Colour, ...]
    glass: Colour
    headlight: Colour
    tail_light: Colour
    agent: Colour
    ego: Colour
    rim: Colour
    free: Colour
    occupied_slow: Colour
    occupied_fast: Colour
    blocked: Colour
    positive: Colour
    negative: Colour


DARK = Theme(
    page=(15, 18, 24),
    panel=(15, 18, 24),
    track=(40, 47, 58),
    text=(242, 245, 249),
    muted=(140, 151, 167),
    verge=(24, 31, 36),
    post=(84, 98, 110),
    asphalt=(52, 58, 68),
    lane_mark=(142, 151, 165),
    edge_mark=(222, 227, 234),
    traffic=((246, 248, 250), (222, 226, 232), (198, 204, 212), (176, 183, 193)),
    glass=(36, 43, 54),
    headlight=(255, 240, 190),
    tail_light=(168, 58, 52),
    agent=(196, 62, 48),
    ego=(255, 84, 62),
    rim=(255, 255, 255),
    free=(64, 176, 255),
    occupied_slow=(255, 236, 150),
    occupied_fast=(255, 140, 0),
    blocked=(255, 72, 40),
    positive=(84, 150, 255),
    negative=(255, 92, 76),
)

LIGHT = Theme(
    page=(247, 248, 250),
    panel=(247, 248, 250),
    track=(222, 227, 233),
    text=(24, 29, 37),
    muted=(98, 108, 122),
    verge=(222, 229, 222),
    post=(168, 178, 172),
    asphalt=(112, 119, 130),
    lane_mark=(196, 202, 210),
    edge_mark=(250, 251, 252),
    traffic=((255, 255, 255), (238, 241, 244), (222, 226, 231), (206, 212, 219)),
    glass=(52, 60, 72),
    headlight=(255, 243, 204),
    tail_light=(176, 66, 60),
    agent=(150, 30, 26),
    ego=(255, 72, 48),
    rim=(255, 255, 255),
    free=(20, 90, 200),
    occupied_slow=(255, 240, 160),
    occupied_fast=(255, 150, 0),
    blocked=(230, 44, 16),
    positive=(36, 96, 214),
    negative=(214, 52, 36),
)

THEMES: dict[str, Theme] = {"dark": DARK, "light": LIGHT}


def theme_by_name(name: str) -> Theme:
    """Return a theme by name; ValueError for a name that does not exist."""
    if name not in THEMES:
        raise ValueError(f"there is no theme {name!r}; choose one of {', '.join(THEMES)}")
    return THEMES[name]


def trail_colour_by_name(name: str) -> Colour:
    """Return one of the 13 named colours; ValueError for a name that does not exist."""
    if name not in TRAIL_COLOURS:
        raise ValueError(f"there is no trail colour {name!r}; choose one of {', '.join(TRAIL_COLOURS)}")
    return TRAIL_COLOURS[name]


def mix(start: Colour, end: Colour, fraction: float) -> Colour:
    """Return the linear interpolation from start to end at `fraction` (0..1)."""
    red, green, blue = (round(a + (b - a) * fraction) for a, b in zip(start, end, strict=True))
    return red, green, blue


def contrast(one: Colour, other: Colour) -> float:
    """Return the difference of two colours in luminance, 0..1."""
    first, second = (sum(c * w for c, w in zip(colour, LUMINANCE, strict=True)) for colour in (one, other))
    return abs(first - second) / 255
