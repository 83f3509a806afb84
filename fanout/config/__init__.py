"""The configuration of a run: frozen values, checked before anything opens."""

from typing import Final

import msgspec

from fanout.config.ranges import check_range
from fanout.config.secret import Secret
from fanout.config.source import FeedConfig, SimConfig, SourceConfig, check_names
from fanout.errors import BindError, UsageError
from fanout.net.addresses import check_port, is_host, is_loopback
from fanout.protocol.constants import WIRE_VERSION
from fanout.protocol.errors import LimitExceededError
from fanout.protocol.ring_file import DIRECTORY, name_fault
from fanout.protocol.ring_page import check_capacity

DEFAULT_ASSETS: Final = ("BTCUSDT", "ETHUSDT")
DEFAULT_LOG_BYTES: Final = 64 * 1024 * 1024
MIN_LOG_BYTES: Final = 64 * 1024
"""Room for a few of the largest frames."""


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
        check_range("--max-clients", self.max_clients, 1, 1_000_000)
        check_range("--max-per-address", self.max_per_address, 0, 1_000_000)
        check_range("--accept-rate", self.accept_rate, 1, 1_000_000)
        check_range("--stall-timeout", self.stall_timeout_s, 0.1, 86_400)
        check_range("--max-lag", self.max_lag_s, 0, 86_400)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together: the certificate and its key")
        if self.wire == 1 and self.token is not None:
            raise UsageError(
                "--wire 1 has no place for a token (--token-file, FANOUT_TOKEN): take --wire 2"
            )

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches it over a network is served."""
        return not (is_loopback(self.host) or self.token)

    @property
    def is_overheard(self) -> bool:
        """Whether its token passes over a network as it is."""
        return bool(self.token) and not (is_loopback(self.host) or self.tls_cert)


class ShmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in shared memory. `keep` leaves its file when the service ends. `channel` is the one
    that it carries; empty for the first."""

    name: str
    channel: str = ""
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


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service answers questions about itself: metrics, health, status. Port 0 takes a
    free one."""

    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise UsageError(f"--http-host {self.host!r}: no host; 127.0.0.1 is this machine only")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the service.

    Each of `sources` feeds a channel of its own; the first channel is the one that a reader gets
    who names none. `log_bytes` are divided evenly over the channels. Without `http` the service
    answers no questions about itself.
    """

    sources: tuple[SourceConfig, ...]
    transports: tuple[TransportConfig, ...]
    log_bytes: int = DEFAULT_LOG_BYTES
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("no source: --assets BTCUSDT,ETHUSDT, or a [[source]] table")
        check_names(self.sources)
        names = [each.name for each in self.transports if isinstance(each, ShmConfig)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"queue {name} is asked for twice: one for each consumer")
        if self.channel_log_bytes < MIN_LOG_BYTES:
            least = MIN_LOG_BYTES * len(self.sources)
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {least:,}")

    @property
    def channel_log_bytes(self) -> int:
        """The memory of each channel's log."""
        return self.log_bytes // len(self.sources)


__all__ = [
    "DEFAULT_ASSETS",
    "DEFAULT_LOG_BYTES",
    "MIN_LOG_BYTES",
    "Config",
    "FeedConfig",
    "HttpConfig",
    "ShmConfig",
    "SimConfig",
    "SourceConfig",
    "TcpConfig",
    "TransportConfig",
]
