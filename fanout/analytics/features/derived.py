"""Settings from the names of columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from fanout.analytics.features.column import UnknownColumnError
from fanout.analytics.features.settings import FeatureSettings

_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    r"(?:bid|ask)_quantity_(\d+)bps": ("quantity_bps",),
    r"wap_(\d+)bps": ("wap_bps",),
    r"wap_(\d+)bps_lag_(\d+)ms": ("wap_bps", "wap_lags_ms"),
    r"liquidity_imbalance_(\d+)bps": ("liquidity_bps",),
    r"level_imbalance_(\d+)bps": ("level_bps",),
    r"queue_imbalance_(\d+)": ("queue_levels",),
    r"order_flow_imbalance_(\d+)ms": ("order_flow_ms",),
    r"volatility_(\d+)ms": ("volatility_ms",),
    r"(?:trade|tick)_flow_imbalance_(\d+)ms": ("trade_flow_ms",),
    r"vwap_(\d+)ms": ("vwap_ms",),
    r"trade_intensity_(\d+)ms": ("intensity_ms",),
}
"""Columns whose names have numbers, and the settings that the numbers stand in."""


def settings_for(columns: Iterable[str]) -> FeatureSettings:
    """The settings with these columns, and no others than those that are always there: what is not
    asked for is not computed. Raises as `settings_with`."""
    lists = [each for values in _FIELDS.values() for each in values]
    return settings_with(columns, replace(FeatureSettings(), **dict.fromkeys(lists, ())))


def settings_with(columns: Iterable[str], settings: FeatureSettings) -> FeatureSettings:
    """Settings with these columns, and those of `settings`: `vwap_250ms` adds 250 to `vwap_ms`.

    Raises `UnknownColumnError` with the columns there are, and `SettingsError` for a number out of
    range.
    """
    for column in columns:
        settings = _with(column, settings)
        if column not in settings.columns:  # vwap_0250ms, for one
            raise _unknown(column)
    return settings


def _with(column: str, settings: FeatureSettings) -> FeatureSettings:
    for pattern, fields in _FIELDS.items():
        match = re.fullmatch(pattern, column, re.ASCII)
        if match:
            for field, number in zip(fields, match.groups(), strict=True):
                values = {*getattr(settings, field), int(number[:20])}
                settings = replace(settings, **{field: tuple(sorted(values))})
            return settings
    return settings


def _unknown(column: str) -> UnknownColumnError:
    known = ", ".join(FeatureSettings().columns)
    return UnknownColumnError(
        f"no column {column[:80]}: there are {known}, and some with other numbers in their names"
    )
