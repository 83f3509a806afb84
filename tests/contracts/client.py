"""What every TCP client has to do, whichever way it waits. Subclass `ClientContract`, say how to
collect records with yours, and inherit the tests. The service is a script on real sockets."""

import contextlib
import itertools
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import pytest
import trustme
from msgspec.structs import replace

from fanout.clients import subscription
from fanout.clients.client import Client
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    Received,
    Reconnect,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.protocol import (
    START,
    Block,
    BlockFlags,
    BookUpdate,
    End,
    EndReason,
    Loss,
    LossReason,
    PeerError,
    Position,
    Request,
    SlowPolicy,
    Snapshot,
    Start,
    Status,
    Trade,
    TradeKind,
    decode_request,
    encode_block,
    encode_changes,
    encode_event,
    frame,
)
from fanout.protocol.header import opening as header_frames
from fanout.protocol.request import MAX_REQUEST_BYTES
from tests.protocol.golden import BTC, HEADER
from tests.protocol.test_session import (
    SNAPSHOT,
    block,
    book,
    end,
    gap,
    heartbeat,
    loss,
    opening,
    status,
    unknown,
)

Collected = list[Received]


def take_request(connection: socket.socket) -> Request:
    """What a client asks for, first of all."""
    with connection.makefile("rb") as stream:
        length = int.from_bytes(stream.read(4), "little")
        return decode_request(stream.read(length) if length <= MAX_REQUEST_BYTES else b"")


class Script:
    """A service that takes each connection's request, sends it its bytes, and then closes or stays
    silent."""

    def __init__(
        self, connections: Sequence[bytes], silent: bool, tls: ssl.SSLContext | None
    ) -> None:
        self._connections = connections
        self._silent = silent
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "tls" if tls else "tcp"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.served = 0
        self.requests: list[Request] = []

    def run(self) -> None:
        with self._listener:
            for data in self._connections:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(ssl.SSLError, ConnectionError):
                    self.served += 1
                    self._serve(connection, data)

    def _serve(self, plain: socket.socket, data: bytes) -> None:
        with self._tls.wrap_socket(plain, server_side=True) if self._tls else plain as connection:
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
def serving(
    *connections: bytes, silent: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[Script]:
    script = Script(connections, silent, tls)
    thread = threading.Thread(target=script.run)
    thread.start()
    try:
        yield script
    finally:
        script.close()
        thread.join()


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)
    return context


def client_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


AWAY = Position(epoch_ns=6, seq=50)


class ClientContract(ABC):
    @abstractmethod
    def collect(
        self, url: str, until: Callable[[Collected], bool], **options: object
    ) -> tuple[Collected, Client]:
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
            _, client = self.collect(service.url, lambda each: len(each) == 1, reconnect=False)
        assert client.header is not None
        assert [each.symbol for each in client.header.instruments] == ["BTCUSDT", "币安人生USDT"]

    def test_a_lost_connection_is_reported_and_replaced_and_the_loss_is_reported(self) -> None:
        gone = opening(4) + loss(1, 3) + block(4)
        with serving(opening(1) + block(1)[:-3], gone) as service:
            records, _ = self.collect(service.url, lambda each: isinstance(each[-1], Trade))
        disconnected, missed, trade = records
        assert isinstance(disconnected, Disconnected)
        assert "without an END" in disconnected.why
        assert missed == Loss(first_seq=1, last_seq=3, reason=LossReason.SLOW)
        assert isinstance(trade, Trade)

    def test_after_an_end_it_reconnects_after_the_delay_the_service_asked_for(self) -> None:
        with serving(opening(1) + end(0), opening(1, epoch_ns=8) + block(1)) as service:
            records, _ = self.collect(service.url, lambda each: isinstance(each[-1], Trade))
        assert [type(each) for each in records] == [End, Disconnected, Restarted, Trade]
        assert isinstance(records[1], Disconnected)
        assert records[1].pause_s >= 0.010
        assert records[2] == Restarted(before=Position(epoch_ns=7, seq=1), epoch_ns=8)

    def test_a_service_that_only_sends_a_header_does_not_reset_the_pauses(self) -> None:
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

    def test_a_delay_asked_by_the_service_has_a_limit(self) -> None:
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

    def test_without_reconnecting_a_refused_connection_is_an_error_with_the_address(self) -> None:
        with serving() as service:
            url = service.url
        with pytest.raises(DisconnectedError, match=f"{url}: .*refused"):
            self.to_the_end(url, reconnect=False)

    def test_a_refused_connection_is_reported_and_tried_again(self) -> None:
        with serving() as service:
            url = service.url
        records, client = self.collect(url, lambda each: len(each) == 3)
        assert all(isinstance(each, Disconnected) and "refused" in each.why for each in records)
        assert (client.header, client.position) == (None, None)

    @pytest.mark.parametrize("data", [b"HTTP/1.1 400 Bad Request\r\n\r\n", opening(1)[:-1] + b"\0"])
    def test_malformed_bytes_end_the_connection_with_a_reason(self, data: bytes) -> None:
        with serving(data) as service, pytest.raises(DisconnectedError, match=r"frame|CRC"):
            self.to_the_end(service.url, reconnect=False)

    def test_records_before_malformed_bytes_are_handed_over(self) -> None:
        with serving(opening(1) + block(1) + b"\xff" * 8, opening(2)) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 2)
        assert [type(each) for each in records] == [Trade, Disconnected]

    def test_a_silent_connection_counts_as_lost(self) -> None:
        with (
            serving(opening(1), silent=True) as service,
            pytest.raises(DisconnectedError, match=r"the service was silent for 0\.05 s"),
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
    def test_a_malformed_address_is_refused_at_once(self, url: str) -> None:
        with pytest.raises(AddressError, match="tcp://HOST:PORT"):
            self.to_the_end(url)

    def test_a_snapshot_is_not_a_trade(self) -> None:
        with serving(opening(3) + block(3, 2, BlockFlags.SNAPSHOT) + end(2)) as service:
            records = self.to_the_end(service.url, reconnect=False)
        assert [type(each) for each in records] == [Snapshot, End]

    # Where to begin, and beginning again.

    def asked(self, *connections: bytes, until: int = 1, **options: object) -> list[Request]:
        """What a client with these options asks each connection for, until it has got so many
        trades."""
        with serving(*connections) as service:
            self.collect(
                service.url,
                lambda each: sum(isinstance(one, Trade) for one in each) == until,
                **options,
            )
        return service.requests

    def test_the_request_holds_the_callers_options(self) -> None:
        there = Position(epoch_ns=7, seq=5)
        (request,) = self.asked(
            opening(9) + block(5), start=there, slow="disconnect", token="t-o-k-e-n"
        )
        assert request == Request(start=there, slow=SlowPolicy.DISCONNECT, token="t-o-k-e-n")
        assert self.asked(opening(9) + block(9)) == [Request()]
        assert self.asked(opening(1) + block(1), start="oldest") == [Request(start=Start.OLDEST)]

    def test_after_a_disconnect_it_requests_the_next_record(self) -> None:
        requests = self.asked(
            opening(1) + block(1, 2) + block(3)[:-1], opening(9) + block(3), until=3, token="t"
        )
        assert requests == [
            Request(token="t"),
            Request(start=Position(epoch_ns=7, seq=3), token="t"),
        ]

    def test_without_resume_it_reconnects_at_the_newest_record(self) -> None:
        requests = self.asked(
            opening(1) + block(1), opening(9) + block(9), until=2, resume=False, start="oldest"
        )
        assert requests == [Request(start=Start.OLDEST), Request()]

    def test_a_resumed_stream_has_no_loss(self) -> None:
        with serving(opening(1) + block(1, 2), opening(9) + block(3, 6) + block(9)) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 10)
        assert [each.seq for each in records if isinstance(each, Trade)] == list(range(1, 10))
        assert not [each for each in records if isinstance(each, Loss)]

    def test_a_service_that_is_full_for_a_while_causes_no_loss(self) -> None:
        full = End(reason=EndReason.FULL, last_seq=8, retry_ms=1)
        turned_away = opening(9) + frame(encode_event(full))
        with serving(opening(1) + block(1, 2), turned_away, opening(9) + block(3)) as service:
            records, _ = self.collect(service.url, lambda each: len(each) == 6)
        assert [each.seq for each in records if isinstance(each, Trade)] == [1, 2, 3]
        assert not [each for each in records if isinstance(each, Loss)]

    def test_a_service_that_ignored_the_request_is_asked_again(self) -> None:
        unheard = opening(9) + block(9)
        with serving(opening(1) + block(1), unheard, opening(9) + block(2, 8)) as service:
            records, client = self.collect(service.url, lambda each: len(each) == 11)
        assert [each.seq for each in records if isinstance(each, Trade)] == list(range(1, 10))
        assert isinstance(records[2], Disconnected)
        assert records[2].why == "the service began at 9, and not at 2 as asked"
        assert client.reconnects[0].attempts == 2

    def test_a_service_that_always_ignores_the_request_causes_a_loss(self) -> None:
        unheard = [opening(9) + book(9, flags=SNAPSHOT) + block(9)] * 4
        with serving(opening(1) + block(1), *unheard) as service:
            records, client = self.collect(service.url, lambda each: len(each) == 11)
        missed = Loss(first_seq=2, last_seq=8, reason=LossReason.DISCONNECTED)
        after = records[records.index(missed) :]
        assert [type(each) for each in after] == [Loss, BookUpdate, Trade], "it loses no book"
        assert client.reconnects[0].lost == (missed,)
        assert client.reconnects[0].attempts == 4

    @pytest.mark.parametrize("start", [AWAY, "oldest", "live"])
    def test_a_new_epoch_is_reported_to_a_client_with_a_position(self, start: object) -> None:
        with serving(opening(1) + block(1)) as service:
            records, _ = self.collect(
                service.url, lambda each: isinstance(each[-1], Trade), start=start
            )
        told = [each for each in records if isinstance(each, Restarted)]
        assert told == ([Restarted(before=start, epoch_ns=7)] if start == AWAY else [])

    def test_a_reconnect_records_that_the_service_restarted(self) -> None:
        with serving(opening(1) + block(1), opening(1, epoch_ns=8) + block(1)) as service:
            records, client = self.collect(service.url, lambda each: len(each) == 4)
        assert [type(each) for each in records] == [Trade, Disconnected, Restarted, Trade]
        assert [each.is_new_epoch for each in client.reconnects] == [True]

    def test_heartbeats_alone_make_a_connection_good(self) -> None:
        quiet = opening(2) + heartbeat(2)
        with serving(opening(1) + block(1), *[quiet] * 5) as service:
            records, client = self.collect(service.url, lambda each: len(each) == 7)
        pauses = [each.pause_s for each in records if isinstance(each, Disconnected)]
        assert max(pauses) < 3 * min(pauses)
        assert [each.attempts for each in client.reconnects] == [1] * 5

    @pytest.mark.parametrize("reason", [EndReason.AUTH, EndReason.BAD_REQUEST, EndReason.FULL])
    def test_a_refusal_is_an_error_after_the_end_with_the_reason(self, reason: EndReason) -> None:
        end = End(reason=reason, last_seq=0, retry_ms=None, why="the token is wrong")
        with (
            serving(opening(1) + frame(encode_event(end))) as service,
            pytest.raises(RefusedError, match=f"{service.url}: the token is wrong"),
        ):
            self.to_the_end(service.url)

    @pytest.mark.parametrize(
        "options",
        [
            {"token": "x" * 5_000},
            {"token": "\udc80"},
            {"start": Position(epoch_ns=2**70, seq=1)},
            {"start": Position(epoch_ns=1, seq=0)},
            {"start": "now"},
            {"slow": "wait"},
        ],
    )
    def test_a_request_that_cannot_be_encoded_is_an_error_before_anything_opens(
        self, options: dict[str, object]
    ) -> None:
        with pytest.raises(ValueError, match=r"."):
            self.to_the_end("tcp://127.0.0.1:1", **options)

    def test_the_position_follows_the_last_record_handed_over(self) -> None:
        for taken, due in [(1, 2), (2, 3), (6, 7), (7, 10)]:
            with serving(opening(1) + status(1) + block(2, 5) + loss(7, 9)) as service:
                _, client = self.collect(service.url, lambda each, n=taken: len(each) == n)
            assert client.position == Position(epoch_ns=7, seq=due)

    def test_reconnects_are_recorded_with_their_losses(self) -> None:
        gone = opening(9) + loss(2, 5) + block(6)
        with serving(opening(1) + block(1), b"", gone) as service:
            _, client = self.collect(service.url, lambda each: len(each) == 5)
        (reconnect,) = client.reconnects
        assert isinstance(reconnect, Reconnect)
        assert "without an END" in reconnect.why
        assert reconnect.attempts == 2
        assert 0 < reconnect.pause_s < 1
        assert reconnect.lost == (Loss(first_seq=2, last_seq=5, reason=LossReason.SLOW),)

    # What the caller wants of it.

    def test_filtered_records_are_not_counted_as_lost(self) -> None:
        stream = opening(1) + block(1, 3, BlockFlags.SNAPSHOT) + block(1) + status(2) + gap(3)
        with serving(stream + block(4, 2) + end(5)) as service:
            records, client = self.collect(
                service.url, lambda _: False, reconnect=False, symbols=["币安人生USDT"]
            )
        assert [type(each) for each in records] == [Status, End]
        assert client.position == Position(epoch_ns=7, seq=6)
        assert client.statistics.trades == 3

    def test_trades_that_are_not_fills_can_be_filtered_out(self) -> None:
        kinds = list(TradeKind)
        trades = [Trade(BTC, 9 + i, 5, 6, 7, False, kind) for i, kind in enumerate(kinds)]
        mixed = encode_block(Block(first_seq=1, trades=trades, received_ns=9), HEADER)
        with serving(opening(1) + frame(mixed) + end(len(kinds))) as service:
            records, client = self.collect(
                service.url, lambda _: False, reconnect=False, market_only=True
            )
        left = [each.kind for each in records if isinstance(each, Trade)]
        assert left == [TradeKind.MARKET, TradeKind.RPI, TradeKind.AGGREGATE]
        assert client.position == Position(epoch_ns=7, seq=len(kinds) + 1)

    def test_a_symbol_that_is_not_served_is_an_error_that_names_those_that_are(self) -> None:
        with (
            serving(opening(1) + block(1)) as service,
            pytest.raises(UnknownSymbolError, match="XRPUSDT is not served here: BTCUSDT, "),
        ):
            self.to_the_end(service.url, symbols=["BTCUSDT", "XRPUSDT"])

    @pytest.mark.parametrize("symbol", ["BTCUSDT", "XRPUSDT"])
    def test_symbols_are_checked_once_the_listing_is_known(self, symbol: str) -> None:
        """The channel has no instruments until the venue answers."""
        bare = replace(HEADER, next_seq=1, epoch_ns=7, instruments=(), references=())
        full = replace(HEADER, next_seq=1, epoch_ns=7)
        stream = frame(START) + header_frames(bare) + heartbeat(1)
        stream += b"".join(map(frame, encode_changes(bare, full))) + block(1) + end(1)
        with serving(stream) as service:
            if symbol == "BTCUSDT":
                records = self.to_the_end(service.url, symbols=[symbol], reconnect=False)
                assert [each.symbol for each in records if isinstance(each, Trade)] == [symbol]
                return
            with pytest.raises(UnknownSymbolError, match="XRPUSDT is not served here: BTCUSDT, "):
                self.to_the_end(service.url, symbols=[symbol], reconnect=False)

    def test_a_string_instead_of_a_collection_of_symbols_is_refused(self) -> None:
        with pytest.raises(AddressError, match=r"\['BTCUSDT'\]"):
            self.to_the_end("tcp://127.0.0.1:1", symbols="BTCUSDT")

    # TLS.

    def test_a_tls_context_with_a_plain_address_is_refused(self) -> None:
        with pytest.raises(AddressError, match="tls://HOST:PORT"):
            self.to_the_end("tcp://127.0.0.1:1", tls=client_tls())

    def test_records_are_the_same_over_tls(self) -> None:
        stream = opening(1) + block(1, 2) + end(2)
        with serving(stream, tls=server_tls()) as service:
            records = self.to_the_end(service.url, reconnect=False, tls=client_tls())
        assert [type(each) for each in records] == [Trade, Trade, End]

    def test_an_untrusted_certificate_is_refused(self) -> None:
        with (
            serving(opening(1), tls=server_tls()) as service,
            pytest.raises(DisconnectedError, match="certificate is not trusted"),
        ):
            self.to_the_end(service.url, reconnect=False)

    def test_a_service_without_tls_is_named_in_the_error(self) -> None:
        with (
            serving(opening(1) + block(1)) as service,
            pytest.raises(
                DisconnectedError, match="does not speak TLS: use tcp:// instead of tls://"
            ),
        ):
            self.to_the_end(service.url.replace("tcp:", "tls:"), reconnect=False)

    def test_a_service_with_tls_is_named_in_the_error_of_a_plain_client(self) -> None:
        with (
            serving(bytes.fromhex("15030300020246")) as service,
            pytest.raises(DisconnectedError, match="speaks TLS: use tls:// instead of tcp://"),
        ):
            self.to_the_end(service.url, reconnect=False)

    def test_a_service_with_wire_1_is_named_in_the_error(self) -> None:
        stream = frame(START) + frame(bytes.fromhex("010100"))
        with (
            serving(stream) as service,
            pytest.raises(DisconnectedError, match="wire 1 is spoken here, and not 2"),
        ):
            self.to_the_end(service.url, reconnect=False)
