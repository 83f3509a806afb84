"""OKX's trades, as they come on the stream and over REST. Pure.

    {"arg":{"channel":"trades-all","instId":"BTC-USDT"},
     "data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306",
              "side":"buy","ts":"1630048897897"}]}

`side` is the taker's. `sz` is in contracts, at spot in the base. Numbers come as text.
https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-all-trades-channel

`trades-all` has one fill a message. `trades` has one taker order at one price: its `tradeId` is the
id of the last of `count` fills, whose ids are consecutive. So the fills before the last one are
`SpentId` here, and both channels have the same numbering, which REST has too. Messages from before
2024 have no `count`, and each is one fill.

`source` "1" is a fill against an order of the retail price improvement program. OKX called it
Enhanced Liquidity Program before its change log of 2026-07-28. `trades` has the field since 2025.
"""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import U64_MAX, TradeKind
from fanout.venues.numbers import BROKEN
from fanout.venues.times import MAX_TIME_MS
from fanout.venues.values import SpentId, VenueItem, VenueTrade

MAX_FILLS: Final = 10_000
"""Most fills in an aggregate. Protects the service from a count that is nonsense, since each fill
becomes an item."""

UNSIGNED = Annotated[int, msgspec.Meta(ge=0)]
MILLIS = Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)]

_KINDS: Final = {"0": TradeKind.MARKET, "1": TradeKind.RPI}


class Trade(msgspec.Struct, gc=False):
    instId: str  # noqa: N815  the venue's name
    tradeId: UNSIGNED  # noqa: N815
    px: str
    sz: str
    side: Literal["buy", "sell"]
    ts: MILLIS
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_FILLS)] = 1
    source: str = "0"

    def meaning(self) -> VenueTrade:
        """The trade as one fill."""
        return self._trade(_KINDS.get(self.source, TradeKind.OTHER), None, False)

    def fills(self, *, is_past: bool) -> Iterator[VenueItem]:
        """The trade as an aggregate, behind the ids of its other fills."""
        first = self.tradeId - self.count + 1
        for spent in range(first, self.tradeId):
            yield SpentId(self.instId, spent)
        kind = _KINDS.get(self.source, TradeKind.OTHER)
        kind = TradeKind.AGGREGATE if kind == TradeKind.MARKET else kind
        yield self._trade(kind, first, is_past)

    def _trade(self, kind: TradeKind, first_fill: int | None, is_past: bool) -> VenueTrade:
        return VenueTrade(
            self.instId,
            self.tradeId,
            self.ts,
            self.px,
            self.sz,
            self.side == "sell",
            kind,
            first_fill,
            is_past,
        )


class _Message(msgspec.Struct, gc=False):
    data: Annotated[list[Trade], msgspec.Meta(min_length=1)]


# Not strict: numbers come as text.
_decode = msgspec.json.Decoder(_Message, strict=False).decode


def read_trades(message: bytes) -> list[Trade]:
    """The rows of a message of `trades` or `trades-all`; at least one. Raises
    `VenueMessageError`."""
    try:
        rows = _decode(message).data
    except BROKEN as error:
        raise VenueMessageError("trade of the wrong shape", f"{error}: {message[:80]!r}") from error
    for row in rows:
        if not row.count - 1 <= row.tradeId <= U64_MAX:
            detail = f"{row.instId}, id {row.tradeId} of {row.count}"
            raise VenueMessageError("trade of the wrong shape", detail)
    return rows
