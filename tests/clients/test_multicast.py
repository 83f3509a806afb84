import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from types import SimpleNamespace
from unittest import mock

import pytest

from fanout.clients import multicast_client, multicast_socket, subscription
from fanout.clients.connecting import addresses_of
from fanout.clients.multicast import MulticastClient
from fanout.clients.multicast_recovery import Recovery
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    ForkedError,
    Received,
    RefusedError,
    Restarted,
    UnknownChannelError,
)
from fanout.protocol import (
    End,
    EndReason,
    Line,
    Loss,
    LossReason,
    Packer,
    Position,
    Request,
    Snapshot,
    Start,
    Trade,
    encode_event,
    encode_request,
    frame,
    on_line,
)
from tests.clients.groups import (
    Blocking,
    Collect,
    collect_asyncio,
    collect_blocking,
    collect_trio,
    sending,
    snapshot,
)
from tests.contracts.client import client_tls, server_tls, serving
from tests.protocol.test_session import block, heartbeat, opening
from tests.stand.groups import LOOPBACK


@pytest.fixture(params=[collect_blocking, collect_asyncio, collect_trio])
def collect(request: pytest.FixtureRequest) -> Collect:
    """Iterates over a client of each kind until its records suffice, or it ends."""
    made: Collect = request.param
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(multicast_client, "RETRY_S", 0.001)


HELLO = frame(encode_request(Request()))


def has(kind: type, count: int) -> Callable[[list[Received]], bool]:
    return lambda records: sum(isinstance(each, kind) for each in records) == count


def never(_: list[Received]) -> bool:
    return False


def seqs(records: list[Received]) -> list[int]:
    return [each.seq for each in records if isinstance(each, Trade)]


def losses(records: list[Received]) -> list[Loss]:
    return [each for each in records if isinstance(each, Loss)]


def end(reason: EndReason, retry_ms: int | None) -> bytes:
    return frame(encode_event(End(reason=reason, last_seq=0, retry_ms=retry_ms, why="a test")))


def nothing(_: int) -> None:
    pass


def test_each_record_comes_once_from_whichever_line_has_it(collect: Collect) -> None:
    with sending() as service:

        def act(_: int) -> None:
            service.opening("b")
            service.trades(2)
            service.trades(1, "a")
            service.trades(1, "b")
            for _ in range(100):
                service.trades(3)
            service.end(retry_ms=None)

        records, client = collect(service.url, act, never, **service.options)
    assert seqs(records) == list(range(1, 305))
    assert [type(each) for each in records[304:]] == [End]
    assert not losses(records)
    assert isinstance(client, multicast_client.GroupClient)
    assert client.lines is not None
    assert client.lines.lines[1].packets >= 4


def test_a_receiver_of_one_line_waits_for_the_header_and_its_snapshot(collect: Collect) -> None:
    with sending() as service:
        service.options.pop("group_b")

        def act(_: int) -> None:
            service.trades(2)
            service.send([*service.packer.opening(5), *service.packer.snapshot(snapshot(3), 5)])
            service.trades(2)

        records, client = collect(service.url, act, has(Trade, 4), **service.options)
    assert [type(each) for each in records] == [Trade, Trade, Snapshot, Trade, Trade]
    assert seqs(records) == [1, 2, 3, 4]
    assert client.position == Position(epoch_ns=7, seq=5)


def test_without_recovery_what_no_line_brings_is_reported_as_lost(collect: Collect) -> None:
    with sending() as service:

        def act(_: int) -> None:
            service.opening()
            service.trades(2)
            service.trades(3, on="")
            service.trades(1)

        records, client = collect(
            service.url, act, has(Trade, 3), patience_s=0.001, **service.options
        )
    assert seqs(records) == [1, 2, 6]
    assert losses(records) == [Loss(first_seq=3, last_seq=5, reason=LossReason.UNANNOUNCED)]
    assert client.statistics.lost == 3


def test_what_no_line_brings_is_asked_for_over_tcp(collect: Collect) -> None:
    held = opening(7) + block(3, 3) + block(6)
    with sending() as service, serving(opening(1) + heartbeat(1), held) as over_tcp:

        def act(_: int) -> None:
            service.trades(2)
            service.trades(3, on="")
            service.trades(1)

        records, client = collect(
            service.url,
            act,
            has(Trade, 6),
            recovery=over_tcp.url,
            token="t",
            patience_s=0.001,
            **service.options,
        )
    assert seqs(records) == [1, 2, 3, 4, 5, 6]
    assert not losses(records)
    assert over_tcp.requests == [
        Request(token="t"),
        Request(start=Position(epoch_ns=7, seq=3), token="t"),
    ]
    assert isinstance(client, multicast_client.GroupClient)
    assert client.lines is not None
    assert client.lines.recovered == 3


def test_a_client_that_was_busy_asks_for_an_old_hole_before_it_gives_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late_s = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + late_s)
    monkeypatch.setattr(multicast_client, "time", clock)
    held = opening(7) + block(3, 3) + block(6)
    with (
        sending() as service,
        serving(opening(1) + heartbeat(1), held) as over_tcp,
        Blocking(service.url, recovery=over_tcp.url, patience_s=5.0, **service.options) as client,
    ):
        client.act = nothing
        client.connect()
        service.trades(2)
        service.trades(3, on="")
        service.trades(1)
        while client.lines is None or not client.lines.early:
            client._step()
        late_s = 3_600.0
        service.heartbeat()
        records = [next(client) for _ in range(6)]
    assert seqs(records) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("is_tls", [False, True])
def test_it_joins_over_tcp_at_any_place(collect: Collect, is_tls: bool) -> None:
    tls = server_tls() if is_tls else None
    with sending() as service, serving(opening(3) + block(1, 2), tls=tls) as over_tcp:

        def act(_: int) -> None:
            service.packer.pack(block(1, 2), 5)
            service.trades(2)

        records, _ = collect(
            service.url,
            act,
            has(Trade, 4),
            recovery=over_tcp.url,
            start="oldest",
            tls=client_tls() if is_tls else None,
            **service.options,
        )
    assert seqs(records) == [1, 2, 3, 4]
    assert over_tcp.requests == [Request(start=Start.OLDEST)]


def test_a_service_that_refuses_is_an_error(collect: Collect) -> None:
    refusal = opening(1) + end(EndReason.AUTH, None)
    with (
        sending() as service,
        serving(refusal) as over_tcp,
        pytest.raises(RefusedError, match="a test"),
    ):
        collect(service.url, nothing, never, recovery=over_tcp.url, **service.options)


@pytest.mark.parametrize(("host", "words"), [(LOOPBACK, "refused"), ("224.0.0.1", "unreachable")])
def test_a_service_that_is_not_there_is_reported_and_tried_again(
    collect: Collect, host: str, words: str
) -> None:
    with socket.create_server((LOOPBACK, 0)) as probe:
        url = f"tcp://{host}:{probe.getsockname()[1]}"
    with sending() as service:
        records, _ = collect(
            service.url, nothing, has(Disconnected, 3), recovery=url, **service.options
        )
        assert all(isinstance(each, Disconnected) and words in each.why for each in records)
        with pytest.raises(DisconnectedError, match=words):
            collect(service.url, nothing, never, recovery=url, reconnect=False, **service.options)


def test_where_tcp_fails_it_joins_by_packets_and_reports_what_it_misses(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multicast_client, "RECOVERY_S", 0.01)
    with socket.create_server((LOOPBACK, 0)) as probe:
        url = f"tcp://{LOOPBACK}:{probe.getsockname()[1]}"
    with sending() as service:

        def act(_: int) -> None:
            service.opening()
            service.trades(2)
            service.trades(3, on="")
            service.trades(1)

        records, _ = collect(
            service.url, act, has(Trade, 3), recovery=url, patience_s=0.001, **service.options
        )
    assert seqs(records) == [1, 2, 6]
    assert losses(records) == [Loss(first_seq=3, last_seq=5, reason=LossReason.UNANNOUNCED)]


@pytest.mark.parametrize("answer", [b"", opening(7)[:-9], opening(7) + end(EndReason.FULL, 1)])
def test_a_connection_over_tcp_that_ends_too_early_is_made_anew(
    collect: Collect, answer: bytes
) -> None:
    held = opening(7) + block(3, 3) + block(6)
    with sending() as service, serving(opening(1) + heartbeat(1), answer, held) as over_tcp:

        def act(_: int) -> None:
            service.trades(2)
            service.trades(3, on="")
            service.trades(1)

        records, _ = collect(
            service.url, act, has(Trade, 6), recovery=over_tcp.url, **service.options
        )
    assert seqs(records) == [1, 2, 3, 4, 5, 6]
    assert not losses(records)
    assert len(over_tcp.requests) == 3


def test_a_late_packet_makes_the_connection_over_tcp_needless(collect: Collect) -> None:
    timers: list[threading.Timer] = []
    with sending() as service, serving(opening(1) + heartbeat(1), b"", silent=True) as over_tcp:

        def act(_: int) -> None:
            service.opening()
            service.trades(2)
            (late,) = service.packer.pack(block(3), 5)
            service.trades(1)
            timers.append(threading.Timer(0.03, service.send, ([late],)))
            timers[-1].start()

        records, _ = collect(
            service.url,
            act,
            has(Trade, 4),
            recovery=over_tcp.url,
            patience_s=0.001,
            **service.options,
        )
        for each in timers:  # one line may have brought it before the other is sent
            each.join()
    assert seqs(records) == [1, 2, 3, 4]


def test_a_connection_over_tcp_that_is_not_answered_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Recovery, "read", lambda _: None)
    with sending() as service, serving(silent=True) as over_tcp:
        client = MulticastClient(
            service.url,
            recovery=over_tcp.url,
            reconnect=False,
            idle_timeout_s=0.02,
            **service.options,
        )
        with client, pytest.raises(DisconnectedError, match=r"silent for 0\.02 s"):
            next(client)


def test_a_connection_over_tcp_that_falls_silent_is_made_anew() -> None:
    with (
        sending() as service,
        serving(b"", silent=True) as over_tcp,
        Blocking(
            service.url,
            recovery=over_tcp.url,
            patience_s=0.0,
            idle_timeout_s=0.02,
            **service.options,
        ) as client,
    ):
        client.act = lambda _: service.opening()
        client.connect()
        service.packer.pack(block(1), 5)
        service.trades(1)
        while client._recovery is None:
            client._step()
        while client._recovery is not None:
            service.heartbeat()
            client._step()
        while client._recovery is None:
            service.heartbeat()
            client._step()


def test_after_an_end_it_waits_for_the_next_epoch(collect: Collect) -> None:
    with sending() as service:

        def act(time_joined: int) -> None:
            if time_joined == 0:
                service.opening()
                service.trades(2)
                service.end(retry_ms=1, times=3)
                service.restarted(8)
                service.opening()
                service.trades(1)

        records, _ = collect(service.url, act, has(Trade, 3), **service.options)
    names = [type(each) for each in records]
    assert names == [Trade, Trade, End, Disconnected, Restarted, Trade]
    assert records[4] == Restarted(before=Position(epoch_ns=7, seq=3), epoch_ns=8)


def test_a_service_that_was_started_anew_without_an_end_is_noticed(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.protocol.lines.SILENCE_S", 0.0)
    with sending() as service:

        def act(time_joined: int) -> None:
            if time_joined == 0:
                service.opening()
                service.trades(2)
                service.restarted(8)
                service.opening()
                service.trades(1)

        records, _ = collect(service.url, act, has(Trade, 3), **service.options)
    (disconnected,) = (each for each in records if isinstance(each, Disconnected))
    assert disconnected.why == "the service was started anew"
    assert Restarted(before=Position(epoch_ns=7, seq=3), epoch_ns=8) in records


@pytest.mark.parametrize("line", Line)
def test_a_stranger_in_the_group_ends_nothing_and_blinds_nobody(line: Line) -> None:
    with sending() as service:
        group = service.groups[0]
        service.options.pop("group_b")
        with (
            Blocking(service.url, **service.options) as client,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
        ):
            client.act = lambda _: (service.opening(), service.trades(2))[0]
            records = [next(client), next(client)]
            own = socket.inet_aton(LOOPBACK)
            stranger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
            for forged in (service.packer.heartbeat(5), *forged_ends(service.packer)):
                stranger.sendto(on_line(forged, line), (group.address, group.port))
            service.trades(1)
            records.append(next(client))
            counts = client.lines
    assert seqs(records) == [1, 2, 3]
    assert counts is not None
    assert counts.other_sender == 3


def forged_ends(packer: Packer) -> list[bytes]:
    over = End(reason=EndReason.SHUTDOWN, last_seq=packer.next_seq - 1, retry_ms=1, why="forged")
    return [packer.end(over, 5) for _ in range(2)]


def test_silence_counts_as_a_lost_connection(collect: Collect) -> None:
    with sending() as service:

        def act(_: int) -> None:
            service.opening()
            service.trades(1)

        with pytest.raises(DisconnectedError, match=r"silent for 0\.05 s"):
            collect(
                service.url, act, never, reconnect=False, idle_timeout_s=0.05, **service.options
            )


def test_a_group_without_snapshots_is_named_in_the_error(
    collect: Collect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multicast_client, "JOIN_S", 0.0)
    words = "no header came within 0 s: give recovery="
    with sending() as service, pytest.raises(DisconnectedError, match=words):
        collect(service.url, lambda _: service.trades(1), never, reconnect=False, **service.options)


def test_another_channel_than_asked_for_is_an_error(collect: Collect) -> None:
    with sending() as service:

        def act(_: int) -> None:
            service.opening()
            service.trades(1)

        with pytest.raises(UnknownChannelError, match="channel other was asked for"):
            collect(f"{service.url}/other", act, never, **service.options)
        records, _ = collect(f"{service.url}/perps", act, has(Trade, 1), **service.options)
    assert seqs(records) == [2]


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("tcp://127.0.0.1:9000", {}, "use multicast://ADDRESS:PORT"),
        ("multicast://10.0.0.1:9000", {}, "is no group"),
        ("multicast://239.1.1.1:9000/Not A Name", {}, "does not end with a channel name"),
        ("multicast://239.1.1.1:9000", {"group_b": "x"}, "'x' is no group"),
        ("multicast://239.1.1.1:9000", {"interface": "eth0"}, "'eth0' is no address"),
        ("multicast://239.1.1.1:9000", {"recovery": "x"}, "tcp://HOST:PORT"),
        ("multicast://239.1.1.1:9000", {"start": "oldest"}, "give recovery="),
        ("multicast://239.1.1.1:9000", {"token": "t"}, "give recovery="),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(
    url: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(AddressError, match=words):
        MulticastClient(url, **options)  # type: ignore[arg-type]


def test_a_tls_context_with_a_plain_address_is_refused() -> None:
    with pytest.raises(AddressError, match="use tls://"):
        MulticastClient(
            "multicast://239.1.1.1:9000", recovery="tcp://127.0.0.1:1", tls=client_tls()
        )


def test_an_interface_that_is_not_there_is_named_in_the_error(collect: Collect) -> None:
    with sending() as service:
        service.options["interface"] = "192.0.2.1"
        with pytest.raises(DisconnectedError, match=r"cannot join .* on 192\.0\.2\.1: no such dev"):
            collect(service.url, nothing, never, reconnect=False, **service.options)


def test_a_receive_buffer_that_is_too_small_is_told_in_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with sending() as service, caplog.at_level(logging.WARNING):
        receivers = multicast_socket.Receivers(
            service.groups[:1], interface=LOOPBACK, buffer_bytes=1 << 30
        )
        receivers.close()
    assert "bytes instead of 1,073,741,824, and a burst may overrun it" in caplog.text
    assert "sysctl -w net.core.rmem_max=1073741824" in caplog.text


def test_closing_from_another_thread_ends_the_iteration() -> None:
    with sending() as service:
        client = Blocking(service.url, **service.options)
        client.act = lambda _: (service.opening(), service.trades(1))[0]
        assert isinstance(next(client), Trade)
        closing = threading.Timer(0.02, client.close)
        closing.start()
        assert list(client) == []
        closing.join()
        client.close()


def test_closing_while_it_waits_to_join_ends_the_iteration() -> None:
    with socket.create_server((LOOPBACK, 0)) as probe:
        url = f"tcp://{LOOPBACK}:{probe.getsockname()[1]}"
    with sending() as service:
        client = MulticastClient(service.url, recovery=url, **service.options)
        next(client)
        client._subscription._change(pause_s=60.0)
        closing = threading.Timer(0.02, client.close)
        closing.start()
        assert all(isinstance(each, Disconnected) for each in client)
        closing.join()


def test_connect_waits_until_the_service_has_accepted_the_client() -> None:
    with (
        sending() as service,
        serving(opening(3) + heartbeat(3)) as over_tcp,
        MulticastClient(service.url, recovery=over_tcp.url, **service.options) as client,
    ):
        assert client.lines is None
        assert client.connect().next_seq == 3


def test_a_fork_does_not_share_the_sockets() -> None:
    with (
        sending() as service,
        serving(b"", silent=True) as over_tcp,
        Blocking(service.url, recovery=over_tcp.url, patience_s=0.0, **service.options) as client,
    ):
        client.act = lambda _: service.opening()
        client.connect()
        service.trades(1)
        assert isinstance(next(client), Trade)
        (late,) = service.packer.pack(block(2), 5)
        service.trades(1)
        while client._recovery is None:
            client._step()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                next(client)
            except ForkedError:
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        service.send([late])
        assert seqs([next(client), next(client)]) == [2, 3]
        service.packer.pack(block(4), 5)
        service.trades(1)
        while client._recovery is None:
            client._step()
        client._leave_to_parent(os.getppid())  # what the fork did, seen from within
        with pytest.raises(ForkedError):
            next(client)


def test_an_interrupt_loses_no_record_where_tcp_has_it() -> None:
    with sending() as service, serving(opening(1) + heartbeat(1), opening(3) + block(2)) as tcp:
        client = Blocking(service.url, recovery=tcp.url, **service.options)

        client.act = lambda _: service.trades(1)
        with client:
            assert isinstance(next(client), Trade)
            client._begin()  # and then came an interrupt
            service.trades(1)
            records = [next(client) for _ in range(2)]
    assert [type(each) for each in records] == [Disconnected, Trade]
    assert seqs(records) == [2]


class TestRecovery:
    """A connection that is read whenever it is ready."""

    def read(self, recovery: Recovery) -> bytes:
        deadline_s = time.monotonic() + 5
        while (data := recovery.read()) is None:
            assert time.monotonic() < deadline_s
            time.sleep(0.001)
        return data

    def test_addresses_that_lead_nowhere_are_passed_over(self) -> None:
        with serving(b"bytes") as service, socket.create_server((LOOPBACK, 0)) as probe:
            closed = (socket.AF_INET, (LOOPBACK, probe.getsockname()[1]))
            probe.close()
            unknown = (socket.AF_ASH, (LOOPBACK, 9))
            unreachable = (socket.AF_INET, ("224.0.0.1", 9))
            (good,) = addresses_of(LOOPBACK, int(service.url.rpartition(":")[2]))
            recovery = Recovery([unknown, closed, unreachable, good], HELLO)
            assert self.read(recovery) == b"bytes"
            recovery.close()

    def test_an_address_less_is_an_error(self) -> None:
        with pytest.raises(OSError, match="no address"):
            Recovery([], b"")
        with pytest.raises(OSError, match="Address family"):
            Recovery([(socket.AF_ASH, (LOOPBACK, 9))], b"")

    def test_a_request_goes_out_as_far_as_the_socket_takes_it(self) -> None:
        with socket.create_server((LOOPBACK, 0)) as listener:
            hello = b"x" * 20_000_000
            recovery = Recovery(addresses_of(*listener.getsockname()), hello)
            connection, _ = listener.accept()
            with connection:
                got = 0
                while got < len(hello):
                    assert recovery.read() is None
                    got += len(connection.recv(1 << 22))
                connection.sendall(b"yes")
                assert self.read(recovery) == b"yes"
            assert self.read(recovery) == b""
            recovery.close()

    def test_tls_may_want_to_write_before_it_reads(self) -> None:
        wanted = [ssl.SSLWantWriteError(), ssl.SSLWantReadError()]

        class Wanting(socket.socket):
            def do_handshake(self) -> None:
                if wanted:
                    raise wanted.pop(0)

            def recv(self, *_: int) -> bytes:
                raise again.pop(0)

        again = [ssl.SSLWantWriteError(), ssl.SSLWantReadError()]
        with socket.create_server((LOOPBACK, 0)) as listener, Wanting() as secured:
            tls = mock.Mock(wrap_socket=lambda plain, **_: (plain.close(), secured)[1])
            recovery = Recovery(addresses_of(*listener.getsockname()), b"", tls=tls)
            listener.accept()[0].close()
            seen = []
            for _ in range(4):
                assert recovery.read() is None
                seen.append(recovery.events)
            assert seen == [EPOLLOUT, EPOLLIN, EPOLLOUT, EPOLLIN]
            recovery.close()

    def test_a_service_without_tls_is_named_in_the_error(self) -> None:
        with serving(opening(1) + block(1)) as service:
            port = int(service.url.rpartition(":")[2])
            recovery = Recovery(
                addresses_of(LOOPBACK, port), HELLO, host=LOOPBACK, tls=client_tls()
            )
            with pytest.raises(DisconnectedError, match="does not speak TLS"):
                self.read(recovery)
            recovery.close()
