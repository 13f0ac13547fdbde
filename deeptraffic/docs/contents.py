"""Contents of the site: every page's place in the navigation, and what it is made from.

A page is a Markdown file or notebook of the checkout, or a function that returns Markdown. Links are relative to the
source's file; from anywhere, `repository:PATH` names a file of the checkout and `site:PATH` a page of the site.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

from agents.registry import ENTRIES, Entry
from deeptraffic.docs.algorithms import algorithm_page, run_settings_page
from deeptraffic.docs.api import MODULES, api_page, index_page
from deeptraffic.docs.observations import kind_page, presets_page
from deeptraffic.docs.registries import encoders_page, examples_page, layers_page, overview_page
from deeptraffic.envs.observations import OBSERVATIONS

PAGES = "deeptraffic/docs/pages"


class Page(NamedTuple):
    """A page: its title in the navigation, its path in the site, its source, and its group within its section."""

    title: str
    path: str
    source: str | Callable[[], str]
    group: str = ""


def _algorithm(entry: Entry) -> Page:
    return Page(entry.name, f"agents/{entry.name}.md", partial(algorithm_page, entry), "Algorithms")


def _kind(name: str) -> Page:
    return Page(name, f"environments/{name}.md", partial(kind_page, name), "Observations")


def _tutorial(title: str) -> Page:
    name = title.lower().replace(" ", "_")
    return Page(title, f"tutorials/{name}.md", f"representation/tutorials/{name}.ipynb")


TUTORIALS = (
    *map(_tutorial, ("1 See", "2 Name", "3 Remember", "4 Compress", "5 Imagine", "6 Drive")),
    Page("7 Reward", "tutorials/07_driving_agents.md", "agents/tutorials/07_driving_agents.ipynb"),
)


CONTENTS: dict[str, tuple[Page, ...]] = {
    "Home": (
        Page("Home", "index.md", "README.md"),
        Page("Quickstart", "quickstart.md", f"{PAGES}/quickstart.md"),
        Page("Questions and errors", "faq.md", f"{PAGES}/faq.md"),
        Page("How to cite", "citing.md", "CITATION.cff"),
    ),
    "Environments": (
        Page("Environments", "environments/index.md", "deeptraffic/envs/README.md"),
        *map(_kind, OBSERVATIONS),
        Page("Fixed observations", "environments/presets.md", presets_page, "Observations"),
        Page("Multi-agent driving", "environments/multi_agent.md", f"{PAGES}/multi_agent.md"),
        Page("Rendering and videos", "environments/rendering.md", f"{PAGES}/rendering.md"),
        Page("Make your own", "environments/make_your_own.md", f"{PAGES}/make_your_own.md"),
        Page("Rules", "rules.md", "deeptraffic/sim/RULES.md"),
    ),
    "Agents": (
        Page("Driving agents", "agents/index.md", "agents/README.md"),
        *map(_algorithm, ENTRIES),
        Page("Settings of a run", "agents/settings.md", run_settings_page),
        Page("Champions", "agents/champions.md", "agents/champions/CHAMPIONS.md"),
        Page("Benchmark your algorithm", "agents/benchmark.md", "agents/benchmark/BENCHMARK.md"),
        Page("Data sets", "agents/datasets.md", "agents/datasets/DATASETS.md"),
        Page("The world model's predictions", "agents/imagination.md", "agents/algorithms/world_model/WORLD_MODEL.md"),
    ),
    "Perception": (
        Page("Perception", "perception/index.md", "representation/README.md"),
        Page("Encoders", "perception/encoders.md", encoders_page),
        Page("DeepTraffic-Vision", "perception/vision.md", "agents/champions/VISION.md"),
        Page("Report", "perception/report.md", "representation/REPORT.md"),
        Page("What did not help", "perception/comparison.md", "representation/COMPARISON.md"),
        Page("Pretraining and labels", "perception/labels.md", "representation/LABELS.md"),
    ),
    "Tutorials": (
        Page("Tutorials", "tutorials/index.md", lambda: overview_page([str(page.source) for page in TUTORIALS])),
        *TUTORIALS,
    ),
    "Competition": (Page("Running a competition", "competition.md", "deeptraffic/competition/GUIDE.md"),),
    "Lab": (Page("The lab", "lab.md", f"{PAGES}/lab.md"),),
    "Studies": (
        Page("Hyperparameters", "studies/study.md", "agents/study/STUDY.md"),
        Page("On a cluster", "studies/cluster.md", "agents/study/CLUSTER.md"),
        Page("Speed", "studies/benchmarks.md", "deeptraffic/BENCHMARKS.md"),
    ),
    "Coming from": (
        *(
            Page(title, f"coming_from/{name}.md", f"{PAGES}/coming_from/{name}.md")
            for title, name in (
                ("The original game", "original"),
                ("highway-env", "highway_env"),
                ("Stable-Baselines3", "sb3"),
                ("CleanRL", "cleanrl"),
                ("PufferLib", "pufferlib"),
            )
        ),
        Page("Other libraries: examples", "coming_from/examples.md", examples_page),
    ),
    "Reference": (
        Page("Policy files", "formats/policy.md", "deeptraffic/policies/FORMAT.md"),
        Page("Layers", "formats/layers.md", layers_page),
        Page("Index of names", "api/names.md", index_page, "API"),
        *(
            Page(title.removeprefix("API: ").capitalize(), f"api/{name}.md", partial(api_page, title, name), "API")
            for name, (title, _) in MODULES.items()
        ),
        Page("Contributing", "contributing.md", "CONTRIBUTING.md"),
        Page("Changes", "changelog.md", "CHANGELOG.md"),
    ),
}
ALL_PAGES = tuple(page for section in CONTENTS.values() for page in section)
NAMED = {page.title: page.path for page in (*map(_algorithm, ENTRIES), *map(_kind, OBSERVATIONS))}
PATHS = {page.source: page.path for page in ALL_PAGES if isinstance(page.source, str)}


def navigation() -> list[dict[str, object]]:
    """Return the navigation as the site's generator reads it."""
    return [{title: pages[0].path if len(pages) == 1 else list(_entries(pages))} for title, pages in CONTENTS.items()]


def _entries(pages: tuple[Page, ...]) -> Iterator[dict[str, object]]:
    """Yield a section's entries, each a page or a group of consecutive ones."""
    for group, own in groupby(pages, lambda page: page.group):
        entries: list[dict[str, object]] = [{page.title: page.path} for page in own]
        grouped: list[dict[str, object]] = [{group: entries}]
        yield from grouped if group else entries
