"""Rate limits: buckets that empty with use and fill with time, one for each client."""

import pytest

from deeptraffic.competition.web.guard import MAX_CLIENTS, Limiter, client_of
from deeptraffic.competition.web.settings import Rate


def make(per_second: float = 2.0, burst: float = 3.0) -> Limiter:
    return Limiter({"reads": Rate(per_second, burst), "writes": Rate(1.0, 1.0)})


def test_so_many_at_once_and_then_so_many_a_second() -> None:
    limiter = make()
    assert [limiter.wait("reads", "a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.wait("reads", "a", 0.0) == 0.5
    assert limiter.wait("reads", "a", 0.5) == 0.0
    assert limiter.wait("reads", "a", 0.6) == pytest.approx(0.4)


def test_a_refused_request_costs_nothing() -> None:
    limiter = make(burst=1.0)
    limiter.wait("reads", "a", 0.0)
    for k in range(10):
        limiter.wait("reads", "a", 0.01 * k)
    assert limiter.wait("reads", "a", 0.5) == 0.0


def test_clients_and_kinds_have_buckets_of_their_own() -> None:
    limiter = make(burst=1.0)
    assert limiter.wait("reads", "a", 0.0) == limiter.wait("reads", "b", 0.0) == limiter.wait("writes", "a", 0.0) == 0.0
    assert limiter.wait("reads", "a", 0.0) > 0


def test_a_look_takes_nothing() -> None:
    limiter = make(burst=1.0)
    assert [limiter.missing("reads", "a", 0.0) for _ in range(5)] == [0.0] * 5
    limiter.wait("reads", "a", 0.0)
    assert limiter.missing("reads", "a", 0.0) == 0.5


def test_a_bucket_holds_no_more_than_its_burst_and_a_clock_set_back_takes_nothing() -> None:
    limiter = make()
    limiter.wait("reads", "a", 1000.0)
    assert [limiter.wait("reads", "a", 999.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert [limiter.wait("reads", "a", 9999.0) > 0 for _ in range(4)] == [False, False, False, True]


def test_no_more_than_so_many_clients_are_remembered() -> None:
    limiter = make(burst=1.0)
    for k in range(MAX_CLIENTS + 10):
        limiter.wait("reads", str(k), 0.0)
    assert len(limiter._buckets) == MAX_CLIENTS
    assert limiter.wait("reads", str(MAX_CLIENTS + 9), 0.0) > 0


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("no address", "no address"),
    ],
)
def test_an_address_of_version_6_stands_for_its_network(address: str, client: str) -> None:
    assert client_of(address) == client
