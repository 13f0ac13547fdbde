"""Pages of the observations: what each kind and preset holds, drawn from the environment's own observation.

All figures show one moment of one run, so that they can be compared.
"""

from typing import Any, NamedTuple

import gymnasium
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import deeptraffic  # noqa: F401 - registers the environments
from agents.analysis.tables import markdown_table
from deeptraffic.docs.fields import meanings, prose, settings_table
from deeptraffic.envs.observations import OBSERVATIONS, PRESETS, make_observation
from deeptraffic.envs.observations.observation import Observation
from deeptraffic.envs.observations.presets import Preset
from deeptraffic.figure import BLUE, INK, ORANGE, empty_figure
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.sim.rules import RULES_2018
from deeptraffic.sim.state import Game, game_dtype

SEED, STEPS = 18, 12  # of the run and the moment that every figure shows
FEATURES = ("gap ahead", "speed ahead", "gap behind", "speed behind", "clear", "on the road")
CHANNELS = ("occupied", "speed", "off the road", "own car")
FIELDS_SHOWN = 12
LOOKS: tuple[dict[str, Any], ...] = (
    {},
    {"overlay": "input"},
    {"overlay": "safety"},
    {"overlay": "map"},
    {"theme": "light"},
)  # of `draw_looks`


class Part(NamedTuple):
    """A part of an observation: the expression that takes it from `obs`, its limits and what it means."""

    taken: str
    low: float
    high: float
    meaning: str


GAPS = (
    Part("obs[0:42:6]", 0, 1, "gap ahead: free cells before the next vehicle / 50"),
    Part("obs[1:42:6]", 0, 1, "its speed / 80 mph; 1 if there is none"),
    Part("obs[2:42:6]", 0, 1, "gap behind: free cells / 10; in the own lane from the own rear on"),
    Part("obs[3:42:6]", 0, 1, "speed of the vehicle behind / 80 mph; 0 if there is none"),
    Part("obs[4:42:6]", 0, 1, "1 if the cells that the safety system checks are free"),
    Part("obs[5:42:6]", 0, 1, "1, or 0 for a lane beside the road"),
)
# of the registry: what the page of each kind says of its entries; a test compares the kinds
PARTS: dict[str, tuple[str, tuple[Part, ...]]] = {
    "gaps": ("Each row has the values of seven lanes, from left to right; the own lane is the fourth.", GAPS),
    "gaps_ego": (
        "Each of the first six rows has the values of seven lanes, from left to right; the own lane is the fourth.",
        (
            *GAPS,
            Part("obs[42]", -1, 2, "own speed factor / 2, what the throttle sets"),
            Part("obs[43]", -1, 2, "own following speed / 2, what the traffic ahead allows"),
        ),
    ),
    "grid": (
        "Rows from the farthest ahead (0) to the farthest behind (59), columns from left to right; the own lane is 3.",
        (
            Part("obs[0]", 0, 1, "1 where there is a vehicle, the own car included"),
            Part("obs[1]", 0, 1, "its speed / 80 mph, else 0"),
            Part("obs[2]", 0, 1, "1 off the road"),
            Part("obs[3]", 0, 1, "1 in the four cells of the own car"),
        ),
    ),
    "vector": (
        "A free cell reads 1, a cell off the road 0, and a cell of a vehicle its speed / 2,000 mph, at most 0.04.",
        (
            Part("obs.reshape(60, 7)[:50]", 0, 1, "the rows ahead, the farthest first"),
            Part("obs.reshape(60, 7)[50:54]", 0, 1, "the rows of the own car"),
            Part("obs.reshape(60, 7)[54:]", 0, 1, "the rows behind it"),
            Part("obs.reshape(60, 7)[:, 3]", 0, 1, "the own lane; lanes from left to right"),
        ),
    ),
    "kinematics": (
        "Each row of the vehicles has the values of eight, the nearest first; where `mask` is 0 all are 0.",
        (
            Part('obs["ego"][0]', 0, 1, "lane, 0 the leftmost and 1 the rightmost"),
            Part('obs["ego"][1]', -2, 2, "offset from the lane's middle [lanes]"),
            Part('obs["ego"][2]', -2, 2, "speed / 80 mph"),
            Part('obs["ego"][3]', -2, 2, "speed factor / 2, what the throttle sets"),
            Part('obs["ego"][4]', -2, 2, "following speed / 2, what the traffic ahead allows"),
            Part('obs["vehicles"][:, 0]', -2, 2, "distance ahead / length of the road"),
            Part('obs["vehicles"][:, 1]', -1, 1, "distance to the right / width of the road"),
            Part('obs["vehicles"][:, 2]', -2, 2, "speed / 80 mph"),
            Part('obs["vehicles"][:, 3]', -2, 2, "speed minus the own / 80 mph"),
            Part('obs["vehicles"][:, 4]', -1, 1, "lanes to the right of the own / lanes of the road"),
            Part('obs["vehicles"][:, 5]', 0, 1, "1 if an agent drives it"),
            Part('obs["mask"]', 0, 1, "1 for a vehicle, 0 for a row without one"),
        ),
    ),
    "pixels": (
        "Row 0 is the far end of the road, column 0 its left edge.",
        (
            Part("obs[..., 0]", 0, 255, "red"),
            Part("obs[..., 1]", 0, 255, "green"),
            Part("obs[..., 2]", 0, 255, "blue"),
        ),
    ),
}


def moment(observation: str) -> tuple[Any, Any, gymnasium.Env]:
    """Return the observation of the moment, the image of the road and the environment."""
    env = gymnasium.make(
        "DeepTraffic2018-v0",
        observation=observation,
        other_agents=0,
        render_mode="rgb_array",
        render_size=(140, 700),
        theme="light",
    )
    obs, _ = env.reset(seed=SEED)
    for _ in range(STEPS):
        obs, *_ = env.step(1)
    return obs, env.render(), env


def draw_observation(name: str) -> Figure:
    """Return a figure of the road and of what the kind or preset observes of it."""
    obs, image, env = moment(name)
    env.close()
    observation = make_observation(name)
    figure = empty_figure((8.0, 4.6))
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 4.2))
    road, rest = parts
    axes = road.add_subplot()
    axes.imshow(image)
    axes.set_axis_off()
    axes.set_title("the road", fontsize=9)
    if observation.kind == "pixels":
        draw_image(rest, obs)
    elif observation.kind == "kinematics":
        draw_vehicles(rest.add_subplot(), obs)
    elif observation.kind == "full":
        draw_fields(rest.add_subplot(), obs)
    elif observation.kind == "grid":
        draw_channels(rest, obs)
    elif observation.kind == "vector":
        columns = observation.sensor.columns
        draw_cells(rest.add_subplot(), obs.reshape(-1, columns), "the vector's 60 rows of 7 cells")
    else:
        draw_gaps(rest, obs)
    return figure


def draw_looks() -> Figure:
    """Return a figure of one moment with each overlay, and in the light theme."""
    figure = empty_figure((8.0, 3.6))
    for place, look in zip(figure.subplots(1, len(LOOKS)), LOOKS, strict=True):
        env = gymnasium.make("DeepTraffic2018-v0", render_mode="rgb_array", render_size=(280, 700), **look)
        env.reset(seed=SEED)
        for _ in range(STEPS):
            env.step(1)
        place.imshow(env.render())
        place.set_axis_off()
        place.set_title(", ".join(f'{name}="{value}"' for name, value in look.items()) or "the default", fontsize=8)
        env.close()
    return figure


def draw_cells(axes: Axes, cells: Any, title: str, colours: str = "viridis") -> None:
    """Draw cells as an image, a row of the sensor a row of the image."""
    shown = axes.imshow(cells, aspect="auto", interpolation="nearest", cmap=colours, vmin=0, vmax=1)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("lane, left to right", fontsize=8)
    axes.set_xticks(range(cells.shape[1]))
    axes.figure.colorbar(shown, ax=axes, fraction=0.05)


def draw_channels(figure: Any, obs: Any) -> None:
    """Draw the channels (C, H, W) of a grid."""
    for place, channel, name in zip(figure.subplots(1, len(obs)), obs, CHANNELS, strict=False):
        place.imshow(channel, aspect="auto", interpolation="nearest", cmap="Blues", vmin=0, vmax=1)
        place.set_title(name, fontsize=9)
        place.set_xticks([])


def draw_gaps(figure: Any, obs: Any) -> None:
    """Draw lane gaps (L * 6,) as a table of lanes and features, and what follows them as its own row."""
    lanes = len(obs) // GAP_FEATURES
    values = obs[: lanes * GAP_FEATURES].reshape(lanes, GAP_FEATURES).T
    axes = figure.add_subplot()
    axes.imshow(values, aspect="auto", cmap="Blues", vmin=0, vmax=1.3)
    for (row, column), value in np.ndenumerate(values):
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=INK if value < 0.8 else "white"
        )
    axes.set_yticks(range(GAP_FEATURES), FEATURES, fontsize=8)
    axes.set_xticks(range(lanes), [f"{k - lanes // 2:+d}" if k != lanes // 2 else "own" for k in range(lanes)])
    own = obs[lanes * GAP_FEATURES :]
    more = f"; own car: speed factor / 2 = {own[0]:.2f}, following speed / 2 = {own[1]:.2f}" if own.size else ""
    axes.set_title(f"features of each lane{more}", fontsize=9)


def draw_image(figure: Any, obs: Any) -> None:
    """Draw an image (H, W, C), or the images of a stack side by side."""
    depth = 3 if obs.shape[2] % 3 == 0 else 1
    images = np.split(obs, obs.shape[2] // depth, axis=2)
    for k, (place, image) in enumerate(zip(np.atleast_1d(figure.subplots(1, len(images))), images, strict=True)):
        place.imshow(image if depth == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
        age = len(images) - 1 - k
        place.set_title(f"{image.shape[0]} x {image.shape[1]}" + (f", {age} before" if age else ""), fontsize=9)
        place.set_xticks([])
        place.set_yticks([])


def draw_vehicles(axes: Axes, obs: Any) -> None:
    """Draw the listed vehicles where their first two features place them, with their speeds."""
    ahead, right, speed = obs["vehicles"][obs["mask"] > 0].T[:3]
    axes.scatter(right, ahead, s=60, color=BLUE)
    axes.scatter([0], [0], s=90, color=ORANGE, marker="s")
    axes.annotate("own car", (0, 0), xytext=(8, -4), textcoords="offset points", fontsize=8)
    for place in zip(right, ahead, speed, strict=True):
        axes.annotate(f"{place[2]:.2f}", place[:2], xytext=(6, -3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("to the right / width of the road", fontsize=8)
    axes.set_ylabel("ahead / length of the road", fontsize=8)
    axes.set_title(f"{len(speed)} of {len(obs['mask'])} rows in use; beside each vehicle speed / 80 mph", fontsize=9)
    axes.grid(color="#dddddd", linewidth=0.7)


def draw_fields(axes: Axes, obs: dict[str, Any]) -> None:
    """List the first fields of the simulator's state."""
    axes.set_axis_off()
    axes.set_title(f"{len(obs)} fields, of which the first {FIELDS_SHOWN}", fontsize=9)
    for row, (name, value) in enumerate(list(obs.items())[:FIELDS_SHOWN]):
        array = np.asarray(value)
        start = np.array2string(array.reshape(-1)[:4], precision=2, separator=", ").strip("[]")
        more = ", ..." if array.size > 4 else ""
        text = f"{name:17} {array.dtype!s:8} {array.shape!s:8} {start}{more}"
        axes.text(0, 0.96 - row / FIELDS_SHOWN, text, fontsize=8, family="monospace", color=INK)


def space_rows(observation: Observation) -> str:
    """Return the observation's space as a line of Markdown."""
    return f"`{observation.space(RULES_2018)}`".replace("\n", " ")


def kind_page(name: str) -> str:
    """Return the page of a kind."""
    kind = OBSERVATIONS[name]
    summary, _, more = (kind.__doc__ or "").partition("\n")
    access = "*contest*: a contest's entrant has it" if kind.contest_kind else "*open*: more than the contest's sensor"
    head = [
        ["", ""],
        ["space", space_rows(make_observation(name)) if name in PARTS else "`Dict` of the entries below"],
        ["made by", f'`gymnasium.make("DeepTraffic2018-v0", observation="{name}")`'],
        ["trained by", f"`deeptraffic train ppo --obs {name}`" if name != "full" else "your own code"],
        ["access", access],
    ]
    return "\n".join(
        [
            f"# {name}\n",
            f"{summary}\n",
            markdown_table(head),
            f"![What `{name}` holds of one moment](figure:observation-{name}.png)\n",
            "## Entries\n",
            parts_table(name),
            prose(more) + "\n",
            "## Options\n",
            f'`observation={{"kind": "{name}", "option": value}}`, or `--set observation.option=value`.\n',
            settings_table(kind),
            f"Module: [deeptraffic.envs.observations.{name}](repository:deeptraffic/envs/observations/{name}.py)\n",
        ]
    )


def parts_table(name: str) -> str:
    """Return the table of a kind's parts on the contests' road: how to take them, limits and meaning."""
    if name == "full":
        record, meaning = game_dtype(RULES_2018), meanings(Game.__doc__ or "")
        rows = [[f'`obs["{field}"]`', f"`{record[field].base}`", meaning[field]] for field in record.names or ()]
        return markdown_table([["entry", "dtype", "shape on N vehicles, unit, meaning"], *rows])
    caption, parts = PARTS[name]
    rows = [[f"`{part.taken}`", f"{part.low:g}", f"{part.high:g}", part.meaning] for part in parts]
    return f"{caption}\n\n{markdown_table([['entries', 'min', 'max', 'meaning'], *rows])}"


def presets_page() -> str:
    """Return the page of the fixed observations of DeepTraffic-Vision."""
    lines = [
        "# Fixed observations\n",
        "The observations of the benchmark [DeepTraffic-Vision](repository:agents/champions/VISION.md), each taken "
        "by its name, `observation=NAME` or `--obs NAME`. All figures show the same moment.\n",
    ]
    for name, preset in PRESETS.items():
        lines += [f"## {name}\n", preset_text(name, preset), f"![What {name} holds](figure:observation-{name}.png)\n"]
    return "\n".join(lines)


def preset_text(name: str, preset: Preset) -> str:
    """Return what a preset is, its space and the options that make it."""
    options = ", ".join(f"`{option}={value!r}`" for option, value in preset.options.items() if option != "kind")
    kind = preset.options["kind"]
    return (
        f"{preset.summary} Kind [`{kind}`](site:environments/{kind}.md), {options}; "
        f"space {space_rows(make_observation(name))}.\n"
    )
