"""What every TCP client has to do, whichever way it waits. Subclass `ClientContract`, say how to
collect records with yours, and inherit the tests. The service is a script on real sockets."""

import contextlib
import itertools
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from clients import subscription
from clients.subscription import AddressError, Disconnected, DisconnectedError
from protocol import (
    BlockFlags,
    End,
    EndReason,
    Header,
    Loss,
    LossReason,
    PeerError,
    Record,
    Request,
    Snapshot,
    Trade,
    decode_request,
    encode_event,
    frame,
)
from tests.protocol.test_session import block, end, heartbeat, loss, opening, status, unknown

Collected = list[Record | Disconnected]


def take_request(connection: socket.socket) -> Request:
    """What a client asks for, first of all."""
    with connection.makefile("rb") as stream:
        return decode_request(stream.read(int.from_bytes(stream.read(4), "little")))


class Script:
    """A service that takes each connection's request, sends it its bytes, and then closes or stays
    silent."""

    def __init__(self, connections: Sequence[bytes], *, silent: bool = False) -> None:
        self._connections = connections
        self._silent = silent
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.served = 0
        self.requests: list[Request] = []

    def run(self) -> None:
        with self._listener:
            for data in self._connections:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with connection:
                    self.served += 1
                    with contextlib.suppress(PeerError):
                        self.requests.append(take_request(connection))
                    connection.sendall(data)
                    if self._silent:
                        self._over.wait()

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # Linux wakes who waits in accept by this alone
            self._listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(*connections: bytes, silent: bool = False) -> Iterator[Script]:
    script = Script(connections, silent=silent)
    thread = threading.Thread(target=script.run)
    thread.start()
    try:
        yield script
    finally:
        script.close()
        thread.join()


class ClientContract(ABC):
    @abstractmethod
    def collect(
        self, url: str, until: Callable[[Collected], bool], **options: object
    ) -> tuple[Collected, Header | None]:
        """Iterate over a client until the records satisfy `until`, or the iteration ends."""

    def to_the_end(self, url: str, **options: object) -> Collected:
        return self.collect(url, lambda _: False, **options)[0]

    @pytest.fixture(autouse=True)
    def quick_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subscription, "FIRST_PAUSE_S", 0.001)

    def test_trades_and_events_come_in_order_and_end_with_the_end(self) -> None:
        stream = opening(1) + block(1, 2, BlockFlags.SNAPSHOT) + status(1) + block(2, 3)
        stream += unknown() + heartbeat(5) + loss(5, 9) + block(10) + end(10)
        with serving(stream) as service:
            records = self.to_the_end(service.url, reconnect=False)
        names = [type(each).__name__ for each in records]
        assert names == ["Snapshot", "Status", "Trade", "Trade", "Trade", "Loss", "Trade", "End"]

    def test_the_header_is_there_with_the_first_record(self) -> None:
        with serving(opening(1) + block(1) + end(1)) as service:
            _, header = self.collect(service.url, lambda each: len(each) == 1, reconnect=False)
        assert header is not None
        assert [each.symbol for each in header.instruments] == ["BTCUSDT", "币安人生USDT"]

    def test_a_lost_connection_is_told_and_made_again_and_what_was_missed_is_told(self) -> None:
        with serving(opening(1) + block(1)[:-3], opening(4) + block(4)) as service:
            records, _ = self.collect(service.url, lambda each: isinstance(each[-1], Trade))
        disconnected, missed, trade = records
        assert isinstance(disconnected, Disconnected)
        assert "without an END" in disconnected.why
        assert missed == Loss(first_seq=1, last_seq=3, reason=LossReason.DISCONNECTED)
        assert isinstance(trade, Trade)

    def test_after_an_end_it_comes_back_when_it_was_asked_to(self) -> None:
        with serving(opening(1) + end(0), opening(1, epoch_ns=8) + block(1)) as service:
            records, _ = self.collect(service.url, lambda each: isinstance(each[-1], Trade))
        assert [type(each) for each in records] == [End, Disconnected, Trade]
        assert isinstance(records[1], Disconnected)
        assert records[1].pause_s >= 0.010

    def test_a_service_that_greets_and_drops_is_not_hammered(self) -> None:
        with serving(*[opening(1)] * 6) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 6)
        pauses = [each.pause_s for each in records if isinstance(each, Disconnected)]
        assert all(later > 0.9 * pause for pause, later in itertools.pairwise(pauses))
        assert pauses[-1] > 8 * pauses[0]

    def test_pauses_are_short_again_after_trades(self) -> None:
        with serving(*[opening(1)] * 6, opening(1) + block(1)) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 8)
        pauses = [each.pause_s for each in records if isinstance(each, Disconnected)]
        assert pauses[6] < pauses[5] / 4

    def test_a_service_cannot_send_a_client_to_sleep_for_weeks(self) -> None:
        weeks = End(reason=EndReason.SHUTDOWN, last_seq=0, retry_ms=2**32 - 2)
        with serving(opening(1) + frame(encode_event(weeks))) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 2)
        assert isinstance(records[1], Disconnected)
        assert records[1].pause_s < 301

    def test_without_reconnecting_a_lost_connection_is_an_error(self) -> None:
        with (
            serving(opening(1) + block(1)) as service,
            pytest.raises(DisconnectedError, match="without an END"),
        ):
            self.to_the_end(service.url, reconnect=False)

    def test_without_reconnecting_nobody_there_is_an_error_that_names_the_address(self) -> None:
        with serving() as service:
            url = service.url
        with pytest.raises(DisconnectedError, match=f"{url}: .*refused"):
            self.to_the_end(url, reconnect=False)

    def test_nobody_there_is_told_and_tried_again(self) -> None:
        with serving() as service:
            url = service.url
        records, header = self.collect(url, lambda each: len(each) == 3)
        assert all(isinstance(each, Disconnected) and "refused" in each.why for each in records)
        assert header is None

    @pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", opening(1)[:-1] + b"\0"])
    def test_bytes_that_break_the_wire_end_the_connection_with_a_reason(self, data: bytes) -> None:
        with serving(data) as service, pytest.raises(DisconnectedError, match=r"frame|CRC"):
            self.to_the_end(service.url, reconnect=False)

    def test_what_came_before_the_damage_is_handed_over(self) -> None:
        with serving(opening(1) + block(1) + b"\xff" * 8, opening(2)) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 2)
        assert [type(each) for each in records] == [Trade, Disconnected]

    def test_a_silent_connection_counts_as_lost(self) -> None:
        with (
            serving(opening(1), silent=True) as service,
            pytest.raises(DisconnectedError, match=r"silent for 0\.05 s"),
        ):
            self.to_the_end(service.url, reconnect=False, idle_timeout_s=0.05)

    @pytest.mark.parametrize(
        "url",
        [
            "127.0.0.1:9000",
            "tcp://a..b:9000",
            "tcp://127.0.0.1",
            "tcp://:9000",
            "http://h:1",
            "tcp://h:x",
            "",
        ],
    )
    def test_what_is_no_address_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(AddressError, match="tcp://HOST:PORT"):
            self.to_the_end(url)

    def test_a_snapshot_is_not_a_trade(self) -> None:
        with serving(opening(3) + block(3, 2, BlockFlags.SNAPSHOT) + end(2)) as service:
            records = self.to_the_end(service.url, reconnect=False)
        assert [type(each) for each in records] == [Snapshot, End]
