"""The features that follow from the trades of the last seconds.

A trade counts at the time at which it was received, in each window that it is in. Trades that were
back-filled do not count: they came when their window was over. Neither do trades of the insurance
fund and of auto-deleveraging, whose prices can be far from the market.
"""

from __future__ import annotations

from typing import Final

from fanout.analytics.features.settings import NS_PER_MS, FeatureSettings
from fanout.analytics.features.units import Units
from fanout.analytics.features.windows import Windows
from fanout.protocol.constants import Absence
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Trade

_WARMING_UP: Final = int(Absence.WARMING_UP)
_EMPTY: Final = int(Absence.EMPTY)

# The amounts of a window.
_BOUGHT: Final = 0
_SOLD: Final = 1
_BUYS: Final = 2
_SELLS: Final = 3
_NOTIONAL: Final = 4


class TradeFeatures:
    """The values of the columns `FeatureSettings.trade_columns` of one instrument.

    Nothing is known before `resume`, nor from `lose` to the next `resume`. Trades are counted all
    the while.
    """

    __slots__ = ("_at", "_settings", "_units", "_windows", "has_begun", "why")

    def __init__(self, settings: FeatureSettings, instrument: Instrument) -> None:
        self._settings = settings
        self._units = Units(instrument)
        its = settings
        windows_ms = sorted({*its.trade_flow_ms, *its.vwap_ms, *its.intensity_ms})
        self._at = {each: at for at, each in enumerate(windows_ms)}
        self._windows = Windows([each * NS_PER_MS for each in windows_ms], 5)
        self.has_begun = False
        """Whether the stream is known to have trades."""
        self.why = 0
        """Why nothing is known now, whatever the window; 0 if something may be."""

    def take(self, now_ns: int, trade: Trade) -> None:
        """Count a trade that was received now."""
        quantity, notional = trade.quantity, trade.price * trade.quantity
        if trade.buyer_is_maker:
            self._windows.add(now_ns, (0, quantity, 0, 1, notional))
        else:
            self._windows.add(now_ns, (quantity, 0, 1, 0, notional))

    def lose(self, why: int) -> None:
        """Nothing is known from now on, because of `why`."""
        self.why = why

    def resume(self, since_ns: int, why: int) -> None:
        """Every trade after that moment has been counted, or will be. A window that begins before
        it is absent because of `why`."""
        self.why = 0
        self._windows.whole_ns = since_ns
        self._windows.why = why

    def put(self, now_ns: int, values: list[float | None], absences: bytearray) -> None:
        """Append the values at this moment, and their absences."""
        windows, its = self._windows, self._settings
        windows.move(now_ns)
        for which in (_BOUGHT, _BUYS):
            for window_ms in its.trade_flow_ms:
                at = self._at[window_ms]
                bought, sold = windows.sums[at][which : which + 2]
                self._put(at, now_ns, bought - sold, bought + sold, values, absences)
        for window_ms in its.vwap_ms:
            at = self._at[window_ms]
            bought, sold, _, _, notional = windows.sums[at]
            numerator, denominator = self._units.price, self._units.price_per
            whole = (bought + sold) * denominator
            self._put(at, now_ns, notional * numerator, whole, values, absences)
        for window_ms in its.intensity_ms:
            at = self._at[window_ms]
            count = windows.sums[at][_BUYS] + windows.sums[at][_SELLS]
            self._put(at, now_ns, count * 1_000, window_ms, values, absences)

    def _put(
        self,
        at: int,
        now_ns: int,
        numerator: int,
        denominator: int,
        values: list[float | None],
        absences: bytearray,
    ) -> None:
        why = self._absence(at, now_ns) or (0 if denominator else _EMPTY)
        values.append(None if why else numerator / denominator)
        absences.append(why)

    def _absence(self, at: int, now_ns: int) -> int:
        if not self.has_begun:
            return self.why or _WARMING_UP
        return self.why or self._windows.absence(at, now_ns)
