"""Settings of the pages: impossible ones are refused with the value and the remedy."""

from pathlib import Path

import pytest

from deeptraffic.competition.web.settings import WebSettings


@pytest.mark.parametrize(
    "url", ["traffic.example.org", "ftp://x.org", "https://", "https://x.org/path", "https://x?q=1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="give one such as https://"):
        WebSettings(Path(), public_url=url)


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'proxy.local'.*such as 127.0.0.1"):
        WebSettings(Path(), trusted_proxies=("127.0.0.1", "proxy.local"))


@pytest.mark.parametrize(
    ("url", "origin", "secure"),
    [
        (None, None, False),
        ("http://lab:8000/", "http://lab:8000", False),
        ("https://Traffic.Example.org", "https://traffic.example.org", True),
    ],
)
def test_cookies_are_secure_where_people_come_by_https(url: str | None, origin: str | None, secure: bool) -> None:
    settings = WebSettings(Path(), public_url=url)
    assert (settings.public_origin, settings.secure) == (origin, secure)
