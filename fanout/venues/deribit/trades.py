"""Deribit's trades, the same on the stream and over REST. Pure.

    {"trade_seq":271252854,"trade_id":"403691824","timestamp":1765531356452,"price":92294.5,
     "amount":10.0,"direction":"sell","instrument_name":"BTC-PERPETUAL",...}

`trade_seq` counts an instrument's trades without holes, so it is the trade id here. The text
`trade_id` is unique for a currency only, and is not carried. `direction` is the taker's.
https://docs.deribit.com/subscriptions/trades/tradesinstrument_nameinterval

Three kinds of trades are no fill against the instrument's book: block trades, legs of a combo
(`combo_id`; their prices follow from the combo's), and liquidations, of which Deribit only says
which side was liquidated. They are of the kind OTHER.
"""

from typing import Any, Final, Literal

import msgspec

from fanout.errors import VenueMessageError
from fanout.protocol.constants import TradeKind
from fanout.venues.deribit.messages import Millis, Natural, fits
from fanout.venues.numbers import BROKEN, decimal_text
from fanout.venues.values import VenueTrade


class Row(msgspec.Struct, gc=False):
    """One trade. The last five fields have the kinds above; their values do not matter."""

    trade_seq: Natural
    timestamp: Millis
    price: msgspec.Raw
    amount: msgspec.Raw
    direction: Literal["buy", "sell"]
    instrument_name: str
    liquidation: Any = None
    block_trade_id: Any = None
    block_rfq_id: Any = None
    combo_id: Any = None
    combo_trade_id: Any = None

    def meaning(self) -> VenueTrade:
        """Raises `VenueMessageError` for numbers that are none."""
        is_apart = (
            self.liquidation is not None
            or self.block_trade_id is not None
            or self.block_rfq_id is not None
            or self.combo_id is not None
            or self.combo_trade_id is not None
        )
        if not fits(self.trade_seq):
            raise VenueMessageError(_WRONG, f"{self.instrument_name}, trade {self.trade_seq}")
        return VenueTrade(
            self.instrument_name,
            self.trade_seq,
            self.timestamp,
            decimal_text(self.price),
            decimal_text(self.amount),
            self.direction == "sell",
            TradeKind.OTHER if is_apart else TradeKind.MARKET,
        )


_WRONG: Final = "trades of the wrong shape"


class _Params(msgspec.Struct, gc=False):
    data: list[Row]


class _Notification(msgspec.Struct, gc=False):
    params: _Params


_decode = msgspec.json.Decoder(_Notification).decode


def read_trades(message: bytes) -> list[VenueTrade]:
    """The trades of a notification, oldest first as sent. Raises `VenueMessageError`, also if only
    one of them is unreadable: REST has them all."""
    try:
        rows = _decode(message).params.data
    except BROKEN as error:
        raise VenueMessageError(_WRONG, f"{error}: {message[:80]!r}") from error
    return [row.meaning() for row in rows]
