"""Settings name the columns, and nonsense is refused with the value and the limit."""

from typing import Any

import pytest

from fanout.analytics import FeatureSettings
from fanout.analytics.errors import SettingsError

LISTS = [each for each in FeatureSettings().__struct_fields__ if each != "volatility_sample_ms"]


def test_the_columns_carry_their_units() -> None:
    columns = FeatureSettings().columns
    for name in (
        *("mid", "spread", "spread_bps", "order_book_imbalance", "level_imbalance"),
        *("bid_quantity_10bps", "ask_quantity_20bps", "wap_10bps", "wap_10bps_lag_100ms"),
        *("liquidity_imbalance_10bps", "level_imbalance_10bps", "queue_imbalance_5"),
        *("order_flow_imbalance_1000ms", "trade_flow_imbalance_1000ms"),
        *("tick_flow_imbalance_1000ms", "microprice", "stoikov_microprice", "vwap_1000ms"),
        *("trade_intensity_1000ms", "volatility_60000ms"),
    ):
        assert name in columns
    assert len(set(columns)) == len(columns)


def test_empty_lists_leave_their_features_out() -> None:
    settings = FeatureSettings(**dict.fromkeys(LISTS, ()))
    assert settings.columns == (
        *("mid", "spread", "spread_bps", "order_book_imbalance", "microprice"),
        *("stoikov_microprice", "level_imbalance"),
    )


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("values", [(0,), (-1,), (5, 5), (9, 8), (10**9,), (True,), ("5",), [5]])
def test_a_list_has_rising_numbers_within_limits(name: str, values: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        FeatureSettings(**{name: values})


def test_a_list_has_a_limit() -> None:
    with pytest.raises(SettingsError, match="17 values, more than 16"):
        FeatureSettings(wap_lags_ms=tuple(range(1, 18)))


@pytest.mark.parametrize("sample", [0, -1, 31_000, "1s"])
def test_samples_of_the_volatility_are_at_least_two_in_a_window(sample: Any) -> None:
    with pytest.raises(SettingsError, match="volatility"):
        FeatureSettings(volatility_sample_ms=sample)


def test_a_table_of_a_file_gives_settings() -> None:
    assert FeatureSettings.of({"vwap_ms": [1_000, 5_000]}).vwap_ms == (1_000, 5_000)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"windows": [1]}, "windows"),
        ({"vwap_ms": "1s"}, "vwap_ms"),
        ({"vwap_ms": [0]}, "vwap_ms has 0, which is outside of 1 to 86,400,000"),
    ],
)
def test_a_table_with_nonsense_is_refused(table: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        FeatureSettings.of(table)


def test_settings_make_no_more_columns_than_a_row_has() -> None:
    many = tuple(range(1, 17))
    with pytest.raises(SettingsError, match="make 292 columns, more than the 256"):
        FeatureSettings(wap_bps=many, wap_lags_ms=many)
    assert len(FeatureSettings(wap_bps=many[:13], wap_lags_ms=many).columns) == 292 - 3 * 17
