"""Which features a row has: the windows, lags and depths, and the names of the columns that follow.

Every list may be empty, which leaves its features out. A list goes from the smallest to the largest
value, without repeats, so that two programs with equal settings have equal columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from fanout.analytics.errors import SettingsError
from fanout.protocol.constants import MAX_COLUMNS

NS_PER_MS: Final = 1_000_000

MAX_ENTRIES: Final = 65_536
"""Most changes, trades or samples that one series of an instrument keeps. Protects the memory from
a long window over a busy market. A value that would need more is absent, with `Absence.OTHER`."""

MAX_VALUES: Final = 16
"""Most values in one list of the settings: each costs time for every update."""

MAX_WINDOW_MS: Final = 86_400_000
"""Longest window or lag: a day."""

MAX_DEPTH_BPS: Final = 10_000
"""Widest band: as far below the mid as prices go, without negative ones."""

MAX_QUEUE_LEVELS: Final = 1_000
"""Most levels of `queue_imbalance`. They are added up at every update."""

FIXED_COLUMNS: Final = (
    "mid",
    "spread",
    "spread_bps",
    "order_book_imbalance",
    "microprice",
    "stoikov_microprice",
    "level_imbalance",
)
"""The first columns of every row, whatever the settings."""

_LIMITS: Final = {"bps": MAX_DEPTH_BPS, "ms": MAX_WINDOW_MS, "levels": MAX_QUEUE_LEVELS}


class FeatureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of the features. Raises `SettingsError` if one is out of range.

    `*_bps` are half widths of bands around the mid, in basis points of it; `*_ms` are windows and
    lags in milliseconds; `queue_levels` are numbers of levels. `volatility_sample_ms` is the
    distance of the samples of the mid from which the volatility is computed.
    """

    quantity_bps: tuple[int, ...] = (10, 20)
    wap_bps: tuple[int, ...] = (10,)
    wap_lags_ms: tuple[int, ...] = (100, 200, 300)
    liquidity_bps: tuple[int, ...] = (10,)
    level_bps: tuple[int, ...] = (10,)
    queue_levels: tuple[int, ...] = (5,)
    order_flow_ms: tuple[int, ...] = (1_000,)
    trade_flow_ms: tuple[int, ...] = (1_000,)
    vwap_ms: tuple[int, ...] = (1_000,)
    intensity_ms: tuple[int, ...] = (1_000,)
    volatility_ms: tuple[int, ...] = (60_000,)
    volatility_sample_ms: int = 1_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            most = _LIMITS[name.rpartition("_")[2]]
            if name == "volatility_sample_ms":
                _require_number(name, value, most)
            else:
                _require_list(name, value, most)
        self._require_samples()
        self._require_columns()

    def _require_samples(self) -> None:
        least = 2 * self.volatility_sample_ms
        for window in self.volatility_ms:
            if window < least:
                raise SettingsError(
                    f"volatility_ms {window:,} is below {least:,}, which is twice "
                    f"volatility_sample_ms: lengthen the window or sample more often"
                )

    def _require_columns(self) -> None:
        count = len(self.columns)
        if count > MAX_COLUMNS:
            raise SettingsError(
                f"these settings make {count:,} columns, more than the {MAX_COLUMNS} of a row: "
                "shorten the lists, of which wap_bps and wap_lags_ms multiply"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of a row's values, in their order. A name ends in its depth or window, with the
        unit. See `fanout.analytics.features.features` for the definitions."""
        return self.book_columns + self.window_columns + self.trade_columns

    @property
    def book_columns(self) -> tuple[str, ...]:
        """Those that follow from the book alone."""
        return (
            *FIXED_COLUMNS,
            *(f"{side}_quantity_{d}bps" for d in self.quantity_bps for side in ("bid", "ask")),
            *(f"wap_{d}bps" for d in self.wap_bps),
            *(f"liquidity_imbalance_{d}bps" for d in self.liquidity_bps),
            *(f"level_imbalance_{d}bps" for d in self.level_bps),
            *(f"queue_imbalance_{n}" for n in self.queue_levels),
        )

    @property
    def window_columns(self) -> tuple[str, ...]:
        """Those that follow from the history of the book."""
        return (
            *(f"wap_{d}bps_lag_{lag}ms" for d in self.wap_bps for lag in self.wap_lags_ms),
            *(f"order_flow_imbalance_{w}ms" for w in self.order_flow_ms),
            *(f"volatility_{w}ms" for w in self.volatility_ms),
        )

    @property
    def trade_columns(self) -> tuple[str, ...]:
        """Those that follow from the trades."""
        return (
            *(f"trade_flow_imbalance_{w}ms" for w in self.trade_flow_ms),
            *(f"tick_flow_imbalance_{w}ms" for w in self.trade_flow_ms),
            *(f"vwap_{w}ms" for w in self.vwap_ms),
            *(f"trade_intensity_{w}ms" for w in self.intensity_ms),
        )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> FeatureSettings:
        """From a table of a configuration file. Raises `SettingsError`, for an unknown name too."""
        try:
            return msgspec.convert(dict(values), cls)
        except msgspec.ValidationError as error:
            # msgspec raises its own error from ours, whose words are better.
            raise SettingsError(str(error.__cause__ or error)) from error


def _require_number(name: str, value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingsError(f"{name} has {value!r}: give a whole number from 1 to {most:,}")
    if not 1 <= value <= most:
        raise SettingsError(f"{name} has {value:,}, which is outside of 1 to {most:,}")
    return value


def _require_list(name: str, values: object, most: int) -> None:
    if not isinstance(values, tuple):
        raise SettingsError(f"{name} is {values!r}: give a tuple of whole numbers")
    if len(values) > MAX_VALUES:
        raise SettingsError(f"{name} has {len(values)} values, more than {MAX_VALUES}")
    numbers = [_require_number(name, each, most) for each in values]
    for before, after in pairwise(numbers):
        if before >= after:
            raise SettingsError(f"{name} has {after:,} after {before:,}: list them in rising order")
