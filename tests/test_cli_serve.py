"""`deeptraffic serve` and `worker`: what they print, and what they hand on."""

import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deeptraffic.cli.app import app
from deeptraffic.competition import server, worker
from deeptraffic.competition.sandbox import strictness
from deeptraffic.competition.store.accounts import follow_link
from deeptraffic.competition.store.database import Database
from deeptraffic.extras import EXTRAS
from deeptraffic.lab.site import site_files


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[server.Server]:
    """Servers that were started; none of them waits for readers."""
    made: list[server.Server] = []
    monkeypatch.setattr(server.Server, "run", lambda self: made.append(self))
    return made


def test_the_first_start_prints_a_link_that_works_and_the_second_none(served: Any, tmp_path: Path) -> None:
    words = ("serve", "--data", str(tmp_path / "data"), "--port", "0", "--workers", "0")
    first, second = run(*words), run(*words)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output
    (link,) = [line.strip() for line in first.stdout.splitlines() if "/link/" in line]
    assert follow_link(Database.in_folder(tmp_path / "data"), link.rpartition("/")[2])[0].is_organiser
    assert "/link/" not in second.stdout and served[1].url in second.stdout


def test_options_reach_the_server(served: Any, tmp_path: Path) -> None:
    words = (
        "--port",
        "0",
        "--workers",
        "0",
        "--trust-proxy",
        "10.0.0.0/8",
        "--public-url",
        "https://traffic.example.org",
    )
    assert run("serve", "--data", str(tmp_path), *words).exit_code == 0
    settings = served[0].settings
    assert (settings.proxies, served[0].url) == (("10.0.0.0/8",), "https://traffic.example.org")
    assert settings.lab is not None and settings.lab == site_files()


def test_every_address_without_a_public_url_is_warned_of(served: Any, tmp_path: Path) -> None:
    words = ("serve", "--data", str(tmp_path), "--port", "0", "--workers", "0")
    warned = run(*words, "--host", "0.0.0.0")
    assert warned.exit_code == 0 and "without --public-url" in warned.stderr
    for quiet in (("--host", "127.0.0.1"), ("--host", "0.0.0.0", "--public-url", "http://lab:8000")):
        assert "without --public-url" not in run(*words, *quiet).stderr


@pytest.mark.parametrize(
    "words", [("serve", "--port", "0", "--data"), ("worker", "--database-url", "mysql://x", "--lane")]
)
def test_strict_servers_and_workers_do_not_run_without_every_protection(
    words: tuple[str, ...], served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strictness, "missing_protections", lambda: "no sandbox; no namespaces")
    last = "all" if words[0] == "worker" else str(tmp_path / "data")
    answer = run(*words, last, "--strict-sandbox")
    assert answer.exit_code == 1 and "no sandbox; no namespaces" in " ".join(answer.output.split())
    assert served == [] and not (tmp_path / "data").exists()


def test_a_taken_port_is_a_sentence(served: Any, tmp_path: Path) -> None:
    answer = run("serve", "--data", str(tmp_path), "--host", "no.such.host.invalid", "--port", "1")
    assert answer.exit_code == 2 and "cannot listen" in answer.output


def test_a_worker_gets_its_database_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(strictness, "log_missing", lambda: None)
    monkeypatch.setattr(worker, "work", lambda url, lane: asked.append((url, str(lane))))
    url = f"sqlite:///{tmp_path / 'x.sqlite3'}"
    monkeypatch.setenv("DEEPTRAFFIC_DATABASE_URL", url)
    assert run("worker", "--lane", "validation").exit_code == 0
    assert asked == [(url, "validation")]
    assert run("worker", "--database-url", "mysql://x").exit_code == 2


@pytest.mark.parametrize("words", [("serve",), ("worker", "--database-url", "sqlite:///x"), ("competition", "show")])
def test_without_the_extra_the_remedy_is_named(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "competition", ("no_such_module",))
    answer = run(*words)
    assert answer.exit_code == 1
    assert (
        "no_such_module: not installed" in answer.output and "pip install 'deeptraffic[competition]'" in answer.output
    )


def test_without_what_trains_there_is_a_site_without_a_lab(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("torch is not installed; pip install 'deeptraffic[agents]'", name="torch")

    monkeypatch.setattr("deeptraffic.lab.site.site_files", missing)
    answer = run("serve", "--data", str(tmp_path), "--port", "0", "--workers", "0")
    assert answer.exit_code == 0 and "no lab" in answer.stderr and "deeptraffic[agents]" in answer.stderr
    assert served[0].settings.lab is None


def test_the_server_backs_itself_up(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_one(self: server.Server) -> None:
        end = time.monotonic() + 20
        while not (scheduled := list((self.settings.data / "backups").glob("competition-*.backup"))):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert len(scheduled) == 1

    monkeypatch.setattr(server.Server, "run", wait_for_one)
    words = ("serve", "--data", str(tmp_path), "--port", "0", "--workers", "0", "--backup-hours", "24")
    assert run(*words).exit_code == 0
