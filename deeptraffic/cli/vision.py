"""The command `bench-vision`: the benchmark DeepTraffic-Vision, policies that drive by fixed, weak eyes."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeptraffic.cli.evaluate import content_hash
from deeptraffic.cli.policies import POLICY_HELP, complete_policy, load_announced
from deeptraffic.cli.terminal import Json, messages, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from agents.analysis.vision import VisionRow


def bench_vision(
    policies: list[str] | None = typer.Argument(
        None,
        autocompletion=complete_policy,
        metavar="[POLICY...]",
        help=f"{POLICY_HELP} Beside the shipped ones, each by the eye it was made for.",
    ),
    runs: int = typer.Option(1000, min=1, help="Open runs of each policy, on reporting seeds."),
    output: Path = typer.Option(
        Path("runs/vision"),
        "--output",
        "-o",
        help="Folder of the scores; a rerun evaluates only what it lacks.",
    ),
    page: bool = typer.Option(False, "--page", help="Update the leaderboard of agents/champions/VISION.md."),
    json: Json = False,
) -> None:
    """Score policies that drive by fixed, weak eyes: images, lossy or late sensors, a narrow view, noise."""
    from agents.analysis.kept_scores import KeptScores
    from agents.analysis.vision import (
        CEILING,
        FLOOR,
        NOTHING,
        TRUE_CELLS,
        board_row,
        eye_of,
        in_order,
        shipped,
        write_page,
    )

    loaded = {name: load_announced(name) for name in (FLOOR, CEILING, *shipped(), *(policies or ()))}
    eyes = {name: eye_of(policy, name) for name, policy in loaded.items() if name not in (FLOOR, CEILING)}
    kept, speeds = KeptScores(output), {}
    for name, policy in loaded.items():
        with progress_bar(f"scoring {policy.label}") as progress:
            score = kept.evaluate(policy, runs, "reporting", 0, content_hash(name, 0), progress)
        speeds[name] = score.run_scores
    eyes |= {FLOOR: NOTHING, CEILING: TRUE_CELLS}
    ends = speeds[FLOOR], speeds[CEILING]
    rows = in_order(board_row((name, loaded[name]), eyes[name], scores, ends) for name, scores in speeds.items())
    if json:
        print_json({"rows": [row.to_json() for row in rows]})
    else:
        _print(rows)
    if page:
        messages.print(f"{write_page(rows)}", highlight=False, soft_wrap=True)


def _print(rows: "list[VisionRow]") -> None:
    title = f"DeepTraffic-Vision, {rows[0].runs:,} reporting runs, 95% intervals, gap: fraction closed"
    cells = [
        (
            row.eye,
            row.policy,
            f"{row.mean_mph:.2f}",
            f"{row.interval[0]:.2f} to {row.interval[1]:.2f}",
            f"{row.median_mph:.2f}",
            f"{100 * row.gap_closed:.0f}%",
        )
        for row in rows
    ]
    print_table(title, ("eye", "policy", "mean mph", "95%", "median", "gap"), cells, left=2)
