"""One symbol at the exchange: it numbers and spells the trades that a source brings.

Without a fault a trade passes unchanged, so a replay stays byte for byte. Inserted rows take the
next ids, and the ids of later trades rise by as many. Trades dropped in a halt use no ids. After a
change to a finer tick size, prices use it: the change would go unnoticed if all new digits were
zeros.
"""

from decimal import Decimal

import msgspec

from fanout.simulator.faults import Insert, Relist
from fanout.simulator.market.listing import TRADING, Listing, decimals
from fanout.simulator.market.ticks import NOT_A_FILL, NOTHING, Trade


class Instrument:
    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._source = listing
        self._is_listed = True
        self._ahead = 0  # our ids minus the source's
        self._next_id: int | None = None
        self._price, self._quantity = listing.price, listing.step_size  # of the latest fill

    @property
    def is_trading(self) -> bool:
        return self._is_listed and self.listing.status == TRADING

    @property
    def price(self) -> str:
        """Of the latest fill, in the units of the listing."""
        return _spell(Decimal(self._price), self.listing.tick_size)

    def terms(self, trade: Trade) -> tuple[str, str]:
        """The price and the quantity with which the exchange will show a trade."""
        if self.listing is self._source or trade.kind == NOT_A_FILL:
            return trade.price, trade.quantity
        retold = self._retold(trade, 0)
        return retold.price, retold.quantity

    @property
    def next_id(self) -> int:
        return self.listing.first_trade_id if self._next_id is None else self._next_id

    def begin(self, trade_id: int) -> None:
        """Set the source's first id, unless it is set already."""
        if self._next_id is None:
            self._next_id = trade_id

    def issue(self, trade: Trade, offset_ms: int) -> Trade | None:
        """The trade as the exchange shows it; None while the symbol does not trade."""
        if not self.is_trading:
            self.begin(trade.trade_id)
            self._ahead -= 1
            return None
        if self._ahead or offset_ms or self.listing is not self._source:
            trade = self._retold(trade, offset_ms)
        self._next_id = trade.trade_id + 1
        if trade.is_fill:
            self._price, self._quantity = trade.price, trade.quantity
        return trade

    def insert(self, fault: Insert, time_ms: int) -> list[Trade]:
        """Issue the rows of a fault."""
        price, quantity = self._terms(fault)
        row = Trade(
            event_ms=time_ms,
            time_ms=time_ms,
            symbol=self.listing.symbol,
            trade_id=0,
            price=price,
            quantity=quantity,
            kind=fault.kind,
            buyer_is_maker=True,
        )
        ids = range(self.next_id, self.next_id + fault.count)
        self.renumber(ids.stop)
        return [msgspec.structs.replace(row, trade_id=trade_id) for trade_id in ids]

    def renumber(self, next_id: int) -> None:
        self._ahead += next_id - self.next_id
        self._next_id = next_id

    def delist(self) -> None:
        self._is_listed = False

    def rename(self, symbol: str) -> Listing:
        """The new listing. Its trades and their ids go on."""
        self.listing = msgspec.structs.replace(self.listing, symbol=symbol)
        return self.listing

    def relist(self, fault: Relist) -> Listing:
        """The new listing. A symbol that was delisted is listed again."""
        changes = {name: getattr(fault, name) for name in ("tick_size", "step_size", "status")}
        given = {name: value for name, value in changes.items() if value is not None}
        self.listing = msgspec.structs.replace(self.listing, **given)
        self._is_listed = True
        return self.listing

    def _terms(self, fault: Insert) -> tuple[str, str]:
        if fault.kind == NOT_A_FILL:
            return NOTHING, NOTHING
        if fault.quantity is not None:
            return self._price, fault.quantity
        price = Decimal(self._price) * Decimal(str(fault.price_factor))
        listing = self.listing
        return _spell(price, listing.tick_size), _spell(Decimal(self._quantity), listing.step_size)

    def _retold(self, trade: Trade, offset_ms: int) -> Trade:
        price, quantity = trade.price, trade.quantity
        if trade.kind != NOT_A_FILL:
            old, new, part = self._source, self.listing, trade.time_ms
            price = _respell(price, old.tick_size, new.tick_size, part)
            quantity = _respell(quantity, old.step_size, new.step_size, part)
        return msgspec.structs.replace(
            trade,
            symbol=self.listing.symbol,
            trade_id=trade.trade_id + self._ahead,
            event_ms=trade.event_ms + offset_ms,
            time_ms=trade.time_ms + offset_ms,
            price=price,
            quantity=quantity,
        )


def _respell(text: str, old: str, new: str, part: int) -> str:
    """A multiple of `old` as a multiple of `new`. If it is finer, `part` chooses which one."""
    if new == old:
        return text
    finer = int(Decimal(old) / Decimal(new))
    beyond = part % finer * Decimal(new) if finer > 1 else 0
    return _spell(Decimal(text) + beyond, new)


def _spell(value: Decimal, unit: str) -> str:
    """The nearest multiple of `unit` that is not zero, with the decimals that the unit has."""
    step = Decimal(unit)
    return f"{max(step, round(value / step) * step):.{decimals(unit)}f}"
