"""Observations by name: the fixed, weak eyes of the benchmark DeepTraffic-Vision.

    >>> gymnasium.make("DeepTraffic2018-v0", observation="two-frames")
    >>> make_observation("lossy", drop_rate=0.5)          # a preset with another option

An eye is a kind of observation with its options, which a policy keeps when it is evaluated.
"""

from types import MappingProxyType
from typing import Any, NamedTuple

from deeptraffic.sim.rules import CONTEST_LANES_SIDE


class Preset(NamedTuple):
    """A kind of observation with its options, and what tables say about it."""

    options: dict[str, Any]
    summary: str


SMALL_IMAGE = {"kind": "pixels", "height": 70, "width": 28}
COLOUR = {**SMALL_IMAGE, "temporal_window": 1}
BLIND = {"kind": "gaps", "shows_speeds": False}

PRESETS = MappingProxyType(
    {
        "one-frame": Preset({**SMALL_IMAGE, "grey": True}, "A grey image of 70 x 28 pixels."),
        "two-frames": Preset({**COLOUR, "grey": True}, "Two grey images of 70 x 28 pixels, one decision apart."),
        "seen-styles": Preset({**COLOUR, "style": "train"}, "Two colour images, each run in one of eight styles."),
        "unseen-styles": Preset({**COLOUR, "style": "unseen"}, "The same in three styles that seen-styles lacks."),
        "vehicles": Preset({"kind": "kinematics", "nearest": 19}, "Positions and speeds of all other vehicles, a set."),
        "blind": Preset(BLIND, "Lane gaps without speeds."),
        "lossy": Preset({**BLIND, "drop_rate": 0.3}, "Lane gaps without speeds; 30% of the frames are lost."),
        "very-lossy": Preset({**BLIND, "drop_rate": 0.8}, "Lane gaps without speeds; 80% of the frames are lost."),
        "slow": Preset({"kind": "gaps", "period": 4}, "Lane gaps; the sensor sends every fourth frame."),
        "late": Preset({"kind": "gaps", "latency": 2}, "Lane gaps of two decisions before."),
        "occluded": Preset({"kind": "grid", "occlusion": True}, "Cells; vehicles hide those behind them."),
        "narrow": Preset(
            {"kind": "grid", "lanes_side": 1, "patches_ahead": 20, "patches_behind": 6},
            f"Cells of 1 lane to each side instead of {CONTEST_LANES_SIDE}, 20 rows ahead and 6 behind.",
        ),
        "noisy": Preset(
            {"kind": "grid", "miss_rate": 0.2, "ghost_rate": 0.03, "speed_noise": 8.0},
            "Cells; 20% missed, 3% ghosts, speeds with an error of 8 mph.",
        ),
    }
)
