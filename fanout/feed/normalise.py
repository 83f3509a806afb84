"""Converts a venue's decimal strings to integers at the instrument's exponents, exactly."""

from fanout.protocol.block import is_representable
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.speedups import twin
from fanout.venues.base import VenueTrade


@twin
def to_trade(item: VenueTrade, instrument: Instrument) -> Trade:
    """Convert a trade. Raises `NotRepresentableError` with the symbol and the value."""
    try:
        trade = Trade(
            instrument,
            item.trade_id,
            item.time,
            from_text(item.price, instrument.price_exponent),
            from_text(item.quantity, instrument.quantity_exponent),
            item.buyer_is_maker,
            item.kind,
        )
    except NotRepresentableError as error:
        raise NotRepresentableError(f"{item.symbol} trade {item.trade_id}: {error}") from error
    if trade.quantity <= 0:
        # Binance sends rows with quantity 0 that are no trades, so far only of type NA.
        raise NotRepresentableError(
            f"{item.symbol} trade {item.trade_id}: quantity {item.quantity} is not above 0"
        )
    if not is_representable(trade):
        raise NotRepresentableError(
            f"{item.symbol} trade {item.trade_id}: time {item.time}, price {item.price}, "
            f"quantity {item.quantity} do not all fit 64 bits"
        )
    return trade
