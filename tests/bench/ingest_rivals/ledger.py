"""What every rival does with a trade once its JSON is parsed; the same code for all of them.

Its duties are those of the service: instrument by symbol, ids that follow each other, exact
integers from decimal strings, a record of bytes in the log. It is lean where that favours a rival:
what is wrong is raised and not mended, and the log never lets anything go.
"""

from typing import Final

from fanout.protocol.constants import TradeKind
from tests.bench.ingest_rivals.workload import RECORD
from tests.bench.market import PRICE_DECIMALS, QUANTITY_DECIMALS, SYMBOLS

_INDEXES: Final = {symbol: index for index, symbol in enumerate(SYMBOLS)}
_KINDS: Final = {"MARKET": int(TradeKind.MARKET), "RPI": int(TradeKind.RPI)}
_PRICE_POINT: Final = -PRICE_DECIMALS - 1
_QUANTITY_POINT: Final = -QUANTITY_DECIMALS - 1


class Ledger:
    """Trades in, packed records in `log`."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self._next_ids: list[int | None] = [None] * len(SYMBOLS)

    def take(
        self,
        symbol: str,
        trade_id: int,
        time: int,
        price: str,
        quantity: str,
        maker: bool,
        kind: str,
    ) -> None:
        index = _INDEXES[symbol]
        if trade_id != self._next_ids[index] and self._next_ids[index] is not None:
            raise ValueError(f"{symbol} trade {trade_id} does not follow")
        self._next_ids[index] = trade_id + 1
        # Of ways to an exact integer this is the quickest: 0.3 us, against 0.65 us by `Decimal`
        # and 0.4 us by `str.partition`.
        if price[_PRICE_POINT] != "." or quantity[_QUANTITY_POINT] != ".":
            raise ValueError(f"{symbol} trade {trade_id}: {price}, {quantity}: other decimals")
        self.log.append(
            RECORD.pack(
                index,
                trade_id,
                time,
                int(price.replace(".", "")),
                int(quantity.replace(".", "")),
                maker,
                _KINDS[kind],
            )
        )
