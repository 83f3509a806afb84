"""A journal that is replayed looks to clients as the service did that wrote it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from fanout.clients.books import Books
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.clients.ring_trio import TrioRingClient as RingClient
from fanout.clients.shm_trio import TrioShmClient as ShmClient
from fanout.clients.tcp_trio import TrioTcpClient as TcpClient
from fanout.config import HttpConfig
from fanout.config.replay import UNLIMITED, ReplayConfig
from fanout.errors import ConfigError, UsageError
from fanout.protocol import End, EndReason, Loss, LossReason, Record, Status, Trade
from fanout.protocol.framing import frame, seal
from fanout.replay import run_replay
from fanout.stats.snapshots import ServiceStats
from fanout.transports.multicast.config import MulticastConfig
from fanout.transports.ring.config import RingConfig
from fanout.transports.shm.config import ShmConfig
from fanout.transports.tcp.config import TcpConfig
from tests.fanout.replay.journals import (
    BEGIN_S,
    SECOND_NS,
    Service,
    at_once,
    replaying,
    saved,
)
from tests.fanout.transports.test_tcp import tcp_reader
from tests.protocol.golden import BTC
from tests.stand.book_channel import ALL, Feeder
from tests.stand.channels import publish_bulk
from tests.stand.journals import MemoryFiles

TCP = TcpConfig(port=0)


def two_starts(directory: Path) -> tuple[str, list[tuple[int, int]]]:
    """A journal of two starts, three hours apart, and the epoch and number of each trade."""
    files = MemoryFiles()
    first = Service(files)
    first.trade(3, after_s=1)
    first.beat(after_s=2)
    first.trade(2)
    first.recorder.begin(first.now_ns)
    first.trade(1, after_s=0.5)
    first.end()
    second = Service(files, BEGIN_S + 10_800)
    second.trade(4, after_s=1)
    second.beat()
    return saved(files, directory), first.numbers() + second.numbers()


async def everything(client: TcpClient | ShmClient) -> list[Record | Disconnected | Restarted]:
    return [each async for each in client]


async def read(url: str, **options: object) -> list[tuple[int, int]]:
    """The epoch and number of each trade until the end, of a client that comes back."""
    got: list[tuple[int, int]] = []
    make = {"shm": ShmClient, "ring": RingClient}.get(url.partition(":")[0], TcpClient)
    async with make(url, **options) as client:  # type: ignore[arg-type]
        async for record in client:
            assert not isinstance(record, Loss), record
            if isinstance(record, Trade):
                assert client.header is not None
                got.append((client.header.epoch_ns, record.seq))
    return got


async def test_a_client_over_tcp_gets_all_epochs_with_their_numbers(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    directory, trades = two_starts(tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,))
    async with replaying(config, in_thread=at_once) as replay:
        assert await read(replay.url, start="oldest") == trades
        await replay.over.wait()
    assert 1 + 2.5 + 5 <= trio.current_time() <= 20


async def test_a_reader_of_a_queue_gets_all_epochs_with_their_numbers(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "queues").mkdir()
    directory, trades = two_starts(tmp_path / "journal")
    queue = ShmConfig(name="q", capacity_bytes=65_536, directory=str(tmp_path / "queues"))
    config = ReplayConfig(directory=directory, transports=(queue,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay:
        got = await read("shm://q", directory=str(tmp_path / "queues"))
        assert got == trades
        await replay.over.wait()


async def test_a_reader_of_a_ring_gets_all_epochs_with_their_numbers(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "rings").mkdir()
    directory, trades = two_starts(tmp_path / "journal")
    ring = RingConfig(name="r", capacity_bytes=2**19, directory=str(tmp_path / "rings"))
    config = ReplayConfig(directory=directory, transports=(ring,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay:
        got = await read("ring://r", directory=str(tmp_path / "rings"), start="oldest")
        assert got == trades
        await replay.over.wait()


async def test_frames_come_at_their_times_and_a_hole_of_hours_takes_seconds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    directory, trades = two_starts(tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,), speed=0.5)
    async with replaying(config, in_thread=at_once) as replay:
        begun_s = trio.current_time()
        async with TcpClient(replay.url, start="oldest") as client:
            times = [
                trio.current_time() - begun_s async for each in client if isinstance(each, Trade)
            ]
    assert len(times) == len(trades)
    assert times[3:6] == pytest.approx([4, 4, 5], abs=0.01)
    assert times[6] == pytest.approx(15, abs=0.01)


async def test_the_last_end_says_that_nothing_follows(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    directory, _ = two_starts(tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,), speed=UNLIMITED)
    async with (
        replaying(config, in_thread=at_once) as replay,
        TcpClient(replay.url) as client,
    ):
        got = await everything(client)
    ends = [each for each in got if isinstance(each, End)]
    restart, last = ends
    assert (restart.reason, restart.last_seq, restart.retry_ms) == (EndReason.SHUTDOWN, 6, 0)
    assert last == End(
        reason=EndReason.SHUTDOWN, last_seq=4, retry_ms=None, why="the journal is at its end"
    )
    assert sum(isinstance(each, Restarted) for each in got) == 1


async def trades_of(config: ReplayConfig, **options: object) -> list[tuple[int, int]]:
    async with replaying(config, in_thread=at_once) as replay:
        return await read(replay.url, **options)


async def test_a_replay_begins_and_ends_at_times(autojump_clock: MockClock, tmp_path: Path) -> None:
    directory, trades = two_starts(tmp_path)
    config = ReplayConfig(
        directory=directory,
        transports=(TCP,),
        speed=UNLIMITED,
        from_ns=(BEGIN_S + 2) * SECOND_NS,
        to_ns=(BEGIN_S + 3) * SECOND_NS,
    )
    assert await trades_of(config) == trades[3:5]
    config = replace(config, from_ns=(BEGIN_S + 60) * SECOND_NS, to_ns=None)
    assert await trades_of(config) == trades[6:]


async def test_a_reader_is_told_what_is_before_the_beginning(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    directory, _ = two_starts(tmp_path)
    from_ns = (BEGIN_S + 2) * SECOND_NS
    config = ReplayConfig(directory=directory, transports=(TCP,), from_ns=from_ns)
    async with (
        replaying(config, in_thread=at_once) as replay,
        TcpClient(replay.url, start="oldest") as client,
    ):
        lost = await anext(client)
    assert lost == Loss(first_seq=1, last_seq=3, reason=LossReason.EVICTED)


async def test_books_are_whole_where_a_replay_begins(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    files = MemoryFiles()
    service = Service(files, data=ALL)
    feeder = Feeder(service.channel)
    feeder.whole(levels=50)
    service.trade(after_s=1)
    feeder.change([(1_000, 77)])
    service.trade(after_s=1)
    digest = service.channel.books.of(0).digest()
    service.trade(after_s=1)
    config = ReplayConfig(
        directory=saved(files, tmp_path),
        transports=(TCP,),
        from_ns=(BEGIN_S + 3) * SECOND_NS,
        speed=UNLIMITED,
    )
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        books, seen = Books(client), list[int]()
        async for record in books:
            if isinstance(record, Trade):
                seen.append(record.seq)
                assert books[BTC.symbol].prices.digest() == digest
    assert seen == [service.channel.log.next_seq - 1]


async def test_no_reader_is_lapped_without_limit_of_speed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Many times as much as the log and the sockets hold, to a client that begins late."""
    files = MemoryFiles()
    service = Service(files)
    publish_bulk(service.channel, 1_000_000)
    service.recorder.write()
    directory = saved(files, tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,), speed=UNLIMITED, log_bytes=65_536)
    async with replaying(config, in_thread=at_once) as replay, tcp_reader(replay.url) as reading:
        await reading.until(Status)
        await trio.sleep(0.1)
        await reading.until(End)
    last_seq = service.channel.log.next_seq - 1
    told = [each.seq for each in reading.records if isinstance(each, Status)]
    assert told == list(range(1, last_seq + 1))


async def test_the_end_of_a_run_waits_for_a_client_that_is_behind(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It fits the log, and the client takes longer for it than a transport waits after an END."""
    files = MemoryFiles()
    service = Service(files)
    publish_bulk(service.channel, 1_000_000)
    service.recorder.write()
    config = ReplayConfig(directory=saved(files, tmp_path), transports=(TCP,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay, tcp_reader(replay.url) as reading:
        await reading.until(Status)
        await trio.sleep(5)
        await reading.until(End)
    last = reading.records[-1]
    assert isinstance(last, End)
    assert last.last_seq == service.channel.log.next_seq - 1
    assert len(reading.records) == last.last_seq + 1


async def test_several_channels_keep_their_relation_in_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    first, second = MemoryFiles(), MemoryFiles()
    one = Service(first, channel="one")
    two = Service(second, BEGIN_S + 0.5, channel="two")
    one.trade(after_s=1)
    two.trade(after_s=1)
    one.trade(after_s=1)
    two.trade(after_s=2)
    one.trade(after_s=1.5)
    saved(first, tmp_path, "b")
    directory = saved(second, tmp_path, "a")
    config = ReplayConfig(directory=directory, transports=(TCP,))
    came: list[tuple[str, float]] = []

    async def take(url: str) -> None:
        async with TcpClient(url, start="oldest") as client:
            trades = (each async for each in client if isinstance(each, Trade))
            came.extend([(url[-1], trio.current_time()) async for _ in trades])

    async with replaying(config, in_thread=at_once) as replay, trio.open_nursery() as nursery:
        begun_s = trio.current_time()
        nursery.start_soon(take, f"{replay.url}/a")
        nursery.start_soon(take, f"{replay.url}/b")
    times = sorted((round(at_s - begun_s, 1), name) for name, at_s in came)
    assert times == [(0.0, "b"), (0.5, "a"), (1.0, "b"), (2.5, "a"), (2.5, "b")]
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        await anext(client)
        assert client.header is not None
        assert (client.header.channel, client.header.channels) == ("b", ("a",))


async def test_two_transports_cannot_send_its_channels_to_one_group(tmp_path: Path) -> None:
    one, two = MemoryFiles(), MemoryFiles()
    Service(one, channel="one").trade()
    Service(two, channel="two").trade()
    saved(one, tmp_path, "a")
    directory = saved(two, tmp_path, "b")
    first, its_second = (MulticastConfig(group=f"239.1.1.{each}:9100") for each in (1, 2))
    config = ReplayConfig(directory=directory, transports=(first, its_second))
    with pytest.raises(UsageError, match=r"multicast group 239\.1\.1\.2:9100 is asked for twice"):
        await run_replay(config, stop=trio.Event(), announce=print, in_thread=at_once)


async def test_one_channel_is_replayed_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    for name in ("a", "b"):
        files = MemoryFiles()
        Service(files).trade(2)
        saved(files, tmp_path, name)
    config = ReplayConfig(directory=str(tmp_path), transports=(TCP,), channel="b", speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        await anext(client)
        assert client.header is not None
        assert (client.header.channel, client.header.channels) == ("b", ())


async def test_damage_comes_as_a_loss(autojump_clock: MockClock, tmp_path: Path) -> None:
    files = MemoryFiles()
    service = Service(files)
    sizes = []
    for _ in range(3):
        service.trade(2)
        sizes.append(len(service.recorder.segment.data))
    service.recorder.segment.data[sizes[0] + 20] ^= 1
    config = ReplayConfig(directory=saved(files, tmp_path), transports=(TCP,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        got = await everything(client)
    told = [each for each in got if isinstance(each, Trade | Loss)]
    assert told[2] == Loss(first_seq=3, last_seq=4, reason=LossReason.DAMAGED)
    assert [each.seq for each in told if isinstance(each, Trade)] == [1, 2, 5, 6]


async def test_a_frame_that_cannot_be_decoded_comes_as_a_loss(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its CRC is right: another version may have written it."""
    files = MemoryFiles()
    service = Service(files)
    service.trade(2)
    numbers = (3).to_bytes(8, "little") + service.now_ns.to_bytes(8, "little")
    service.channel.relay(frame(seal(b"\x10\0\0\2\0" + numbers + b"\xff" * 9)), 2)
    service.trade(2)
    config = ReplayConfig(directory=saved(files, tmp_path), transports=(TCP,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        got = await everything(client)
    told = [each for each in got if isinstance(each, Trade | Loss)]
    assert told[2] == Loss(first_seq=3, last_seq=4, reason=LossReason.DAMAGED)
    assert [each.seq for each in told if isinstance(each, Trade)] == [1, 2, 5, 6]
    assert "test: a frame of the journal cannot be used" in caplog.text


async def test_a_disk_that_fails_ends_the_replay(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(function: Callable[..., Any], *arguments: Any) -> Any:
        if getattr(function, "__name__", "") == "read":
            raise OSError(5, "Input/output error")
        return await at_once(function, *arguments)

    directory, _ = two_starts(tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,))
    async with replaying(config, in_thread=failing) as replay:
        await replay.over.wait()
    assert "test: the rest cannot be read: Input/output error" in caplog.text


async def test_a_source_that_failed_ends_its_channel_in_its_own_words(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    files, other = MemoryFiles(), MemoryFiles()
    failed, lasting = Service(files), Service(other)
    failed.trade()
    failed.end(EndReason.FEED_FAILED, "the exchange refuses this region")
    lasting.trade(after_s=100)
    saved(files, tmp_path, "failed")
    directory = saved(other, tmp_path, "lasting")
    config = ReplayConfig(directory=directory, transports=(TCP,), speed=UNLIMITED)
    async with (
        replaying(config, in_thread=at_once) as replay,
        TcpClient(f"{replay.url}/failed") as client,
    ):
        last = (await everything(client))[-1]
    assert isinstance(last, End)
    assert (last.reason, last.why) == (EndReason.FEED_FAILED, "the exchange refuses this region")


async def test_a_replay_that_is_stopped_says_so(autojump_clock: MockClock, tmp_path: Path) -> None:
    directory, _ = two_starts(tmp_path)
    config = ReplayConfig(directory=directory, transports=(TCP,), speed=0.001)
    async with replaying(config, in_thread=at_once) as replay, TcpClient(replay.url) as client:
        await client.connect()
        replay.stop.set()
        last = (await everything(client))[-1]
    assert isinstance(last, End)
    assert (last.retry_ms, last.why) == (None, "the replay was stopped")


async def test_what_is_written_during_a_replay_is_not_replayed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    files = MemoryFiles()
    service = Service(files)
    service.trade(3, after_s=1)
    config = ReplayConfig(directory=saved(files, tmp_path), transports=(TCP,), speed=UNLIMITED)
    async with replaying(config, in_thread=at_once) as replay:
        service.trade(3, after_s=1)
        saved(files, tmp_path)
        assert await read(replay.url) == service.numbers()[:3]


async def test_a_replay_answers_over_http(autojump_clock: MockClock, tmp_path: Path) -> None:
    directory, _ = two_starts(tmp_path)
    config = ReplayConfig(
        directory=directory, transports=(TCP,), http=HttpConfig(port=0), speed=0.01
    )
    async with (
        replaying(config, in_thread=at_once) as replay,
        httpx2.AsyncClient(base_url=replay.urls[0], trust_env=False) as http,
    ):
        ready = await http.get("/readyz")
        assert (ready.status_code, ready.text) == (200, "ready\n")
        stats = msgspec.json.decode((await http.get("/status")).content, type=ServiceStats)
        assert (stats.venue, stats.epoch_ns) == ("test", BEGIN_S * SECOND_NS)
        assert stats.log.trades == 3
        assert 'fanout_channel_ready{channel="test"} 1' in (await http.get("/metrics")).text


async def test_nothing_to_replay_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    directory, _ = two_starts(tmp_path / "journal")
    (tmp_path / "file").write_text("")
    (tmp_path / "journal" / "lock").write_text("1")
    (tmp_path / "empty").mkdir()
    config = ReplayConfig(directory=directory, transports=(TCP,))
    for changes, words in (
        ({"directory": str(tmp_path / "missing")}, "no journal in"),
        ({"directory": str(tmp_path / "empty")}, "no journal in"),
        ({"directory": str(tmp_path / "file")}, "cannot read the journal"),
        ({"channel": "other"}, "no channel other in .*: it has test"),
        ({"from_ns": 10**18}, "--from 2001-09-09T01:46:40.000Z: the journal .* ends before"),
        ({"to_ns": 5}, "--to 1970-01-01T00:00:00.000Z: the journal .* begins at 1970-01-01T00:16"),
    ):
        with pytest.raises((ConfigError, ExceptionGroup)) as caught:
            await run_replay(
                replace(config, **changes),
                stop=trio.Event(),
                announce=lambda url: None,
                in_thread=at_once,
            )
        error: BaseException = caught.value
        while isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        assert re.search(words, str(error)), error
