"""The configuration of a run: frozen values, checked before anything opens."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from fanout.config.options import Kind, Option
from fanout.config.source import FeedConfig, SimConfig, SourceConfig, check_names
from fanout.errors import UsageError
from fanout.net.addresses import check_port, is_host

DEFAULT_LOG_BYTES: Final = 64 * 1024 * 1024
MIN_LOG_BYTES: Final = 64 * 1024
"""Room for a few of the largest frames."""


class TransportConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every transport's configuration: a frozen struct whose fields are its options."""

    def claims(self, channels: int) -> tuple[str, ...]:
        """The resources that only one transport may have, in words, where it serves so many
        channels. Raises `ConfigError` if there are not enough of them."""
        return ()

    def warnings(self) -> list[str]:
        """What the operator should know before the start."""
        return []


def check_claims(transports: Sequence[TransportConfig], channels: int = 1) -> None:
    """Raises `UsageError` if two transports of so many channels need the same."""
    known: set[str] = set()
    for claim in (claim for each in transports for claim in each.claims(channels)):
        if claim in known:
            raise UsageError(f"{claim} is asked for twice: only one transport can have it")
        known.add(claim)


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service answers questions about itself: metrics, health, status. Port 0 takes a
    free one."""

    port: Annotated[
        int,
        Option(
            "Answer /metrics, /healthz, /readyz and /status there; 0 takes a free port. "
            "\\[default: off]",
            flag="--http-port",
            default=None,
        ),
    ] = 0
    host: Annotated[str, Option("Address to answer on.", flag="--http-host")] = "127.0.0.1"

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise UsageError(f"--http-host {self.host!r}: no host; 127.0.0.1 is this machine only")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the service.

    Each of `sources` feeds a channel of its own. Readers that name no channel get the first.
    `log_bytes` are divided evenly over the channels. Without `http` the service answers no
    questions about itself.
    """

    sources: tuple[SourceConfig, ...]
    transports: tuple[TransportConfig, ...]
    log_bytes: Annotated[
        int,
        Option(
            "Memory for what slow clients have not read yet, of all channels: bytes, or KiB, MiB, "
            "GiB.",
            flag="--log-bytes",
            kind=Kind.SIZE,
        ),
    ] = DEFAULT_LOG_BYTES
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        if not self.sources:
            raise UsageError("no source: --assets BTCUSDT,ETHUSDT, or a [[source]] table")
        check_names(self.sources)
        check_claims(self.transports, len(self.sources))
        if self.channel_log_bytes < MIN_LOG_BYTES:
            least = MIN_LOG_BYTES * len(self.sources)
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {least:,}")

    @property
    def channel_log_bytes(self) -> int:
        """The memory of each channel's log."""
        return self.log_bytes // len(self.sources)


__all__ = [
    "DEFAULT_LOG_BYTES",
    "MIN_LOG_BYTES",
    "Config",
    "FeedConfig",
    "HttpConfig",
    "SimConfig",
    "SourceConfig",
    "TransportConfig",
    "check_claims",
]
