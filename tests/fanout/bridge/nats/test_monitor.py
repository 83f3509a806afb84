"""What the HTTP port of the bridge to NATS answers."""

import json
import time

from prometheus_client.parser import text_string_to_metric_families

from fanout.bridge.nats.monitor import routes
from fanout.bridge.nats.stats import BridgeState, ChannelStats
from fanout.protocol import Position


def test_it_is_ready_while_every_channel_is_passed_on_or_stands_by() -> None:
    one, two = ChannelStats("perps", "fanout-perps"), ChannelStats("spot", "fanout-spot")
    answers = routes([one, two])
    assert answers["/healthz"]().status == 200
    starting = answers["/readyz"]()
    assert starting.status == 503
    assert starting.body == b"channel perps is starting\nchannel spot is starting\n"
    one.becomes(BridgeState.PUBLISHING)
    two.becomes(BridgeState.STANDING_BY, "another bridge publishes")
    assert answers["/readyz"]().status == 200
    one.waiting_since_s = time.monotonic() - 60
    assert answers["/readyz"]().body == b"channel perps: no acknowledgement for 60 s\n"
    one.waiting_since_s = None
    one.becomes(BridgeState.RETRYING, "the connection is lost")
    assert answers["/readyz"]().body == b"channel perps is retrying: the connection is lost\n"


def test_the_figures_are_told_twice() -> None:
    stats = ChannelStats("perps", "fanout-perps")
    stats.becomes(BridgeState.PUBLISHING)
    place = Position(epoch_ns=5, seq=4)
    stats.acknowledged(size=90, took_s=0.004, received_ns=1, behind=place, records=3, lost=1)
    stats.window = 2
    answers = routes([stats])
    (channel,) = json.loads(answers["/status"]().body)["channels"]
    assert (channel["state"], channel["epoch_ns"], channel["next_seq"]) == ("publishing", 5, 4)
    assert channel["ack_ns"]["max_ns"] == 4_000_000
    text = answers["/metrics"]().body.decode()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["fanout_bridge_records_total", "perps"] == 3
    assert samples["fanout_bridge_bytes_total", "perps"] == 90
    assert samples["fanout_bridge_lost_total", "perps"] == 1
    assert samples["fanout_bridge_window", "perps"] == 2
    assert samples["fanout_bridge_waited_seconds", "perps"] == 0
    assert samples["fanout_bridge_next_seq", "perps"] == 4
    assert samples["fanout_bridge_lag_seconds", "perps"] > 1e9
    assert samples["fanout_bridge_state", "perps", "publishing"] == 1
    assert samples["fanout_bridge_state", "perps", "retrying"] == 0
    assert samples["fanout_bridge_ack_seconds_bucket", "+Inf", "perps"] == 1
    assert samples["fanout_bridge_ack_seconds_bucket", "0.0025", "perps"] == 0
