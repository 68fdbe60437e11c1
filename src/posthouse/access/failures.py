"""How often somebody may fail to log in: token buckets, bounded in number."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MOST_KEPT: Final = 20_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many failures at once, and one more every so many seconds."""

    burst: int
    every_s: float


PER_USER_AND_PEER: Final = Allowance(5, 10.0)
PER_PEER: Final = Allowance(30, 2.0)
PER_USER: Final = Allowance(60, 1.0)


class Failures:
    """Counts failures per user and peer, per peer, and per user.

    A bucket is one number, the time at which it will be full again. What is kept is bounded: the
    buckets that were used longest ago are forgotten first.
    """

    def __init__(self, now_s: Callable[[], float], most_kept: int = MOST_KEPT) -> None:
        self._now_s = now_s
        self._most_kept = most_kept
        self._full_at_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def wait_s(self, user: str, peer: str) -> float:
        """So long has this user at this peer to wait for the next attempt; 0: not at all."""
        now_s = self._now_s()
        return max(
            self._full_at_s.get(key, 0.0) - now_s - (each.burst - 1) * each.every_s
            for key, each in _buckets(user, peer)
        )

    def count(self, user: str, peer: str) -> None:
        """Count a failure."""
        now_s = self._now_s()
        for key, each in _buckets(user, peer):
            self._full_at_s[key] = max(self._full_at_s.pop(key, 0.0), now_s) + each.every_s
        while len(self._full_at_s) > self._most_kept:
            self._full_at_s.popitem(last=False)


def _buckets(user: str, peer: str) -> tuple[tuple[tuple[str, str], Allowance], ...]:
    group = peer_group(peer)
    return (
        ((user, group), PER_USER_AND_PEER),
        (("", group), PER_PEER),
        ((user, ""), PER_USER),
    )


def peer_group(peer: str) -> str:
    """Whom failures are counted for: an address, or for IPv6 its network of 64 bits."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
