"""Settings of the web application: data folder, public URL, trusted proxies, size and rate limits."""

import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_UPLOAD = 17_000_000  # [bytes] a policy file has at most 16,000,000


@dataclass(frozen=True)
class Rate:
    """A rate limit: requests per second in the long run, and in one burst."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class WebSettings:
    """Settings of the web application.

    data_dir: folder of cached tracks and videos
    public_url: URL that people use, such as https://traffic.example.org; None if the server is reached directly
    trusted_proxies: addresses or networks of proxies whose X-Forwarded-* headers are trusted, unlike all others'
    max_upload: [bytes] of a submission
    max_form: [bytes] of any other request's body
    upload_room: [bytes] of all uploads that are received or checked at a time; uploads_each: number of one account's
    requests: that are answered at a time
    idle_seconds, body_seconds: longest pause within a body, and longest duration of the whole
    reads, writes: of one network address, behind which a whole class may be; files: of the lab's page, from memory
    secrets: wrong tokens and links of one network address
    uploads: of one account
    """

    data_dir: Path
    public_url: str | None = None
    trusted_proxies: tuple[str, ...] = ()
    max_upload: int = MAX_UPLOAD
    max_form: int = 1_000_000
    upload_room: int = 512_000_000
    uploads_each: int = 2
    requests: int = 1000
    idle_seconds: float = 15.0
    body_seconds: float = 180.0
    reads: Rate = Rate(60.0, 600.0)
    writes: Rate = Rate(10.0, 300.0)
    files: Rate = Rate(600.0, 12_000.0)
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
                    f"public_url={self.public_url!r} is not the URL of a site; give one such as https://traffic.example.org"
                )
        for proxy in self.trusted_proxies:
            read_network(proxy)

    @cached_property
    def public_origin(self) -> str | None:
        """The public URL as browsers write an Origin, or None."""
        if self.public_url is None:
            return None
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @property
    def secure(self) -> bool:
        """Whether the site is reached by https alone, so that cookies may be Secure."""
        return self.public_origin is not None and self.public_origin.startswith("https://")

    @cached_property
    def proxies(self) -> tuple[Network, ...]:
        """The trusted proxies' networks."""
        return tuple(read_network(proxy) for proxy in self.trusted_proxies)


def read_network(text: str) -> Network:
    """Return an address or network; ValueError if it is neither."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        example = "give one such as 127.0.0.1 or 10.0.0.0/8"
        raise ValueError(f"proxy {text!r} is not an address or network; {example}") from None
