"""What a venue says over REST before the first trade: units, and the newest trades."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import trio

from fanout.errors import ConfigError, VenueMessageError
from fanout.feed.normalise import to_trade
from fanout.net.rest import RestClient
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.records import Instrument, Reference, Trade
from fanout.venues import Venue


class Market(msgspec.Struct, frozen=True):
    """Instruments, and of each: the reference that deltas start from, the newest trade, if there
    is any, and seconds from one trade to the next, on average and at the most, 0 if unknown."""

    instruments: tuple[Instrument, ...]
    references: tuple[Reference, ...]
    newest: tuple[Trade, ...]
    usual_s: tuple[float, ...]
    longest_s: tuple[float, ...]


async def ask_market(rest: RestClient, venue: Venue, symbols: tuple[str, ...]) -> Market:
    """Instruments and recent trades.

    Raises a `VenueError`, and `ConfigError` for a symbol that is unknown or does not trade; like
    every nursery, in an exception group.
    """
    instruments = await rest.fetch(
        venue.instruments_request(), lambda body: venue.parse_instruments(body, symbols)
    )
    return await _ask_recent(rest, venue, instruments)


async def ask_again(rest: RestClient, venue: Venue, known: tuple[Instrument, ...]) -> Market:
    """The same in mid-session: what does not trade now keeps the units that it had.

    Raises a `VenueError`, in an exception group.
    """

    def parse(body: bytes) -> tuple[Instrument, ...]:
        return tuple(_renewed(venue, body, each) for each in known)

    instruments = await rest.fetch(venue.instruments_request(), parse)
    return await _ask_recent(rest, venue, instruments)


def _renewed(venue: Venue, body: bytes, known: Instrument) -> Instrument:
    try:
        (instrument,) = venue.parse_instruments(body, (known.symbol,))
    except ConfigError:
        return known
    return msgspec.structs.replace(instrument, index=known.index)


async def _ask_recent(
    rest: RestClient, venue: Venue, instruments: tuple[Instrument, ...]
) -> Market:
    """Recent trades, all at once. Each answer is kept with its symbol."""
    recent: dict[int, tuple[Trade, ...]] = {}

    async def ask(instrument: Instrument) -> None:
        recent[instrument.index] = await rest.fetch(
            venue.recent_trades_request(instrument.symbol),
            lambda body: _recent_trades(venue, instrument, body),
        )

    async with trio.open_nursery() as nursery:
        for instrument in instruments:
            nursery.start_soon(ask, instrument)
    trades = [recent[each.index] for each in instruments]
    return Market(
        instruments=instruments,
        references=tuple(map(reference_of, trades)),
        newest=tuple(each[-1] for each in trades if each),
        usual_s=tuple(map(usual_s_of, trades)),
        longest_s=tuple(map(longest_s_of, trades)),
    )


def _recent_trades(venue: Venue, instrument: Instrument, body: bytes) -> tuple[Trade, ...]:
    rows = venue.parse_recent_trades(body, instrument.symbol)
    try:
        return tuple(to_trade(row, instrument) for row in rows)
    except NotRepresentableError as error:
        raise VenueMessageError("recent trades are nonsense", error) from error


def reference_of(trades: Sequence[Trade]) -> Reference:
    """Mean price and quantity, and the newest id and time, of recent trades, oldest first.

    All zero where there are none: a reference is only where deltas start, and any will do.
    """
    if not trades:
        return Reference(price=0, quantity=0, trade_id=0, time=0)
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
