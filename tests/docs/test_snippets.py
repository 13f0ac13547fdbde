"""The pages' snippets: every block of Python and every command of the site's own pages runs, errors as printed."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "deeptraffic" / "docs" / "pages"
BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FAQ = PAGES / "faq.md"
OWN = [page for page in sorted(PAGES.rglob("*.md")) if page != FAQ]
WITH_PYTHON = ("README.md", "agents/README.md", "agents/benchmark/BENCHMARK.md", "deeptraffic/envs/README.md")
OTHERS = [ROOT / name for name in (*WITH_PYTHON, "deeptraffic/policies/FORMAT.md")]
NOT_RUN = {  # pages whose commands and Python are not run here; tests/test_pages.py parses every command of every page
    "CONTRIBUTING.md": "make's targets and a release",
    "agents/algorithms/world_model/WORLD_MODEL.md": "half an hour of training",
    "agents/benchmark/BENCHMARK.md": "needs mine.py; its Python runs, and tests/agents/benchmark runs the command",
    "agents/champions/CHAMPIONS.md": "rewrites the shipped champions",
    "agents/champions/VISION.md": "hours of training",
    "agents/datasets/DATASETS.md": "a driver at the keys; tests/agents/datasets records traces and policies",
    "agents/study/CLUSTER.md": "several machines",
    "agents/study/STUDY.md": "days of training",
    "deeptraffic/competition/GUIDE.md": "a server that runs; tests/competition runs its commands",
    "representation/README.md": "hours of pretraining",
    "README.md": "endless windows and servers among its commands; its Python runs",
}
LIBRARIES = {"pufferlib.md": "pufferlib.vector"}  # that a page needs and the development environment may lack
SLOW = {
    ROOT / "README.md",
    ROOT / "agents/README.md",
    PAGES / "quickstart.md",
    *(PAGES / "coming_from" / name for name in ("sb3.md", "original.md", "cleanrl.md")),
}
NOT_HERE = ("python -m http.server", "pip install", *(f"deeptraffic {name}" for name in ("lab", "play", "watch")))


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def cases(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=named(page), marks=[pytest.mark.slow] * (page in SLOW)) for page in pages]


@pytest.mark.parametrize("page", cases([*OWN, *OTHERS]))
def test_the_snippets_of_a_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: Any, run: Any) -> None:
    if page.name in LIBRARIES:
        pytest.importorskip(LIBRARIES[page.name])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": named(page)}
    if page.name == "original.md":
        names["SUBMISSION"] = (ROOT / "tests/golden/submissions/plain.js").read_text(encoding="utf-8")
    if page.name == "FORMAT.md":
        from stable_baselines3 import PPO

        from deeptraffic.envs.sb3_vec_env import DeepTrafficVecEnv

        PPO("MlpPolicy", DeepTrafficVecEnv(2), n_steps=8, batch_size=16).save("model.zip")
    for language, code in blocks(page):
        if language == "python":
            exec(compile(code, named(page), "exec"), names)
        elif language == "sh" and page in OWN:
            for line in code.splitlines():
                if not line.startswith(NOT_HERE):
                    assert exit_code(line, run) == 0, line


def test_every_page_with_snippets_is_run_or_says_why_not() -> None:
    tops = [ROOT.glob("*.md"), *((ROOT / top).rglob("*.md") for top in ("deeptraffic", "agents", "representation"))]
    pages = {page for top in tops for page in top if "vendor" not in page.parts and blocks(page)}
    unrun = {
        named(page)
        for page in pages - {*OWN, FAQ}
        if page not in OTHERS or any(language == "sh" for language, _ in blocks(page))
    }
    assert unrun == NOT_RUN.keys()


def test_the_agent_of_the_benchmarks_page_trains_within_its_budget() -> None:
    from agents.benchmark.session import BenchmarkSession
    from agents.benchmark.tasks import TASKS

    names: dict[str, Any] = {}
    exec(next(code for language, code in blocks(ROOT / WITH_PYTHON[2]) if language == "python"), names)
    session = BenchmarkSession(TASKS["solo"], budget=2_500)
    assert names["make"](session).num_timesteps == session.used == 2_048


def exit_code(line: str, run: Any) -> int:
    program, *words = shlex.split(line)
    if program == "deeptraffic":
        return int(run(*words).code)
    environment = [sys.executable, *words]
    return subprocess.run(environment, capture_output=True, check=False, cwd=ROOT).returncode


def pattern(text: str) -> str:
    """An expression for a printed text, in which "..." stands for anything."""
    return ".*".join(re.escape(part) for part in text.strip().split("..."))


def errors() -> list[tuple[str, str, str]]:
    """Language, code and message of every error of the page."""
    found = [(first[0], first[1], second[1]) for first, second in pairwise(blocks(FAQ)) if second[0] == "text"]
    return [(language, code, message) for language, code, message in found if language != "text"]


@pytest.fixture(scope="module")
def shared() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(blocks(FAQ)[0][1], names)
    return names


def test_the_page_of_errors_has_many() -> None:
    assert len(errors()) == sum(language == "text" for language, _ in blocks(FAQ)) > 15


@pytest.mark.parametrize(
    ("language", "code", "message"), errors(), ids=lambda value: value.strip().splitlines()[0][:40]
)
def test_an_error_is_raised_as_printed(
    language: str, code: str, message: str, shared: dict[str, Any], run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    if language == "sh":
        outcome = run(*shlex.split(code)[1:])
        assert outcome.code == 2
        printed = outcome.err.strip()
    else:
        with pytest.raises(Exception) as caught:
            exec(code, shared)
        printed = f"{type(caught.value).__name__}: {caught.value}"
    assert re.fullmatch(pattern(message), printed, re.DOTALL), printed
