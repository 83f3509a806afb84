"""OKX's own faults: two URLs, announced closes, topics that do not exist, the newest trade that a
subscriber gets first, books whose ids begin anew or that come over REST only, and quiet lines."""

from decimal import Decimal

import pytest
import trio
from trio.testing import MockClock

from fanout.protocol import BookUpdate, Quote, Status
from fanout.simulator.dialects.okx import Okx
from fanout.simulator.faults import (
    Cross,
    Drop,
    Fault,
    Mute,
    Refuse,
    Resnapshot,
    Shutdown,
    Skip,
    Unchain,
)
from tests.fanout.simulator.support import rest
from tests.misbehaviour.scene import Scene, playing

BTC, ETH = "BTC-USDT-SWAP", "ETH-USDT-SWAP"
OPTION = "ETH-USD-261225-3000-P"
"""It is quiet: its book changes once a second."""

ALL = ("trades", "quotes", "book")


def whys(scene: Scene, symbol: str = "") -> list[str]:
    """The words of the statuses that concern a symbol, or the feed."""
    return [
        each.why
        for each in scene.records
        if isinstance(each, Status)
        and (each.instrument.symbol if each.instrument else "") == symbol
    ]


async def comes_back(scene: Scene, after_s: float = 4) -> None:
    await trio.sleep(after_s)
    await scene.until(lambda: scene.is_quiet and scene.are_books_the_exchanges)


async def test_an_announced_close_replaces_both_connections_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="okx", rate=5, data=ALL, assets=(OPTION,)) as scene:
        await comes_back(scene)
        assert scene.simulator.faults.connections == 2
        scene.told()
        scene.inject(Shutdown(within_s=10))
        await comes_back(scene, after_s=12)
        assert [each for each in whys(scene) if "(64008)" in each]
        gone = {"STALE", "DOWN", "OPEN"}
        assert not [each for each in scene.told() if each[-1] in gone], "made before it was broken"
        assert scene.simulator.faults.connections == 2
    scene.account()


async def test_a_topic_that_does_not_exist_halts_its_symbol_alone(
    autojump_clock: MockClock,
) -> None:
    async with playing(Refuse(BTC, how="topic"), venue="okx") as scene:
        await scene.until(lambda: scene.is_quiet)
        (refusal,) = (each for each in whys(scene, BTC) if "refuses" in each)
        assert f"channel:trades-all,instId:{BTC} doesn't exist" in refusal
        assert not [each for each in whys(scene, ETH) if "refuses" in each]
    scene.account()


async def test_the_newest_aggregate_that_a_subscriber_gets_first_is_no_new_one(
    autojump_clock: MockClock,
) -> None:
    """A connection begins with an aggregate that the one before it brought, or that is missing.
    REST fills the rest, fill by fill. In all, the quantity is that of the exchange's fills."""
    async with playing(venue="okx", stream="aggTrade", data=("trades", "book")) as scene:
        for fault in (Drop(), Skip(BTC, count=2, stream="aggTrade"), Drop()):
            scene.inject(fault)
            await comes_back(scene)
        trades = [each for each in scene.trades if each.symbol == BTC]
        async with rest(scene.simulator) as http:
            target = f"/api/v5/market/trades?instId={BTC}&limit=500"
            rows = (await http.request(target)).body["data"]
    first_id, last_id = trades[0].trade_id, trades[-1].trade_id
    fills = [row for row in rows if first_id < int(row["tradeId"]) <= last_id]
    assert len(fills) > 50
    assert len(trades) < len(fills), "some are sums"
    exponent = trades[0].instrument.quantity_exponent
    received = Decimal(sum(each.quantity for each in trades[1:])).scaleb(exponent)
    assert received == sum(Decimal(row["sz"]) for row in fills)
    assert not scene.lost(BTC)
    ids = [each.trade_id for each in trades]
    assert len(ids) == len(set(ids)), "nothing comes twice"


LOST = ["STALE", "LIVE"]
BREAKS: tuple[tuple[Fault, list[str]], ...] = (
    (Skip(BTC, count=3, stream="depth"), LOST),
    (Unchain(BTC), LOST),
    (Unchain(BTC, by=-1_000_000), LOST),
    (Resnapshot(BTC), []),
    (Resnapshot(BTC, resets=True), []),
    (Cross(BTC), LOST),
    (Drop(route="public"), ["STALE", *LOST]),
)


async def test_books_and_quotes_go_on_where_ids_break_or_begin_anew(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="okx", rate=2, data=ALL, assets=(BTC,)) as scene:
        for fault, states in BREAKS:
            await scene.until(lambda: scene.is_quiet and scene.are_books_the_exchanges)
            before = len(scene.records)
            scene.told()
            scene.inject(fault)
            await comes_back(scene)
            assert [each[-1] for each in scene.told(BTC)] == states, fault
            assert [each for each in scene.records[before:] if isinstance(each, Quote)], fault
        ids = [each.update_id for each in scene.records if isinstance(each, BookUpdate)]
        assert ids == sorted(ids), "published ids ascend though the venue's begin anew"
        quotes = [each for each in scene.records if isinstance(each, Quote)]
        times = [each.time for each in quotes]
        assert times == sorted(times)
        assert not [each for each in whys(scene, BTC) if "no connection for its trades" in each]
    scene.account()


async def test_without_snapshots_on_the_stream_books_come_over_rest(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OKX announced in February 2026 that it would send none any more."""
    monkeypatch.setattr(Okx, "greeting", lambda *_: [])
    data = ("trades", "book")
    async with playing(venue="okx", rate=2, data=data, assets=(OPTION,)) as scene:
        await comes_back(scene)
        scene.inject(Unchain(OPTION))
        await comes_back(scene)
    scene.account()


async def test_quiet_connections_are_kept_by_pings_and_empty_updates_change_no_book(
    autojump_clock: MockClock,
) -> None:
    """OKX cuts a connection after 30 s without a request. It sends empty updates each minute."""
    async with playing(venue="okx", rate=0.5, data=ALL, assets=(OPTION,)) as scene:
        await comes_back(scene)
        scene.told()
        scene.inject(Mute(for_s=25))
        await comes_back(scene, after_s=65)
        assert scene.told() == []
        assert scene.simulator.faults.connections == 2
    scene.account()
