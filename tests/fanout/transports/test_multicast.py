import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.checks.report import State
from fanout.config import check_claims
from fanout.errors import BindError, ConfigError, UsageError
from fanout.protocol import (
    End,
    EndReason,
    FeedState,
    Heartbeat,
    Loss,
    LossReason,
    Status,
    Trade,
    decode_event,
)
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.group import Group
from fanout.protocol.hftp import BookPacket, TradePacket
from fanout.protocol.hftp import decode_packet as decode_hftp
from fanout.protocol.packets import END, HEARTBEAT, LAST, SNAPSHOT, Packet, decode_packet
from fanout.stats.anomalies import Anomalies
from fanout.transports.base import longest_frame_of
from fanout.transports.multicast import MulticastTransport, carrier, sockets, transport
from fanout.transports.multicast.carrier import ENDS
from fanout.transports.multicast.check import check
from fanout.transports.multicast.config import MulticastConfig, groups_of
from fanout.transports.multicast.pace import BURST_S, Pace
from fanout.transports.multicast.sockets import ROOM_S, STUCK_S, Sender, open_socket
from fanout.transports.shm import ShmConfig, ShmTransport
from tests.contracts.transport import TransportContract
from tests.protocol.golden import BTC
from tests.stand import channels
from tests.stand.book_channel import OTHER, Feeder, book_channel
from tests.stand.channels import new_channel, publish
from tests.stand.groups import LOOPBACK, datagrams, free_groups, receiving
from tests.stand.subscriber import StreamSubscriber


@pytest.fixture(autouse=True)
def _quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "END_PAUSE_S", 0.001)


@pytest.fixture
def groups() -> tuple[Group, Group]:
    return free_groups()


def config(group: Group, **options: object) -> MulticastConfig:
    return MulticastConfig(group=str(group), interface=LOOPBACK, **options)  # type: ignore[arg-type]


class TestMulticastTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def _groups(self) -> None:
        self.groups = free_groups()

    def make(self) -> MulticastTransport:
        a, b = self.groups
        # Packets as long as loopback carries, so that a book comes in as many pieces as over TCP.
        return MulticastTransport(
            config(a, group_b=str(b), snapshot_s=0.05, packet_bytes=65_507), wall_ns=lambda: 5
        )

    @asynccontextmanager
    async def reader(self, url: str) -> AsyncIterator[StreamSubscriber]:
        assert url == " ".join(f"multicast://{each}" for each in self.groups)
        with receiving(*self.groups) as each:
            yield each

    @asynccontextmanager
    async def reader_of(self, url: str, channel: str) -> AsyncIterator[StreamSubscriber]:
        assert channel == "second"
        with receiving(*(each.of_channel(1) for each in self.groups)) as each:
            yield each

    async def test_what_a_reader_missed_is_told_exactly(self) -> None:
        """Nobody tells a receiver why it missed something: it sees that by the numbers."""
        channel = new_channel(log_bytes=200_000)
        async with self.serving(channel) as url, self.reader(url) as reading:
            await reading.until_header()
            for first in range(1, 100_000, 1_000):
                publish(channel, first, 1_000)
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="that was all")
            await reading.until(End)
            accounted: list[int] = []
            for each in reading.records:
                if isinstance(each, Loss):
                    assert each.reason is LossReason.UNANNOUNCED
                    accounted += range(each.first_seq, each.last_seq + 1)
                elif isinstance(each, Trade):
                    assert each.trade_id == each.seq
                    accounted.append(each.seq)
            assert accounted == list(range(1, 100_001))
            assert len(reading.trade_ids) < 100_000


def packets(sock: socket.socket) -> Iterator[Packet]:
    """What has come so far."""
    while True:
        try:
            yield decode_packet(sock.recv(65_536))
        except BlockingIOError:
            return


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_both_lines_get_the_same_packets_and_say_which_line_they_are(
    groups: tuple[Group, Group],
) -> None:
    a, b = groups
    served = MulticastTransport(config(a, group_b=str(b)), wall_ns=lambda: 5)
    channel = new_channel()
    with datagrams(a) as on_a, datagrams(b) as on_b:
        async with channels.serving(channel, served):
            publish(channel, 1, 3)
            await settle()
        first, second = list(packets(on_a)), list(packets(on_b))
    assert {each.line for each in first} == {0}
    assert second == [replace(each, line=1) for each in first]
    assert sorted({each.number for each in first}) == list(
        range(max(each.number for each in first) + 1)
    )
    assert {(each.epoch_ns, each.sent_ns, each.channel) for each in first} == {(1, 5, 0)}
    stats = served.stats()
    (sent,) = stats.groups
    assert (sent.groups, sent.packets) == ((str(a), str(b)), 2 * len(first))
    assert (sent.unsent, sent.left_out, sent.lost, sent.snapshots) == (0, 0, 0, 1)
    assert (served.readers, served.unread, stats.consumers) == (1, 0.0, ())


async def test_each_channel_has_a_group_of_its_own(groups: tuple[Group, Group]) -> None:
    a, _ = groups
    pair = new_channel(name="first"), new_channel(name="second")
    with datagrams(a) as on_first, datagrams(a.of_channel(1)) as on_second:
        async with channels.serving(pair, MulticastTransport(config(a))):
            await settle()
        assert {each.channel for each in packets(on_first)} == {0}
        assert {each.channel for each in packets(on_second)} == {1}


async def test_silence_is_filled_with_heartbeats(
    groups: tuple[Group, Group], autojump_clock: trio.testing.MockClock
) -> None:
    a, _ = groups
    served = MulticastTransport(config(a, snapshot_s=0), wall_ns=lambda: 5)
    channel = new_channel()
    with datagrams(a) as sock:
        async with channels.serving(channel, served):
            publish(channel, 1, 3)
            await trio.sleep(0.09)
            assert [each.flags for each in packets(sock)] == [0]
            await trio.sleep(0.02)
            (beat,) = packets(sock)
            assert (beat.flags, beat.next_seq) == (HEARTBEAT, 4)
            event = decode_event(beat.frames[LENGTH_BYTES:], channel.header)
            assert event == Heartbeat(next_seq=4, time_ns=5)
            await trio.sleep(2.98)
            assert [each.flags for each in packets(sock)] == [HEARTBEAT] * 2
            publish(channel, 4)
            await trio.sleep(0.11)
            assert [each.flags for each in packets(sock)] == [0, HEARTBEAT]


async def test_the_end_comes_five_times_with_the_packets_before_it(
    groups: tuple[Group, Group],
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrier, "END_PAUSE_S", 0.2)
    a, _ = groups
    channel = new_channel()
    with datagrams(a) as sock:
        async with channels.serving(channel, MulticastTransport(config(a, snapshot_s=0))):
            publish(channel, 1)
            channel.end(EndReason.SHUTDOWN, retry_ms=7, why="enough")
            began_s = trio.current_time()
        assert trio.current_time() - began_s < 1.0
        first, *others = packets(sock)
        assert (first.flags, first.stop_seq) == (0, 2)
        ends = [each for each in others if each.flags == END]
        assert [each.next_seq for each in ends] == [2] * 5
        assert len({each.frames for each in ends}) == 1
        again = [each for each in others if each.flags != END]
        assert again == [first] * 4, "who lost it cannot ask for it any more"


async def test_a_snapshot_has_header_trades_and_books_and_says_where_it_ends(
    groups: tuple[Group, Group], autojump_clock: trio.testing.MockClock
) -> None:
    a, _ = groups
    served = MulticastTransport(config(a, snapshot_s=5, packet_bytes=600))
    channel = Channel(
        book_channel().header,
        log_bytes=10**7,
        wall_ns=lambda: 1,
        longest_frame_bytes=longest_frame_of([served]),
    )
    feeder = Feeder(channel)
    feeder.publish(Trade(BTC, 1, 5, 6, 7, False))
    feeder.whole(levels=300)
    feeder.whole(OTHER, levels=300)
    with datagrams(a) as sock:
        async with channels.serving(channel, served):
            await trio.sleep(0.01)
            series = [each for each in packets(sock) if each.flags & SNAPSHOT]
            assert [bool(each.flags & LAST) for each in series] == [False] * (len(series) - 1) + [
                True
            ]
            assert {each.next_seq for each in series} == {channel.log.next_seq}
            assert len(series) > 4
            channel.publish_status(OTHER, FeedState.STALE, "a test")
            await trio.sleep(5)
            series = [each for each in packets(sock) if each.flags & SNAPSHOT]
            assert [bool(each.flags & LAST) for each in series][-1]
            assert served.stats().groups[0].snapshots == 2


async def test_a_snapshot_of_a_channel_that_has_nothing_to_show_is_complete(
    groups: tuple[Group, Group],
) -> None:
    a, _ = groups
    with datagrams(a) as sock:
        async with channels.serving(new_channel(), MulticastTransport(config(a))):
            await settle()
        (opening,) = (each for each in packets(sock) if each.flags & SNAPSHOT)
        assert opening.flags == SNAPSHOT | LAST


async def test_what_the_log_drops_is_a_hole_and_changed_instruments_are_sent(
    groups: tuple[Group, Group],
) -> None:
    a, _ = groups
    served = MulticastTransport(config(a))
    channel = new_channel(log_bytes=20_000)
    with receiving(a) as reading:
        async with channels.serving(channel, served):
            await reading.until_header()
            publish(channel, 1, 10)
            changed = replace(BTC, price_exponent=-3)
            channel.change([changed], [channel.header.references[0]])
            for each in range(100):
                channel.publish_status(None, FeedState.DOWN, f"{each:200}")
            publish(channel, 11)
            await reading.until(Trade, 11)
        assert [type(each) for each in reading.records[9:12]] == [Trade, Loss, Status]
        assert reading.header is not None
        assert reading.header.instruments[0] == changed
        lost = served.stats().groups[0].lost
        assert reading.records[10] == Loss(
            first_seq=11, last_seq=10 + lost, reason=LossReason.UNANNOUNCED
        )
        assert lost > 10


async def test_a_packet_that_the_system_does_not_take_is_counted(
    groups: tuple[Group, Group], caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(socket.socket):
        def send(self, *_: object) -> int:
            raise OSError(errno.ENOBUFS, "No buffer space available")

    oddities = Anomalies(clock=lambda: 100.0)
    with Sender(groups[0], Refusing(socket.AF_INET, socket.SOCK_DGRAM), oddities) as sender:
        assert sender.send(b"one")
        assert sender.send(b"two")
    assert (sender.unsent, sender.packets) == (2, 0)
    assert oddities.counts == {"packet not sent": 2}
    assert f"packet not sent: {groups[0]}: no buffer space available" in caplog.text


@contextmanager
def narrow() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket whose buffer has room for a few packets only, and the end that takes them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


async def test_a_packet_waits_for_room_in_the_buffer(groups: tuple[Group, Group]) -> None:
    with narrow() as (ours, theirs):
        sender = Sender(groups[0], ours, Anomalies(clock=lambda: 100.0))
        while sender.send(b"packet"):
            pass
        sent = sender.packets
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_later, b"later")
            await settle()
            assert (sender.packets, sender.unsent) == (sent, 0)
            for _ in range(sent):
                assert theirs.recv(100) == b"packet"
        assert theirs.recv(100) == b"later"
        assert (sender.packets, sender.unsent) == (sent + 1, 0)


async def test_a_buffer_that_stays_full_holds_up_no_packet_for_long(
    groups: tuple[Group, Group], autojump_clock: trio.testing.MockClock
) -> None:
    with narrow() as (ours, _):
        sender = Sender(groups[0], ours, Anomalies(clock=lambda: 100.0))
        while sender.send(b"packet"):
            pass
        began_s = trio.current_time()
        for _ in range(100):
            await sender.send_later(b"later")
        assert trio.current_time() - began_s == pytest.approx(ROOM_S)
        await trio.sleep(STUCK_S)
        await sender.send_later(b"later")
        assert trio.current_time() - began_s == pytest.approx(2 * ROOM_S + STUCK_S)
        assert sender.unsent == 101


async def test_a_long_snapshot_waits_for_room_in_the_buffer(
    groups: tuple[Group, Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _ = groups
    channel = book_channel()
    Feeder(channel).whole(levels=2_000)
    served = MulticastTransport(config(a, packet_bytes=600))
    with narrow() as (ours, theirs):
        monkeypatch.setattr(transport, "open_socket", lambda *_, **__: ours)
        async with channels.serving(channel, served):
            found: list[Packet] = []
            while not (found and found[-1].flags & LAST):
                await settle()
                found += packets(theirs)
            assert len(found) > 30
            assert served.stats().groups[0].unsent == 0
            channel.end(EndReason.SHUTDOWN, retry_ms=1, why="that was all")
            while sum(bool(each.flags & END) for each in found) < ENDS:
                await trio.sleep(0.001)
                found += packets(theirs)
    assert [each.number for each in found] == [*range(len(found))]


async def test_what_is_published_waits_for_nothing(groups: tuple[Group, Group]) -> None:
    a, _ = groups
    channel = new_channel()
    with narrow() as (ours, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "open_socket", lambda *_, **__: ours)
        patch.setattr(sockets, "ROOM_S", 0.001)
        served = MulticastTransport(config(a, snapshot_s=0))
        async with channels.serving(channel, served):
            await settle()
            for each in range(1, 31):
                publish(channel, each)
                await settle()
            sent = served.stats().groups[0]
            assert sent.packets + sent.unsent == 30
            assert sent.unsent > 0


async def test_a_send_buffer_that_is_too_small_is_told_in_words(
    groups: tuple[Group, Group], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "SEND_BUFFER_BYTES", 1 << 30)
    a, b = groups
    pair = new_channel(name="first"), new_channel(name="second")
    with caplog.at_level(logging.WARNING):
        async with channels.serving(pair, MulticastTransport(config(a, group_b=str(b)))):
            pass
    (words,) = [each for each in caplog.messages if "send buffer" in each]
    assert words.startswith(f"{a}: the send buffer has ")
    assert "bytes instead of 1,073,741,824" in words
    assert words.endswith("as root, sysctl -w net.core.wmem_max=1073741824")
    monkeypatch.setattr(sockets, "SEND_BUFFER_BYTES", 1)
    caplog.clear()
    async with channels.serving(new_channel(), MulticastTransport(config(a))):
        pass
    assert "send buffer" not in caplog.text


async def test_packets_are_paced(
    groups: tuple[Group, Group], autojump_clock: trio.testing.MockClock
) -> None:
    a, b = groups
    served = MulticastTransport(config(a, group_b=str(b), packets_per_s=1_000, snapshot_s=0))
    channel = new_channel()
    with datagrams(a) as sock:
        async with channels.serving(channel, served):
            for each in range(1, 1_001):
                channel.publish_status(None, FeedState.DOWN, f"{each:200}")
            await trio.sleep(0.1)
            sent = len(list(packets(sock)))
            assert 50 <= sent <= 51 + 1_000 * BURST_S
            assert 0 < served.unread < 1
            await trio.sleep(5)
            assert sent + len(list(packets(sock))) >= 1_000 // 5


def test_a_pace_lets_a_burst_pass_and_then_so_many_a_second() -> None:
    pace = Pace(1_000)
    waits = [pace.take(1, 50.0) for _ in range(10)]
    assert waits[:5] == [0.0] * 5
    assert waits[5:] == pytest.approx([0.001, 0.002, 0.003, 0.004, 0.005])
    assert pace.take(1, 51.0) == 0.0
    assert Pace(0).take(10**9, 0.0) == 0.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group": "10.0.0.1:9100"}, "--group: '10.0.0.1:9100' is no group"),
        ({"group": "239.1.1.1"}, "--group: '239.1.1.1' is no group"),
        ({"group": ""}, "--group: '' is no group"),
        ({"group_b": "x:1"}, "--group-b: 'x:1' is no group"),
        ({"group_b": "239.1.1.1:9100"}, "is that of --group"),
        ({"interface": "eth0"}, "--interface: 'eth0' is no address"),
        ({"ttl": 256}, "--ttl 256"),
        ({"packet_bytes": 511}, "--packet-bytes 511"),
        ({"packet_bytes": 65_508}, "--packet-bytes 65"),
        ({"packets_per_s": -1}, "--packets-per-s -1"),
        ({"snapshot_s": -1}, "--snapshot-s -1"),
        ({"packets": "json"}, "--packets 'json': fanout or hftp"),
        ({"exchange": 256}, "--exchange 256"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MulticastConfig(**{"group": "239.1.1.1:9100", **options})  # type: ignore[arg-type]


def test_two_transports_cannot_have_one_group() -> None:
    one = MulticastConfig(group="239.1.1.1:9100", group_b="239.1.2.1:9100")
    same = MulticastConfig(group="239.1.1.1:9100")
    its_b = MulticastConfig(group="239.1.2.1:9100")
    its_third = MulticastConfig(group="239.1.3.1:9100", group_b="239.1.1.3:9100")
    for other, group in ((same, "239.1.1.1"), (its_b, "239.1.2.1"), (its_third, "239.1.1.3")):
        words = f"multicast group {group}:9100 is asked for twice"
        with pytest.raises(UsageError, match=words):
            check_claims([one, other], 3)
    check_claims([one, its_third], 2)


def test_whoever_can_join_is_named_in_a_warning() -> None:
    (words,) = MulticastConfig(group="239.1.1.1:9100").warnings()
    assert "neither a token nor TLS" in words
    assert MulticastConfig(group="239.1.1.1:9100", interface=LOOPBACK).warnings() == []


def test_channels_without_groups_of_their_own_are_refused() -> None:
    a, b = Group("239.1.1.1", 9100), Group("239.1.1.3", 9100)
    assert groups_of([a, b], 2)[1] == (Group("239.1.1.2", 9100), Group("239.1.1.4", 9100))
    with pytest.raises(ConfigError, match="take an address that is not among them"):
        groups_of([a, b], 3)
    with pytest.raises(ConfigError, match=r"exceeds 239.255.255.255"):
        groups_of([Group("239.255.255.255", 9100)], 2)


def test_a_frame_is_as_long_as_the_shortest_packet_has_room_for() -> None:
    shm = ShmTransport(ShmConfig(name="q"))
    short = MulticastTransport(MulticastConfig(group="239.1.1.1:9100", packet_bytes=600))
    usual = MulticastTransport(MulticastConfig(group="239.1.1.2:9100"))
    assert longest_frame_of([shm]) == longest_frame_of([]) == 65_540
    assert longest_frame_of([shm, usual]) == 1_352
    assert longest_frame_of([usual, short, shm]) == 552


def test_a_packet_that_the_interface_does_not_carry_is_refused(
    groups: tuple[Group, Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.transports.multicast.sockets.HEADERS_BYTES", 65_000)
    with pytest.raises(BindError, match=r"--packet-bytes 1,400 exceeds 535, .* take 535 or less"):
        open_socket(groups[0], interface=LOOPBACK, ttl=1, packet_bytes=1_400)


def test_an_interface_that_is_not_there_is_refused(groups: tuple[Group, Group]) -> None:
    with pytest.raises(BindError, match=r"cannot assign .* ip -4 addr shows them"):
        open_socket(groups[0], interface="192.0.2.1", ttl=1, packet_bytes=1_400)


def test_the_check_looks_at_each_line(groups: tuple[Group, Group]) -> None:
    a, b = groups
    good, other = check([config(a, group_b=str(b))])
    assert (good.state, good.target, other.target) == (State.OK, str(a), str(b))
    assert "1,400 bytes fit a packet, sent from 127.0.0.1" in good.found
    (bad,) = check([MulticastConfig(group=str(a), interface="192.0.2.1")])
    assert bad.state is State.FAIL
    assert "--interface takes an address of this machine" in bad.advice


def hftp_packets(sock: socket.socket) -> list[BookPacket | TradePacket]:
    """What has come so far."""
    found = []
    while True:
        try:
            found.append(decode_hftp(sock.recv(65_536)))
        except BlockingIOError:
            return found


async def test_what_the_log_drops_is_a_hole_in_the_sequence_of_hftp(
    groups: tuple[Group, Group],
) -> None:
    a, _ = groups
    served = MulticastTransport(config(a, packets="hftp", snapshot_s=0))
    channel = new_channel(log_bytes=3_000)
    with datagrams(a) as sock:
        async with channels.serving(channel, served):
            await settle()
            for first in range(1, 2_000, 20):
                publish(channel, first, 20)
            await settle()
        found = hftp_packets(sock)
    lost = served.stats().groups[0].lost
    assert lost >= 1_000
    assert [each.sequence for each in found] == [*range(1, 21), *range(lost + 21, 2_001)]
    for each in found:
        assert isinstance(each, TradePacket)
        assert int(each.trade_id) == each.sequence


async def test_hftp_has_one_record_in_each_packet(
    groups: tuple[Group, Group],
    autojump_clock: trio.testing.MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, _ = groups
    served = MulticastTransport(config(a, packets="hftp", exchange=3, packet_bytes=600))
    channel = book_channel()
    feeder = Feeder(channel)
    feeder.whole(levels=2)
    long_name = replace(OTHER, index=2, symbol="x" * 64, time_exponent=0)
    channel.change([long_name], [channel.header.references[0]])
    with datagrams(a) as sock, caplog.at_level(logging.WARNING):
        async with channels.serving(channel, served):
            await trio.sleep(0.01)
            feeder.publish(Trade(BTC, 9, 1_000, 6, 7, True))
            feeder.publish(replace(Trade(BTC, 9, 1, 6, 7, True), instrument=long_name, time=2**62))
            feeder.change([(999, 0)])
            await trio.sleep(4.9)
        found = hftp_packets(sock)
    kinds = [(type(each), each.sequence, each.symbol, each.exchange) for each in found]
    assert kinds == [
        (BookPacket, 1, "BTCUSDT", 3),
        (TradePacket, 2, "BTCUSDT", 3),
        (BookPacket, 4, "BTCUSDT", 3),
    ], "the trade that has no place leaves a hole"
    assert [each.is_snapshot for each in found if isinstance(each, BookPacket)] == [True, False]
    assert served.stats().groups[0].left_out == 1
    assert "has no place in the HFTP layout" in caplog.text
