"""Who finds a place: limits on clients in all, on clients of one address, and on their coming.

A limit is what keeps many from taking from the few. Nobody waits for a place: who finds none is
told so, and when to come back. Where a token is needed, a place is taken only by who has shown it;
until then a stranger stands in the *hall*, which has room for a few, and for fewer of one address.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from fanout.net.descriptors import Descriptors

FULL_RETRY_MS: Final = 5_000
"""When who found no place is asked to come back."""

RUSH_RETRY_MS: Final = 1_000
"""When who came in a rush is asked to come back."""

HALL_PLACES: Final = 128
"""Strangers whose token is waited for at once."""

HALL_PLACES_PER_ADDRESS: Final = 16

IP6_PREFIX_BITS: Final = 64
"""Who has one address of IP 6 has all of its network's."""


class Refusal(msgspec.Struct, frozen=True):
    """No place for a client: why, and when to come back."""

    why: str
    retry_ms: int


class Places:
    """So many at once, and so many of one address."""

    def __init__(self, most: int, most_per_address: int, who: str) -> None:
        """`most_per_address` 0 sets no limit. `who` is in them, in words."""
        self._most = most
        self._most_per_address = most_per_address
        self._who = who
        self._present: Counter[str] = Counter()
        self.count = 0

    def enter(self, host: str) -> Refusal | None:
        """Count one from an address in, or say why not. Who is in has to `leave`."""
        address = _counted_as(host)
        if self.count >= self._most:
            return Refusal(f"no place: at most {self._most:,} {self._who}", FULL_RETRY_MS)
        if self._most_per_address and self._present[address] >= self._most_per_address:
            most = f"{self._most_per_address:,} {self._who}"
            return Refusal(f"no place: at most {most} from one address", FULL_RETRY_MS)
        self._present[address] += 1
        self.count += 1
        return None

    def leave(self, host: str) -> None:
        address = _counted_as(host)
        self._present[address] -= 1
        if not self._present[address]:
            del self._present[address]
        self.count -= 1


class Admission:
    """How quickly clients come, and where they are."""

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
        self.places = Places(max_clients, max_per_address, "clients at once")
        self.hall = Places(HALL_PLACES, HALL_PLACES_PER_ADDRESS, "clients without their token")
        self.count = 0
        """Those who have arrived and not departed."""
        self._accept_rate = accept_rate
        self._clock = clock
        self._room = accept_rate
        """How many may come now, without being a rush."""
        self._counted_s = clock()

    def arrive(self) -> Refusal | None:
        """Count one that comes, or say why not: they come too quickly, or there are too many for
        the process. Who has arrived has to `depart`."""
        now_s = self._clock()
        self._room += (now_s - self._counted_s) * self._accept_rate
        self._room, self._counted_s = min(self._room, self._accept_rate), now_s
        if self._room < 1:
            why = f"no place: at most {self._accept_rate:,g} connections a second"
            return Refusal(why, RUSH_RETRY_MS)
        self._room -= 1
        if Descriptors.taken >= Descriptors.most():
            return Refusal("no place: the service is out of descriptors", FULL_RETRY_MS)
        Descriptors.taken += 1
        self.count += 1
        return None

    def depart(self) -> None:
        Descriptors.taken -= 1
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
