"""One comparison, from the opening of its streams to the report."""

import math
import time
from typing import Final

import msgspec
import trio

from fanout.cli.comparing.record import Findings
from fanout.cli.comparing.run import Comparing
from fanout.cli.comparing.sources import (
    RINGS,
    VENUE,
    Opened,
    VenueOptions,
    Wish,
    check_rings_address,
    check_venue_address,
    is_coarse,
    is_kept,
    open_both,
)
from fanout.cli.inputs import fitting, scheme_of
from fanout.cli.serve import ServeOptions
from fanout.cli.source import Source
from fanout.compare import Clock, Comparison, Fields, Identity, Report
from fanout.config import FeedConfig
from fanout.config.options import made_from
from fanout.errors import UsageError
from fanout.venues import VENUES
from fanout.venues.values import Continuity

OWN_UPDATE_IDS: Final = ("bitfinex", "coinbase", "coinbase-advanced")
"""Venues that do not number the changes of their books. Each service numbers them itself."""

_MS: Final = 1_000_000
_OF_RINGS: Final = Fields(time_unit_ns=_MS, has_kinds=False)
"""What a ring has of a trade."""


def wishes_of(
    source: Source,
    addresses: tuple[str, str],
    options: ServeOptions,
    *,
    by_content: bool,
    for_s: float,
    within_s: float,
) -> tuple[Wish, Wish]:
    """What is wanted of both addresses. A journal beside a live stream begins `within_s` ago, rings
    with what comes, and both go on. Two streams that are on disk are read from their beginning to
    their end. Raises `OperatorError`."""
    kept = [is_kept(each) for each in addresses]
    said = options.said
    venue = VenueOptions(
        feed=made_from(FeedConfig, said), ws_url=said["ws-url"], rest_url=said["rest-url"]
    )
    found = []
    for address, is_on_disk in zip(addresses, kept, strict=True):
        scheme, start = scheme_of(address), source.start
        if start is None and is_on_disk and not all(kept):
            start = "live" if scheme == RINGS else str(time.time_ns() - int(within_s * 1e9))
        of_it = msgspec.structs.replace(source, address=address, start=start)
        if scheme == VENUE:
            check_venue_address(of_it)
        elif scheme == RINGS:
            check_rings_address(of_it)
        follow = not all(kept) or for_s < math.inf
        found.append(
            Wish(
                source=fitting(of_it, addresses),
                follow=follow,
                venue=venue,
                by_content=by_content,
            )
        )
    a, b = found
    return a, b


class Compared:
    """A comparison of two addresses."""

    def __init__(
        self,
        wishes: tuple[Wish, Wish],
        findings: Findings,
        *,
        by_content: bool,
        for_s: float,
        within_s: float,
    ) -> None:
        """With `by_content` trades are not matched by their ids."""
        self._wishes = wishes
        self._findings = findings
        self._by_content = by_content
        self._for_s = for_s
        self._within_s = within_s
        is_any_kept = any(is_kept(each.address) for each in wishes)
        self.clock: Clock = Clock.RECEIVED if is_any_kept else Clock.ARRIVAL
        self._is_coarse = any(is_coarse(each.address) for each in wishes)
        self.report: Report | None = None
        """None before the end."""
        self.addresses: tuple[str, str] = (wishes[0].address, wishes[1].address)
        """As the streams show them, without a password."""
        self.has_begun = trio.Event()
        """Set once both streams are connected."""

    async def run(self) -> None:
        """Compare. Raises `UsageError` for streams that cannot be compared, and what the streams
        raise before they have begun; like every nursery, perhaps in an exception group."""
        async with open_both(self._wishes) as opened:
            a, b = opened
            self.addresses = (a.stream.url, b.stream.url)
            comparison = self._comparison(a, b)
            self.has_begun.set()
            comparing = Comparing(
                opened,
                comparison,
                clock=self.clock,
                within_s=self._within_s,
                received_unit_ns=_MS if self._is_coarse else 1,
                save=self._findings.save,
            )
            await comparing.run(self._for_s)
            self.report = comparison.finish()

    def _comparison(self, of_a: Opened, of_b: Opened) -> Comparison:
        a, b = of_a.header, of_b.header
        # Rings name no venue.
        named = [
            header.venue
            for header, wish in zip((a, b), self._wishes, strict=True)
            if not is_coarse(wish.address)
        ]
        venue = (named or [a.venue])[0]
        if len({*named}) > 1:
            raise UsageError(f"A is of {a.venue}, and B of {b.venue}: compare streams of one venue")
        if not {each.symbol for each in a.instruments} & {each.symbol for each in b.instruments}:
            raise UsageError("A and B have no symbol in common: nothing to compare")
        if not a.data & b.data:
            raise UsageError("A and B have no kind of data in common: nothing to compare")
        is_one_numbering = (a.epoch_ns, a.channel) == (b.epoch_ns, b.channel)
        return Comparison(
            self._findings.add,
            identity=Identity.CONTENT if self._by_content else _identity(venue),
            within_ns=int(self._within_s * 1e9),
            compares_books=is_one_numbering or venue not in OWN_UPDATE_IDS,
            fields=_OF_RINGS if self._is_coarse else Fields(),
        )


def _identity(venue: str) -> Identity:
    known = VENUES.get(venue)
    if known is not None and known.continuity is Continuity.NOTHING:
        return Identity.UNORDERED
    return Identity.ASCENDING
