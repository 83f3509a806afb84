"""Converts a venue's decimal strings to integers at the instrument's exponents, exactly."""

from fanout.protocol.block import is_representable
from fanout.protocol.book_records import Quote
from fanout.protocol.constants import I64_MAX, I64_MIN, U64_MAX
from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.fixedpoint import from_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade
from fanout.speedups import twin
from fanout.venues.values import VenueQuote, VenueTrade


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


@twin
def to_quote(item: VenueQuote, instrument: Instrument) -> Quote:
    """Convert a quote. Raises `NotRepresentableError` with the symbol and the value.

    A side without an offer has quantity 0, and gets the price of the other side.
    """
    try:
        bid = from_text(item.bid_price, instrument.price_exponent)
        ask = from_text(item.ask_price, instrument.price_exponent)
        bid_quantity = from_text(item.bid_quantity, instrument.quantity_exponent)
        ask_quantity = from_text(item.ask_quantity, instrument.quantity_exponent)
    except NotRepresentableError as error:
        raise NotRepresentableError(f"{item.symbol} quote {item.update_id}: {error}") from error
    are_unsigned = (item.update_id, item.time, bid_quantity, ask_quantity)
    if not (
        min(are_unsigned) >= 0
        and max(are_unsigned) <= U64_MAX
        and I64_MIN <= bid <= I64_MAX
        and I64_MIN <= ask <= I64_MAX
    ):
        raise NotRepresentableError(
            f"{item.symbol} quote {item.update_id}: time {item.time}, prices {item.bid_price} and "
            f"{item.ask_price}, quantities {item.bid_quantity} and {item.ask_quantity} do not all "
            "fit 64 bits"
        )
    if bid_quantity == 0:
        bid = ask
    elif ask_quantity == 0:
        ask = bid
    return Quote(instrument, item.update_id, item.time, bid, bid_quantity, ask, ask_quantity)
