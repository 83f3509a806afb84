"""Deribit's listing: rows of `public/get_instruments`. Pure.

    {"instrument_name":"BTC-PERPETUAL","kind":"future","instrument_type":"reversed",
     "settlement_period":"perpetual","tick_size":0.5,"tick_size_steps":[],
     "block_trade_tick_size":0.01,"min_trade_amount":10.0,"contract_size":10.0,
     "base_currency":"BTC","quote_currency":"USD","is_active":true,"state":"open",...}

https://docs.deribit.com/api-reference/market-data/public-get_instruments

The price exponent is that of the finest step, since trades that are made outside the book have
prices at the step of block trades. Amounts are in USD at inverse (`reversed`) futures, and in coins
elsewhere, so one unit of an amount is never a contract.

The shape of rows comes from the test data of nautechsystems/nautilus_trader and from the
documentation; no recording of a whole listing was found.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from fanout.errors import VenueMessageError, shown
from fanout.protocol.constants import InstrumentType
from fanout.venues.numbers import BROKEN, decimal_text
from fanout.venues.rows import (
    ABSENT,
    RowError,
    asset,
    exponent_of,
    in_units,
    named,
    parse_rows,
)
from fanout.venues.values import Listed, Listing

TIME_EXPONENT: Final = -3

OPEN: Final = "open"

_PERPETUALS: Final = {
    "reversed": InstrumentType.INVERSE_PERPETUAL,
    "linear": InstrumentType.LINEAR_PERPETUAL,
}
_DATED: Final = {
    "reversed": InstrumentType.INVERSE_FUTURE,
    "linear": InstrumentType.FUTURE,
}
_KINDS: Final = {
    "spot": InstrumentType.SPOT,
    "option": InstrumentType.OPTION,
}
"""Combos are of no type that we have."""


class _Row(msgspec.Struct, kw_only=True):
    instrument_name: str
    is_active: bool
    tick_size: msgspec.Raw
    min_trade_amount: msgspec.Raw
    contract_size: msgspec.Raw = ABSENT
    block_trade_tick_size: msgspec.Raw = ABSENT
    tick_size_steps: msgspec.Raw = ABSENT
    state: str = OPEN
    kind: msgspec.Raw = ABSENT
    instrument_type: msgspec.Raw = ABSENT
    settlement_period: msgspec.Raw = ABSENT
    base_currency: msgspec.Raw = ABSENT
    quote_currency: msgspec.Raw = ABSENT


class _Step(msgspec.Struct):
    """The tick size above a price."""

    tick_size: msgspec.Raw


class _Answer(msgspec.Struct):
    result: list[msgspec.Raw]


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_row = msgspec.json.Decoder(_Row).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_steps = msgspec.json.Decoder(list[_Step]).decode


def parse_listing(bodies: tuple[bytes, ...], venue: str) -> Listing:
    """Raises `VenueMessageError`."""
    try:
        rows = [raw for body in bodies for raw in _decode_answer(body).result]
    except BROKEN as error:
        raise VenueMessageError("listing is not as documented", error) from error
    return parse_rows(rows, venue, lambda raw: _listed(raw, venue), named("instrument_name"))


def _listed(raw: msgspec.Raw, venue: str) -> Listed:
    row = _decode_row(raw)
    ticks = [_step(row.tick_size), *_optional(*_finer_ticks(row))]
    lots = [_step(row.min_trade_amount), *_optional(row.contract_size)]
    price_exponent = min(map(exponent_of, [*ticks, *_optional(row.block_trade_tick_size)]))
    quantity_exponent = min(map(exponent_of, lots))
    return Listed(
        symbol=row.instrument_name,
        price_exponent=price_exponent,
        quantity_exponent=quantity_exponent,
        time_exponent=TIME_EXPONENT,
        fault=_fault(row, venue),
        tick=_finest(ticks, price_exponent),
        lot=_finest(lots, quantity_exponent),
        base=asset(row.base_currency),
        quote=asset(row.quote_currency),
        type=_type_of(row),
    )


def _fault(row: _Row, venue: str) -> str | None:
    if row.is_active and row.state == OPEN:
        return None
    state = shown(row.state) if row.state != OPEN else "not active"
    return f"does not trade at {venue} now: state {state}"


def _type_of(row: _Row) -> InstrumentType:
    kind = _text(row.kind)
    if kind == "future":
        types = _PERPETUALS if _text(row.settlement_period) == "perpetual" else _DATED
        return types.get(_text(row.instrument_type), InstrumentType.OTHER)
    return _KINDS.get(kind, InstrumentType.OTHER)


def _text(raw: msgspec.Raw) -> str:
    """A term in words; empty, which means unknown, if it is none."""
    try:
        return _decode_text(raw)
    except BROKEN:
        return ""


def _step(raw: msgspec.Raw) -> str:
    """A step without zeros behind its last digit. Raises `RowError` for one that is none."""
    try:
        text = decimal_text(raw)
    except VenueMessageError as error:
        raise RowError(str(error)) from error
    text = text.rstrip("0").rstrip(".") if "." in text else text
    exponent_of(text)
    return text


def _optional(*raws: msgspec.Raw) -> Iterator[str]:
    """Those of some steps that can be read."""
    for raw in raws:
        with suppress(RowError):
            yield _step(raw)


def _finer_ticks(row: _Row) -> list[msgspec.Raw]:
    """The tick sizes of other price ranges."""
    try:
        return [each.tick_size for each in _decode_steps(row.tick_size_steps)]
    except BROKEN:
        return []


def _finest(steps: list[str], exponent: int) -> int:
    """The smallest of some steps, in units of the exponent."""
    return min(in_units(each, exponent) for each in steps)
