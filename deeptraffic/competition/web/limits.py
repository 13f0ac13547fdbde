"""Rate limits: a bucket of tokens per kind of request and caller, in the memory of the one web process."""

import ipaddress
import time
from collections import OrderedDict

from deeptraffic.competition.web.settings import Rate

MAX_CALLERS = 50_000  # remembered; the longest unseen are forgotten, which fills their buckets


class Limiter:
    """Answers whether a caller may go on.

    rates: by kind of request
    """

    def __init__(self, rates: dict[str, Rate]) -> None:
        self.rates = rates
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def wait(self, kind: str, caller: str, now: float | None = None) -> float:
        """Take a token; return 0, or the seconds until there is one again."""
        missing = self.missing(kind, caller, now)
        if missing == 0.0:
            self._keep(kind, caller, *self._left(kind, caller, now), taken=1.0)
        return missing

    def missing(self, kind: str, caller: str, now: float | None = None) -> float:
        """Return the seconds until there is a token, 0 if there is one, and take none."""
        left, _ = self._left(kind, caller, now)
        return 0.0 if left >= 1.0 else (1.0 - left) / self.rates[kind].per_second

    def _left(self, kind: str, caller: str, now: float | None) -> tuple[float, float]:
        """Tokens that there are, and the present time."""
        rate, now = self.rates[kind], time.monotonic() if now is None else now
        left, then = self._buckets.get((kind, caller), (rate.burst, now))
        return min(rate.burst, left + max(0.0, now - then) * rate.per_second), now

    def _keep(self, kind: str, caller: str, left: float, now: float, taken: float) -> None:
        self._buckets[kind, caller] = (left - taken, now)
        self._buckets.move_to_end((kind, caller))
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)


def caller_of(address: str) -> str:
    """Return whom an address stands for: itself, or of IPv6 its network of one site (/64)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
