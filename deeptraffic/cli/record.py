"""`deeptraffic record`: a policy's drive as mp4 or gif, or as a contact sheet."""

from pathlib import Path

import typer

from deeptraffic.cli.policies import OTHERS_HELP, POLICY_HELP, resolve_policy, trained_for
from deeptraffic.cli.terminal import print_json, progress_bar, results

FRAMES_PER_SECOND = 60  # of the game


def record(
    policy: str = typer.Argument(..., help=POLICY_HELP),
    output: Path = typer.Option(..., "--output", "-o", help="What to write: a name ending in .mp4, .gif or .png."),
    rules: int | None = typer.Option(None, help="2018 or 2017; by default the policy's own."),
    other_agents: int | None = typer.Option(None, help=OTHERS_HELP),
    seed: int = typer.Option(1, help="Of the open run that is driven."),
    seconds: float = typer.Option(2000 / 60, help="Length; a whole run of 2,000 frames takes 33.3 s."),
    fps: int = typer.Option(30, help="Pictures per second: 60, or a number that divides it."),
    overlay: str = typer.Option("none", help="Over the road: none, input, safety or map."),
    theme: str = typer.Option("dark", help="dark or light."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object about the file."),
) -> None:
    """Film a policy's drive."""
    from deeptraffic.competition.episodes import film, policy_episode
    from deeptraffic.render.painter import Painter
    from deeptraffic.render.recorder import check_recording_path, record_frames
    from deeptraffic.render.trace import Start
    from deeptraffic.sim.rules import RoadConfig

    check_recording_path(output)
    if not 0 < seconds <= 3600:
        raise ValueError(f"--seconds {seconds:g} is not possible; give a number above 0, at most 3600")
    if fps < 1 or FRAMES_PER_SECOND % fps:
        raise ValueError(f"--fps {fps} does not divide {FRAMES_PER_SECOND}; give 60, 30, 20, 15, 12 or 10")
    driver = resolve_policy(policy, rules)
    own_rules, own_others = trained_for(driver)
    rules = own_rules if rules is None else rules
    other_agents = (own_others if rules == own_rules else 0) if other_agents is None else other_agents
    road = RoadConfig(rules=rules, other_agents=other_agents).build()
    frames = max(1, round(seconds * FRAMES_PER_SECOND))
    episode = policy_episode(driver, road, Start.open(seed), frames)
    sensor = getattr(driver.observation, "sensor", driver.observation)
    painter = Painter(road, theme=theme, overlay=overlay, sensor=sensor, label=driver.label)
    with progress_bar(f"filming {driver.label}") as progress:
        record_frames(film(episode, painter, FRAMES_PER_SECOND // fps, progress), output, fps)
    facts = {"path": str(output), "policy": driver.label, "rules": rules, "other_agents": other_agents, "seed": seed}
    facts |= {"frames": episode.frame, "mean_mph": episode.score_mph(), "passed": int(episode.state.passed[0])}
    if json:
        print_json(facts)
    else:
        what = f"{driver.label}, {episode.score_mph():.2f} mph over {frames:,} frames"
        results.print(f"{output}: {what}", highlight=False, soft_wrap=True)
