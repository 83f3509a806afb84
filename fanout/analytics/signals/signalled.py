"""Rows of features with the signals of models behind them, as more columns of the same row.

    flow_direction, flow_strength, flow_confidence          of the signal named flow
    flow_quantity                                           if it has a size

Each signal of a row is made once, also if combinations take it. A feature that is absent gives
direction 0, strength 0 and confidence 0, as in `models`. The columns themselves are absent

    NOT_FITTED      in rows of an instrument that the signal is not for
    OTHER           once the model has failed: it raised an error, or gave what is no signal

A model that failed for an instrument is not asked again for it, and is told of in a line. Its other
instruments and the other signals go on.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from fanout.analytics.consumer.consumer import Features
from fanout.analytics.consumer.tables import plain
from fanout.analytics.features.column import Column
from fanout.analytics.signals.models import Signal, SignalError, SignalModel, flat
from fanout.analytics.signals.sizing import PositionSize, Size
from fanout.clients.outcomes import Received
from fanout.protocol.constants import Absence
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.instrument import Instrument

MAX_ERROR_CHARS: Final = 200
"""Most of a model's own error that is shown."""

_OURS: Final = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""Where this project's own code is."""

Fail = Callable[[str], None]
"""Takes why a model failed, in words."""


def columns_of(name: str, *, has_size: bool) -> tuple[str, ...]:
    """The columns of a signal. Direction is -1, 0 or 1, strength and confidence are 0 to 1, and the
    quantity is in the instrument's unit, below 0 for a short position."""
    quantity = (f"{name}_quantity",) if has_size else ()
    return f"{name}_direction", f"{name}_strength", f"{name}_confidence", *quantity


class SignalledRow(FeatureRow, frozen=True, gc=False):
    """A row with its signals. `reasons` has the text of each by its name, and that of a size by the
    name of its column, if it has more to say."""

    reasons: Mapping[str, str] = {}


class Sizing(NamedTuple):
    """The size of a signal, and the columns that it needs."""

    size: PositionSize
    price: Column
    volatility: Column

    def of(self, signal: Signal, row: FeatureRow) -> Size:
        return self.size.of(signal, self.volatility.value(row), self.price.value(row))


class Part:
    """One signal of one instrument: `values`, `absences` and `reasons` of the newest row.

    For a combination it is a model whose signal is made already. Without a model it is a signal
    that is not for this instrument.
    """

    def __init__(
        self, name: str, model: SignalModel | None, width: int, fail: Fail, sizing: Sizing | None
    ) -> None:
        self.name = name
        self.is_for = model is not None
        self.reasons: dict[str, str] = {}
        self.values: tuple[float | None, ...] = (None,) * width
        self.absences = bytes([Absence.NOT_FITTED]) * width
        self._model = model
        self._width = width
        self._fail = fail
        self._sizing = sizing
        self._signal = flat(f"{name} has not begun")

    def signal(self, row: FeatureRow) -> Signal:
        """That of the row that was taken last."""
        return self._signal

    def take(self, row: FeatureRow) -> None:
        """Make the signal of a row."""
        if self._model is None:
            return
        try:
            self._take(self._model.signal(row), row)
        except Exception as error:
            self._give_up(error)

    def _take(self, given: object, row: FeatureRow) -> None:
        signal = _checked(given)
        reasons = {self.name: signal.reason}
        numbers: list[float] = [signal.direction, signal.strength, signal.confidence]
        if self._sizing is not None:
            size = self._sizing.of(signal, row)
            numbers.append(float(size.quantity_decimal))
            if signal.direction and size.reason != signal.reason:
                reasons[f"{self.name}_quantity"] = size.reason
        # Adding 0.0 makes -0.0 a plain 0.0, and a double of what a model may have instead.
        self.values = tuple(float(each) + 0.0 for each in numbers)
        self.absences = bytes(self._width)
        self.reasons, self._signal = reasons, signal

    def _give_up(self, error: Exception) -> None:
        why = _told(error)
        self._model = None
        self.values = (None,) * self._width
        self.absences = bytes([Absence.OTHER]) * self._width
        self.reasons = {self.name: f"failed: {why}"}
        self._signal = flat(f"{self.name} failed")
        self._fail(why)


def _checked(given: object) -> Signal:
    """What a model gave, if it is a signal. Its numbers were checked when it was made."""
    if not isinstance(given, Signal):
        raise SignalError(f"{plain(repr(given))} is no fanout.analytics.Signal")
    if not isinstance(given.reason, str):
        raise SignalError(f"reason {plain(repr(given.reason))}: a text is needed")
    given.reason.encode()  # JSON cannot have what this refuses
    return given


def _told(error: Exception) -> str:
    """An error in a line, with the newest place in it that is not ours: `my_signals.py:14`."""
    words = plain(": ".join(filter(None, (type(error).__name__, str(error)))), MAX_ERROR_CHARS)
    frames = traceback.extract_tb(error.__traceback__)
    places = [each for each in frames if not each.filename.startswith(_OURS)]
    if not places:
        return words
    return f"{words} ({os.path.basename(places[-1].filename)}:{places[-1].lineno})"


class InstrumentSignals:
    """All signals of one instrument. `parts` stand in the order of the columns, and `order` has
    each behind those that it combines."""

    def __init__(self, parts: Sequence[Part], order: Sequence[Part]) -> None:
        self._parts = tuple(parts)
        self._order = tuple(order)

    def row(self, row: FeatureRow) -> SignalledRow:
        """The row with the signals behind its values."""
        for each in self._order:
            each.take(row)
        values, absences = [*row.values], [row.absences]
        reasons: dict[str, str] = {}
        for each in self._parts:
            values += each.values
            absences.append(each.absences)
            reasons |= each.reasons
        return SignalledRow(
            row.instrument,
            row.time_ns,
            tuple(values),
            b"".join(absences),
            row.seq,
            row.received_ns,
            reasons,
        )


class SignalledFeatures:
    """The features of a stream, with signals, in the place of those without. `make` gives the
    signals of an instrument, and is asked again once the instrument is another one."""

    def __init__(self, features: Features, make: Callable[[Instrument], InstrumentSignals]) -> None:
        self._features = features
        self._make = make
        self._known: dict[str, tuple[Instrument, InstrumentSignals]] = {}

    def take(self, record: Received) -> Sequence[FeatureRow]:
        """See `Features.take`."""
        rows = self._features.take(record)
        return [self.signals(each.instrument).row(each) for each in rows] if rows else rows

    def signals(self, instrument: Instrument) -> InstrumentSignals:
        """Those of an instrument, which are made if they are not there."""
        known = self._known.get(instrument.symbol)
        if known is not None and (known[0] is instrument or known[0] == instrument):
            return known[1]
        found = self._make(instrument)
        self._known[instrument.symbol] = instrument, found
        return found
