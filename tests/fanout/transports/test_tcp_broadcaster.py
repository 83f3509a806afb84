"""Who stands where: everybody gets every byte once and in order, whichever way it is sent."""

import socket
from collections.abc import Iterator

import pytest

from fanout.channel.log import ENTRY_OVERHEAD_BYTES, Cursor, Lag, Log
from fanout.protocol.constants import EndReason
from fanout.protocol.request import Request
from fanout.transports.tcp.broadcaster import Broadcaster


class Place:
    """A place in a log of plain bytes."""

    greeting = b""
    lost = 0
    fell_off = ""

    def __init__(self, log: Log, *, is_shareable: bool = True) -> None:
        self.log = log
        self.cursor: Cursor = log.live()
        self.is_shareable = is_shareable
        self.is_over = False
        self.piece_position = -1

    def start(self, request: Request) -> bytes:
        return b""

    def next_piece(self) -> bytes:
        piece = self.log.read(self.cursor, 1)
        return piece if isinstance(piece, bytes) else b"<lapped>" + self.next_piece()

    def part(self, piece_position: int) -> None:
        front = self.cursor
        self.cursor = Cursor(front.position, front.next_seq, front.context)
        self.piece_position = piece_position

    def end(self, reason: EndReason, *, retry_ms: int | None, why: str) -> bytes:
        return b""

    def lag(self, unsent_bytes: int) -> Lag:
        return Lag(blocks=0, bytes=unsent_bytes, ms=0)


class Client:
    """One end of a socket pair. What its socket does not take is kept."""

    is_plain = True

    def __init__(self, broadcaster: Broadcaster, reader: Place) -> None:
        self.name = "client"
        self.reader = reader
        self.unsent = b""
        self.pushed: list[bytes] = []
        self.is_closed = False
        self._broadcaster = broadcaster
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self.theirs.setblocking(False)
        self.descriptor = self._ours.fileno()
        broadcaster.join(self)

    lag = Lag(blocks=0, bytes=0, ms=0)

    def look(self) -> None: ...

    def push(self) -> None:
        self._broadcaster.part(self)
        while piece := self.reader.next_piece():
            self.pushed.append(piece)
            self._ours.send(piece)

    def say(self, frames: memoryview) -> None:
        self.pushed.append(bytes(frames))
        self._ours.send(frames)

    def fall_short(self, piece: bytes, taken: int) -> None:
        if taken < 0:
            self.close()
            return
        self.unsent = piece[taken:]
        self._broadcaster.fall_behind(self)

    def close(self) -> None:
        self.is_closed = True

    def received(self) -> bytes:
        try:
            return self.theirs.recv(2**20)
        except BlockingIOError:
            return b""

    def hang_up(self) -> None:
        self._ours.close()
        self.theirs.close()


class SharedLog:
    """A log, the broadcaster that hands it on, and the clients that share it."""

    def __init__(self, capacity_bytes: int = 2**20) -> None:
        self.log = Log(capacity_bytes=capacity_bytes, context="context")
        self.broadcaster = Broadcaster(piece_bytes=1)
        self.clients: list[Client] = []

    def client(self, *, is_shareable: bool = True) -> Client:
        client = Client(self.broadcaster, Place(self.log, is_shareable=is_shareable))
        self.clients.append(client)
        return client

    def publish(self, *frames: bytes) -> None:
        for frame in frames:
            self.log.append(frame, count=1)
        self.broadcaster.hand_on(self.log)


@pytest.fixture
def shared() -> Iterator[SharedLog]:
    shared = SharedLog()
    yield shared
    for client in shared.clients:
        client.hang_up()


def test_clients_at_one_position_get_all_frames_in_order(shared: SharedLog) -> None:
    clients = [shared.client() for _ in range(3)]
    shared.publish(b"1 ")
    shared.publish(b"2 ", b"3 ", b"4 ")
    assert [each.received() for each in clients] == [b"1 2 3 4 "] * 3
    assert [each.pushed for each in clients] == [[b"1 "]] * 3  # and after that, all in one go
    assert len({id(each.reader.cursor) for each in clients}) == 1


async def test_a_publisher_sends_to_clients_that_share_a_position_itself(shared: SharedLog) -> None:
    clients = [shared.client() for _ in range(2)]
    shared.publish(b"1 ")
    shared.log.append(b"2 ", count=1)
    assert shared.broadcaster.take(shared.log)
    assert [each.received() for each in clients] == [b"1 2 "] * 2
    assert shared.broadcaster.delivered == shared.log.end


async def test_a_publisher_leaves_clients_of_their_own_position_to_the_task(
    shared: SharedLog,
) -> None:
    sharing, alone = shared.client(), shared.client(is_shareable=False)
    shared.publish(b"1 ")
    shared.log.append(b"2 ", count=1)
    assert not shared.broadcaster.take(shared.log)
    assert (sharing.received(), alone.received()) == (b"1 2 ", b"1 ")
    shared.publish(b"3 ")
    assert (sharing.received(), alone.received()) == (b"3 ", b"2 3 ")


async def test_a_publisher_sends_one_piece_and_leaves_the_rest_to_the_task(
    shared: SharedLog,
) -> None:
    client = shared.client()
    shared.publish(b"1 ")
    for frame in (b"2 ", b"3 "):
        shared.log.append(frame, count=1)
    assert not shared.broadcaster.take(shared.log)
    assert client.received() == b"1 2 "
    shared.broadcaster.hand_on(shared.log)
    assert client.received() == b"3 "


async def test_a_publisher_leaves_clients_that_lost_their_place_to_the_task(
    shared: SharedLog,
) -> None:
    client = shared.client()
    shared.publish(b"1 ")
    shared.log.capacity_bytes = 1
    for frame in (b"2 ", b"3 "):
        shared.log.append(frame, count=1)
    assert not shared.broadcaster.take(shared.log)
    assert client.received() == b"1 "
    shared.broadcaster.hand_on(shared.log)
    assert client.received() == b"<lapped>3 "


async def test_a_client_that_takes_part_of_what_its_publisher_sends_falls_behind(
    shared: SharedLog,
) -> None:
    quick, slow = shared.client(), shared.client()
    shared.publish(b"1 ")
    slow.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    shared.log.append(b"x" * 2**20, count=1)
    shared.broadcaster.take(shared.log)
    assert slow in shared.broadcaster.behind
    assert slow.unsent
    assert quick in shared.broadcaster.clients


async def test_without_clients_a_publisher_has_nothing_to_do(shared: SharedLog) -> None:
    shared.log.append(b"1 ", count=1)
    assert shared.broadcaster.take(shared.log)
    assert shared.broadcaster.delivered == shared.log.end


def test_a_later_client_gets_the_frames_after_it_joined(shared: SharedLog) -> None:
    early = shared.client()
    shared.publish(b"1 ")
    shared.log.append(b"2 ", count=1)
    late = shared.client()
    shared.publish(b"3 ")
    shared.publish(b"4 ")
    assert (early.received(), late.received()) == (b"1 2 3 4 ", b"3 4 ")
    assert late.reader.cursor is early.reader.cursor


def test_a_client_that_cannot_share_gets_bytes_of_its_own(shared: SharedLog) -> None:
    shared.client()
    alone = shared.client(is_shareable=False)
    encrypted = shared.client()
    encrypted.is_plain = False
    shared.publish(b"1 ")
    shared.publish(b"2 ")
    for each in (alone, encrypted):
        assert each.pushed == [b"1 ", b"2 "]
        assert each.received() == b"1 2 "


def test_a_client_that_takes_part_of_a_write_falls_behind_with_the_rest(shared: SharedLog) -> None:
    quick, slow = shared.client(), shared.client()
    shared.publish(b"1 ")
    piece = b"x" * 2**20
    slow.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    shared.log.append(piece, count=1)
    shared.broadcaster.hand_on(shared.log)
    assert slow in shared.broadcaster.behind
    assert slow.reader.piece_position == 1
    assert slow.reader.cursor.position == 2
    assert slow.reader.cursor is not quick.reader.cursor
    shared.publish(b"next")
    got = b"1 " + piece[: len(piece) - len(slow.unsent)]
    received = b""
    while part := slow.received():
        received += part
    assert received == got  # nothing of what came next, until it has caught up
    slow.unsent = b""
    shared.broadcaster.catch_up(slow)
    shared.publish(b"!")
    assert slow.received() == b"next!"


def test_a_broken_socket_is_closed_and_the_others_are_served(shared: SharedLog) -> None:
    clients = [shared.client() for _ in range(3)]
    shared.publish(b"1 ")
    clients[1].theirs.close()
    shared.publish(b"2 ")
    assert [each.is_closed for each in clients] == [False, True, False]
    assert clients[0].received() == clients[2].received() == b"1 2 "


def test_a_client_that_leaves_the_broadcast_resumes_at_the_same_position(shared: SharedLog) -> None:
    staying, parting = shared.client(), shared.client()
    shared.publish(b"1 ")
    shared.broadcaster.part(parting)
    assert parting.reader.cursor == staying.reader.cursor
    assert parting.reader.cursor is not staying.reader.cursor
    shared.publish(b"2 ")
    assert parting.received() == staying.received() == b"1 2 "


def test_a_client_that_left_is_sent_nothing(shared: SharedLog) -> None:
    staying, leaving = shared.client(), shared.client()
    shared.publish(b"1 ")
    shared.broadcaster.leave(leaving)
    shared.publish(b"2 ")
    assert leaving.received() == b"1 "
    assert shared.broadcaster.clients == {staying}
    shared.broadcaster.leave(staying)
    shared.publish(b"3 ")
    newcomer = shared.client()
    shared.publish(b"4 ")
    assert newcomer.received() == b"4 "


def test_frames_outside_the_log_reach_all_clients_that_are_not_behind(shared: SharedLog) -> None:
    together, alone, behind = shared.client(), shared.client(is_shareable=False), shared.client()
    shared.publish(b"1 ")
    shared.broadcaster.part(behind)
    shared.broadcaster.fall_behind(behind)
    shared.broadcaster.say(b"beat ")
    shared.publish(b"2 ")
    assert together.received() == alone.received() == b"1 beat 2 "
    assert behind.received() == b"1 "


def test_clients_at_a_lapped_position_are_lapped_separately() -> None:
    shared = SharedLog(capacity_bytes=2 * (2 + ENTRY_OVERHEAD_BYTES))
    clients = [shared.client() for _ in range(2)]
    shared.publish(b"1 ")
    shared.publish(*(b"%d " % number for number in range(2, 10)))
    assert {each.received() for each in clients} == {b"1 <lapped>8 9 "}
    for each in clients:
        each.hang_up()


def test_at_the_end_of_the_log_each_client_is_served_separately(shared: SharedLog) -> None:
    clients = [shared.client() for _ in range(2)]
    shared.publish(b"1 ")
    shared.log.append(b"END", count=0)
    shared.log.close()
    shared.broadcaster.hand_on(shared.log)
    assert [each.pushed[-1] for each in clients] == [b"END"] * 2
    assert [each.received() for each in clients] == [b"1 END"] * 2


def test_a_broadcaster_tells_how_much_of_the_log_is_unread() -> None:
    shared = SharedLog(capacity_bytes=10 * (ENTRY_OVERHEAD_BYTES + 1))
    broadcaster, log = shared.broadcaster, shared.log
    client = shared.client(is_shareable=False)
    assert (broadcaster.count, broadcaster.unread(log)) == (1, 0)
    for _ in range(5):
        log.append(b"x", count=1)
    assert broadcaster.unread(log) == 0.5
    broadcaster.hand_on(log)
    assert broadcaster.unread(log) == 0
    broadcaster.fall_behind(client)
    assert 0 < broadcaster.unread(log) < 0.001
    broadcaster.leave(client)
    broadcaster.greeted.add(client)
    for _ in range(20):
        log.append(b"x", count=1)
    assert broadcaster.unread(log) == 1
    broadcaster.greeted.remove(client)
    sharing = shared.client()
    broadcaster.hand_on(log)
    log.append(b"x", count=1)
    assert broadcaster.unread(log) == 0.1
    for each in (client, sharing):
        each.hang_up()
