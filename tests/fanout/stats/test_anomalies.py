import logging

import pytest

from fanout.stats.anomalies import Anomalies


def test_each_kind_of_anomaly_is_logged_once_a_minute_and_always_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    anomalies = Anomalies(clock=lambda: now)
    for _ in range(5):
        anomalies.note("garbage", "x")
    anomalies.note("other", "y")
    assert [each.message for each in caplog.records] == ["garbage: x", "other: y"]
    now += 60
    anomalies.note("garbage", "z", level=logging.ERROR)
    assert caplog.records[-1].message == "garbage: z (4 more since the last such line)"
    assert caplog.records[-1].levelname == "ERROR"
    assert anomalies.counts == {"garbage": 6, "other": 1}
