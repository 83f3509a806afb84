"""What a venue says over REST before the first trade: its instruments, and their newest trades.

Up to `FEW` symbols are asked for their newest trades at once, before the service listens. Of more
symbols only the listing is asked, which is one request, and the references follow while the service
runs: REST has room for a few hundred such requests a minute.
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
from fanout.feed.normalise import to_trade
from fanout.feed.roster import NO_REFERENCE
from fanout.net.rest import RestClient
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.records import Instrument, Reference, Trade
from fanout.venues import Venue
from fanout.venues.base import Listing

_LOG = logging.getLogger("fanout")

FEW: Final = 10
"""Up to so many symbols have their references before the service listens."""


class Market(msgspec.Struct, frozen=True):
    """Instruments, and of each: the reference that deltas start from, the newest trade, if there
    is any, and seconds from one trade to the next, on average and at the most, 0 if unknown.

    `patterns` are what was asked for. References of instruments in `pending` are not known yet.
    Recent trades that fit no field were `left_out`, counted by symbol. Rows of the listing that
    could not be read are `odd`.
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


class Recent(msgspec.Struct, frozen=True):
    """Recent trades of one instrument, oldest first. `left_out` rows fit no field, or `why` says
    why the answer is of no use at all."""

    trades: tuple[Trade, ...] = ()
    left_out: int = 0
    why: str = ""

    @property
    def reference(self) -> Reference:
        return reference_of(self.trades)


async def ask_market(rest: RestClient, venue: Venue, patterns: tuple[str, ...]) -> Market:
    """The instruments that symbols and patterns mean, and their recent trades.

    Raises a `VenueError`, and `ConfigError` for a symbol that is unknown or does not trade and for
    a pattern that matches nothing or too much; like every nursery, in an exception group.
    """
    listing = await rest.fetch(venue.listing_request(), venue.parse_listing)
    spelled = tuple(each if each == "all" else venue.spell(each) for each in patterns)
    symbols = resolve(spelled, listing)
    instruments = tuple(listing.instrument(symbol, index) for index, symbol in enumerate(symbols))
    _log_odd(listing, spelled)
    market = (
        _unasked(instruments) if len(instruments) > FEW else await _asked(rest, venue, instruments)
    )
    return msgspec.structs.replace(market, patterns=spelled, odd=listing.odd)


def _log_odd(listing: Listing, patterns: Sequence[str]) -> None:
    """Rows that cannot be read concern those who ask for patterns, which may mean them."""
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
    """Recent trades, all at once. Each answer is kept with its symbol."""
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
    """One instrument's recent trades. An answer that is nonsense is logged: it must not keep
    others from being served.

    Raises a `VenueError` where REST cannot be asked.
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

    All zero where there are none: a reference is only where deltas start, and any will do.
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
    """Mean time from one of recent trades to the next; 0 if that is not known."""
    if len(trades) < 2:
        return 0.0
    span_ms = trades[-1].time_ms - trades[0].time_ms
    return max(0.0, span_ms / 1000 / (len(trades) - 1))


def longest_s_of(trades: Sequence[Trade]) -> float:
    """Longest time from one of recent trades to the next; 0 if that is not known."""
    pauses_ms = (later.time_ms - earlier.time_ms for earlier, later in pairwise(trades))
    return max(0, *pauses_ms) / 1000 if len(trades) > 1 else 0.0
