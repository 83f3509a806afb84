"""Instruments and records of several venues, for tests of the best price, and a slow definition of
it with fractions."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import msgspec

from fanout.analytics.nbbo.assets import Asset
from fanout.analytics.nbbo.best_prices import Top, Venue
from fanout.analytics.nbbo.nbbo import Nbbo, Why
from fanout.protocol import BookFlags, BookUpdate, Header, Quote, pack_levels
from fanout.protocol.constants import InstrumentType
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference

MS: Final = 1_000_000
BTC_USDT: Final = Asset("BTC", "USDT", InstrumentType.SPOT)
NOW: Final = 1_795_219_200_000 * MS


def instrument(symbol: str = "BTCUSDT", **fields: Any) -> Instrument:
    known = {
        "index": 0,
        "price_exponent": -1,
        "quantity_exponent": 0,
        "base": "BTC",
        "quote": "USDT",
        "type": InstrumentType.SPOT,
    }
    return Instrument(**(known | {"symbol": symbol} | fields))


def venue(name: str, **fields: Any) -> Venue:
    return Venue(name, instrument(**fields))


def header(name: str, *instruments: Instrument, **fields: Any) -> Header:
    return Header(
        epoch_ns=1,
        next_seq=1,
        venue=name,
        instruments=instruments,
        references=tuple(Reference(price=0, quantity=0, trade_id=0, time=0) for _ in instruments),
        **fields,
    )


def book(
    of: Instrument,
    top: Top,
    at_ns: int,
    *,
    seq: int = 1,
    flags: int = BookFlags.WHOLE,
    update_id: int = 1,
) -> BookUpdate:
    """An update with these levels alone. Without WHOLE it leaves the others as they are."""
    bids = pack_levels([top[:2]] if top[1] else [])
    asks = pack_levels([top[2:]] if top[3] else [])
    return BookUpdate(of, update_id, 0, bids, asks, BookFlags(flags), seq, at_ns)


def quote(of: Instrument, top: Top, at_ns: int, *, seq: int = 1) -> Quote:
    return Quote(of, 1, 0, *top, seq, at_ns)


class Known(msgspec.Struct):
    """What is known of a venue: its newest prices and their time, or why there are none."""

    top: Top | None = None
    time_ns: int = 0
    why: Why = Why.NO_BOOK


def expected(
    venues: Sequence[Venue], known: Sequence[Known], now_ns: int, max_stale_ms: int
) -> dict[str, Any]:
    """The best prices by definition, in fractions."""
    bids: list[tuple[Fraction, Fraction, str]] = []
    asks: list[tuple[Fraction, Fraction, str]] = []
    whys = []
    for each, state in zip(venues, known, strict=True):
        why = _why(state, now_ns, max_stale_ms)
        whys.append(why)
        if why is Why.FRESH:
            assert state.top is not None
            of = each.instrument
            price_unit = Fraction(10) ** of.price_exponent
            quantity_unit = of.contract_mantissa * Fraction(10) ** (
                of.quantity_exponent + of.contract_exponent
            )
            bid, bid_quantity, ask, ask_quantity = state.top
            if bid_quantity:
                bids.append((bid * price_unit, bid_quantity * quantity_unit, each.name))
            if ask_quantity:
                asks.append((ask * price_unit, ask_quantity * quantity_unit, each.name))
    bid_of = max(bids, key=lambda b: b[0], default=None)  # the first of those that are equal
    ask_of = min(asks, key=lambda a: a[0], default=None)
    return facts(bid_of, ask_of, whys)


def facts(bid: Any, ask: Any, whys: Sequence[Why]) -> dict[str, Any]:
    both = bid is not None and ask is not None
    crossed_by = max(Fraction(0), bid[0] - ask[0]) if both else Fraction(0)
    return {
        "bid": bid,
        "ask": ask,
        "whys": tuple(whys),
        "fresh": list(whys).count(Why.FRESH),
        "spread": ask[0] - bid[0] if both else None,
        "mid": (ask[0] + bid[0]) / 2 if both else None,
        "locked": both and bid[0] == ask[0],
        "crossed_by": crossed_by,
        "crossed_quantity": min(bid[1], ask[1]) if crossed_by else Fraction(0),
    }


def _why(state: Known, now_ns: int, max_stale_ms: int) -> Why:
    if state.top is None:
        return state.why
    bid, bid_quantity, ask, ask_quantity = state.top
    if not bid_quantity and not ask_quantity:
        return Why.EMPTY
    if bid_quantity and ask_quantity and bid >= ask:
        return Why.CROSSED
    return Why.STALE if now_ns - state.time_ns > max_stale_ms * MS else Why.FRESH


def found(nbbo: Nbbo) -> dict[str, Any]:
    """What an `Nbbo` says, in fractions."""
    prices = Fraction(10) ** nbbo.price_exponent
    quantities = Fraction(10) ** nbbo.quantity_exponent
    bid, ask = (
        None if each is None else (each.price * prices, each.quantity * quantities, each.venue)
        for each in (nbbo.bid, nbbo.ask)
    )
    mid = nbbo.mid_decimal
    return {
        "bid": bid,
        "ask": ask,
        "whys": nbbo.whys,
        "fresh": nbbo.fresh,
        "spread": None if nbbo.spread is None else nbbo.spread * prices,
        "mid": None if mid is None else Fraction(mid),
        "locked": nbbo.is_locked,
        "crossed_by": nbbo.crossed_by * prices,
        "crossed_quantity": nbbo.crossed_quantity * quantities,
    }
