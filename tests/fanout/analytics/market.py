"""A small market for tests: records at times in ms, with prices and quantities as integers."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import count

from fanout.analytics import FeatureSettings, StreamFeatures
from fanout.clients.outcomes import Received
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    FeedState,
    Instrument,
    Loss,
    LossReason,
    Quote,
    Status,
    Trade,
    TradeKind,
    pack_levels,
)
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow

MS = 1_000_000

T0 = 1_700_000_000_000
"""Where the times of records begin: unix ms."""

BTC = Instrument(index=0, symbol="BTCUSDT", price_exponent=-2, quantity_exponent=0, tick=1)
ETH = Instrument(index=1, symbol="ETHUSDT", price_exponent=-2, quantity_exponent=-3, tick=1)

Levels = Iterable[tuple[int, int]]

WHOLE = BookFlags.WHOLE
LOSS = Loss(first_seq=5, last_seq=6, reason=LossReason.SLOW)

_ids = count(1)


def at_ns(at_ms: float) -> int:
    """Unix ns; 0 for a record without a time."""
    return round((T0 + at_ms) * MS)


def book(
    at_ms: float,
    bids: Levels = (),
    asks: Levels = (),
    flags: BookFlags = BookFlags.NONE,
    *,
    of: Instrument = BTC,
) -> BookUpdate:
    """A numbered update."""
    packed = pack_levels(bids), pack_levels(asks)
    return BookUpdate(of, next(_ids), 0, *packed, flags, next(_ids), at_ns(at_ms))


def snapshot(bids: Levels, asks: Levels, *, of: Instrument = BTC) -> BookUpdate:
    """A whole book for a reader that joins, without a number or a time."""
    return BookUpdate(of, next(_ids), 0, pack_levels(bids), pack_levels(asks), WHOLE)


def quote(
    at_ms: float, bid: tuple[int, int], ask: tuple[int, int], *, of: Instrument = BTC
) -> Quote:
    return Quote(of, next(_ids), 0, *bid, *ask, next(_ids), at_ns(at_ms))


def trade(
    at_ms: float,
    quantity: int,
    price: int = 10_000,
    *,
    trade_id: int = 0,
    kind: TradeKind = TradeKind.MARKET,
    back_filled: bool = False,
    of: Instrument = BTC,
) -> Trade:
    """A negative quantity was sold."""
    is_sold = quantity < 0
    number = trade_id or next(_ids)
    return Trade(
        of, number, 0, price, abs(quantity), is_sold, kind, next(_ids), at_ns(at_ms), back_filled
    )


def status(state: FeedState, of: Instrument | None = BTC) -> Status:
    return Status(seq=next(_ids), instrument=of, state=state, since_ns=1)


class Why(Enum):
    """An `Absence` that is equal to no number: LOST itself is equal to a value of 3."""

    WARMING_UP = Absence.WARMING_UP.value
    NO_BOOK = Absence.NO_BOOK.value
    LOST = Absence.LOST.value
    NOT_LIVE = Absence.NOT_LIVE.value
    ONE_SIDED = Absence.ONE_SIDED.value
    CROSSED = Absence.CROSSED.value
    TOO_SHALLOW = Absence.TOO_SHALLOW.value
    EMPTY = Absence.EMPTY.value
    NOT_FITTED = Absence.NOT_FITTED.value
    OTHER = Absence.OTHER.value


class Scene:
    """A stream of these records, and what its rows show by the names of the columns."""

    def __init__(self, settings: FeatureSettings | None = None, **options: object) -> None:
        self.settings = settings or FeatureSettings(volatility_ms=(2_000,))
        self.stream = StreamFeatures(self.settings, **options)  # type: ignore[arg-type]
        self.rows: list[FeatureRow] = []

    def take(self, *records: Received) -> Sequence[FeatureRow]:
        """The rows of these records."""
        made = [row for each in records for row in self.stream.take(each)]
        self.rows += made
        return made

    def after(self, *records: Received) -> Mapping[str, float | Why | None]:
        """The last row of these records."""
        return shown(self.stream.columns, self.take(*records)[-1])


def shown(columns: Sequence[str], row: FeatureRow) -> dict[str, float | Why | None]:
    """Each value by its column, and why it is absent in the place of a value that is None."""
    assert [value is None for value in row.values] == list(map(bool, row.absences))
    return {
        name: Why(why) if value is None else value
        for name, value, why in zip(columns, row.values, row.absences, strict=True)
    }
