"""Two sources in one service: what goes wrong at one venue changes nothing in the other's channel.

Each venue is a simulator: the sound one plays Binance spot, the other one USDⓈ-M. A client reads
each channel from its beginning. The sound channel is compared with everything that its venue
issued, and its statuses are those of a day without trouble: that is P1 to P4 undisturbed, by P5.
The ailing channel reports in-band what is wrong (P4), and both end with an END (P6).
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from fanout.config import Config, FeedConfig, SourceConfig
from fanout.errors import ConfigError, VenueForbiddenError
from fanout.protocol import End, EndReason, FeedState, Status
from fanout.protocol.framing import frame
from fanout.protocol.request import Request, Start, encode_request
from fanout.service import run_service
from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.faults import (
    Delist,
    Drop,
    Fault,
    Garbage,
    Garble,
    Http,
    Insert,
    List,
    Relist,
    Silence,
)
from fanout.transports.tcp.config import TcpConfig
from tests.misbehaviour.scene import BEGAN_NS, BTC, ETH, Scene, Short
from tests.stand.inside import Running, running_service, running_simulator
from tests.stand.subscriber import Subscriber

SOL = "SOLUSDT"

UNDISTURBED: list[Short] = [
    ("", "CONNECTING"),
    (BTC, "CONNECTING"),
    ("", "LIVE"),
    (BTC, "LIVE"),
]

BANNED = Http(status=418, requests=None)
REFUSED = Http(status=451, requests=None)
DOWN = Http(status=503, requests=None)


class Pair:
    """A service with a sound source and an ailing one, and what their readers have got."""

    def __init__(self, sound: Scene, ailing: Scene, running: Running) -> None:
        self.sound = sound
        self.ailing = ailing
        self.simulators = (sound.simulator, ailing.simulator)
        self.running = running

    def undisturbed(self) -> None:
        """Hold the sound channel against a day without trouble."""
        assert self.sound.told() == UNDISTURBED

    def whys(self) -> list[str]:
        """Why the ailing source was reported DOWN."""
        return [
            each.why
            for each in self.ailing.records
            if isinstance(each, Status) and each.instrument is None
            if each.state is FeedState.DOWN
        ]


@asynccontextmanager
async def playing_two(
    *faults: Fault, ailing: dict[str, Any] | None = None, **feed: Any
) -> AsyncIterator[Pair]:
    """The pair once the sound source brings trades. `faults` are the ailing venue's from the
    start, and `ailing` are fields of its `SourceConfig`."""
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    async with _venue(BTC, "binance-spot") as sound, _venue(ETH) as sick:
        for each in faults:
            sick.faults.inject(each)
        config = Config(
            sources=(
                _source(sound, BTC, "sound", feed, venue="binance-spot"),
                _source(sick, ETH, "ailing", feed, **(ailing or {})),
            ),
            transports=(TcpConfig(port=0),),
        )
        async with (
            trio.open_nursery() as reading,
            running_service(config, wall_ns=wall_ns) as running,
        ):
            pair = Pair(Scene(sound, symbols=(BTC,)), Scene(sick, symbols=(ETH,)), running)
            reading.start_soon(_read, running.url, "sound", pair.sound)
            reading.start_soon(_read, running.url, "ailing", pair.ailing)
            await pair.sound.until(lambda: bool(pair.sound.trades))
            yield pair
    pair.sound.account(BTC)
    for scene in (pair.sound, pair.ailing):
        assert isinstance(scene.records[-1], End)


def _venue(symbol: str, dialect: str = "binance-usdm") -> AbstractAsyncContextManager[Simulator]:
    config = SimulatorConfig(dialect=dialect, symbols=(symbol,), rate=20, start_ns=BEGAN_NS)
    return running_simulator(config)


def _source(
    simulator: Simulator, symbol: str, channel: str, feed: dict[str, Any], **more: Any
) -> SourceConfig:
    return SourceConfig(
        assets=more.pop("assets", (symbol,)),
        channel=channel,
        ws_url=simulator.ws_url,
        rest_url=simulator.rest_url,
        feed=more.pop("own_feed", FeedConfig(**feed)),
        **more,
    )


async def _read(url: str, channel: str, scene: Scene) -> None:
    host, port = url.removeprefix("tcp://").split(":")
    subscriber = Subscriber()
    subscriber.ask(Start.OLDEST)
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        request = Request(start=Start.OLDEST, channel=channel)
        await stream.send_all(frame(encode_request(request)))
        while data := await stream.receive_some():
            scene.records += subscriber.receive(data)
    header = subscriber.header
    assert header is not None
    assert header.channel == channel
    assert {channel, *header.channels} == {"sound", "ailing"}


async def test_two_sources_without_faults(autojump_clock: MockClock) -> None:
    async with playing_two() as pair:
        await trio.sleep(5)
        pair.undisturbed()
        assert {each.symbol for each in pair.sound.trades} == {BTC}
        assert {each.symbol for each in pair.ailing.trades} == {ETH}
    pair.ailing.account(ETH)


@pytest.mark.parametrize(
    "fault",
    [
        Drop(),
        Drop(how="cut"),
        Drop(how="reset"),
        Drop(how="half-open"),
        Garbage(framed=False),
        Garbage(size_bytes=5_000),
        Garble(ETH, count=20, how="types"),
        Silence(ETH),
        Insert(ETH, kind="MARKET", count=3_000),
    ],
    ids=repr,
)
async def test_the_stream_of_one_source_misbehaves(autojump_clock: MockClock, fault: Fault) -> None:
    async with playing_two() as pair:
        await pair.ailing.until(lambda: bool(pair.ailing.trades))
        pair.ailing.inject(fault)
        await trio.sleep(40)
        pair.undisturbed()


async def test_one_source_is_cut_and_reconnects_while_the_other_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with playing_two() as pair:
        await pair.ailing.until(lambda: bool(pair.ailing.trades))
        pair.ailing.told()
        before = len(pair.sound.trades)
        pair.ailing.inject(Drop(how="cut"))
        await trio.sleep(20)
        assert pair.ailing.told()[:2] == [("", "DOWN"), ("", "CONNECTING")]
        assert len(pair.sound.trades) > before + 50
        pair.undisturbed()
    pair.ailing.account(ETH)


@pytest.mark.parametrize("answer", [BANNED, REFUSED, DOWN], ids=["418", "451", "503"])
async def test_the_rest_of_one_source_refuses_in_mid_run(
    autojump_clock: MockClock, answer: Http
) -> None:
    async with playing_two() as pair:
        await pair.ailing.until(lambda: bool(pair.ailing.trades))
        pair.ailing.inject(answer)
        pair.ailing.inject(Drop(how="cut"))
        await trio.sleep(60)
        pair.undisturbed()


async def test_a_source_whose_stream_is_refused_at_the_start_tries_again(
    autojump_clock: MockClock,
) -> None:
    """Its REST answers, and its WebSocket does not serve this address for a while."""
    async with playing_two(Http(status=451, path="/public", requests=None)) as pair:
        await trio.sleep(60)
        assert pair.ailing.trades == []
        assert "451" in pair.whys()[0]
        assert 2 <= len(pair.whys()) <= 8
        pair.undisturbed()


async def test_a_source_that_starts_again_serves_clients_that_joined_before(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its WebSocket is down for so long that a symbol is listed, and then refuses this address."""
    monkeypatch.setattr("fanout.feed.upkeep.RELIST_EVERY_S", 60.0)
    down = Http(status=503, path="/public", requests=None)
    every = {"assets": ("*USDT",)}
    async with playing_two(down, ailing=every) as pair:
        pair.ailing.inject(List(SOL))
        await trio.sleep(70)
        pair.simulators[1].faults.clear()
        pair.ailing.inject(Http(status=451, path="/public", requests=None))
        await pair.ailing.until(lambda: "451" in "".join(pair.whys()))
        pair.simulators[1].faults.clear()
        await pair.ailing.until(
            lambda: {each.symbol for each in pair.ailing.trades} == {ETH, SOL}, within_s=40
        )


@pytest.mark.parametrize("is_paused", [False, True], ids=["before the pause", "in the pause"])
async def test_a_source_that_begins_anew_leaves_out_a_delisted_symbol(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, is_paused: bool
) -> None:
    """Its WebSocket is down, and then refuses this address. A symbol is delisted before or after
    that, and the next regular listing is far away."""
    monkeypatch.setattr("fanout.feed.upkeep.RELIST_EVERY_S", 60.0)
    down = Http(status=503, path="/public", requests=None)
    async with playing_two(down, ailing={"assets": ("*USDT",)}) as pair:
        pair.ailing.inject(List(SOL))
        await trio.sleep(70)
        if not is_paused:
            pair.ailing.inject(Delist(SOL))
            await trio.sleep(70)
        pair.simulators[1].faults.clear()
        pair.ailing.inject(Http(status=451, path="/public", requests=None))
        await pair.ailing.until(lambda: "451" in "".join(pair.whys()))
        monkeypatch.setattr("fanout.feed.upkeep.RELIST_EVERY_S", 10_000.0)
        if is_paused:
            pair.ailing.inject(Delist(SOL))
        pair.simulators[1].faults.clear()
        await pair.ailing.until(lambda: bool(pair.ailing.trades), within_s=40)
        await trio.sleep(5)
        states = [
            each.state
            for each in pair.ailing.records
            if isinstance(each, Status) and each.instrument and each.instrument.symbol == SOL
        ]
        assert states[-1] is FeedState.HALTED
        assert is_paused or states == [FeedState.HALTED], "it is not subscribed again"
        assert {each.symbol for each in pair.ailing.trades} == {ETH}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Http(status=418, requests=None, banned_for_s=30), "banned"),
        (Http(status=451, requests=None), "does not serve this region"),
        (Http(status=503, requests=None), "HTTP 503"),
        (Http(body="<html>", requests=None), "not"),
        (Http(delay_s=1_000, requests=None), "no answer"),
    ],
    ids=["418", "451", "503", "garbage", "silent"],
)
async def test_a_source_whose_rest_fails_at_the_start_joins_later(
    autojump_clock: MockClock, fault: Http, why: str
) -> None:
    """The service listens without it. Its channel has no instruments and says why, until its venue
    answers: then it has them, and trades."""
    async with playing_two(fault) as pair:
        assert trio.current_time() < 60
        await trio.sleep(20)
        assert pair.ailing.trades == []
        assert why in pair.whys()[0]
        pair.undisturbed()
        pair.simulators[1].faults.clear()
        await pair.ailing.until(lambda: bool(pair.ailing.trades), within_s=1_200)
        assert {each.symbol for each in pair.ailing.trades} == {ETH}
    pair.ailing.account(ETH)


async def test_a_patient_source_that_is_banned_delays_no_other(
    autojump_clock: MockClock,
) -> None:
    patient = FeedConfig(patient=True)
    banned = Http(status=418, requests=None, banned_for_s=200)
    async with playing_two(banned, ailing={"own_feed": patient}) as pair:
        assert trio.current_time() < 60
        pair.undisturbed()
        await pair.ailing.until(lambda: bool(pair.whys()))
        assert "banned" in pair.whys()[0]
        pair.simulators[1].faults.clear()
        await pair.ailing.until(lambda: bool(pair.ailing.trades), within_s=1_200)
    pair.ailing.account(ETH)


async def test_an_unlisted_symbol_ends_the_start_but_not_a_running_service(
    autojump_clock: MockClock,
) -> None:
    """A source that begins late finds that its symbol is gone: that is told in its channel."""
    async with playing_two(Http(status=503, requests=None)) as pair:
        pair.simulators[1].faults.inject(Relist(ETH, status="SETTLING"))
        pair.simulators[1].faults.clear()
        await pair.ailing.until(lambda: "SETTLING" in "".join(pair.whys()), within_s=1_200)
        pair.undisturbed()


async def test_a_service_whose_sources_all_fail_to_start_ends_with_the_first_failure(
    autojump_clock: MockClock,
) -> None:
    running = Running(trio.Event())
    async with _venue(BTC) as sound, _venue(ETH) as ailing:
        sound.faults.inject(Http(status=451, requests=None))
        ailing.faults.inject(Http(status=503, requests=None))
        sources = (
            _source(sound, BTC, "sound", {}),
            _source(ailing, ETH, "ailing", {}),
        )
        config = Config(sources=sources, transports=(TcpConfig(port=0),))
        with pytest.raises(BaseExceptionGroup) as caught:
            await run_service(config, stop=running.stop, announce=running.announce)
    assert caught.group_contains(VenueForbiddenError)
    assert running.urls == []


async def test_an_unlisted_symbol_ends_the_start_of_all_sources(
    autojump_clock: MockClock,
) -> None:
    running = Running(trio.Event())
    async with _venue(BTC) as sound, _venue(ETH) as ailing:
        sources = (
            _source(sound, BTC, "sound", {}),
            _source(ailing, "NOSUCHUSDT", "ailing", {}),
        )
        config = Config(sources=sources, transports=(TcpConfig(port=0),))
        with pytest.raises(BaseExceptionGroup) as caught:
            await run_service(config, stop=running.stop, announce=running.announce)
    assert caught.group_contains(ConfigError)
    assert running.urls == []


async def test_strict_ends_the_channel_of_its_source_and_no_other(
    autojump_clock: MockClock,
) -> None:
    strict = FeedConfig(strict=True, stream="trade", first_trade_timeout_s=5)
    async with playing_two(Silence(ETH), ailing={"own_feed": strict}) as pair:
        await pair.ailing.until(lambda: any(isinstance(each, End) for each in pair.ailing.records))
        end = pair.ailing.records[-1]
        assert isinstance(end, End)
        assert (end.reason, end.retry_ms) == (EndReason.FEED_FAILED, None)
        before = len(pair.sound.trades)
        await trio.sleep(10)
        assert len(pair.sound.trades) > before + 20
        pair.undisturbed()


async def test_an_internal_error_ends_one_channel_and_the_last_one_ends_the_service(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fanout.feed import Feed

    run, failing = Feed.run, trio.Event()

    async def fail(feed: Feed) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, feed)
            if feed.states().keys() == {ETH}:
                await failing.wait()
                raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(Feed, "run", fail)
    async with playing_two() as pair:
        await pair.ailing.until(lambda: bool(pair.ailing.trades))
        failing.set()
        await pair.ailing.until(lambda: any(isinstance(each, End) for each in pair.ailing.records))
        end = pair.ailing.records[-1]
        assert isinstance(end, End)
        assert (end.reason, end.why) == (EndReason.FEED_FAILED, "an internal fault")
        before = len(pair.sound.trades)
        await trio.sleep(5)
        assert len(pair.sound.trades) > before + 10
        pair.undisturbed()
