"""Bybit's recent trades over REST. Pure.

    GET /v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000
    {"retCode":0,"retMsg":"OK","result":{"category":"linear","list":[
     {"execId":"...","symbol":"BTCUSDT","price":"16618.49","size":"0.00012","side":"Buy",
      "time":"1672052955758","isBlockTrade":false,"isRPITrade":false}]},"time":...}

There are the newest only, up to 1,000, or 60 of spot, without pages. `side` is the taker's. Two
things are not in the docs, and assumed, as other clients do: that the newest comes first, and that
`execId` is the `i` of the stream.
https://bybit-exchange.github.io/docs/v5/market/recent-trade
"""

from typing import Annotated, Final

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import TradeKind
from fanout.venues.bybit.trades import Side, kind_of, trade_id
from fanout.venues.numbers import BROKEN
from fanout.venues.values import History, Request, VenueTrade

PATH: Final = "/v5/market/recent-trade"


class _Id(msgspec.Struct):
    execId: str  # noqa: N815  the venue's name


class _Trade(_Id):
    price: str
    size: str
    side: Side
    time: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,13}$")]
    isBlockTrade: bool = False  # noqa: N815
    isRPITrade: bool = False  # noqa: N815


class _Rows(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list")


class _Answer(msgspec.Struct):
    result: _Rows


_decode = msgspec.json.Decoder(_Answer).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_id = msgspec.json.Decoder(_Id).decode


def recent_trades_request(category: str, symbol: str, count: int) -> Request:
    return Request(path=PATH, query={"category": category, "symbol": symbol, "limit": str(count)})


def parse_recent_trades(body: bytes, symbol: str) -> tuple[VenueTrade, ...]:
    """Parse rows, oldest first. A row with a readable id but unreadable values becomes a trade with
    empty values, which fit no field. Raises `VenueMessageError`."""
    try:
        return tuple(_row(raw, symbol) for raw in reversed(_decode(body).result.rows))
    except (*BROKEN, VenueMessageError) as error:
        raise VenueMessageError(f"trades of {symbol} are not as documented", error) from error


def _row(raw: msgspec.Raw, symbol: str) -> VenueTrade:
    try:
        row = _decode_trade(raw)
    except msgspec.ValidationError:
        number = trade_id(_decode_id(raw).execId)
        return VenueTrade(symbol, number, 0, "", "", False, TradeKind.OTHER)
    return VenueTrade(
        symbol,
        trade_id(row.execId),
        int(row.time),
        row.price,
        row.size,
        row.side == "Sell",
        kind_of(row.isBlockTrade, row.isRPITrade),
    )


def parse_history(body: bytes, symbol: str) -> History | None:
    """The newest trades as a page of history. Its range of ids means nothing, since they are in no
    order."""
    trades = parse_recent_trades(body, symbol)
    if not trades:
        return None
    return History(
        trades=trades,
        first_id=trades[0].trade_id,
        last_id=trades[-1].trade_id,
        is_newest=True,
    )
