"""Faults on the network, on each leg: what consumers are told meanwhile is held by an oracle
against what the exchange did."""

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
import trio
import trustme
from trio.testing import MockClock

from fanout.protocol import EndReason, FeedState, GapState, LossReason
from fanout.simulator.faults import Skip
from tests.faults.scene import BTC, IDLE_S, Scene, playing
from tests.stand.consumers import one_of_trio
from tests.stand.proxy import Proxy

Fault = Callable[[Scene], Awaitable[None]]
HEARTBEAT_BYTES: Final = 25


# Between the service and its consumers.


async def delayed(scene: Scene) -> None:
    scene.way.down.delay_s = scene.way.up.delay_s = 0.05
    await scene.more_trades(100)


async def throttled(scene: Scene) -> None:
    """To less than what is published."""
    scene.way.down.bytes_per_s = 2_000
    await scene.more_trades(200)


async def sliced(scene: Scene) -> None:
    scene.way.down.slice_bytes = scene.way.up.slice_bytes = 1
    scene.way.reset()
    await scene.more_trades(100)


async def reset(scene: Scene) -> None:
    for _ in range(3):
        scene.way.reset()
        await scene.more_trades(60)


async def refused(scene: Scene) -> None:
    scene.way.is_refusing = True
    scene.way.reset()
    await scene.until_all(lambda each: len(each.reader.disconnects) >= 2)


async def closed_towards_consumers(scene: Scene) -> None:
    scene.way.half_close_down()
    await scene.until_all(lambda each: bool(each.reader.disconnects))


async def corrupted(scene: Scene) -> None:
    """Wherever the byte stands: in a length, in a block, in a checksum."""
    for after in (0, 1, 5, 30, 101, 257):
        before = scene.way.down.flipped
        scene.way.down.flip(after=after, every=211, count=3)
        await scene.until(lambda: scene.way.down.flipped >= before + 3)  # noqa: B023
    await scene.until_all(lambda each: bool(each.reader.disconnects))


@pytest.mark.parametrize(
    "fault", [reset, refused, closed_towards_consumers, corrupted], ids=lambda each: each.__name__
)
async def test_who_is_disconnected_goes_on_where_it_stopped(fault: Fault) -> None:
    async with playing() as scene:
        await fault(scene)
        await scene.until_all(lambda each: bool(each.reader.disconnects))
    assert scene.losses() == set()


@pytest.mark.parametrize("fault", [delayed, throttled, sliced], ids=lambda each: each.__name__)
async def test_who_is_served_slowly_gets_everything(fault: Fault) -> None:
    async with playing() as scene:
        await fault(scene)
    assert scene.losses() == set()


async def test_what_consumers_say_may_be_cut_off() -> None:
    async with playing() as scene:
        scene.way.half_close_up()
        await scene.more_trades()
    assert not any(each.reader.disconnects for each in scene.consumers)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_black_hole_is_noticed_and_survived(direction: str) -> None:
    """Towards the service nothing is said after the request, so a hole there is not noticed until
    the next one: which is then not heard."""
    async with playing() as scene:
        way = getattr(scene.way, direction)
        began_s = trio.current_time()
        way.hold()
        if direction == "up":
            scene.way.reset()
        await scene.until_all(lambda each: bool(each.reader.disconnects))
        assert trio.current_time() - began_s < IDLE_S + 2
        await scene.more_trades()
        way.release()
        scene.way.reset()
    assert scene.losses() <= {LossReason.DISCONNECTED}


async def test_a_length_that_was_corrupted_is_not_waited_for() -> None:
    """It promises more bytes than heartbeats bring in an hour."""
    async with playing() as scene:
        scene.stream.down.hold()
        await scene.quiet()
        scene.way.down.flip(after=1, every=HEARTBEAT_BYTES, count=3, mask=0xF0)
        began_s = trio.current_time()
        await scene.until_all(lambda each: bool(each.reader.disconnects))
        assert trio.current_time() - began_s < 3 * IDLE_S + 2
    assert scene.losses() == set()


async def test_a_request_that_was_corrupted_is_asked_again_or_refused_aloud() -> None:
    """It has no checksum: what makes no sense is refused, with END, as a wrong request is."""
    async with playing() as scene:
        for after in range(6, 60, 9):
            scene.way.up.flip(after=after, mask=0x11, every=75, count=2)
            scene.way.reset()
            await scene.until_level()
    for each in scene.consumers:
        if each.refusal is not None:
            assert each.reader.ends[-1].reason is EndReason.BAD_REQUEST


# Between the exchange and the service.


async def slowed(proxy: Proxy) -> None:
    proxy.down.delay_s = proxy.up.delay_s = 0.7


async def strangled(proxy: Proxy) -> None:
    proxy.down.bytes_per_s = 3_000


async def cut_to_bytes(proxy: Proxy) -> None:
    proxy.down.slice_bytes = proxy.up.slice_bytes = 1


async def spoiled(proxy: Proxy) -> None:
    """In such a way that it shows: neither WebSocket nor HTTP has a checksum."""
    proxy.down.flip(after=20, every=173, count=40, mask=0x80)


async def broken(proxy: Proxy) -> None:
    proxy.reset()


async def closed_down(proxy: Proxy) -> None:
    proxy.half_close_down()


async def closed_up(proxy: Proxy) -> None:
    proxy.half_close_up()


async def out_of_reach(proxy: Proxy) -> None:
    proxy.is_refusing = True
    proxy.reset()


async def deaf(proxy: Proxy) -> None:
    proxy.up.hold()


async def dumb(proxy: Proxy) -> None:
    proxy.down.hold()


async def cut_small(proxy: Proxy) -> None:
    """An answer of a hundred kilobytes, byte by byte, takes as long as all other tests together."""
    proxy.up.slice_bytes, proxy.down.slice_bytes = 1, 23


ANYWHERE = [
    *(slowed, strangled, spoiled, broken),
    *(closed_down, closed_up, out_of_reach, deaf, dumb),
]


@pytest.mark.parametrize("fault", [*ANYWHERE, cut_to_bytes], ids=lambda each: each.__name__)
async def test_whatever_befalls_the_stream_every_id_is_accounted_for(
    autojump_clock: MockClock, fault: Callable[[Proxy], Awaitable[None]]
) -> None:
    async with playing(consume=one_of_trio, rate=20) as scene:
        began_s = trio.current_time()
        await fault(scene.stream)
        await trio.sleep(15)
        if fault in (dumb, out_of_reach):
            assert scene.told_at(FeedState.DOWN, after_s=began_s) - began_s < 12
        scene.stream.clear()
        await trio.sleep(60)
        assert scene.states[-1][1] == "LIVE"
        assert scene.gap_ids(GapState.UNRECOVERABLE) == 0
    assert not any(each.reader.disconnects for each in scene.consumers)
    assert scene.losses() == set()


async def test_what_is_corrupted_under_tls_is_never_taken(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Any byte, any bit: without TLS another digit would be another price, and nobody could say."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with playing(consume=one_of_trio, rate=20, tls=server) as scene:
        for proxy in (scene.stream, scene.rest) * 3:
            proxy.down.flip(after=2_000, every=1_777, count=2, mask=0x01)
            scene.simulator.faults.inject(Skip(BTC, count=3))
            await trio.sleep(10)
        await trio.sleep(60)
        assert scene.stream.accepted > 3
        assert scene.gap_ids(GapState.UNRECOVERABLE) == 0


@pytest.mark.parametrize("fault", [*ANYWHERE, cut_small], ids=lambda each: each.__name__)
async def test_whatever_befalls_rest_gaps_are_closed(
    autojump_clock: MockClock, fault: Callable[[Proxy], Awaitable[None]]
) -> None:
    async with playing(consume=one_of_trio, rate=20) as scene:
        await fault(scene.rest)
        scene.simulator.faults.inject(Skip(BTC, count=3))
        await trio.sleep(25)
        scene.rest.clear()
        await trio.sleep(30)
        assert scene.gap_ids(GapState.OPEN) == 3
        assert scene.gap_ids(GapState.UNRECOVERABLE) == 0
    assert scene.states.count(("", "DOWN")) == 0
