"""Who finds a place: limits on clients in all, on clients of one address, and on their coming.

A limit is what keeps many from taking from the few. Nobody waits for a place: who finds none is
told so, and when to come back.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

FULL_RETRY_MS: Final = 5_000
"""When who found no place is asked to come back."""

RUSH_RETRY_MS: Final = 1_000
"""When who came in a rush is asked to come back."""

IP6_PREFIX_BITS: Final = 64
"""Who has one address of IP 6 has all of its network's."""


class Refusal(msgspec.Struct, frozen=True):
    """No place for a client: why, and when to come back."""

    why: str
    retry_ms: int


class Admission:
    """Counts who is there and how quickly they come."""

    def __init__(
        self,
        *,
        max_clients: int,
        max_per_address: int,
        accept_rate: float,
        clock: Callable[[], float],
    ) -> None:
        """`accept_rate` is in clients a second, and so many may come at once. `max_per_address` 0
        sets no limit. `clock` gives seconds, and never goes back."""
        self._max_clients = max_clients
        self._max_per_address = max_per_address
        self._accept_rate = accept_rate
        self._clock = clock
        self._room = accept_rate
        """How many may come now, without being a rush."""
        self._counted_s = clock()
        self._present: Counter[str] = Counter()
        self.count = 0
        """Clients that are there."""

    def admit(self, host: str) -> Refusal | None:
        """Count a client from an address in, or say why not. Who is in has to `leave`."""
        now_s = self._clock()
        self._room += (now_s - self._counted_s) * self._accept_rate
        self._room, self._counted_s = min(self._room, self._accept_rate), now_s
        if self._room < 1:
            return Refusal(f"more than {self._accept_rate:,g} connections a second", RUSH_RETRY_MS)
        self._room -= 1
        if self.count >= self._max_clients:
            return Refusal(f"{self._max_clients:,} clients are the most", FULL_RETRY_MS)
        address = _counted_as(host)
        if self._max_per_address and self._present[address] >= self._max_per_address:
            return Refusal(
                f"{self._max_per_address:,} clients of one address are the most", FULL_RETRY_MS
            )
        self._present[address] += 1
        self.count += 1
        return None

    def leave(self, host: str) -> None:
        address = _counted_as(host)
        self._present[address] -= 1
        if not self._present[address]:
            del self._present[address]
        self.count -= 1


def _counted_as(host: str) -> str:
    """What an address is counted by."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IP6_PREFIX_BITS), strict=False))
