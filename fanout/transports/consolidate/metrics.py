"""DIR/metrics.csv: a row for each second and ring.

Rows of another day of UTC go to a file of their own: the day's is renamed to metrics_DAY.csv when
another one begins. A clock that is set back by less than an hour begins none. A disk that is full
costs rows, never trades.
"""

import errno
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from fanout.protocol.errors import reason

_LOG = logging.getLogger("fanout")

NAME: Final = "metrics.csv"
COLUMNS: Final = (
    "time_utc",
    "ring",
    "trade_count",
    "trade_bytes",
    "recv_to_write_ms_avg",
    "recv_to_write_ms_max",
    "exchange_to_recv_ms_avg",
    "writer_seq",
    "dedupe_size",
    "lost",
    "symbols_live",
)
_HEAD: Final = ",".join(COLUMNS) + "\n"
_DAY_CHARS: Final = len("2026-11-29")
_NS_PER_MS: Final = 1_000_000
_SET_BACK_NS: Final = 3_600 * 10**9


class Second(msgspec.Struct):
    """What was written to a ring in one second."""

    trades: int = 0
    bytes: int = 0
    write_ns: int = 0
    """From the socket to the ring, of all trades together."""
    write_max_ns: int = 0
    delay_ns: int = 0
    """From the venue's time to the socket, of all timely trades together. Below 0 if our clock is
    behind."""
    timely: int = 0
    """Trades that were not back-filled."""
    lost: int = 0

    def add(self, *, size: int, write_ns: int, delay_ns: int | None) -> None:
        """Count a trade. `delay_ns` is None for one that was back-filled."""
        self.trades += 1
        self.bytes += size
        self.write_ns += write_ns
        if write_ns > self.write_max_ns:
            self.write_max_ns = write_ns
        if delay_ns is not None:
            self.delay_ns += delay_ns
            self.timely += 1

    @property
    def write_ms_avg(self) -> float | None:
        return self.write_ns / self.trades / _NS_PER_MS if self.trades else None

    @property
    def write_ms_max(self) -> float | None:
        return self.write_max_ns / _NS_PER_MS if self.trades else None

    @property
    def delay_ms_avg(self) -> float | None:
        return self.delay_ns / self.timely / _NS_PER_MS if self.timely else None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row without its time."""

    ring: str
    second: Second
    seq: int
    dedupe_size: int
    symbols_live: int

    @property
    def text(self) -> str:
        of = self.second
        return (
            f"{self.ring},{of.trades},{of.bytes},{_ms(of.write_ms_avg)},{_ms(of.write_ms_max)}"
            f",{_ms(of.delay_ms_avg)},{self.seq},{self.dedupe_size},{of.lost},{self.symbols_live}\n"
        )


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


class MetricsFile:
    """Writes the rows. Several services may share a directory, and the file."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, NAME)
        self._directory = directory
        self._failure = ""
        self._day = ""
        """The day of the file's rows; empty until it was looked into."""
        self._latest_ns = 0
        """The time of the latest row."""

    def write(self, rows: Sequence[Row], wall_ns: int) -> None:
        """Append rows of one moment. May block. What fails is logged, once in a row."""
        time = datetime.fromtimestamp(wall_ns // 10**9, UTC)
        text = f"{time:%Y-%m-%dT%H:%M:%SZ}"
        is_back = 0 < self._latest_ns - wall_ns < _SET_BACK_NS
        self._latest_ns = wall_ns
        try:
            if not is_back:
                self._turn(text[:_DAY_CHARS])
            self._append("".join(f"{text},{each.text}" for each in rows))
        except OSError as error:
            if reason(error) != self._failure:
                self._failure = reason(error)
                _LOG.warning("%s: no rows are written: %s", self._path, self._failure)
            return
        self._failure = ""

    def _append(self, text: str) -> None:
        """Append whole rows or none. Raises `OSError`."""
        try:
            file = open(self._path, "xb", buffering=0)  # noqa: SIM115  closed below
            text = _HEAD + text
        except FileExistsError:
            file = open(self._path, "ab", buffering=0)  # noqa: SIM115
        with file:
            data, size = text.encode(), file.seek(0, os.SEEK_END)
            if file.write(data) != len(data):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _turn(self, day: str) -> None:
        """Rename a file of another day, unless another service has."""
        if day == self._day:
            return
        in_file = self._day_in_file()
        if in_file and in_file != day:
            os.rename(self._path, self._free_name(in_file))
        self._day = day

    def _free_name(self, day: str) -> str:
        """A name for the file that is over. A day on which the clock went back has several."""
        stem, turn = os.path.join(self._directory, f"metrics_{day}"), 1
        path = f"{stem}.csv"
        while os.path.lexists(path):
            turn += 1
            path = f"{stem}_{turn}.csv"
        return path

    def _day_in_file(self) -> str:
        """The day of the first row in the file that is there; empty without one."""
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                file.readline(1_000)
                day = file.readline(1_000)[:_DAY_CHARS]
        except FileNotFoundError:
            return ""
        return day if len(day) == _DAY_CHARS and day[:4].isdigit() else ""
