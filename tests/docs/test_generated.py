"""Pages generated from the registries: settings with their limits, learning curves, figures of observations."""

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from agents.registry import ALGORITHMS
from deeptraffic.docs.algorithms import algorithm_page
from deeptraffic.docs.api import MODULES, ROOT, index_page, public_names
from deeptraffic.docs.citing import citing_page
from deeptraffic.docs.contents import ALL_PAGES, PATHS
from deeptraffic.docs.curves import SEEDS, draw_curve, read_curves
from deeptraffic.docs.fields import meanings, prose, settings_table, with_lists
from deeptraffic.docs.observations import PARTS, draw_observation, kind_page, moment
from deeptraffic.docs.registries import encoders_page, layers_page
from deeptraffic.envs.observations import OBSERVATIONS
from deeptraffic.policies.layers import LAYER_KINDS
from deeptraffic.sim.state import Game
from representation.registry import ENCODERS

ONLINE = [entry.name for entry in ALGORITHMS.values() if entry.kind != "offline"]
DOCSTRING = """A config.

    gamma: discount of a decision's
        reward
    low, high: limits
    """


def test_meanings_are_those_of_the_docstring() -> None:
    both = "limits"
    assert meanings(DOCSTRING) == {"gamma": "discount of a decision's reward", "low": both, "high": both}


def test_lines_of_names_and_meanings_are_shown_as_a_list() -> None:
    assert with_lists("Text: with a colon.") == "Text: with a colon."
    shown = with_lists(DOCSTRING).splitlines()
    assert shown[3:] == ["- `gamma`: discount of a decision's", "    reward", "- `low`, `high`: limits"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_page_of_an_algorithm_has_its_settings_with_meanings_and_its_curve(name: str) -> None:
    page = algorithm_page(ALGORITHMS[name])
    settings = page.partition("## Settings")[2]
    rows = [line.split(" | ") for line in settings.splitlines() if line.startswith("| `")]
    assert len(rows) > 3 and [row[0] for row in rows if not row[3].strip(" |")] == []
    assert (f"figure:curve-{name}.svg" in page) == (name in ONLINE)


def test_every_algorithm_that_needs_no_data_set_has_a_curve_of_every_seed() -> None:
    rows = read_curves()
    found = {(row["algorithm"], int(row["seed"])) for row in rows}
    assert found == {(name, seed) for name in ONLINE for seed in SEEDS}
    figure = draw_curve("pqn", [row for row in rows if row["algorithm"] == "pqn"])
    assert len(figure.axes[0].lines) == len(SEEDS) + 2  # the mean, and random


@pytest.mark.parametrize("name", [*OBSERVATIONS, "two-frames"])
def test_the_figure_of_an_observation_shows_the_environments_own(name: str) -> None:
    obs, image, env = moment(name)
    again, *_ = moment(name)
    env.close()
    assert data_equivalence(obs, again) and image.shape == (700, 140, 3)
    shown = [
        part.get_array() for axes in draw_observation(name).findobj() if hasattr(axes, "images") for part in axes.images
    ]
    assert any(np.asarray(part).shape == image.shape and (np.asarray(part) == image).all() for part in shown)


@pytest.mark.parametrize("name", PARTS)
def test_the_entries_of_an_observation_are_all_there_and_within_their_limits(name: str) -> None:
    _, parts = PARTS[name]
    seen, space = drive(name)
    parted = {key: [eval(part.taken, {"obs": obs}) for obs in seen] for key, part in enumerate(parts)}
    for key, part in enumerate(parts):
        assert part.low <= np.min(parted[key]) and np.max(parted[key]) <= part.high, part
    numbers = numbered(space)
    taken = [np.ravel(eval(part.taken, {"obs": numbers})) for part in parts]
    whole = numbers.values() if isinstance(numbers, dict) else [numbers]
    assert set(np.concatenate(taken)) == set(np.concatenate([np.ravel(each) for each in whole]))


def drive(name: str) -> tuple[list[Any], gymnasium.Space]:
    """Observations of a run of random actions among two other agents, and their space."""
    env = gymnasium.make("DeepTraffic2018-v0", observation=name, other_agents=2)
    seen = [env.reset(seed=3)[0]]
    env.action_space.seed(3)
    seen += [env.step(env.action_space.sample())[0] for _ in range(60)]
    return seen, env.observation_space


def numbered(space: gymnasium.Space) -> Any:
    """An observation whose entries are all different."""
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: numbered(part) + 1000 * k for k, (key, part) in enumerate(space.items())}
    return np.arange(np.prod(space.shape)).reshape(space.shape)


def test_every_kind_has_a_table_of_its_entries() -> None:
    assert {*PARTS, "full"} == set(OBSERVATIONS)
    page = kind_page("full")
    assert [name for name in Game.__annotations__ if f'| `obs["{name}"]` |' not in page] == []


def test_prose_leaves_out_what_tables_show() -> None:
    assert prose("float32, all in 0..1:\n\nego: (5,)\n    lane\n\nNothing else.") == "Nothing else."


def test_every_paper_that_the_code_names_is_among_the_sources() -> None:
    page = citing_page("CITATION.cff")
    files = [file for top in ("agents", "deeptraffic", "representation") for file in (ROOT / top).rglob("*.py")]
    named = {number for file in files for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", file.read_text("utf-8"))}
    assert {number for number in named if number not in page} == set() and len(named) > 60
    assert "@software{deeptraffic20" in page and "author = {Fridman, Lex and Terwilliger, Jack" in page


def test_encoders_and_layers_are_those_of_the_registries() -> None:
    assert [name for name in ENCODERS if f"## {name}\n" not in encoders_page()] == []
    assert [name for name in LAYER_KINDS if f"## {name}\n" not in layers_page()] == []


def test_a_table_of_settings_names_limits() -> None:
    table = settings_table(ALGORITHMS["ppo"].load().config)
    assert "| `gamma` | `0.92` | number in [0, 1] |" in table


def test_every_page_of_the_checkout_is_in_the_site() -> None:
    pages = {
        path.relative_to(ROOT).as_posix()
        for top in ("deeptraffic", "agents", "representation")
        for path in (ROOT / top).rglob("*")
        if path.suffix in (".md", ".ipynb") and "vendor" not in path.parts and ".ipynb_checkpoints" not in path.parts
    }
    assert pages - PATHS.keys() == set()


def test_the_index_names_what_the_reference_documents() -> None:
    index = index_page()
    link = "| [`DeepTrafficEnv`](site:api/environments.md#deeptraffic.envs.gym_env.DeepTrafficEnv) | `deeptraffic."
    assert link in index and "| [`_" not in index
    assert "[`step_env`]" not in index and "[`draw`]" in index  # compiled functions, with the simulator only
    modules = [module for _, group in MODULES.values() for module in group]
    assert index.count("](site:api/") == sum(len(list(public_names(module))) for module in modules) > 200
    assert [module for module in modules if not list(public_names(module))] == []


def test_no_page_of_the_site_takes_anothers_place() -> None:
    assert len({page.path for page in ALL_PAGES}) == len(ALL_PAGES)
