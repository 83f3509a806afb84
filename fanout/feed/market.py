"""The start of a feed over REST: the instruments, and their recent trades as references.

With up to `FEW` symbols, the service fetches their recent trades before it listens. With more, it
fetches only the listing, which is one request. The references follow while the service runs, since
the REST budget has room for a few hundred of these requests a minute.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import msgspec
import trio

from fanout.config.assets import is_pattern
from fanout.errors import VenueMessageError
from fanout.feed.listing import resolve
from fanout.feed.listing_pages import fetch_listing
from fanout.feed.normalise import to_trade
from fanout.feed.roster import NO_REFERENCE
from fanout.net.budget import MINUTE_S, SHARE
from fanout.net.rest import RestClient
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference, Trade
from fanout.venues import Venue
from fanout.venues.values import Listing

_LOG = logging.getLogger("fanout")

FEW: Final = 10
"""Up to this number of symbols, the service has all references before it listens, if the REST
budget of a minute is enough for them."""


class Market(msgspec.Struct, frozen=True):
    """The instruments with their references.

    A reference is the start of the deltas. `newest` has the last trade of each instrument that has
    one. `usual_s` and `longest_s` are the mean and longest seconds between recent trades, 0 if
    unknown. `patterns` are the configured symbols and patterns. Instruments in `pending` have no
    reference yet. `left_out` counts, by symbol, recent trades with values that fit no field. `odd`
    has the unreadable rows of the listing.

    A market that an earlier feed has used `is_old`: the venue may have changed its listing since.
    `gone` has the indexes of the instruments that were delisted by then.
    """

    instruments: tuple[Instrument, ...]
    references: tuple[Reference, ...]
    newest: tuple[Trade, ...]
    usual_s: tuple[float, ...]
    longest_s: tuple[float, ...]
    patterns: tuple[str, ...] = ()
    pending: tuple[int, ...] = ()
    left_out: dict[str, int] = {}
    odd: dict[str, str] = {}
    is_old: bool = False
    gone: frozenset[int] = frozenset()


class Recent(msgspec.Struct, frozen=True):
    """Recent trades of one instrument, oldest first.

    `left_out` counts rows with values that fit no field. `why` is the reason if the whole answer is
    useless.
    """

    trades: tuple[Trade, ...] = ()
    left_out: int = 0
    why: str = ""

    @property
    def reference(self) -> Reference:
        return reference_of(self.trades)


async def ask_market(rest: RestClient, venue: Venue, patterns: tuple[str, ...]) -> Market:
    """Resolve symbols and patterns to instruments, and fetch their recent trades.

    Raises `VenueError`. Raises `ConfigError` for a symbol that is unknown or does not trade, and
    for a pattern that matches nothing or too much. Errors may be in an exception group.
    """
    listing = await fetch_listing(rest, venue)
    spelled = tuple(each if each == "all" else venue.spell(each) for each in patterns)
    symbols = resolve(spelled, listing)
    instruments = tuple(listing.instrument(symbol, index) for index, symbol in enumerate(symbols))
    _log_odd(listing, spelled)
    is_few = len(symbols) <= FEW and _is_within_a_minute(venue, symbols)
    market = await _asked(rest, venue, instruments) if is_few else _unasked(instruments)
    return msgspec.structs.replace(market, patterns=spelled, odd=listing.odd)


def _is_within_a_minute(venue: Venue, symbols: Sequence[str]) -> bool:
    """Whether the REST budget of a minute is enough for the listing and these references."""
    requests = [*venue.listing_requests(), *map(venue.recent_trades_request, symbols)]
    limits = venue.limits
    budget = limits.weight * SHARE * max(1.0, MINUTE_S / limits.window_s)
    return sum(each.weight for each in requests) <= budget


def _log_odd(listing: Listing, patterns: Sequence[str]) -> None:
    """Warn of unreadable rows if there is a pattern, which might have matched them."""
    if listing.odd and any(map(is_pattern, patterns)):
        names = ", ".join(list(listing.odd)[:5])
        _LOG.warning(
            "%s: %d rows of the listing cannot be read and are left out: %s",
            listing.venue,
            len(listing.odd),
            names,
        )


def _unasked(instruments: tuple[Instrument, ...]) -> Market:
    unknown = (0.0,) * len(instruments)
    return Market(
        instruments=instruments,
        references=(NO_REFERENCE,) * len(instruments),
        newest=(),
        usual_s=unknown,
        longest_s=unknown,
        pending=tuple(range(len(instruments))),
    )


async def _asked(rest: RestClient, venue: Venue, instruments: tuple[Instrument, ...]) -> Market:
    """Fetch the recent trades of all instruments at once."""
    recent: dict[int, Recent] = {}

    async def ask(instrument: Instrument) -> None:
        recent[instrument.index] = await ask_recent(rest, venue, instrument)

    async with trio.open_nursery() as nursery:
        for instrument in instruments:
            nursery.start_soon(ask, instrument)
    answers = [recent[each.index] for each in instruments]
    useless = [each.why for each in answers if each.why]
    if useless and len(useless) == len(answers):
        raise VenueMessageError("recent trades are nonsense", useless[0])
    trades = [each.trades for each in answers]
    return Market(
        instruments=instruments,
        references=tuple(map(reference_of, trades)),
        newest=tuple(each[-1] for each in trades if each),
        usual_s=tuple(map(usual_s_of, trades)),
        longest_s=tuple(map(longest_s_of, trades)),
        left_out={
            instrument.symbol: answer.left_out
            for instrument, answer in zip(instruments, answers, strict=True)
            if answer.left_out
        },
    )


async def ask_recent(rest: RestClient, venue: Venue, instrument: Instrument) -> Recent:
    """Fetch one instrument's recent trades.

    An invalid answer is logged and not raised, so that the other instruments can be served. Raises
    `VenueError` if the request fails.
    """
    symbol = instrument.symbol
    try:
        recent = await rest.fetch(
            venue.recent_trades_request(symbol),
            lambda body: _fitting(venue, instrument, body),
        )
    except VenueMessageError as error:
        recent = Recent(why=str(error))
    if recent.why:
        _LOG.warning("%s: starting without a reference: %s", symbol, recent.why)
    elif recent.left_out:
        _LOG.warning(
            "%s: %d of the recent trades fit no field and are left out of the reference",
            symbol,
            recent.left_out,
        )
    return recent


def _fitting(venue: Venue, instrument: Instrument, body: bytes) -> Recent:
    rows = venue.parse_recent_trades(body, instrument.symbol)
    trades: list[Trade] = []
    why = ""
    for row in rows:
        try:
            trades.append(to_trade(row, instrument))
        except NotRepresentableError as error:
            why = str(error)
    if rows and not trades:
        return Recent(left_out=len(rows), why=f"no recent trade fits: {why}")
    return Recent(tuple(trades), len(rows) - len(trades))


def reference_of(trades: Sequence[Trade]) -> Reference:
    """Mean price and quantity, and the newest id and time, of recent trades, oldest first.

    Without trades all fields are zero. A reference is only the start of the deltas, so any value is
    valid.
    """
    if not trades:
        return NO_REFERENCE
    return Reference(
        price=sum(each.price for each in trades) // len(trades),
        quantity=sum(each.quantity for each in trades) // len(trades),
        trade_id=trades[-1].trade_id,
        time=trades[-1].time,
    )


def usual_s_of(trades: Sequence[Trade]) -> float:
    """Mean time between recent trades; 0 if unknown."""
    if len(trades) < 2:
        return 0.0
    span_ms = trades[-1].time_ms - trades[0].time_ms
    return max(0.0, span_ms / 1000 / (len(trades) - 1))


def longest_s_of(trades: Sequence[Trade]) -> float:
    """Longest time between recent trades; 0 if unknown."""
    pauses_ms = (later.time_ms - earlier.time_ms for earlier, later in pairwise(trades))
    return max(0, *pauses_ms) / 1000 if len(trades) > 1 else 0.0
