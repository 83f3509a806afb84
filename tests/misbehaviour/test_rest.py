"""What a TCP client gets when the exchange's REST misbehaves while a gap is to be filled."""

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.feed.connection import FORBIDDEN_PAUSE_S
from fanout.feed.recovery import PATIENCE_S
from fanout.net.rest import TIMEOUT_S
from fanout.protocol import Gap
from fanout.simulator.faults import Drop, Http, ShiftClock, Skip
from tests.misbehaviour.scene import BTC, ETH, playing

TRADES = "/fapi/v1/trades"

RECORDS_OF = {"binance": TRADES, "binance-spot": "/api/v3/"}
"""By venue, how the paths begin from which missing trades come."""
HANDSHAKES_OF = {"binance": "/public", "binance-spot": "/stream"}


def at(venue: str, fault: Http) -> Http:
    """The same fault for the venue's records of trades."""
    return replace(fault, path=RECORDS_OF[venue])


@pytest.mark.parametrize(
    "fault",
    [
        Http(status=429, path=TRADES, retry_after_s=2),
        Http(status=429, path=TRADES),
        Http(status=500, path=TRADES, requests=2),
        Http(status=503, path=TRADES),
        Http(status=408, path=TRADES),
        Http(delay_s=8, path=TRADES),
        Http(delay_s=2 * TIMEOUT_S, path=TRADES),
        Http(rows=0, path=TRADES),
        Http(rows=1, path=TRADES),
        Http(sent_bytes=0, path=TRADES),
        Http(sent_bytes=100, path=TRADES),
        Http(body="<html>", path=TRADES),
        Http(body='[{"id":"x"}]', path=TRADES),
    ],
    ids=lambda each: (
        f"{each.status or ''} {each.delay_s or ''} {each.rows} {each.sent_bytes} {each.body}"
    ),
)
async def test_a_passing_rest_error_is_waited_out_and_the_gap_filled(
    autojump_clock: MockClock, venue: str, fault: Http
) -> None:
    async with playing(venue=venue, rate=10) as scene:
        scene.told()
        scene.inject(at(venue, fault))
        scene.inject(Skip(BTC, count=3))
        await trio.sleep(70)
        assert scene.told() == [(BTC, 3, "OPEN"), (BTC, 3, "BACK_FILLED")]
    scene.account(BTC, ETH)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Http(status=418, path=TRADES, banned_for_s=200), "banned"),
        (Http(status=451, path=TRADES, requests=None), "does not serve this region"),
        (Http(status=403, path=TRADES, requests=None), "does not serve this region"),
        (Http(status=500, path=TRADES, requests=None), "HTTP 500"),
    ],
    ids=["418", "451", "403", "500"],
)
async def test_a_lasting_rest_error_is_reported_and_the_gap_given_up(
    autojump_clock: MockClock, venue: str, fault: Http, why: str
) -> None:
    async with playing(venue=venue, rate=10) as scene:
        scene.told()
        scene.inject(at(venue, fault))
        scene.inject(Skip(BTC, count=3))
        await trio.sleep(2 * PATIENCE_S)
        assert scene.told() == [(BTC, 3, "OPEN"), (BTC, 3, "UNRECOVERABLE")]
        (*_, given_up) = [each for each in scene.records if isinstance(each, Gap)]
        assert why in given_up.why
    scene.account(BTC, ETH)


async def test_after_a_ban_gaps_are_filled_again(autojump_clock: MockClock, venue: str) -> None:
    async with playing(venue=venue, rate=10) as scene:
        scene.told()
        scene.inject(at(venue, Http(status=418, banned_for_s=200)))
        scene.inject(Skip(BTC))
        await trio.sleep(210)
        assert scene.told() == [(BTC, 1, "OPEN"), (BTC, 1, "UNRECOVERABLE")]
        scene.inject(Skip(BTC))
        await trio.sleep(10)
        assert scene.told() == [(BTC, 1, "OPEN"), (BTC, 1, "BACK_FILLED")]
    scene.account(BTC, ETH)


@pytest.mark.parametrize("status", [451, 403])
async def test_after_a_forbidden_reconnect_the_service_waits_long(
    autojump_clock: MockClock, venue: str, status: int
) -> None:
    async with playing(venue=venue, rate=2) as scene:
        scene.told()
        scene.inject(Http(status=status, path=HANDSHAKES_OF[venue]))
        scene.inject(Drop())
        await trio.sleep(FORBIDDEN_PAUSE_S - 10)
        assert scene.told() == [("", "DOWN"), ("", "CONNECTING"), ("", "DOWN")]
        await trio.sleep(60)
        told = scene.told(BTC)
        assert told[:4] == [("", "CONNECTING"), (BTC, "CONNECTING"), ("", "LIVE"), (BTC, "LIVE")]
        assert told[4][2] == "OPEN"  # type: ignore[misc]
    scene.account(BTC, ETH)


@pytest.mark.parametrize("offset_ms", [-60_000, 60_000])
async def test_a_wrong_venue_clock_changes_nothing(
    autojump_clock: MockClock, venue: str, offset_ms: int
) -> None:
    """And nothing is clipped: what is shown is what the clocks say."""
    async with playing(venue=venue) as scene:
        scene.told()
        scene.inject(ShiftClock(offset_ms))
        await trio.sleep(5)
        newest = scene.trades[-1]
        delay_ms = newest.received_ns // 1_000_000 - newest.time_ms
        assert -offset_ms <= delay_ms <= -offset_ms + 200
        scene.inject(Skip(BTC))
        await trio.sleep(5)
        assert scene.told() == [(BTC, 1, "OPEN"), (BTC, 1, "BACK_FILLED")]
    scene.account(BTC, ETH)


async def test_many_gaps_do_not_use_up_the_weight_of_an_address(autojump_clock: MockClock) -> None:
    """However many gaps there are: what waits for the next minute is not refused."""
    async with playing(rate=20, market={"weight_limit": 200, "tolerated_429s": 0}) as scene:
        scene.told()
        for _ in range(40):
            scene.inject(Skip(BTC))
            await trio.sleep(2)
        await trio.sleep(120)
        told = scene.told()
        assert told.count((BTC, 1, "OPEN")) == 40
        assert told.count((BTC, 1, "BACK_FILLED")) + told.count((BTC, 1, "NO_TRADE")) == 40
    scene.account(BTC, ETH)
