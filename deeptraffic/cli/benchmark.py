"""`deeptraffic benchmark`: agents trained within a budget and scored alike."""

from pathlib import Path

import typer

from deeptraffic.cli.terminal import messages, print_json, print_table, progress_bar, results

TASKS_HELP = "Task, repeatable: solo, team, 2017, wide, pixels or weak."


def benchmark(
    agents: list[str] = typer.Argument(
        ..., metavar="AGENT...", help="AGENT.py:make or package.module:make of your own, or an algorithm, such as pqn."
    ),
    task: list[str] = typer.Option([], help=TASKS_HELP, show_default="solo, team, 2017, wide"),
    budget: int = typer.Option(100_000, help="Decisions of a training; papers report 100000 and 1000000."),
    seeds: int = typer.Option(3, help="Number of trainings on each task, with seeds 0, 1, ..."),
    runs: int = typer.Option(500, help="Number of reporting runs of a score."),
    output: Path = typer.Option(Path("runs/benchmark"), "--output", "-o", help="Folder of the results."),
    page: bool = typer.Option(False, "--page", help="Write BENCHMARK.md, its table and figure, of a source checkout."),
    json: bool = typer.Option(False, "--json", help="Print one JSON object instead of tables."),
) -> None:
    """Benchmark learning agents: train on fixed tasks within a budget of decisions, score, aggregate with intervals.

    make(session) trains in the environments of the session, which count decisions, and returns what it trained. The
    same command resumes; results of earlier commands in the folder are in the table, too.
    """
    from agents.benchmark.protocol import BenchmarkPlan, all_results, run_benchmark
    from agents.benchmark.report import pair_cells, save_report, summarise, table_cells, write_page

    plan = BenchmarkPlan(tuple(task) or BenchmarkPlan.tasks, budget, seeds, runs)
    with progress_bar("benchmark") as update:

        def progress(what: str, done: int, total: int) -> None:
            update(done, total)
            if what and not messages.is_terminal:
                messages.print(f"{done} of {total} trainings done; next: {what}", highlight=False)

        found = run_benchmark(agents, plan, output, progress)
    known = [result for result in all_results(output) if result.runs == runs]
    files = save_report(known, output) + ([write_page(known)] if page else [])
    if json:
        print_json({"results": [vars(result) for result in found], "files": [str(file) for file in files]})
        return
    summaries, pairs = summarise(known)
    head, *rows = table_cells(summaries)
    print_table(
        f"{runs} reporting runs of each training, 95% intervals over seeds; IQM over the tasks that all agents have",
        head,
        rows,
    )
    if pairs:
        results.print()
        head, *rows = pair_cells(pairs)
        print_table("probability of improvement", head, rows, left=2)
    for file in files:
        results.print(f"  {file}", highlight=False, soft_wrap=True)
