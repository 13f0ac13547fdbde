"""Themes: colours and geometry of every rendered image, and the 13 named trail colours.

Windows, files and `rgb_array` take their colours from here. The palette is safe for colour-blind readers: traffic,
other agents and the ego vehicle differ in lightness, in hue (grey, blue, orange-red) and in shape (agents have a mark
on the roof, the ego vehicle stripes, a rim and a trail); among traffic, a car that wants to drive faster is lighter
and has a lower body (`deeptraffic/render/sprites.py`); warnings and all-clear are orange and blue; a positive and a
negative value differ in lightness as well. One rule of contrast holds for what a user may colour: `visible`.
"""

from dataclasses import dataclass
from functools import cache

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
PATTERN_PERIOD = 80.0  # [px] after which lane marks and posts repeat along the road
DASH_PERIOD, DASH_LENGTH = 40.0, 16.0  # [px]
SHOULDER = 10.0  # [px] of verge on either side of the road
TOP_SPEED_MPH = 80.0
MIN_CONTRAST = 3.0  # of graphics on their background (WCAG 2.2, success criterion 1.4.11)
OBSERVED_AGENT: Colour = (196, 62, 48)  # other agents in the pixels observation, whose images do not change
FEET_PER_PX = MPH_PER_PX * 5280 / 3600 / 60  # at 60 frames a second, the game's normal pace
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Theme:
    """Colours of a theme; `traffic` holds the body shades of traffic cars, from the fastest to the slowest."""

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
    agent=(52, 96, 206),
    ego=(255, 84, 62),
    rim=(255, 255, 255),
    free=(64, 176, 255),
    occupied_slow=(255, 236, 150),
    occupied_fast=(255, 140, 0),
    blocked=(255, 72, 40),
    positive=(150, 205, 255),
    negative=(214, 58, 40),
)

LIGHT = Theme(
    page=(247, 248, 250),
    panel=(247, 248, 250),
    track=(222, 227, 233),
    text=(24, 29, 37),
    muted=(98, 108, 122),
    verge=(222, 229, 222),
    post=(168, 178, 172),
    asphalt=(84, 90, 100),
    lane_mark=(196, 202, 210),
    edge_mark=(250, 251, 252),
    traffic=((255, 255, 255), (228, 232, 237), (204, 210, 217), (180, 187, 196)),
    glass=(52, 60, 72),
    headlight=(255, 243, 204),
    tail_light=(176, 66, 60),
    agent=(16, 36, 120),
    ego=(255, 72, 48),
    rim=(255, 255, 255),
    free=(20, 90, 200),
    occupied_slow=(255, 240, 160),
    occupied_fast=(255, 150, 0),
    blocked=(230, 44, 16),
    positive=(20, 66, 170),
    negative=(242, 128, 84),
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


def luminance(colour: Colour) -> float:
    """Return the relative luminance of a colour, 0..1 (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast ratio of two colours, 1..21 (WCAG 2.2)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@cache
def visible(colour: Colour, background: Colour, ratio: float = MIN_CONTRAST) -> Colour:
    """Return the colour nearest to `colour` on the ways to white and to black that stands out from its background."""
    shades = [mix(colour, end, step / 50) for step in range(51) for end in ((255, 255, 255), (0, 0, 0))]
    return next((shade for shade in shades if contrast(shade, background) >= ratio), shades[-2])
