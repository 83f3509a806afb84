"""Settings from the names of columns."""

import pytest

from fanout.analytics.errors import SettingsError
from fanout.analytics.features.column import UnknownColumnError
from fanout.analytics.features.derived import settings_for, settings_with
from fanout.analytics.features.settings import FeatureSettings


def test_columns_that_are_there_change_nothing() -> None:
    assert settings_with(FeatureSettings().columns, FeatureSettings()) == FeatureSettings()
    assert settings_for(FeatureSettings().columns) == FeatureSettings()


def test_what_is_not_asked_for_is_not_there() -> None:
    settings = settings_for(["wap_5bps_lag_50ms", "mid"])
    always = settings_for([]).columns
    assert settings.columns == (*always, "wap_5bps", "wap_5bps_lag_50ms")
    assert len(always) < 8


@pytest.mark.parametrize(
    ("column", "field", "value"),
    [
        ("bid_quantity_7bps", "quantity_bps", 7),
        ("ask_quantity_7bps", "quantity_bps", 7),
        ("wap_7bps", "wap_bps", 7),
        ("wap_7bps_lag_100ms", "wap_bps", 7),
        ("wap_10bps_lag_7ms", "wap_lags_ms", 7),
        ("liquidity_imbalance_7bps", "liquidity_bps", 7),
        ("level_imbalance_7bps", "level_bps", 7),
        ("queue_imbalance_7", "queue_levels", 7),
        ("order_flow_imbalance_7ms", "order_flow_ms", 7),
        ("volatility_7000ms", "volatility_ms", 7_000),
        ("trade_flow_imbalance_7ms", "trade_flow_ms", 7),
        ("tick_flow_imbalance_7ms", "trade_flow_ms", 7),
        ("vwap_7ms", "vwap_ms", 7),
        ("trade_intensity_7ms", "intensity_ms", 7),
    ],
)
def test_a_number_in_a_name_goes_to_its_setting(column: str, field: str, value: int) -> None:
    settings = settings_with([column], FeatureSettings())
    assert value in getattr(settings, field)
    assert column in settings.columns
    changed = [
        name
        for name in FeatureSettings.__struct_fields__
        if getattr(settings, name) != getattr(FeatureSettings(), name)
    ]
    assert changed == [field]


def test_every_column_with_a_number_can_have_another() -> None:
    for column in FeatureSettings().columns:
        other = "".join("7" if each.isdigit() else each for each in column)
        assert other in settings_for([other]).columns


def test_given_settings_stay() -> None:
    given = FeatureSettings(vwap_ms=(50,), volatility_sample_ms=500)
    settings = settings_with(["vwap_20ms"], given)
    assert (settings.vwap_ms, settings.volatility_sample_ms) == ((20, 50), 500)


@pytest.mark.parametrize(
    "column",
    ["ofi", "", "mid_5ms", "vwap", "vwap_0250ms", "vwap_2.5ms", "vwap_-5ms", "vwap_\u0665ms"],
)
def test_a_column_that_cannot_be_is_refused_with_those_there_are(column: str) -> None:
    with pytest.raises(UnknownColumnError, match=f"^no column {column}: there are mid, spread"):
        settings_with([column], FeatureSettings())


@pytest.mark.parametrize("column", ["vwap_0ms", f"vwap_{'9' * 5_000}ms", "volatility_1000ms"])
def test_a_number_out_of_range_is_refused(column: str) -> None:
    with pytest.raises(SettingsError, match=r"outside of 1 to|is below 2,000"):
        settings_with([column], FeatureSettings())
