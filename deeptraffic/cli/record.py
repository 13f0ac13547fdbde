"""The command `record`: an episode as a video (mp4, gif, webp), a contact sheet (png) or an episode trace."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptraffic.cli.episodes import (
    DEFAULT_SEED,
    EPISODE_HELP,
    SEED_HELP,
    LayerNames,
    Overlay,
    Race,
    Theme,
    Trail,
    VehiclePath,
    find_episode,
    find_trace,
    make_controls,
    race_names,
    read_vehicle,
)
from deeptraffic.cli.policies import OTHERS_HELP, OWN, Epsilon, complete_policy
from deeptraffic.cli.terminal import Json, print_json, progress_bar, results

if TYPE_CHECKING:
    from deeptraffic.cli.episodes import EpisodeSource
    from deeptraffic.episodes.episode import Episode
    from deeptraffic.render.controls import Controls
    from deeptraffic.render.layers import RoadLayer
    from deeptraffic.render.sprites import VehicleImage
    from deeptraffic.render.viewer import Viewer
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
    policy: str | None = typer.Argument(None, autocompletion=complete_policy, help=EPISODE_HELP, show_default=False),
    output: Path = typer.Option(
        ..., "--output", "-o", help="File to write: .mp4, .gif, .webp, .png (a contact sheet) or .trace."
    ),
    rules: int | None = typer.Option(None, help="Rules of the contest: 2018 or 2017.", show_default=OWN),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP, show_default=OWN),
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
    from deeptraffic.policies.inspection import policy_facts
    from deeptraffic.render.recorder import SUFFIXES, check_recording_path, record_frames
    from deeptraffic.render.viewer import viewer_frames

    check_recording_path(output, (*SUFFIXES, TRACE))
    policy, *entrants = race_names(policy, race)
    to_trace, showcase = output.suffix.lower() == TRACE, style == Style.showcase
    replayed = find_trace(policy) is not None
    appearance: dict[str, Any] = {"--overlay": overlay, "--layer": layer or None, "--theme": theme, "--fps": fps}
    size: dict[str, Any] = {"--scale": scale, "--no-panel": None if panel else False}
    appearance |= size
    card = {"name": name, "best_mph": best_mph, "rank": rank, "of": of}
    _refuse("a showcase has its own", showcase, appearance)
    _refuse("only --style showcase shows it", not showcase, {"--" + key.replace("_", "-"): card[key] for key in card})
    _refuse("only --style showcase has it", not showcase, {"--tall": tall or None})
    _refuse("a trace holds no images", to_trace, appearance | {"--vehicle": vehicle, "--style": showcase or None})
    _refuse("a trace has its own", replayed, {"--seed": seed})
    _refuse("it shows one policy", to_trace or showcase, {"--race": race, "--training": training or None})
    _refuse("a race is of different policies", race is not None, {"--training": training or None})
    if training:
        policies = training_names(policy)
        policy, entrants = policies[0], policies[1:]
    _refuse("a race has its own", bool(race), size)
    seed = None if replayed else DEFAULT_SEED if seed is None else seed
    found = find_episode(policy, rules, other_agents, _frames(seconds), epsilon=epsilon)
    found, layers = found.with_layers(layer, theme)
    every, image = _frames_per_image(fps), read_vehicle(vehicle)
    racers = [find_episode(name, None, None, _frames(seconds), found.rules, epsilon=epsilon) for name in entrants]
    episode = found.make(seed or 0)
    if to_trace:
        episode.finish().trace().save(output)
    else:
        with progress_bar(f"recording {episode.label}") as progress:
            colours: dict[str, Any] = {"trail": trail, "image": image}
            if showcase:
                facts = () if found.policy is None else policy_facts(found.policy)
                images = _showcase(episode, card | colours | {"facts": facts}, tall)
            elif training:
                looks = {"trail": trail, "theme": theme or "dark", "overlay": overlay or "none"}
                episodes = [episode, *(racer.make(seed or 0) for racer in racers)]
                images = _training(episodes, every, looks, progress)
                episode = episodes[-1]
            elif racers:
                controls = make_controls(found.rules.vehicles, overlay, theme, trail)
                viewer = _race_viewer(found, racers, seed or 0, controls, image, layers)
                episode, images = viewer.episode, viewer_frames(viewer, every, progress)
            else:
                colours |= {
                    "theme": theme or "dark",
                    "overlay": overlay or "none",
                    "sensor": found.sensor,
                    "layers": layers,
                    "size": _size(episode.rules, output, scale, panel),
                    "panel": panel,
                }
                images = _plain(episode, every, colours, progress)
            record_frames(images, output, FRAMES_PER_SECOND // every)
    _print_facts(output, episode, seed, json)


def _refuse(reason: str, refused: bool, options: dict[str, Any]) -> None:
    """Raise ValueError for the first of these options that was given."""
    for option, value in options.items():
        if refused and value is not None:
            raise ValueError(f"{option} is of no use here: {reason}; leave it out")


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


def _plain(episode: "Episode", every: int, appearance: dict[str, Any], progress: Any) -> Iterator[Any]:
    from deeptraffic.evaluation.episodes import episode_frames
    from deeptraffic.render.painter import Painter

    return episode_frames(
        episode, Painter(episode.rules, label=episode.label, film=True, **appearance), every, progress
    )


def training_names(folder: str) -> list[str]:
    """Return networks of a run, evenly spread over its evaluations; ValueError if it has fewer than two."""
    from agents.run import RunFolder, is_run_folder

    files = RunFolder(folder).snapshot_files() if is_run_folder(Path(folder)) else []
    if len(files) < 2:
        raise ValueError(f"{folder!r} has no networks of two evaluations; name the folder of a run that has made them")
    chosen = sorted({round(k * (len(files) - 1) / (TRAINING_ROADS - 1)) for k in range(TRAINING_ROADS)})
    return [str(files[k]) for k in chosen]


def _training(episodes: "list[Episode]", every: int, looks: dict[str, Any], progress: Any) -> Iterator[Any]:
    from deeptraffic.evaluation.episodes import training_frames
    from deeptraffic.render.painter import Painter

    painters = [
        Painter(episode.rules, TRAINING_SIZE, label=episode.label, panel=False, film=True, **looks)
        for episode in episodes
    ]
    return training_frames(episodes, painters, every, progress)


# parameters: what a race is shown with
def _race_viewer(
    found: "EpisodeSource",
    racers: "list[EpisodeSource]",
    seed: int,
    controls: "Controls",
    image: "VehicleImage | None",
    layers: "list[RoadLayer]",
) -> "Viewer":
    """Return a viewer of a race, whose images are the video."""
    from deeptraffic.evaluation.loss_causes import stuck_level
    from deeptraffic.render.viewer import Viewer, ViewerOptions

    options = ViewerOptions(found.sensor, image=image, layers=layers, stuck=stuck_level)
    options = options._replace(racers=[racer.make for racer in racers])
    return Viewer(found.make, seed=seed, options=options, controls=controls, size=RACE_SIZE)


def _showcase(episode: "Episode", card: dict[str, Any], tall: bool) -> Iterator[Any]:
    """Yield the images of the showcase; a shorter episode makes a shorter one."""
    from deeptraffic.render.showcase import SECONDS, TALL, WIDE, Showcase, showcase_frames

    card["name"] = card["name"] or episode.label
    seconds = min(SECONDS, episode.frames / FRAMES_PER_SECOND)
    return showcase_frames(episode, Showcase(**card), seconds, TALL if tall else WIDE)


def _print_facts(output: Path, episode: "Episode", seed: int | None, json: bool) -> None:
    rules = episode.rules
    facts = {"path": str(output), "policy": episode.label, "rules": rules.year, "other_agents": rules.other_agents}
    facts |= {"seed": seed, "frames": episode.frame, "mean_mph": episode.score_mph()}
    facts |= {"passed": int(episode.state.passed[0])}
    if json:
        print_json(facts)
    else:
        what = f"{episode.label}, {episode.score_mph():.2f} mph over {episode.frame:,} frames"
        results.print(f"{output}: {what}", highlight=False, soft_wrap=True)
