"""Listings that change in mid-run, and an announced end, over real sockets on a virtual clock.

The virtual exchange tests in `tests/fanout/feed` say more; here the simulator speaks, and a client
at the other end of the service is asked.
"""

import trio
from trio.testing import MockClock

from fanout.feed.upkeep import RELIST_EVERY_S
from fanout.protocol import Status, Trade
from fanout.simulator.faults import Decimals, Delist, List, Odd, Rename, Shutdown
from tests.misbehaviour.scene import BTC, ETH, Scene, playing

SOON_S = RELIST_EVERY_S + 60


def states(scene: Scene, symbol: str) -> list[str]:
    return [
        each.state.name
        for each in scene.records
        if isinstance(each, Status) and each.instrument and each.instrument.symbol == symbol
    ]


async def test_spot_that_announces_its_end_is_replaced_before_it(
    autojump_clock: MockClock,
) -> None:
    async with playing(venue="binance-spot") as scene:
        scene.inject(Shutdown())
        await trio.sleep(60)
        scene.told()
        down = [each for each in scene.records if isinstance(each, Status)]
        assert "DOWN" not in {each.state.name for each in down}
    scene.account(BTC, ETH)


async def test_a_symbol_that_is_listed_in_mid_run_reaches_the_client(
    autojump_clock: MockClock,
) -> None:
    async with playing(rate=2, assets=("*USDT",), market={"symbols": (BTC, ETH)}) as scene:
        scene.inject(List(symbol="NEWUSDT"))
        await scene.until(lambda: "LIVE" in states(scene, "NEWUSDT"), within_s=SOON_S)
        assert any(isinstance(each, Trade) and each.symbol == "NEWUSDT" for each in scene.records)


async def test_a_delisted_symbol_is_halted_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    async with playing(rate=2) as scene:
        scene.inject(Delist(symbol=ETH))
        await scene.until(lambda: "HALTED" in states(scene, ETH), within_s=SOON_S)
        await trio.sleep(30)
        assert states(scene, ETH)[-1] == "HALTED"
        assert states(scene, BTC)[-1] == "LIVE"
    scene.account(BTC)


async def test_a_renamed_symbol_leaves_and_its_new_name_joins(autojump_clock: MockClock) -> None:
    async with playing(rate=2, assets=("*USDT",), market={"symbols": (BTC, ETH)}) as scene:
        scene.inject(Rename(symbol=ETH, to="ETHERUSDT"))
        await scene.until(lambda: "LIVE" in states(scene, "ETHERUSDT"), within_s=SOON_S)
        assert states(scene, ETH)[-1] == "HALTED"
    scene.account(BTC)


async def test_odd_rows_and_other_decimals_make_no_wrong_price(
    autojump_clock: MockClock,
) -> None:
    async with playing(rate=2) as scene:
        scene.inject(Odd(symbol=BTC))
        scene.inject(Decimals(symbol=ETH, price=4))
        await trio.sleep(SOON_S)
        assert (states(scene, BTC)[-1], states(scene, ETH)[-1]) == ("LIVE", "LIVE")
    scene.account(BTC, ETH)
    for symbol in (BTC, ETH):
        prices = [each.price_float for each in scene.trades if each.symbol == symbol]
        assert max(prices) < 1.5 * min(prices)
