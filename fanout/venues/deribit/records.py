"""Deribit's trades over REST: requests and parsers. Pure.

    GET /api/v2/public/get_last_trades_by_instrument
        ?instrument_name=BTC-PERPETUAL&start_seq=271252854&count=1000&sorting=asc
    {"jsonrpc":"2.0","result":{"trades":[...],"has_more":true},...}

https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument

`trade_seq` has no holes, so trades are asked for exactly by it. A page that begins above the number
asked for is no proof that trades before it never were: the venue moves old ones to another host.
The notes of one client (nautechsystems/nautilus_trader) say that trades of combos are not found
here.
"""

from itertools import pairwise
from typing import Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import TradeKind
from fanout.venues.deribit.messages import Natural, fits
from fanout.venues.deribit.trades import Row
from fanout.venues.numbers import BROKEN
from fanout.venues.values import History, Request, VenueTrade

PATH: Final = "/public/get_last_trades_by_instrument"

MOST: Final = 1_000
"""Most rows of a page."""

RECENT: Final = 100
"""Rows requested for a reference."""


class _Page(msgspec.Struct):
    trades: list[msgspec.Raw]
    has_more: bool = False


class _Answer(msgspec.Struct):
    result: _Page


class _Id(msgspec.Struct):
    trade_seq: Natural


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_row = msgspec.json.Decoder(Row).decode
_decode_id = msgspec.json.Decoder(_Id).decode


def recent_request(api: str, symbol: str) -> Request:
    return _request(api, instrument_name=symbol, count=str(RECENT), sorting="desc")


def history_request(api: str, symbol: str, first_id: int) -> Request:
    return _request(
        api, instrument_name=symbol, start_seq=str(first_id), count=str(MOST), sorting="asc"
    )


def _request(api: str, **query: str) -> Request:
    return Request(path=api + PATH, query=query)


def parse_recent(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """Raises `VenueMessageError`."""
    return _rows(_page(body, symbol), symbol)


def parse_history(body: bytes, symbol: str) -> History | None:
    """Raises `VenueMessageError`."""
    page = _page(body, symbol)
    trades = _rows(page, symbol)
    if not trades:
        return None
    return History(
        trades=trades,
        first_id=trades[0].trade_id,
        last_id=trades[-1].trade_id,
        is_newest=not page.has_more,
    )


def _page(body: bytes, symbol: str) -> _Page:
    try:
        return _decode_answer(body).result
    except BROKEN as error:
        raise _wrong(symbol, error) from error


def _rows(page: _Page, symbol: str) -> tuple[VenueTrade, ...]:
    """The trades, oldest first. Raises `VenueMessageError`."""
    rows = [_row(raw, symbol) for raw in page.trades]
    if rows and rows[0].trade_id > rows[-1].trade_id:
        rows.reverse()
    if any(later.trade_id <= earlier.trade_id for earlier, later in pairwise(rows)):
        raise _wrong(symbol, "ids out of order")
    return tuple(rows)


def _row(raw: msgspec.Raw, symbol: str) -> VenueTrade:
    """A row. One with a readable id but unreadable values becomes a trade with empty values, which
    fit no field."""
    try:
        row = _decode_row(raw)
        trade = row.meaning()
    except (*BROKEN, VenueMessageError):
        return VenueTrade(symbol, _id(raw, symbol), 0, "", "", False, TradeKind.OTHER)
    if trade.symbol != symbol:
        raise _wrong(symbol, f"a trade of {trade.symbol}")
    return trade


def _id(raw: msgspec.Raw, symbol: str) -> int:
    try:
        trade_id = _decode_id(raw).trade_seq
    except BROKEN as error:
        raise _wrong(symbol, error) from error
    if not fits(trade_id):
        raise _wrong(symbol, "ids out of range")
    return trade_id


def _wrong(symbol: str, why: object) -> VenueMessageError:
    return VenueMessageError(f"trades of {symbol} are not as documented", why)
