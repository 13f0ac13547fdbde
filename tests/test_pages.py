"""The pages: their commands exist, their code runs, and their tables are those of the registries.

`python tests/test_pages.py` writes the tables, and the image of the window on the first page.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from gymnasium.spaces import Dict
from PIL import Image

from agents.analysis.peers import peers_table, stored_report
from agents.analysis.tables import markdown_table, replace_section
from agents.benchmark.report import benchmark_table, stored_results
from agents.benchmark.tasks import TASKS
from agents.champions.pages import write_pages
from agents.champions.registry import CHAMPIONS
from agents.registry import ENTRIES
from deeptraffic.cli.app import LazyCommand, app
from deeptraffic.cli.episodes import find_episode
from deeptraffic.docs.fields import arguments_table
from deeptraffic.envs.gym_env import DeepTrafficEnv
from deeptraffic.envs.observations import OBSERVATIONS, PRESETS, describe, make_observation
from deeptraffic.sim.rules import RoadConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("deeptraffic", "agents", "representation")
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *(page for package in PACKAGES for page in sorted((ROOT / package).rglob("*.md"))),
]
WINDOW = ROOT / "deeptraffic" / "render" / "watch.png"
MAX_WORDS = 1500
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(deeptraffic [^`\n]+)`")
COMMENT = re.compile(r"\s+#.*")
END = "<!-- end of the table -->"


def blocks(page: Path, language: str) -> list[str]:
    return [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[str]:
    """Every `deeptraffic ...` of a page, in a block of shell or between backticks."""
    for code in blocks(page, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            command = COMMENT.sub("", line).strip().removeprefix("$ ")
            if command.startswith("deeptraffic "):
                yield command
    yield from INLINE.findall(page.read_text(encoding="utf-8"))


def complaint(command: str) -> str | None:
    """What is wrong with a command: no such command, or no such option of it."""
    words = shlex.split(command, posix=False)[1:]
    found: Any = typer.main.get_command(app)
    while words and hasattr(found, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        if name in ("COMMAND", "..."):
            return None
        if name not in found.commands:
            return f"{command}: there is no command {name}"
        found = found.commands[name]
    loaded = found.load() if isinstance(found, LazyCommand) else found
    options = {name for parameter in loaded.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word not in options | {"--help", "-h"}]
    return f"{command}: there is no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_their_options_exist(page: Path) -> None:
    assert [found for command in commands(page) if (found := complaint(command))] == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("deeptraffic train ppo --preset fast", None),
        ("deeptraffic competition finalize --reveal", None),
        ("deeptraffic COMMAND --help", None),
        ("deeptraffic drive ppo", "no command drive"),
        ("deeptraffic train ppo --pace fast", "no option --pace"),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, fault: str | None) -> None:
    found = complaint(command)
    assert found is None if fault is None else fault in str(found)


def test_the_first_page_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) < MAX_WORDS


@pytest.mark.parametrize(
    "page", [README, ROOT / "deeptraffic" / "envs" / "README.md"], ids=lambda page: page.parent.name
)
def test_the_first_code_runs(page: Path) -> None:
    code = blocks(page, "python")[0]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    assert page != README or re.fullmatch(r"-?\d+ cars passed, \d+ mph\n", run.stdout)


def test_the_image_in_motion_is_what_its_command_records() -> None:
    text = README.read_text(encoding="utf-8")
    (command,) = [line for line in commands(README) if ".webp" in line and " -o " in line]
    words = shlex.split(command)
    options = dict(zip(words[3::2], words[4::2], strict=True))
    path = ROOT / options["-o"]
    assert text.index(f'src="{options["-o"]}"') < text.index("```")
    episode = find_episode(words[2], frames=round(60 * float(options["--seconds"]))).make(int(options["--seed"]))
    with Image.open(path) as image:
        durations = []
        for number in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
        assert image.info["loop"] == 0 and sum(durations) == pytest.approx(1000 * float(options["--seconds"]), rel=0.05)
        last = np.asarray(image.convert("RGB"), np.float64)
    assert np.abs(last - last_image(episode)).mean() < 4.0


def test_the_image_of_the_window_is_what_its_command_shows() -> None:
    with Image.open(WINDOW) as image:
        kept = np.asarray(image.convert("RGB"), np.float64)
    difference = np.abs(window_image() - kept)
    assert difference.mean() < 4.0, "renew it: python tests/test_pages.py"
    assert (difference.max(axis=2) > 60).mean() < 0.03, "renew it: python tests/test_pages.py"


def window_image() -> Any:
    """The window that the command beside the image, `deeptraffic watch POLICY --layer NAME`, shows at frame 700."""
    from deeptraffic.evaluation.loss_causes import stuck_level
    from deeptraffic.render.screen import ViewerOptions
    from deeptraffic.render.viewer import Viewer

    path = WINDOW.relative_to(ROOT).as_posix()
    (command,) = re.findall(rf"!\[`(deeptraffic watch [^`]+)`\]\({path}\)", README.read_text(encoding="utf-8"))
    words = shlex.split(command)
    found, layers = find_episode(words[2]).with_layers([words[words.index("--layer") + 1]], None)
    options = ViewerOptions(found.sensor, found.insight, layers=layers, stuck=stuck_level)
    viewer = Viewer(found.make, seed=3, options=options)
    for _ in range(700):
        viewer.tick()
    return viewer.image()


def last_image(episode: Any) -> Any:
    """The last image that `record` writes of an episode, at 15 images per second."""
    from deeptraffic.evaluation.episodes import episode_frames
    from deeptraffic.render.painter import Painter

    *_, last = episode_frames(episode, Painter(episode.rules, label=episode.label), 4)
    return last


def test_scores_of_the_champions_are_those_of_the_registry() -> None:
    text = README.read_text(encoding="utf-8")
    assert (
        f"**`champion-solo`**, trained by expert iteration | **{CHAMPIONS['champion-solo'].official_mph:.2f}** |"
        in text
    )
    assert f"**`champion` scores {CHAMPIONS['champion'].official_mph:.2f}**" in text


def test_numbers_of_the_first_page_are_those_of_the_registries() -> None:
    words = dict(zip(("Seven", "Fifteen"), (7, 15), strict=True))
    text = README.read_text(encoding="utf-8")
    for what, registry in (("algorithms", ENTRIES), ("observations,", OBSERVATIONS)):
        (number,) = re.findall(rf"(\w+)\s+{what}", text)[:1]
        assert words[number.capitalize()] == len(registry)


def test_extras_are_those_of_the_distribution() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    table = README.read_text(encoding="utf-8").partition("| extra |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(extras)


def sb3_policy(kind: str) -> str:
    """The policy of Stable-Baselines3 that takes a kind of observation."""
    from stable_baselines3.common.preprocessing import is_image_space

    space = make_observation(kind).space(RoadConfig().build())
    return "MultiInputPolicy" if isinstance(space, Dict) else "CnnPolicy" if is_image_space(space) else "MlpPolicy"


def observations_table() -> str:
    rows = [
        [f"`{name}`", describe(name), "contest" if kind.contest_kind else "open", f"`{sb3_policy(name)}`"]
        for name, kind in OBSERVATIONS.items()
    ]
    return markdown_table([["kind", "observation", "access", "in Stable-Baselines3"], *rows], left=4)


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_the_policy_of_stable_baselines3_takes_the_observation(kind: str) -> None:
    from stable_baselines3 import PPO

    from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

    env = DeepTrafficVecEnv(1, observation=kind)
    PPO(sb3_policy(kind), env, n_steps=2, batch_size=2, n_epochs=1, device="cpu").learn(2)


def environment_table() -> str:
    return arguments_table(DeepTrafficEnv.__init__, DeepTrafficEnv.__doc__ or "")


def presets_table() -> str:
    rows = [[f"`{name}`", f"`{preset.options['kind']}`", preset.summary] for name, preset in PRESETS.items()]
    return markdown_table([["preset", "kind", "observation"], *rows], left=3)


def algorithms_table() -> str:
    rows = [[f"`{entry.name}`", entry.kind, entry.summary] for entry in ENTRIES]
    return markdown_table([["algorithm", "kind", "summary"], *rows], left=3)


def tasks_table() -> str:
    head = ["task", "road", "observation", "`random` [mph]", "reference [mph]"]
    rows = [
        [f"`{t.name}`", t.summary, f"`{t.seen}`", f"{t.random_mph:.2f}", f"{t.reference_mph:.2f}, `{t.reference}`"]
        for t in TASKS.values()
    ]
    return markdown_table([head, *rows], left=3)


def perception_table() -> str:
    """Verdicts on the experiments' main metrics, from report.json."""
    from representation.report import stored_sections

    rows = [["experiment", "main metric on held-out runs", "seeds", "against the best baseline"]]
    for section in stored_sections(ROOT / "representation" / "report.json"):
        metric = section.metrics[0]
        verdict = f"{metric.verdict}, {metric.best_baseline}" if metric.baselines else "–"
        rows.append([f"`{section.name}`", metric.name, str(len(metric.seeds)), verdict])
    return markdown_table(rows, left=4)


TABLES: dict[str, tuple[Path, Callable[[], str]]] = {
    "<!-- table of observations -->": (ROOT / "deeptraffic" / "envs" / "README.md", observations_table),
    "<!-- table of arguments -->": (ROOT / "deeptraffic" / "envs" / "README.md", environment_table),
    "<!-- table of presets -->": (ROOT / "deeptraffic" / "envs" / "README.md", presets_table),
    "<!-- table of perception -->": (ROOT / "representation" / "README.md", perception_table),
    "<!-- table of algorithms -->": (ROOT / "agents" / "README.md", algorithms_table),
    "<!-- table of tasks -->": (ROOT / "agents" / "benchmark" / "BENCHMARK.md", tasks_table),
    "<!-- table of results -->": (
        ROOT / "agents" / "benchmark" / "BENCHMARK.md",
        lambda: benchmark_table(stored_results()),
    ),
    "<!-- table of peers -->": (README, lambda: peers_table(stored_report())),
}


@pytest.mark.parametrize("begin", TABLES, ids=lambda begin: begin.strip("<!- >"))
def test_tables_are_those_of_the_registries(begin: str) -> None:
    page, table = TABLES[begin]
    assert f"{begin}\n{table()}{END}" in page.read_text(encoding="utf-8"), "python tests/test_pages.py writes it"


def test_the_paradigms_of_perception_are_all_named() -> None:
    from representation.catalog import PARADIGMS

    text = (ROOT / "representation" / "README.md").read_text(encoding="utf-8")
    assert [name for name in PARADIGMS if f" {name} |" not in text] == []


if __name__ == "__main__":
    for marker, (path, make) in TABLES.items():
        replace_section(path, marker, END, make())
    write_pages()
    Image.fromarray(window_image()).save(WINDOW, optimize=True)
