"""Rows of features for tests, by the names of their columns."""

from collections.abc import Mapping

from fanout.analytics.features.column import Column
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=-3, lot=5)
ETH = Instrument(index=1, symbol="ETHUSDT", price_exponent=-2, quantity_exponent=-3)

OFI = "order_flow_imbalance_1000ms"
COLUMNS = ("mid", "order_book_imbalance", OFI)

S = 1_000_000_000


def row(time_ns: int = S, instrument: Instrument = BTC, **values: float | Absence) -> FeatureRow:
    """A row of `COLUMNS`. What is not named is absent, since its window is warming up."""
    return row_of(COLUMNS, values, time_ns, instrument)


def row_of(
    columns: tuple[str, ...],
    values: Mapping[str, float | Absence],
    time_ns: int = S,
    instrument: Instrument = BTC,
) -> FeatureRow:
    """A row of any columns."""
    cells = [values.get(name, Absence.WARMING_UP) for name in columns]
    return FeatureRow(
        instrument=instrument,
        time_ns=time_ns,
        values=tuple(None if isinstance(each, Absence) else each for each in cells),
        absences=bytes(each if isinstance(each, Absence) else 0 for each in cells),
    )


def column(name: str) -> Column:
    return Column(COLUMNS, name)
