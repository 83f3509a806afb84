"""The common part of the clients that receive multicast. It never waits.

    line A  --.                                     .--> Subscription --> records
               >--> fanout.protocol.lines.Lines --<
    line B  --'            ^                        '--> what is missing
                           '--- TCP, where `recovery` is given <---'

A `GroupClient` joins the groups, takes packets, and asks over TCP for what no line brought. The
clients around it only wait until one of its sockets is ready, which they all are in one `epoll`.
"""

import ssl
import time
from collections.abc import Sequence
from typing import Final, Unpack

from fanout.clients.client import Client, ClientOptions
from fanout.clients.connecting import Address
from fanout.clients.multicast_recovery import Recovery
from fanout.clients.multicast_socket import RECEIVE_BUFFER_BYTES, Receivers
from fanout.clients.outcomes import AddressError, DisconnectedError
from fanout.clients.tcp_client import channel_in, parse_address, silence
from fanout.protocol.constants import LENGTH_BYTES
from fanout.protocol.errors import NotRepresentableError, PeerError, RecoveryEndedError
from fanout.protocol.framing import frame
from fanout.protocol.group import Group, interface_fault, parse_group
from fanout.protocol.lines import Lines, LinesStatistics
from fanout.protocol.request import (
    Begin,
    Moment,
    Position,
    Request,
    Start,
    decode_request,
    encode_request,
)

PATIENCE_S: Final = 0.01
"""Default for how long a missing packet is waited for: the other line may bring it, or another
packet overtook it on the way."""

RECOVERY_S: Final = 2.0
"""How long TCP may bring nothing, from the first attempt to connect on. Then missing records are
reported as lost."""

RETRY_S: Final = 0.25
"""Pause before another attempt to connect for what is missing, after one that failed."""

JOIN_S: Final = 30.0
"""How long a client waits for the header. A service sends it to the group every few seconds."""

LOOK_S: Final = 0.5
"""Longest wait for packets before a client looks after everything else."""


class GroupClient(Client):
    """A subscriber to a multicast group."""

    def __init__(
        self,
        url: str,
        *,
        group_b: str | None = None,
        interface: str = "",
        recovery: str | None = None,
        start: str | Position | Moment = "live",
        resume: bool = True,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        patience_s: float = PATIENCE_S,
        buffer_bytes: int = RECEIVE_BUFFER_BYTES,
        **options: Unpack[ClientOptions],
    ) -> None:
        """`url` is `multicast://ADDRESS:PORT`, the group of a channel on line A, followed by
        `/CHANNEL` if another channel there is an error. `group_b`, `ADDRESS:PORT`, is the channel's
        group on line B. `interface` is the address of the network interface to receive from;
        without it the system chooses.

        `recovery` is the service's address over TCP, `tcp://HOST:PORT` or `tls://HOST:PORT`. There
        the client asks for what no line brought within `patience_s`. `start`, `resume`, `token` and
        `tls` are as for `fanout.clients.tcp_client.NetworkClient`, and need `recovery`.

        Without `recovery` the client begins at the next snapshot that the service sends to the
        group, and reports what it misses as a `Loss`. So does a client that gets nothing over TCP
        within `RECOVERY_S`.

        `buffer_bytes` is the receive buffer of each line. If the system gives less, the client logs
        a warning. Raises `AddressError`. `fanout.clients.client.Client` has the other parameters.
        """
        begin = start if isinstance(start, Position | Moment) else Start(start)
        if recovery is None and not (begin is Start.LIVE and token is None and tls is None):
            raise AddressError(
                f"{url!r}: start=, token= and tls= are for TCP: give recovery='tcp://HOST:PORT' too"
            )
        request = Request(start=begin, token=token, channel=channel_in(url))
        super().__init__(url, request=request, resume=resume and recovery is not None, **options)
        groups = [url.removeprefix("multicast://").partition("/")[0]]
        groups += [] if group_b is None else [group_b]
        if not url.startswith("multicast://"):
            raise AddressError(f"{url!r} is not an address: use multicast://ADDRESS:PORT")
        self._groups = [_group(each) for each in groups]
        fault = interface_fault(interface)
        if fault:
            raise AddressError(f"interface={fault}")
        self._interface = interface
        self._buffer_bytes = buffer_bytes
        self._patience_s = patience_s
        self._service = None if recovery is None else parse_address(recovery)[:2]
        """Host and port over TCP."""
        is_tls = recovery is not None and parse_address(recovery)[2]
        if tls is not None and not is_tls:
            raise AddressError(f"tls= is given, but {recovery!r} is not a TLS address: use tls://")
        self._tls = (tls or ssl.create_default_context()) if is_tls else None
        self._receivers: Receivers | None = None
        self._lines: Lines | None = None
        self._over: Lines | None = None
        """The lines of an epoch that ended. They may have packets of the next one."""
        self._counts: LinesStatistics | None = None
        """Of lines that are gone."""
        self._asked = request
        """What this connection asks for."""
        self._addresses: Sequence[Address] = ()
        """Of the service over TCP."""
        self._recovery: Recovery | None = None
        self._ask_from_s = 0.0
        """When the next connection over TCP may be made, after one that failed."""
        self._asked_s: float | None = None
        """When the first attempt was made to get over TCP what is wanted now."""
        self._recovery_began_s = 0.0
        self._recovered_s = 0.0
        """When anything came over TCP last."""
        self._joined_s = 0.0

    @property
    def lines(self) -> LinesStatistics | None:
        """Counts of packets since the client joined the groups last; None before it did."""
        lines = self._lines or self._over
        return self._counts if lines is None else lines.statistics

    def _is_connected(self) -> bool:
        # A client that is refused over TCP gets the header, too, and then an END.
        lines = self._lines
        has_joined = lines is not None and lines.has_joined and lines.wanted is None
        return self._is_over or has_joined or self._subscription.is_answered

    # A step. `_open` comes once for each connection, then `_turn` whenever a socket is ready.

    def _open(self, addresses: Sequence[Address]) -> None:
        """Join the groups, and ask over TCP for where to begin. `addresses` are the service's.
        Raises `OSError` and `DisconnectedError`."""
        self._addresses = addresses
        if self._receivers is None:
            self._receivers = Receivers(
                self._groups, interface=self._interface, buffer_bytes=self._buffer_bytes
            )
        self._asked = decode_request(self._subscription.request()[LENGTH_BYTES:])
        self._joined_s = now_s = time.monotonic()
        over, self._over = self._over, None
        begin = self._asked.start
        self._lines = Lines(begin=begin) if over is None else over.following(now_s, begin)
        self._ask_from_s = now_s
        self._look(now_s)

    def _turn(self) -> bool:
        """Take the packets that have come, and ask for missing ones. Returns False if there is
        nothing more to do now. Raises `OSError` and `PeerError`."""
        lines, receivers = self._lines, self._receivers
        assert lines is not None, "the client has joined"
        assert receivers is not None, "the client has joined"
        now_s = time.monotonic()
        is_any = receivers.receive(lines, now_s)
        if self._recovery is not None:
            is_any |= self._read_recovery(self._recovery, lines, now_s)
        self._look(now_s)
        return self._hand_over(lines) or is_any

    def _hand_over(self, lines: Lines) -> bool:
        """Pass the frames that are in order to the session. Returns whether there were any. Raises
        `PeerError` for them, and at the end of the epoch."""
        frames = lines.take()
        if frames:
            self._mark = None
            self._subscription.receive(frames)
        if lines.is_over:
            if lines.next_epoch_ns is not None and self._subscription.state.end is None:
                raise DisconnectedError("the service was started anew")
            self._subscription.receive(b"")
        return bool(frames)

    def _look(self, now_s: float) -> None:
        """Ask for missing records, or give them up, if it is time. Raises `OSError` and
        `DisconnectedError`."""
        lines = self._lines
        assert lines is not None, "the client has joined"
        if now_s - (lines.heard_s or self._joined_s) > self._idle_timeout_s:
            raise silence(self._idle_timeout_s)
        if not lines.has_joined and now_s - self._joined_s > JOIN_S:
            raise DisconnectedError(
                f"no header came within {JOIN_S:g} s: give recovery='tcp://HOST:PORT', or start "
                "the service with --snapshot-s 5"
            )
        missing = lines.missing
        late_s = 0.0 if missing is None else now_s - missing.since_s
        wanted = None if self._service is None else lines.wanted
        if wanted is None:
            self._asked_s = None
        if self._recovery is not None:
            self._look_after_recovery(lines, wanted, now_s)
        elif wanted is not None and (missing is None or late_s >= self._patience_s):
            self._ask(wanted, now_s)
        if wanted is not None:
            # Not while it comes: there may be hours of it. And a program that was stopped, or busy,
            # finds old holes that it has not asked for yet.
            asked_s = now_s if self._asked_s is None else self._asked_s
            late_s = min(late_s, now_s - max(self._recovered_s, asked_s)) - RECOVERY_S
        if missing is not None and late_s >= self._patience_s:
            lines.give_up()

    def _wait_s(self) -> float:
        """How long to wait for a socket at the most."""
        lines = self._lines
        assert lines is not None, "the client has joined"
        due_s = (lines.heard_s or self._joined_s) + self._idle_timeout_s
        missing = lines.missing
        if missing is not None and self._recovery is None:
            due_s = min(due_s, max(missing.since_s + self._patience_s, self._ask_from_s))
        return min(LOOK_S, max(0.0, due_s - time.monotonic()) + 0.001)

    # TCP.

    def _ask(self, wanted: Begin, now_s: float) -> None:
        """Connect to the service over TCP, unless that failed just now."""
        if now_s < self._ask_from_s:
            return
        if self._asked_s is None:
            self._asked_s = now_s
        assert self._service is not None, "only then anything is wanted"
        assert self._receivers is not None, "the client has joined"
        self._recovery_began_s = now_s
        request = Request(start=wanted, token=self._asked.token, channel=self._asked.channel)
        hello = frame(encode_request(request))
        try:
            self._recovery = Recovery(self._addresses, hello, host=self._service[0], tls=self._tls)
            self._receivers.watch(self._recovery)
        except OSError as error:
            self._recovery_failed(error)

    def _look_after_recovery(self, lines: Lines, wanted: Begin | None, now_s: float) -> None:
        """Close the connection if the lines have brought everything meanwhile, or if it is
        silent."""
        if wanted is None:
            self._close_recovery()
            lines.recovery_lost()
        elif now_s - max(self._recovery_began_s, self._recovered_s) > self._idle_timeout_s:
            # A name may have an address that leads nowhere. The next attempt begins behind it.
            self._addresses = [*self._addresses[1:], *self._addresses[:1]]
            self._recovery_failed(silence(self._idle_timeout_s))

    def _read_recovery(self, recovery: Recovery, lines: Lines, now_s: float) -> bool:
        """Take what has come over TCP. Returns whether anything has."""
        assert self._receivers is not None, "the client has joined"
        try:
            data = recovery.read()
            self._receivers.watch(recovery)
            if data is None:
                return False
            if not data:
                raise DisconnectedError("the service closed the connection without an END")
            self._recovered_s = now_s
            if lines.recovered(data, now_s):
                self._close_recovery()
        except RecoveryEndedError as error:
            self._refused(error)
        except (OSError, PeerError) as error:
            self._recovery_failed(error)
        return True

    def _refused(self, error: RecoveryEndedError) -> None:
        """The service ended the connection over TCP. A client that has not joined yet ends as it
        would over TCP."""
        lines = self._lines
        assert lines is not None, "the client has joined"
        if not self._subscription.is_answered:
            self._hand_over(lines)
            self._subscription.receive(error.end)
            self._subscription.receive(b"")
        self._recovery_failed(error)

    def _recovery_failed(self, error: Exception) -> None:
        """The connection over TCP is lost, or could not be made. Raises the error, if no line
        brings anything either."""
        lines = self._lines
        assert lines is not None, "the client has joined"
        self._close_recovery()
        if lines.heard_s is None:
            raise error
        now_s = time.monotonic()
        self._ask_from_s = now_s + RETRY_S
        lines.recovery_lost()

    def _close_recovery(self) -> None:
        recovery, self._recovery = self._recovery, None
        if recovery is not None:
            recovery.close()

    # The end.

    def _lost(self, error: Exception) -> None:
        lines = self._lines
        if lines is None or not lines.is_over:
            super()._lost(error)
            return
        # The next epoch comes to the same groups. What it brings meanwhile waits in the sockets.
        self._close_recovery()
        self._over, self._lines = lines, None
        self._disconnected(error)
        self._settle()

    def _has_connection(self) -> bool:
        return self._receivers is not None

    def _close_copy(self) -> None:
        self._counts = self.lines
        receivers, recovery = self._receivers, self._recovery
        self._receivers = self._recovery = self._lines = self._over = None
        if recovery is not None:
            recovery.close_copy()
        if receivers is not None:
            receivers.close()

    def _drop(self) -> None:
        self._close_recovery()
        self._close_copy()


def _group(text: str) -> Group:
    try:
        return parse_group(text)
    except NotRepresentableError as error:
        raise AddressError(str(error)) from error
