"""`deeptraffic record`: a drive as mp4 or gif, as a contact sheet, or as an episode trace."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from deeptraffic.cli.episodes import EPISODE_HELP, find_episode
from deeptraffic.cli.policies import OTHERS_HELP
from deeptraffic.cli.terminal import print_json, progress_bar, results

if TYPE_CHECKING:
    from deeptraffic.render.episode import Episode

FRAMES_PER_SECOND = 60  # of the game
TRACE = ".trace"


class Style(StrEnum):
    """How a drive is filmed."""

    plain = "plain"
    showcase = "showcase"


def record(
    policy: str = typer.Argument(..., help=EPISODE_HELP),
    output: Path = typer.Option(..., "--output", "-o", help="What to write: .mp4, .gif, .png or .trace."),
    rules: int | None = typer.Option(None, help="2018 or 2017; by default the policy's own."),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP),
    seed: int = typer.Option(1, help="Of the open run that is driven."),
    seconds: float = typer.Option(2000 / 60, help="Length; a whole run of 2,000 frames takes 33.3 s."),
    fps: int = typer.Option(30, help="Pictures per second: 60, or a number that divides it."),
    style: Style = typer.Option(Style.plain, help="showcase: half a minute, in the manner of the contest's videos."),
    overlay: str = typer.Option("none", help="Over the road: none, input, safety or map."),
    theme: str = typer.Option("dark", help="dark or light."),
    trail: str = typer.Option("yellow", help="Colour of the trail, one of the contest's thirteen."),
    vehicle: Path | None = typer.Option(None, help="A picture (png) for the ego car, seen from above, its front up."),
    best_mph: float | None = typer.Option(None, help="Showcase: the highest average speed to show."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object about the file."),
) -> None:
    """Film a drive."""
    from deeptraffic.render.recorder import check_recording_path, record_frames

    if not 0 < seconds <= 3600:
        raise ValueError(f"--seconds {seconds:g} is not possible; give a number above 0, at most 3600")
    if fps < 1 or FRAMES_PER_SECOND % fps:
        raise ValueError(f"--fps {fps} does not divide {FRAMES_PER_SECOND}; give 60, 30, 20, 15, 12 or 10")
    if output.suffix != TRACE:
        check_recording_path(output)
    found = find_episode(policy, rules, other_agents, max(1, round(seconds * FRAMES_PER_SECOND)))
    episode = found.make(seed)
    if output.suffix == TRACE:
        episode.finish()
        episode.trace().save(output)
    else:
        look = {"theme": theme, "overlay": overlay, "trail": trail, "image": _vehicle_image(vehicle)}
        with progress_bar(f"filming {episode.label}") as progress:
            if style == Style.showcase:
                pictures, fps = _showcase(episode, seconds, best_mph, trail, look["image"]), 30
            else:
                pictures = _plain(episode, found.sensor, FRAMES_PER_SECOND // fps, look, progress)
            record_frames(pictures, output, fps)
    _print_facts(output, episode, seed, json)


def _vehicle_image(path: Path | None) -> Any:
    from deeptraffic.render.vehicle_image import VehicleImage

    return None if path is None else VehicleImage(path)


def _plain(episode: "Episode", sensor: Any, every: int, look: dict[str, Any], progress: Any) -> Iterator[Any]:
    from deeptraffic.competition.episodes import film
    from deeptraffic.render.painter import Painter

    painter = Painter(episode.rules, sensor=sensor, label=episode.label, **look)
    return film(episode, painter, every, progress)


def _showcase(episode: "Episode", seconds: float, best_mph: float | None, trail: str, image: Any) -> Iterator[Any]:
    from deeptraffic.render.showcase import SECONDS, Showcase, showcase_frames

    card = Showcase(episode.label, best_mph=best_mph, trail=trail, image=image)
    return showcase_frames(episode, card, min(seconds, SECONDS))


def _print_facts(output: Path, episode: "Episode", seed: int, json: bool) -> None:
    rules = episode.rules
    facts = {"path": str(output), "policy": episode.label, "rules": rules.year, "other_agents": rules.other_agents}
    facts |= {"seed": seed, "frames": episode.frame, "mean_mph": episode.score_mph()}
    facts |= {"passed": int(episode.state.passed[0])}
    if json:
        print_json(facts)
    else:
        what = f"{episode.label}, {episode.score_mph():.2f} mph over {episode.frame:,} frames"
        results.print(f"{output}: {what}", highlight=False, soft_wrap=True)
