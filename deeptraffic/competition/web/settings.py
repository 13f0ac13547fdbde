"""How the pages are served: where from, behind which proxies, and how much one caller may send and ask."""

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_UPLOAD = 17_000_000  # [bytes] a policy file has at most 16,000,000


@dataclass(frozen=True)
class Rate:
    """So many requests a second for long, and so many at once."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class WebSettings:
    """Settings of the web application.

    data_dir: where films of replays are kept
    public_url: address that people type, such as https://traffic.example.org; None if the server is reached directly
    trusted_proxies: addresses or networks of proxies whose X-Forwarded-* headers are believed; of others they are not
    max_upload: [bytes] of a submission
    max_form: [bytes] of any other request's body
    idle_seconds, body_seconds: longest pause within a body, and longest time for the whole of it
    reads, writes: of one network address; a class may sit behind one, hence so many
    secrets: wrong tokens and links that one address may try
    uploads: of one account
    """

    data_dir: Path
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    max_upload: int = MAX_UPLOAD
    max_form: int = 1_000_000
    idle_seconds: float = 15.0
    body_seconds: float = 180.0
    reads: Rate = Rate(60.0, 600.0)
    writes: Rate = Rate(10.0, 300.0)
    secrets: Rate = Rate(0.2, 20.0)
    uploads: Rate = Rate(0.5, 25.0)

    def __post_init__(self) -> None:
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.path not in ("", "/")
                or parts.query
            ):
                raise ValueError(
                    f"public_url={self.public_url!r} is no address of a site; give one such as https://traffic.example.org"
                )
        for proxy in self.trusted_proxies:
            read_network(proxy)

    @cached_property
    def public_origin(self) -> str | None:
        """The public address as browsers write an Origin, or None."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def secure(self) -> bool:
        """Whether people reach the site by https alone, so that cookies may be Secure."""
        return self.public_origin is not None and self.public_origin.startswith("https://")

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        """The trusted proxies' networks."""
        return tuple(read_network(proxy) for proxy in self.trusted_proxies)


def read_network(text: str) -> Network:
    """Return an address or network; raise ValueError that says how to write one."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"proxy {text!r} is no address or network; give one such as 127.0.0.1 or 10.0.0.0/8") from None
