"""A client that asks for what is older than the log: which frames it gets, and from where."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.channel.past import Passage
from fanout.channel.reader import Reader
from fanout.clients.tcp_trio import Disconnected, Restarted, TrioTcpClient
from fanout.net.descriptors import Descriptors
from fanout.protocol import (
    End,
    EndReason,
    Loss,
    LossReason,
    Moment,
    Position,
    Record,
    Request,
    Snapshot,
    Start,
    Trade,
    encode_request,
    frame,
)
from fanout.protocol.request import Begin
from fanout.transports.tcp import TcpTransport, acceptor, connection
from fanout.transports.tcp import transport as transport_module
from fanout.transports.tcp.config import TcpConfig
from fanout.transports.tcp.past import Replay, find_passage, leave_passage
from tests.contracts.client import authority, client_tls
from tests.fanout.transports.test_tcp import connected, until_clients
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_session import numbers
from tests.stand.channels import serving
from tests.stand.past import KeepingLog, MemoryPast
from tests.stand.subscriber import StreamSubscriber, Subscriber

LOG_BYTES = 3_000
"""A log for some ten blocks."""


class World:
    """Starts of a service, whose times are the numbers of their trades."""

    def __init__(self) -> None:
        self.past = MemoryPast()
        self.time_ns = 0
        self.start(1_000)

    def start(self, epoch_ns: int, *, log_bytes: int = LOG_BYTES) -> None:
        header = replace(HEADER, epoch_ns=epoch_ns, next_seq=1)
        self.channel = Channel(header, log_bytes=log_bytes, wall_ns=self._wall_ns)
        self.kept = self.past.begin(self.channel)
        self.channel.log = KeepingLog(self.channel, self.kept, self._wall_ns)

    def _wall_ns(self) -> int:
        return self.time_ns

    def publish(self, count: int, *, size: int = 1) -> None:
        """So many blocks, a ns after one another."""
        for _ in range(count):
            self.time_ns += 1
            trades = [Trade(BTC, self.time_ns, 5, 6, 7, False) for _ in range(size)]
            self.channel.publish(trades, received_ns=self.time_ns, held_ns=0)

    def change(self) -> None:
        """Go on in other units."""
        instruments = [replace(each, price_exponent=-7) for each in HEADER.instruments]
        self.channel.change(instruments, HEADER.references)

    async def find(self, start: Begin) -> Passage | None:
        passage = await find_passage(self.channel, Request(start=start))
        if passage is not None:
            await leave_passage(passage)
        return passage


class Replayed(Subscriber):
    """What a client gets that begins in the past, up to where the log ends."""

    def __init__(self, world: World, start: Begin) -> None:
        super().__init__()
        self.ask(start)
        self.records: list[Record] = []
        self.sent = 0
        """Pieces of the past, after the greeting."""
        self.meanwhile: Callable[[int], Awaitable[None] | None] = lambda sent: None
        """What happens while a piece is sent."""
        self._world = world
        self._request = Request(start=start)

    async def run(self) -> list[Record]:
        channel, taken = self._world.channel, Descriptors.taken
        passage = await find_passage(channel, self._request)
        assert passage is not None
        assert Descriptors.taken == taken + 1
        reader = Reader(channel)
        self.records += self.receive(await Replay(passage, reader, self._request).run(self._send))
        while not reader.is_over and (piece := reader.next_piece()):
            self.records += self.receive(piece)
        assert self._world.past.passages[-1].is_closed
        assert Descriptors.taken == taken
        return self.records

    async def _send(self, frames: bytes) -> None:
        self.records += self.receive(frames)
        if (coming := self.meanwhile(self.sent)) is not None:
            await coming
        self.sent += 1
        await trio.lowlevel.checkpoint()


def at(seq: int, epoch_ns: int = 1_000) -> Position:
    return Position(epoch_ns=epoch_ns, seq=seq)


def losses(records: list[Record]) -> list[Loss]:
    return [each for each in records if isinstance(each, Loss)]


@pytest.mark.parametrize("first", [1, 2, 5, 60])
async def test_what_the_log_lost_comes_from_the_past_and_then_the_log_goes_on(first: int) -> None:
    world = World()
    world.publish(40, size=3)
    reader = Replayed(world, at(first))
    reader.meanwhile = lambda sent: world.publish(1) if sent % 4 == 0 else None
    records = await reader.run()
    assert numbers(records) == list(range(first, world.channel.log.next_seq))
    assert not losses(records)
    trades = [each for each in records if isinstance(each, Trade)]
    assert len({each.trade_id for each in trades[3:]}) > 13
    assert reader.sent < 40 + 15, "the log served the rest"


async def test_a_header_that_changed_in_the_past_applies_from_there_on() -> None:
    world = World()
    world.publish(3)
    world.change()
    world.publish(40)
    for first in (1, 4, 6):
        records = await Replayed(world, at(first)).run()
        exponents = [each.instrument.price_exponent for each in records if isinstance(each, Trade)]
        old = max(4 - first, 0)
        assert exponents == [BTC.price_exponent] * old + [-7] * (44 - first - old)


async def test_a_change_where_the_log_takes_over_applies() -> None:
    world = World()
    world.publish(40)
    reader = Replayed(world, at(1))

    def meanwhile(sent: int) -> None:
        if sent == 40 - 5:
            world.change()
            world.publish(2)

    reader.meanwhile = meanwhile
    records = await reader.run()
    exponents = [each.instrument.price_exponent for each in records if isinstance(each, Trade)]
    assert exponents == [BTC.price_exponent] * 40 + [-7] * 2


async def test_an_older_epoch_ends_with_its_last_number() -> None:
    world = World()
    world.publish(4)
    world.start(2_000)
    world.publish(1)
    reader = Replayed(world, at(3))
    records = await reader.run()
    assert numbers(records) == [3, 4]
    assert reader.header is not None
    assert reader.header.epoch_ns == 1_000
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.retry_ms, end.last_seq) == (EndReason.EPOCH_OVER, 0, 4)


@pytest.mark.parametrize("seq", [5, 9])
async def test_a_client_that_has_all_that_was_kept_or_more_gets_only_the_end(seq: int) -> None:
    world = World()
    world.publish(10)
    world.kept.lose_newest(6)
    world.start(2_000)
    (end,) = await Replayed(world, at(seq)).run()
    assert isinstance(end, End)
    assert (end.reason, end.last_seq) == (EndReason.EPOCH_OVER, seq - 1)


async def test_an_epoch_that_is_not_kept_stands_for_the_next_one() -> None:
    world = World()
    world.publish(3)
    world.start(2_000)
    world.publish(3)
    world.start(3_000)
    world.publish(2)
    for asked, served in ((at(77, 5), 1_000), (at(1, 1_001), 2_000)):
        reader = Replayed(world, asked)
        assert numbers(await reader.run()) == [1, 2, 3]
        assert reader.header is not None
        assert reader.header.epoch_ns == served
    assert await world.find(at(1, 2_001)) is None, "the log has it"
    assert await world.find(at(1, 9_999)) is None
    world.publish(40)
    for later in (2_001, 9_999):
        assert numbers(await Replayed(world, at(9, later)).run()) == list(range(1, 43))


async def test_numbers_that_are_not_kept_any_more_are_told_as_lost() -> None:
    world = World()
    world.publish(40)
    world.kept.gone = 5
    starts: list[tuple[Begin, int]] = [(Start.OLDEST, 1), (at(3), 3), (at(8, 7), 1)]
    for start, first in starts:
        records = await Replayed(world, start).run()
        assert records[0] == Loss(first_seq=first, last_seq=5, reason=LossReason.EVICTED)
        assert numbers(records) == list(range(first, 41))


async def test_numbers_that_neither_the_past_nor_the_log_has_are_told_as_lost() -> None:
    world = World()
    world.publish(3)
    world.change()
    world.publish(40)
    world.kept.lose_newest(39)  # the disk has been full since then
    records = await Replayed(world, at(2)).run()
    (loss,) = losses(records)
    assert (loss.first_seq, loss.reason) == (5, LossReason.EVICTED)
    assert numbers(records) == list(range(2, 44))
    last = records[-1]
    assert isinstance(last, Trade)
    assert last.instrument.price_exponent == -7


async def test_a_client_that_reads_slowly_is_given_what_came_to_the_disk_meanwhile() -> None:
    world = World()
    world.publish(3, size=1_000)  # each block is more than the log holds
    reader = Replayed(world, at(1))

    async def meanwhile(sent: int) -> None:
        if sent == 3:
            await trio.testing.wait_all_tasks_blocked()  # that there is no more was read ahead
            world.publish(2, size=1_000)

    reader.meanwhile = meanwhile
    records = await reader.run()
    assert not losses(records)
    assert numbers(records) == list(range(1, 5_001))


@pytest.mark.parametrize("time_ns", [0, 1, 7, 8, 39, 41])
async def test_a_time_begins_at_the_first_record_of_it_wherever_that_is(time_ns: int) -> None:
    world = World()
    world.publish(3)
    world.start(2_000)
    world.publish(37)
    start = Moment(time_ns=time_ns)
    if await world.find(start) is None:
        assert time_ns > 30
        return
    reader = Replayed(world, start)
    records = await reader.run()
    assert not losses(records)
    first = next(each.trade_id for each in records if isinstance(each, Trade))
    assert first == max(time_ns, 1)
    assert reader.header is not None
    assert reader.header.epoch_ns == (1_000 if time_ns <= 3 else 2_000)


async def test_live_clients_and_what_the_log_has_do_not_touch_the_past() -> None:
    world = World()
    world.publish(5)
    starts: list[Begin] = [Start.LIVE, Start.OLDEST, at(1), at(6), at(99), Moment(time_ns=2)]
    for start in starts:
        assert await world.find(start) is None
    assert not world.past.passages


@pytest.mark.parametrize("is_present", [True, False])
async def test_a_service_that_ends_says_so_to_a_client_far_in_the_past(is_present: bool) -> None:
    world = World()
    world.publish(40)
    if not is_present:
        world.start(2_000)
    reader = Replayed(world, at(1))

    def meanwhile(sent: int) -> None:
        if sent == 5:
            world.channel.end(EndReason.SHUTDOWN, retry_ms=1, why="a restart")

    reader.meanwhile = meanwhile
    records = await reader.run()
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.last_seq) == (EndReason.SHUTDOWN, 5)
    assert numbers(records) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("is_present", [True, False])
async def test_a_past_that_cannot_be_read_on_ends_with_a_number_to_come_back_for(
    is_present: bool,
) -> None:
    world = World()
    world.publish(40)
    if not is_present:
        world.start(2_000)
    reader = Replayed(world, at(1))

    def meanwhile(sent: int) -> None:
        if sent == 5:
            world.past.passages[-1].error = OSError(errno.EMFILE, "Too many open files")

    reader.meanwhile = meanwhile
    records = await reader.run()
    end = records[-1]
    assert isinstance(end, End)
    assert (end.reason, end.retry_ms, end.last_seq) == (EndReason.OTHER, 1_000, 5)
    assert end.why == "the journal cannot be read: Too many open files"
    assert numbers(records) == [1, 2, 3, 4, 5]


async def test_a_past_that_cannot_be_read_on_does_not_matter_where_the_log_has_the_rest() -> None:
    world = World()
    world.publish(40)
    reader = Replayed(world, at(1))

    def meanwhile(sent: int) -> None:
        if world.channel.log.oldest_seq() <= world.past.passages[-1].next_seq:
            world.past.passages[-1].error = OSError(5, "Input/output error")

    reader.meanwhile = meanwhile
    assert numbers(await reader.run()) == list(range(1, 41))
    assert world.past.passages[-1].error is not None


async def test_there_is_no_past_without_a_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.publish(40)
    with monkeypatch.context() as full:
        full.setattr(Descriptors, "taken", Descriptors.most())
        with pytest.raises(OSError, match="Too many open files"):
            await world.find(at(1))
    before = Descriptors.taken
    world.past.error = OSError(5, "Input/output error")
    with pytest.raises(OSError, match="Input/output error"):
        await world.find(at(1))
    assert Descriptors.taken == before


# Over sockets.


def transport(**options: object) -> TcpTransport:
    return TcpTransport(TcpConfig(port=0, **options))  # type: ignore[arg-type]


@pytest.fixture
def tls_options(tmp_path: Path) -> dict[str, object]:
    issued = authority().issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    return {"tls_cert": str(cert), "tls_key": str(key)}


async def received(client: TrioTcpClient, last_id: int) -> list[object]:
    """What a client hands over, up to the trade with that id."""
    records: list[object] = []
    async for each in client:
        records.append(each)
        if isinstance(each, Trade) and each.trade_id == last_id:
            break
    return records


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_client_goes_on_over_a_restart_and_loses_nothing(
    is_tls: bool, tls_options: dict[str, object]
) -> None:
    world = World()
    options = tls_options if is_tls else {}
    tls = client_tls() if is_tls else None
    world.publish(4)
    world.start(2_000)
    world.publish(40)
    async with (
        serving(world.channel, transport(**options), within_s=20) as url,
        TrioTcpClient(url, start=at(3), tls=tls) as client,
    ):
        third, fourth, end, disconnected, restarted, *others = await received(client, 44)
        assert isinstance(third, Trade)
        assert isinstance(fourth, Trade)
        assert isinstance(end, End)
        assert (third.trade_id, fourth.trade_id, end.reason) == (3, 4, EndReason.EPOCH_OVER)
        assert isinstance(disconnected, Disconnected)
        assert disconnected.pause_s == 0
        assert restarted == Restarted(before=at(5), epoch_ns=2_000)
        assert [each.seq for each in others if isinstance(each, Trade)] == list(range(1, 41))
        world.publish(1)
        (live,) = await received(client, 45)
        assert isinstance(live, Trade)
        assert client.position == at(42, 2_000)


async def test_a_client_comes_back_when_the_past_can_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor, "RETRY_MS", 1)
    world = World()
    world.publish(40)
    world.past.error = OSError(5, "Input/output error")
    served = transport()
    async with (
        serving(world.channel, served, within_s=20) as url,
        TrioTcpClient(url, start=at(3)) as client,
    ):
        end = await anext(client)
        assert isinstance(end, End)
        assert (end.reason, end.retry_ms) == (EndReason.OTHER, 1)
        assert end.why == "the journal cannot be read: Input/output error"
        world.past.error = None
        disconnected, *records = await received(client, 40)
    assert isinstance(disconnected, Disconnected)
    assert [each.trade_id for each in records if isinstance(each, Trade)] == list(range(3, 41))
    assert client.statistics.lost == 0
    assert served.stats().anomalies == {"client refused, OTHER": 1}


async def test_the_time_0_begins_with_the_oldest_record_of_all_epochs() -> None:
    world = World()
    world.publish(4)
    world.start(2_000)
    world.publish(40)
    async with (
        serving(world.channel, transport(), within_s=20) as url,
        TrioTcpClient(url, start=Moment(time_ns=0)) as client,
    ):
        records = await received(client, 44)
    trades = [each for each in records if isinstance(each, Trade)]
    assert [each.trade_id for each in trades] == list(range(1, 45))
    assert client.statistics.lost == 0


@asynccontextmanager
async def asking(url: str, start: Begin | None) -> AsyncIterator[StreamSubscriber]:
    """A client with a small buffer; one without a request if there is no place to begin at."""
    async with connected(url, receive_buffer=4096) as stream:
        reading = StreamSubscriber(stream.receive_some)
        if start is not None:
            reading.ask(start)
            await stream.send_all(frame(encode_request(Request(start=start))))
        yield reading


async def test_a_silent_client_is_served_live_where_there_is_a_past() -> None:
    world = World()
    world.publish(40)
    async with (
        serving(world.channel, transport(), within_s=20) as url,
        asking(url, None) as reading,
    ):
        await reading.until(Snapshot)
        world.publish(1)
        await reading.until(Trade)
        assert reading.trade_ids == [41]
    assert not world.past.passages


async def test_a_client_that_takes_nothing_costs_two_pieces_and_is_no_slow_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4_096)
    monkeypatch.setattr(transport_module, "LOOK_S", 0.01)
    world = World()
    world.publish(40, size=1_000)
    served = transport(stall_timeout_s=0.3)
    async with serving(world.channel, served, within_s=20) as url, asking(url, Start.OLDEST):
        while not served.stats().consumers:  # noqa: ASYNC110  no event to wait for
            await trio.sleep(0.001)
        (consumer,) = served.stats().consumers
        assert consumer.is_replaying
        assert (consumer.lag_blocks, consumer.lag_ms) == (None, None)
        (passage,) = world.past.passages
        while not passage.is_closed:  # noqa: ASYNC110
            await trio.sleep(0.001)
        assert passage.reads < 10
    assert "is slow" not in caplog.text
    assert served.stats().anomalies == {"client closed": 1}


async def test_a_client_that_leaves_amid_the_past_leaves_nothing_behind() -> None:
    world = World()
    world.publish(40, size=1_000)
    served = transport()
    async with serving(world.channel, served, within_s=20) as url:
        async with asking(url, Start.OLDEST) as reading:
            await reading.until(Trade)
        await until_clients(served, 0)
    assert [each.is_closed for each in world.past.passages] == [True]
