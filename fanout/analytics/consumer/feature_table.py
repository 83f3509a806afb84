"""Reads the table `[features]` of a consumer's configuration.

A few keys set what most people want to set together: `windows`, `lags`, `depths` and `levels`. Each
field of `FeatureSettings` has a key of its own, too, which goes before them.
"""

from typing import Final

from fanout.analytics.consumer.durations import duration_text
from fanout.analytics.consumer.tables import ConsumerConfigError, Table
from fanout.analytics.errors import SettingsError
from fanout.analytics.features.settings import (
    MAX_DEPTH_BPS,
    MAX_QUEUE_LEVELS,
    MAX_VALUES,
    FeatureSettings,
)

_MS: Final = 1_000_000

LEAST_EVERY_NS: Final = _MS
"""Rows more often than each millisecond are better made for every update."""


def features_in(table: Table | None) -> tuple[FeatureSettings, int | None]:
    """The settings, and the interval of the rows in ns. Closes the table. Raises
    `ConsumerConfigError`."""
    if table is None:
        return FeatureSettings(), None
    every_ns = table.duration("every", None, least_ns=LEAST_EVERY_NS)
    values: dict[str, tuple[int, ...] | int] = {}
    for key, names in _SHARED.items():
        values |= dict.fromkeys(names, given) if (given := _given(table, key)) is not None else {}
    for name in FeatureSettings.__struct_fields__:
        if (own := _own(table, name)) is not None:
            values[name] = own
    table.close()
    try:
        return FeatureSettings.of(values), every_ns
    except SettingsError as error:
        raise ConsumerConfigError(f"{table.name}: {error}") from error


_SHARED: Final = {
    "windows": ("order_flow_ms", "trade_flow_ms", "vwap_ms", "intensity_ms"),
    "lags": ("wap_lags_ms",),
    "depths": ("quantity_bps", "wap_bps", "liquidity_bps", "level_bps"),
    "levels": ("queue_levels",),
}
"""Keys that set several fields of `FeatureSettings`. A field's own key overrides them."""


def _given(table: Table, key: str) -> tuple[int, ...] | None:
    if key == "windows":
        return _in_ms(table, key, table.durations(key, least_ns=_MS, most=MAX_VALUES))
    if key == "lags":
        lags = _in_ms(table, key, table.durations(key, least_ns=0, most=MAX_VALUES))
        # The price without a lag is a column of its own, and is always there.
        return None if lags is None else tuple(each for each in lags if each)
    most = MAX_DEPTH_BPS if key == "depths" else MAX_QUEUE_LEVELS
    wholes = table.wholes(key, 1, most, most=MAX_VALUES)
    return None if wholes is None else tuple(sorted({*wholes}))


def _own(table: Table, name: str) -> tuple[int, ...] | int | None:
    """The value of one field, whose key has hyphens and no unit where durations have theirs."""
    stem, _, unit = name.rpartition("_")
    key = (stem if unit == "ms" else name).replace("_", "-")
    if name == "volatility_sample_ms":
        sample_ns = table.duration(key, None, least_ns=_MS)
        return None if sample_ns is None else (_in_ms(table, key, (sample_ns,)) or (0,))[0]
    if unit == "ms":
        return _in_ms(table, key, table.durations(key, least_ns=_MS, most=MAX_VALUES))
    most = MAX_DEPTH_BPS if unit == "bps" else MAX_QUEUE_LEVELS
    return table.wholes(key, 1, most, most=MAX_VALUES)


def _in_ms(table: Table, key: str, ns: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Durations in whole ms, from the shortest to the longest."""
    if ns is None:
        return None
    for each in ns:
        if each % _MS:
            raise table.fault(key, "no whole number of milliseconds", duration_text(each))
    return tuple(sorted({each // _MS for each in ns}))
