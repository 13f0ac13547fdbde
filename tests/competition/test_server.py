"""Server: a first start that creates an organiser and a competition, a second that creates nothing, a taken port."""

import http.client
import socket
import threading
from pathlib import Path

import pytest
import uvicorn

from deeptraffic.competition.server import ServerSettings, address_of, first_start, last_address, open_server
from deeptraffic.competition.store import accounts, competitions


def test_the_first_start_makes_an_organiser_a_competition_and_an_invitation(tmp_path: Path) -> None:
    with open_server(ServerSettings(tmp_path / "data", port=0, workers=0)) as server:
        assert server.first_start is not None
        assert accounts.follow_link(server.db, server.first_start.link)[0].is_organiser
        assert accounts.join_by_invite(server.db, server.first_start.invite, "Ana")[0].role == "participant"
        assert [found.key for found in competitions.all_competitions(server.db)] == ["deeptraffic"]
        assert last_address(tmp_path / "data") == server.url
        assert first_start(server.db) is None
    with open_server(ServerSettings(tmp_path / "data", port=0, workers=0)) as server:
        assert server.first_start is None


def test_a_public_address_is_the_one_in_links(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, port=0, workers=0, public_url="https://traffic.example.org/")
    with open_server(settings) as server:
        assert server.url == last_address(tmp_path) == "https://traffic.example.org"


@pytest.mark.parametrize(
    ("host", "name"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", socket.gethostname()), ("::1", "[::1]")]
)
def test_links_name_an_address_that_others_can_reach(host: str, name: str) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        assert address_of(listening, host) == f"http://{name}:{listening.getsockname()[1]}"


def test_a_taken_port_is_named_before_anything_is_made(tmp_path: Path) -> None:
    with open_server(ServerSettings(tmp_path / "one", port=0, workers=0)) as server:
        port = int(server.url.rpartition(":")[2])
        server.listening.listen()
        with pytest.raises(ValueError, match=f"port {port}.*give another"):
            open_server(ServerSettings(tmp_path / "two", port=port, workers=0)).__enter__()
    assert not (tmp_path / "two").exists()


def test_it_serves_pages_until_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[uvicorn.Server] = []
    start = uvicorn.Server.startup

    async def remember(self: uvicorn.Server, sockets: object = None) -> None:
        made.append(self)
        await start(self, sockets=sockets)  # type: ignore[arg-type]

    monkeypatch.setattr(uvicorn.Server, "startup", remember)
    monkeypatch.setattr(uvicorn.Server, "install_signal_handlers", lambda self: None, raising=False)
    with open_server(ServerSettings(tmp_path / "data", port=0, workers=0)) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        while not made or not made[0].started:
            thread.join(0.01)
        connection = http.client.HTTPConnection(server.url.rpartition("/")[2], timeout=30)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("server")) == (200, None)
        answer.read()
        connection.close()
        made[0].should_exit = True
        thread.join()
