"""The configuration of a run: frozen values, checked before anything opens."""

from typing import Final

import msgspec

from fanout.config.secret import Secret
from fanout.errors import BindError, UsageError
from fanout.net.addresses import check_port, check_proxy, check_url, is_host, serves_loopback
from fanout.protocol.constants import WIRE_VERSION
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.ring_file import DIRECTORY, name_fault
from fanout.protocol.ring_page import check_capacity

DEFAULT_ASSETS: Final = ("BTCUSDT", "ETHUSDT")
DEFAULT_LOG_BYTES: Final = 64 * 1024 * 1024
MIN_LOG_BYTES: Final = 64 * 1024
"""Room for a few of the largest frames."""

STREAMS: Final = ("auto", "trade", "aggTrade")
"""What to take: single trades with aggregates to fall back to, or one of them only."""

MAX_CONNECTIONS: Final = 4


class TcpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the TCP transport listens, whom it serves, and how.

    Port 0 takes a free one. `max_per_address` 0 sets no limit. `accept_rate` is in connections a
    second, `max_lag_s` the age beyond which a lapped reader is not sent what is kept but goes on
    live, `stall_timeout_s` how long a reader may take nothing, or a dead connection stay unnoticed.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    wire: int = WIRE_VERSION
    max_clients: int = 500
    max_per_address: int = 0
    accept_rate: float = 500.0
    stall_timeout_s: float = 30.0
    max_lag_s: float = 60.0
    token: Secret | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise BindError(
                f"cannot listen on {self.host!r}: no host; 127.0.0.1 is this machine only"
            )
        if self.wire not in (1, WIRE_VERSION):
            raise UsageError(f"--wire {self.wire}: 1, or {WIRE_VERSION}")
        _check_range("--max-clients", self.max_clients, 1, 1_000_000)
        _check_range("--max-per-address", self.max_per_address, 0, 1_000_000)
        _check_range("--accept-rate", self.accept_rate, 1, 1_000_000)
        _check_range("--stall-timeout", self.stall_timeout_s, 0.1, 86_400)
        _check_range("--max-lag", self.max_lag_s, 0, 86_400)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together: the certificate and its key")
        if self.wire == 1 and self.token is not None:
            raise UsageError(
                "--wire 1 has no place for a token (--token-file, FANOUT_TOKEN): take --wire 2"
            )

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches it over a network is served."""
        return not (serves_loopback(self.host) or self.token)

    @property
    def is_overheard(self) -> bool:
        """Whether its token passes over a network as it is."""
        return bool(self.token) and not (serves_loopback(self.host) or self.tls_cert)


def _check_range(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN included
        raise UsageError(f"{flag} {value:g}: {low:g} to {high:,.0f}")


class ShmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in shared memory. `keep` leaves its file when the service ends."""

    name: str
    capacity_bytes: int = 1024 * 1024
    keep: bool = False
    directory: str = DIRECTORY

    def __post_init__(self) -> None:
        fault = name_fault(self.name)
        if fault:
            raise UsageError(f"--name {self.name[:40]!r}: {fault}")
        try:
            check_capacity(self.capacity_bytes)
        except LimitExceededError as error:
            raise UsageError(f"--capacity: {error}") from error


TransportConfig = TcpConfig | ShmConfig


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange is listened to.

    `stream` is one of `STREAMS`; `connections` run at once, and each is replaced when it is
    `rotate_after_s` old, before the exchange cuts it. A symbol without a trade within
    `first_trade_timeout_s` is told, and with `strict` the service ends. One that is `patient` waits
    at its start for a venue that limits or bans, and does not end. `proxy` is a URL; None
    leaves it to the environment. `api_key` lets trades be asked for by their ids.
    """

    stream: str = "auto"
    connections: int = 1
    rotate_after_s: float = 23 * 3600.0
    first_trade_timeout_s: float = 20.0
    strict: bool = False
    patient: bool = False
    proxy: str | None = None
    api_key: Secret | None = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise UsageError(f"--stream {self.stream!r}: {', '.join(STREAMS)}")
        _check_range("--connections", self.connections, 1, MAX_CONNECTIONS)
        _check_range("--rotate-after", self.rotate_after_s, 60, 24 * 3600)
        _check_range("--first-trade-timeout", self.first_trade_timeout_s, 1, 24 * 3600)
        check_proxy("--proxy", self.proxy)


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service answers questions about itself: metrics, health, status. Port 0 takes a
    free one."""

    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise UsageError(f"--http-host {self.host!r}: no host; 127.0.0.1 is this machine only")


class SimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The built-in simulator that `--venue sim` runs beside the service."""

    rate: float = 200.0
    seed: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the service.

    `ws_url` and `rest_url` point the venue elsewhere; None leaves its own. `sim` is None unless
    the venue is the simulator inside the service. `http` None answers no questions.
    """

    assets: tuple[str, ...]
    transports: tuple[TransportConfig, ...]
    venue: str = "binance"
    ws_url: str | None = None
    rest_url: str | None = None
    log_bytes: int = DEFAULT_LOG_BYTES
    feed: FeedConfig = msgspec.field(default_factory=FeedConfig)
    sim: SimConfig | None = None
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        check_url("--ws-url", self.ws_url, ("ws", "wss"))
        check_url("--rest-url", self.rest_url, ("http", "https"))
        names = [each.name for each in self.transports if isinstance(each, ShmConfig)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"queue {name} is asked for twice: one for each consumer")
        if self.log_bytes < MIN_LOG_BYTES:
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {MIN_LOG_BYTES:,}")
