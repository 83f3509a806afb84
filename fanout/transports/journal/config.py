"""The configuration of the journal, and its options."""

from typing import Annotated, Final

from fanout.config import TransportConfig
from fanout.config.duration import parse_duration
from fanout.config.options import Kind, Option
from fanout.errors import ConfigError, UsageError
from fanout.protocol.errors import MissingPackageError
from fanout.protocol.journal import MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES
from fanout.protocol.zstd import Zstd

ALWAYS: Final = "always"
NEVER: Final = "never"
ZSTD: Final = "zstd"


class JournalConfig(TransportConfig, frozen=True, kw_only=True):
    """A directory in which all channels are kept."""

    dir: Annotated[str, Option("Directory of the journal, which is made if it is missing.")]
    keep_s: Annotated[
        int,
        Option(
            "Remove segments that are older: 7d, 12h30m, 90s. \\[default: keep all]",
            kind=Kind.DURATION,
        ),
    ] = 0
    keep_bytes: Annotated[
        int,
        Option(
            "Remove the oldest segments beyond so much, of all channels: bytes, or KiB, MiB, GiB; "
            "0 keeps all.",
            flag="--keep-bytes",
            kind=Kind.SIZE,
        ),
    ] = 0
    segment_bytes: Annotated[
        int,
        Option(
            "Begin the next segment of a channel after so much: bytes, or KiB, MiB, GiB.",
            flag="--segment-bytes",
            kind=Kind.SIZE,
        ),
    ] = 256 * 1024 * 1024
    sync: Annotated[
        str,
        Option(
            "When records are made safe from a power cut: after a time, such as 1s, always or "
            "never.",
            choices=(ALWAYS, NEVER),
        ),
    ] = "1s"
    compress: Annotated[
        str,
        Option(
            "Compress segments that are complete: zstd. Before Python 3.14 that needs the package "
            "zstandard, here and where they are read. \\[default: none]",
            choices=(ZSTD,),
        ),
    ] = ""

    def __post_init__(self) -> None:
        if not self.dir or "\0" in self.dir:
            raise UsageError(f"--dir {self.dir[:40]!r}: no directory")
        if not MIN_SEGMENT_BYTES <= self.segment_bytes <= MAX_SEGMENT_BYTES:
            raise UsageError(
                f"--segment-bytes {self.segment_bytes:,}: from {MIN_SEGMENT_BYTES:,} to "
                f"{MAX_SEGMENT_BYTES:,}"
            )
        if self.keep_bytes and self.keep_bytes < 2 * self.segment_bytes:
            raise UsageError(
                f"--keep-bytes {self.keep_bytes:,}: at least two segments, "
                f"{2 * self.segment_bytes:,}"
            )
        self.sync_s  # noqa: B018  refused here, before anything opens
        if self.compress not in ("", ZSTD):
            raise UsageError(f"--compress {self.compress[:40]!r}: {ZSTD} is the only one there is")
        if self.compress:
            try:
                Zstd()
            except MissingPackageError as error:
                raise ConfigError(f"--compress {ZSTD}: {error}") from error

    @property
    def sync_s(self) -> int | None:
        """Seconds between two syncs: 0 for a sync with each write, None for none at all."""
        if self.sync in (ALWAYS, NEVER):
            return 0 if self.sync == ALWAYS else None
        try:
            return parse_duration(self.sync)
        except UsageError as error:
            raise UsageError(f"--sync {error}, or {ALWAYS}, or {NEVER}") from error

    def claims(self, channels: int) -> tuple[str, ...]:
        """See `TransportConfig.claims`."""
        return ("the journal",)
