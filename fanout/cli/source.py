"""Where a command takes records from, as it was typed, and the client for that."""

import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from fanout.cli.secrets import read_token
from fanout.clients.client import ClientOptions
from fanout.clients.outcomes import Disconnected, Restarted, without_password
from fanout.config.assets import typed_symbols
from fanout.config.moment import moment_ns
from fanout.errors import ConfigError, UsageError, shown
from fanout.protocol.errors import reason
from fanout.protocol.request import Moment, Position, Request, Start, encode_request

if TYPE_CHECKING:
    from fanout.clients.nats import NatsClient
    from fanout.clients.nats_trio import TrioNatsClient

OverTcp = TypeVar("OverTcp")
OfQueue = TypeVar("OfQueue")
OfRing = TypeVar("OfRing")
OfJournal = TypeVar("OfJournal")
OfGroup = TypeVar("OfGroup")
OfNats = TypeVar("OfNats")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A service, and what is wanted of it, as it was typed."""

    address: str
    symbols: list[str] | None = None
    market_only: bool = False
    start: str | None = None
    reconnect: bool = True
    token_file: str | None = None
    tls_ca: str | None = None
    recovery: str | None = None
    group_b: str | None = None
    interface: str = ""
    buffer_bytes: int | None = None
    """The receive buffer of each line of multicast."""
    creds: str | None = None
    prefix: str | None = None

    def client(
        self,
        over_tcp: Callable[..., OverTcp],
        of_queue: Callable[..., OfQueue],
        of_ring: Callable[..., OfRing],
        of_group: Callable[..., OfGroup],
        of_journal: Callable[..., OfJournal],
        of_nats: Callable[..., OfNats],
        *,
        follow: bool = False,
    ) -> OverTcp | OfQueue | OfRing | OfGroup | OfJournal | OfNats:
        """A client, by the kind that waits as the caller does: `fanout.clients.tcp.TcpClient`,
        `fanout.clients.shm.ShmClient`, `fanout.clients.ring.RingClient`,
        `fanout.clients.multicast.MulticastClient`, `fanout.clients.journal.JournalClient` and
        `fanout.clients.nats.NatsClient`, or their like. `follow` is for a journal. Raises
        `FanoutError` for what cannot be asked for."""
        if self.address.startswith(("nats://", "nats+tls://")):
            return self._nats(of_nats)
        if _is_typed(self.creds, "FANOUT_CREDS") or self.prefix is not None:
            raise UsageError(
                f"{without_password(self.address)}: --creds and --prefix are for nats://"
            )
        if self.address.startswith("multicast://"):
            return self._multicast(of_group)
        if self.recovery or self.group_b or self.interface:
            raise UsageError(
                f"{without_password(self.address)}: --recovery, --group-b and --interface are for "
                "multicast://"
            )
        if self.is_journal:
            self._require_no_secrets()
            return of_journal(
                self.address,
                start=parse_start(self.start or Start.OLDEST),
                follow=follow,
                symbols=typed_symbols(self.symbols or ()),
                market_only=self.market_only,
            )
        start = self.start or Start.LIVE
        if self.address.startswith("shm://"):
            if start != Start.LIVE:
                raise UsageError(f"--start {start}: a queue is read from where it was left")
            self._require_no_secrets()
            return of_queue(self.address, **self._options())
        if self.address.startswith("ring://"):
            place = parse_start(start)
            if isinstance(place, Moment):
                raise UsageError(f"--start {start}: a ring knows no times; a service over TCP does")
            self._require_no_secrets()
            return of_ring(self.address, start=place, **self._options())
        if self.tls_ca is not None and not self.address.startswith("tls://"):
            raise UsageError(
                f"{without_password(self.address)} does not speak TLS: leave --tls-ca out, or tls://"
            )
        token = read_token(self.token_file)
        return over_tcp(
            self.address,
            start=parse_start(start),
            token=None if token is None else token.reveal(),
            tls=_tls(self.tls_ca),
            **self._options(),
        )

    def _require_no_secrets(self) -> None:
        """Raises `UsageError` for options of a TCP connection. The environment may set them, for
        other commands."""
        typed = {
            "--token-file": _is_typed(self.token_file, "FANOUT_TOKEN_FILE"),
            "--tls-ca": _is_typed(self.tls_ca, "FANOUT_TLS_CA"),
        }
        for option, is_typed in typed.items():
            if is_typed:
                raise UsageError(f"{option} is for tcp:// and tls://: leave it out")

    def _multicast(self, of_group: Callable[..., OfGroup]) -> OfGroup:
        """A client for multicast. What is asked over TCP needs an address there."""
        of_tcp: dict[str, object] = {}
        of_group_alone = {} if self.buffer_bytes is None else {"buffer_bytes": self.buffer_bytes}
        if self.recovery is not None:
            if self.tls_ca is not None and not self.recovery.startswith("tls://"):
                raise UsageError(f"--recovery {self.recovery} does not speak TLS: use tls://")
            token = read_token(self.token_file)
            of_tcp["token"] = None if token is None else token.reveal()
            of_tcp["tls"] = _tls(self.tls_ca)
        elif (self.start or Start.LIVE) != Start.LIVE:
            raise UsageError(f"--start {self.start}: a group has no past; give --recovery too")
        return of_group(
            self.address,
            group_b=self.group_b,
            interface=self.interface,
            recovery=self.recovery,
            start=parse_start(self.start or Start.LIVE),
            **of_tcp,
            **of_group_alone,
            **self._options(),
        )

    def _nats(self, of_nats: Callable[..., OfNats]) -> OfNats:
        """A client for a stream of NATS. The address may have a password, so no error shows it."""
        if self.recovery or self.group_b or self.interface:
            raise UsageError("--recovery, --group-b and --interface are for multicast://")
        if _is_typed(self.token_file, "FANOUT_TOKEN_FILE"):
            raise UsageError("--token-file is for tcp:// and tls://: leave it out")
        is_tls = self.address.startswith("nats+tls://")
        if _is_typed(self.tls_ca, "FANOUT_TLS_CA") and not is_tls:
            raise UsageError("--tls-ca is for nats+tls://: leave it out")
        of_stream = {} if self.prefix is None else {"prefix": self.prefix}
        return of_nats(
            self.address,
            start=parse_start(self.start or Start.LIVE),
            creds=self.creds,
            tls=_tls(self.tls_ca) if is_tls else None,
            **of_stream,
            **self._options(),
        )

    @property
    def is_journal(self) -> bool:
        return self.address.startswith("journal://")

    def _options(self) -> ClientOptions:
        return {
            "reconnect": self.reconnect,
            "symbols": typed_symbols(self.symbols or ()),
            "market_only": self.market_only,
        }


def nats_client(address: str, **options: Any) -> "NatsClient":
    """A client of NATS that blocks. It is imported here, since asyncio takes a while."""
    from fanout.clients.nats import NatsClient

    return NatsClient(address, **options)


def trio_nats_client(address: str, **options: Any) -> "TrioNatsClient":
    """The same for trio."""
    from fanout.clients.nats_trio import TrioNatsClient

    return TrioNatsClient(address, **options)


def told(url: str, record: Disconnected | Restarted) -> str:
    """What became of the connection, in words."""
    if isinstance(record, Disconnected):
        when = f"in {record.pause_s:.1f} s" if record.pause_s else "at once"
        return f"{url}: {shown(record.why)}; trying again {when}"
    return f"{url}: the service was started anew: numbers begin at 1 again"


def parse_start(text: str) -> str | Position | Moment:
    """Where to begin, as `--start` has it. Raises `UsageError`."""
    if text in tuple(Start):
        return text
    try:
        start = _position(text) or Moment(time_ns=moment_ns(text, "--start"))
        encode_request(Request(start=start))
    except ValueError:
        raise UsageError(
            f"--start {text!r}: live, oldest, EPOCH_NS:SEQ like 1795219200000000000:1001, or a "
            "time like 2026-11-29T13:00Z or 1795219200000000000"
        ) from None
    return start


def _position(text: str) -> Position | None:
    """The position in `EPOCH_NS:SEQ`; None for another form."""
    epoch, _, seq = text.partition(":")
    if not (epoch.isdecimal() and seq.isdecimal()):
        return None
    return Position(epoch_ns=int(epoch), seq=int(seq))


def _is_typed(value: str | None, variable: str) -> bool:
    """Whether an option's value is other than that of its environment variable."""
    return value is not None and value != os.environ.get(variable)


def _tls(ca_file: str | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"cannot use --tls-ca {ca_file}: {reason(error)}") from error
