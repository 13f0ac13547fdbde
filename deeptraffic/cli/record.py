"""The command `record`: an episode as a video (mp4, gif, webp), a contact sheet (png) or an episode trace."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptraffic.cli.episodes import (
    DEFAULT_SEED,
    SEED_HELP,
    LayerNames,
    Overlay,
    PolicyOrTrace,
    Race,
    Theme,
    Trail,
    VehiclePath,
    find_episode,
    race_names,
    read_vehicle,
)
from deeptraffic.cli.policies import OWN, Epsilon, OwnOthers, OwnRules
from deeptraffic.cli.terminal import Json, progress_bar, report

if TYPE_CHECKING:
    from deeptraffic.sim.rules import Rules

FRAMES_PER_SECOND = 60  # of the simulation
DEFAULT_FPS = 30
MAX_SECONDS = 3600
TRACE = ".trace"
RACE_SIZE = (1280, 720)  # [pixels]
TRAINING_ROADS, TRAINING_SIZE = 6, (206, 720)  # at most; [pixels] of each
LOOPS = (".gif", ".webp")  # for pages, where a small file matters
MIN_SCALE = 0.25


class Style(StrEnum):
    """Style of a video."""

    plain = "plain"
    showcase = "showcase"


def record(
    policy: PolicyOrTrace = None,
    output: Path = typer.Option(
        ..., "--output", "-o", help="File to write: .mp4, .gif, .webp, .png (a contact sheet) or .trace."
    ),
    rules: OwnRules = None,
    other_agents: OwnOthers = None,
    seed: int | None = typer.Option(None, help=f"{SEED_HELP} A trace has its own.", show_default=str(DEFAULT_SEED)),
    epsilon: Epsilon = None,
    seconds: float | None = typer.Option(None, help="Length of the recording [s].", show_default="the whole run"),
    fps: int | None = typer.Option(
        None, help="Frames per second: 60, or a divisor of it.", show_default=str(DEFAULT_FPS)
    ),
    style: Style = typer.Option(
        Style.plain, help="Style. showcase: half a minute in the style of the contest's videos."
    ),
    race: Race = None,
    training: bool = typer.Option(
        False,
        "--training",
        help="Show networks of a training run side by side, from the untrained to that of the last evaluation.",
    ),
    overlay: Overlay = None,
    layer: LayerNames = None,
    theme: Theme = None,
    trail: Trail = "yellow",
    scale: float | None = typer.Option(
        None, help="Pixels per pixel of the game.", show_default="2; 1 in .gif and .webp"
    ),
    panel: bool = typer.Option(True, help="Show the readings beside the road, or on it."),
    vehicle: VehiclePath = None,
    name: str | None = typer.Option(None, help="Showcase: the name to show.", show_default=OWN),
    best_mph: float | None = typer.Option(None, help="Showcase: the highest average speed to show."),
    rank: int | None = typer.Option(None, min=1, help="Showcase: the rank to show."),
    of: int | None = typer.Option(None, min=1, help="Showcase: the number of entrants to show beside the rank."),
    tall: bool = typer.Option(False, "--tall", help="Showcase: 1080 x 1920 pixels in place of 1280 x 720."),
    json: Json = False,
) -> None:
    """Record an episode as a video, a contact sheet or a trace."""
    from deeptraffic.evaluation.episodes import frames_side_by_side
    from deeptraffic.evaluation.loss_causes import stuck_level
    from deeptraffic.policies.inspection import policy_facts
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.painter import Painter
    from deeptraffic.render.recorder import SUFFIXES, check_recording_path, record_frames
    from deeptraffic.render.screen import ViewerOptions
    from deeptraffic.render.showcase import SECONDS, TALL, WIDE, Showcase, showcase_frames
    from deeptraffic.render.viewer import Viewer, viewer_frames

    check_recording_path(output, (*SUFFIXES, TRACE))
    policy, *others = race_names(policy, race)
    to_trace, showcase = output.suffix.lower() == TRACE, style == Style.showcase
    size = {"scale": scale, "no_panel": not panel}
    appearance = {"overlay": overlay, "layer": layer, "theme": theme, "fps": fps} | size
    card: dict[str, Any] = {"name": name, "best_mph": best_mph, "rank": rank, "of": of}
    _refuse("a showcase has its own", showcase, appearance)
    _refuse("only --style showcase has it", not showcase, card | {"tall": tall})
    _refuse("a trace holds no images", to_trace, appearance | {"vehicle": vehicle, "style": showcase})
    _refuse("it shows one policy", to_trace or showcase, {"race": race, "training": training})
    _refuse("a race is of different policies", race is not None, {"training": training})
    _refuse("roads side by side have their own", training or race is not None, size)
    _refuse("it belongs to one policy", training, {"layer": layer})
    if training:
        policy, *others = training_names(policy)
    frames = _frames(seconds)
    found = find_episode(policy, rules, other_agents, frames, epsilon=epsilon)
    _refuse("a trace has its own", found.policy is None, {"seed": seed})
    start = DEFAULT_SEED if seed is None else seed
    found, layers = found.with_layers(layer, theme)
    makers = [find_episode(other, frames=frames, road=found.rules, epsilon=epsilon).make for other in others]
    every, image = _frames_per_image(fps), read_vehicle(vehicle)
    episode = found.make(start)
    if to_trace:
        episode.finish().trace().save(output)
    else:
        with progress_bar(f"recording {episode.label}") as progress:
            if showcase:
                card |= {"name": name or episode.label, "trail": trail, "image": image}
                content = Showcase(**card, facts=() if found.policy is None else policy_facts(found.policy))
                length = min(SECONDS, episode.frames / FRAMES_PER_SECOND)
                images = showcase_frames(episode, content, length, TALL if tall else WIDE)
            elif race is not None:
                controls = Controls(found.rules.vehicles, overlay or "none", trail, theme or "dark")
                options = ViewerOptions(found.sensor, None, makers, "race", image, layers=layers, stuck=stuck_level)
                viewer = Viewer(found.make, seed=start, options=options, controls=controls, size=RACE_SIZE)
                episode, images = viewer.episode, viewer_frames(viewer, every, progress)
            else:
                looks: dict[str, Any] = {"theme": theme or "dark", "trail": trail, "overlay": overlay or "none"}
                looks |= {"image": image, "sensor": found.sensor, "layers": layers, "panel": panel and not training}
                looks["size"] = TRAINING_SIZE if training else _size(found.rules, output, scale, panel)
                episodes = [episode, *(make(start) for make in makers)]
                painters = [Painter(each.rules, label=each.label, film=True, **looks) for each in episodes]
                episode, images = episodes[-1], frames_side_by_side(episodes, painters, every, progress)
            record_frames(images, output, FRAMES_PER_SECOND // every)
    road, mph = found.rules, episode.score_mph()
    facts = {"path": str(output), "policy": episode.label, "rules": road.year, "other_agents": road.other_agents}
    facts |= {"seed": None if found.policy is None else start, "frames": episode.frame, "mean_mph": mph}
    facts |= {"passed": int(episode.state.passed[0])}
    report(json, facts, f"{output}: {episode.label}, {mph:.2f} mph over {episode.frame:,} frames")


def _refuse(reason: str, refused: bool, options: dict[str, Any]) -> None:
    """Raise ValueError for the first of these options that was given: is not None, False or an empty list."""
    for name, value in options.items():
        if refused and not (value is None or value is False or value == []):
            raise ValueError(f"--{name.replace('_', '-')} is of no use here: {reason}; leave it out")


def _frames(seconds: float | None) -> int | None:
    """Return the length in frames of the simulation; None for a whole run."""
    if seconds is not None and not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"--seconds {seconds:g} is not possible; give a number above 0, at most {MAX_SECONDS}")
    return None if seconds is None else max(1, round(seconds * FRAMES_PER_SECOND))


def _frames_per_image(fps: int | None) -> int:
    fps = DEFAULT_FPS if fps is None else fps
    if fps < 1 or FRAMES_PER_SECOND % fps:
        raise ValueError(f"--fps {fps} does not divide {FRAMES_PER_SECOND}; give 60, 30, 20, 15, 12 or 10")
    return FRAMES_PER_SECOND // fps


def _size(rules: "Rules", output: Path, scale: float | None, panel: bool) -> tuple[int, int]:
    """Return width and height of the images [pixels]."""
    from deeptraffic.render.painter import MAX_SIDE, default_size

    width, height = default_size(rules, panel)
    most = MAX_SIDE / max(width, height)
    if scale is None:
        scale = min(1.0 if output.suffix.lower() in LOOPS else 2.0, most)
    if not MIN_SCALE <= scale <= most:
        raise ValueError(f"--scale must be in [{MIN_SCALE}, {most:.3g}] on this road, got {scale:g}")
    return round(width * scale), round(height * scale)


def training_names(folder: str) -> list[str]:
    """Return networks of a run, evenly spread over its evaluations; ValueError if it has fewer than two."""
    from agents.run import RunFolder, is_run_folder

    files = RunFolder(folder).snapshot_files() if is_run_folder(Path(folder)) else []
    if len(files) < 2:
        raise ValueError(f"{folder!r} has no networks of two evaluations; name the folder of a run that has made them")
    chosen = sorted({round(k * (len(files) - 1) / (TRAINING_ROADS - 1)) for k in range(TRAINING_ROADS)})
    return [str(files[k]) for k in chosen]
