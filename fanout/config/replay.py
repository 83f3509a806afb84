"""The configuration of a replay."""

from typing import Final

import msgspec

from fanout.config import (
    DEFAULT_LOG_BYTES,
    MIN_LOG_BYTES,
    HttpConfig,
    TransportConfig,
    check_claims,
)
from fanout.config.moment import moment_text
from fanout.errors import UsageError

UNLIMITED: Final = float("inf")
"""The speed that is typed as max."""


MAX_SPEED: Final = 1_000_000.0


class ReplayConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A journal, what of it is replayed, and to whom."""

    directory: str
    transports: tuple[TransportConfig, ...]
    channel: str = ""
    """Empty for all channels."""
    from_ns: int | None = None
    """None for the beginning of the journal."""
    to_ns: int | None = None
    """None for its end."""
    speed: float = 1.0
    """How many seconds of the journal are replayed in one; `UNLIMITED` for as many as the readers
    take."""
    log_bytes: int = DEFAULT_LOG_BYTES
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        check_claims(self.transports)
        if self.from_ns is not None and self.to_ns is not None and self.to_ns < self.from_ns:
            raise UsageError(
                f"--to {moment_text(self.to_ns)} is before --from {moment_text(self.from_ns)}"
            )
        if self.log_bytes < MIN_LOG_BYTES:
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {MIN_LOG_BYTES:,}")

    @property
    def is_unlimited(self) -> bool:
        return self.speed == UNLIMITED
