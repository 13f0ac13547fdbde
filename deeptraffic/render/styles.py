"""Road styles: named appearances for domain randomisation, in disjoint sets for training and test.

A style is a palette and image degradations. Rendering every frame in a random style is domain randomisation (Tobin et
al. 2017, arXiv:1703.06907): a network trained on many styles can generalise to unseen ones.

    >>> STYLE_SETS["unseen"]                               # ("neon", "snow", "mars")
"""

from dataclasses import dataclass

from deeptraffic.render.theme import DARK, OBSERVED_AGENT, Colour


@dataclass(frozen=True)
class RoadStyle:
    """A palette and image degradations. Colours are (red, green, blue), 0..255.

    asphalt, mark, shoulder, glass, agent, ego, stripe: marks are lane marks and edge lines; agent is for copies of the
        policy; the stripe runs along the ego vehicle's roof
    traffic: shades of other vehicles
    jitter: standard deviation of each colour between frames [levels]
    noise: largest standard deviation of pixel noise [levels]
    blur: largest fraction of its value that a pixel gives to each neighbour, 0..0.3
    patches: most occluding patches; patch_side: their longest side, as a fraction of the frame's
    """

    asphalt: Colour = DARK.asphalt
    mark: Colour = DARK.edge_mark
    shoulder: Colour = (34, 60, 44)
    glass: Colour = DARK.glass
    agent: Colour = OBSERVED_AGENT
    ego: Colour = DARK.ego
    stripe: Colour = (255, 255, 255)
    traffic: tuple[Colour, ...] = DARK.traffic
    jitter: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    patches: int = 0
    patch_side: float = 0.1


def _rough(
    asphalt: Colour, mark: Colour, shoulder: Colour, glass: Colour, ego: Colour, stripe: Colour, *traffic: Colour
) -> RoadStyle:
    """Return a palette with all degradations."""
    return RoadStyle(
        asphalt, mark, shoulder, glass, ego, ego, stripe, traffic, jitter=9.0, noise=9.0, blur=0.12, patches=1
    )


_W, _B = (250, 250, 250), (18, 18, 22)  # white and black, as near as cameras come

STYLES: dict[str, RoadStyle] = {
    "plain": RoadStyle(),
    # asphalt, lane mark, shoulder, glass, ego, stripe, traffic
    "night": _rough((30, 34, 44), (150, 158, 172), (14, 20, 18), (60, 70, 86), (255, 84, 62), _W, (196, 202, 210), _W),
    "day": _rough(
        (112, 119, 130), (240, 240, 236), (150, 176, 120), (52, 60, 72), (222, 40, 36), _W, _W, (40, 70, 150)
    ),
    "dusk": _rough((74, 62, 84), (226, 196, 170), (48, 40, 56), (34, 28, 44), (255, 170, 40), _B, (210, 160, 170), _W),
    "desert": _rough(
        (150, 128, 104), (252, 244, 214), (214, 186, 132), (70, 60, 50), (180, 30, 30), _W, (90, 70, 54), _W
    ),
    "forest": _rough((70, 76, 70), (236, 214, 90), (30, 84, 40), (26, 34, 30), (240, 120, 30), _B, (160, 176, 160), _B),
    "concrete": _rough(
        (188, 186, 180), _B, (120, 124, 110), (220, 226, 230), (200, 24, 60), _W, (46, 52, 62), (96, 40, 40)
    ),
    "ocean": _rough(
        (38, 70, 104), (190, 226, 240), (20, 130, 140), (16, 30, 50), (250, 220, 40), _B, _W, (150, 190, 210)
    ),
    "rust": _rough(
        (96, 66, 54), (236, 210, 180), (62, 40, 30), (40, 30, 28), (90, 200, 240), _W, (214, 150, 96), (232, 224, 210)
    ),
    "neon": _rough(
        (22, 8, 44), (240, 40, 220), (6, 40, 70), (10, 10, 20), (60, 255, 120), _B, (70, 220, 255), (150, 110, 255)
    ),
    "snow": _rough(
        (214, 220, 228), (92, 108, 132), (250, 252, 255), (140, 160, 180), (230, 96, 20), _B, (60, 74, 96), (24, 96, 84)
    ),
    "mars": _rough(
        (172, 84, 52), (250, 190, 140), (120, 44, 28), (60, 20, 16), (40, 90, 220), _W, (250, 226, 200), (70, 40, 40)
    ),
}

STYLE_SETS: dict[str, tuple[str, ...]] = {
    "clean": ("plain",),
    "train": ("night", "day", "dusk", "desert", "forest", "concrete", "ocean", "rust"),
    "unseen": ("neon", "snow", "mars"),
}


def styles_by_name(name: str) -> list[RoadStyle]:
    """Return the styles of a set, or the style of that name; ValueError for a name that does not exist."""
    if name not in STYLE_SETS and name not in STYLES:
        raise ValueError(f"there are no styles {name!r}; choose one of {', '.join([*STYLE_SETS, *STYLES])}")
    return [STYLES[style] for style in STYLE_SETS.get(name, (name,))]
