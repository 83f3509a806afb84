"""OKX's history of trades over REST: requests and parsers. Pure.

    GET /api/v5/market/history-trades?instId=BTC-USDT&type=1&after=242720721&limit=100

`after` selects the 100 trades below an id, and the newest one comes first. So the page that begins
with an id is the one below the id 100 further. Ids of an instrument are consecutive. The history
reaches three months back. `/market/trades` has the newest 500.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

from itertools import pairwise
from typing import Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.numbers import BROKEN
from fanout.venues.okx.rest import rows_of
from fanout.venues.okx.trades import Trade
from fanout.venues.values import History, Request, VenueTrade

REACH: Final = "the last three months"
PAGE: Final = 100
NEWEST: Final = 500


class _TradeId(msgspec.Struct):
    tradeId: int  # noqa: N815  the venue's name


# Not strict: numbers come as text.
_decode_trade = msgspec.json.Decoder(Trade, strict=False).decode
_decode_id = msgspec.json.Decoder(_TradeId, strict=False).decode


def newest_request(symbol: str) -> Request:
    return Request(path="/api/v5/market/trades", query={"instId": symbol, "limit": str(NEWEST)})


def history_request(symbol: str, first_id: int) -> Request:
    query = {"instId": symbol, "type": "1", "after": str(first_id + PAGE), "limit": str(PAGE)}
    return Request(path="/api/v5/market/history-trades", query=query)


def parse_trades(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """Parse rows of either request, oldest first. A row with a readable id but unreadable values
    becomes a trade with empty values, which fit no field. Raises `VenueMessageError`."""
    fault = _fault(symbol)
    try:
        trades = sorted((_trade(raw, symbol) for raw in rows_of(body, fault)), key=_id_of)
    except BROKEN as error:
        raise VenueMessageError(fault, error) from error
    if any(one.trade_id == other.trade_id for one, other in pairwise(trades)):
        raise VenueMessageError(fault, "an id comes twice")
    if trades and not 0 <= trades[0].trade_id <= trades[-1].trade_id <= U64_MAX:
        raise VenueMessageError(fault, "ids out of range")
    return tuple(trades)


def _trade(raw: msgspec.Raw, symbol: str) -> VenueTrade:
    """Raises one of `BROKEN` for a row without a readable id, and `VenueMessageError` for one of
    another instrument."""
    try:
        row = _decode_trade(raw)
    except msgspec.ValidationError:
        return VenueTrade(symbol, _decode_id(raw).tradeId, 0, "", "", False, TradeKind.OTHER)
    if row.instId != symbol:
        raise VenueMessageError(_fault(symbol), f"a row of {row.instId}")
    return row.meaning()


def _id_of(trade: VenueTrade) -> int:
    return trade.trade_id


def _fault(symbol: str) -> str:
    return f"trades of {symbol} are not as documented"


def parse_history(body: bytes, symbol: str, first_id: int) -> History | None:
    """Parse the page that `history_request` asked for."""
    rows = parse_trades(body, symbol)
    trades = tuple(row for row in rows if row.trade_id >= first_id)
    if not trades:
        return None
    end = first_id + PAGE
    last_id = trades[-1].trade_id
    if last_id >= end:
        raise VenueMessageError(_fault(symbol), f"id {last_id}, asked for those below {end}")
    # A page that does not come down to the first id ends where the history begins.
    reaches = len(trades) < len(rows) or trades[0].trade_id == first_id
    return History(
        trades=trades,
        first_id=first_id if reaches else trades[0].trade_id,
        last_id=last_id,
        is_newest=last_id < end - 1,
    )
