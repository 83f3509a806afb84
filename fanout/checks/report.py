"""The result of a check: rows with a state, a finding and a remedy.

These are plain values. A failed row names the kind of fault. The command line maps the kind to an
exit code.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Name(StrEnum):
    """The subjects of checks. `docs/check.md` explains each."""

    MACHINE = "machine"
    DESCRIPTORS = "descriptors"
    PORT = "port"
    CERTIFICATE = "certificate"
    MEMORY = "memory"
    QUEUE = "queue"
    SLOTS = "slots"
    RING = "ring"
    GROUP = "group"
    JOURNAL = "journal"
    RINGS = "rings"
    SIMULATOR = "simulator"
    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    REST = "rest"
    WEIGHT = "weight"
    CLOCK = "clock"
    SYMBOL = "symbol"
    WEBSOCKET = "websocket"
    FIRST_TRADE = "first-trade"


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    """The service will run, with a drawback that the row names."""
    FAIL = "fail"
    SKIP = "skip"
    """A check that it depends on failed, or it does not apply."""


class Fault(StrEnum):
    """The kind of a failure. The exit code follows the first kind in this order.

    Permanent faults precede temporary ones, and the exchange's faults precede this machine's.
    """

    FORBIDDEN = "forbidden"
    """The venue does not serve this address, or rejects the credentials."""
    CONFIG = "config"
    """The configuration names something unusable, such as a symbol or a certificate."""
    BUSY = "busy"
    """The venue limits or bans this address for a while."""
    UNREACHABLE = "unreachable"
    """The venue does not answer, or its trades do not arrive."""
    MACHINE = "machine"
    """This machine lacks something: a port, a queue, a ring, a journal, memory, descriptors."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the report.

    `advice` is empty if there is nothing to do. `fault` is None unless the check failed.
    `took_ms` is None for checks without a meaningful duration.
    """

    name: str
    target: str
    state: State
    found: str
    advice: str = ""
    fault: Fault | None = None
    took_ms: float | None = None


class Report(msgspec.Struct, frozen=True):
    """All rows, in reading order."""

    checks: tuple[Check, ...]

    @property
    def fault(self) -> Fault | None:
        """The kind of failure that decides the exit code; None if nothing failed."""
        faults = {each.fault for each in self.checks}
        return next((each for each in Fault if each in faults), None)

    def count(self, state: State) -> int:
        return sum(each.state is state for each in self.checks)


class Subject(msgspec.Struct, frozen=True):
    """Name and target of a row. There is a method for each state that the row may have."""

    name: str
    target: str

    def passed(self, found: str, *, took_s: float | None = None) -> Check:
        return self._check(State.OK, found, took_s=took_s)

    def warned(self, found: str, advice: str, *, took_s: float | None = None) -> Check:
        return self._check(State.WARN, found, advice, took_s=took_s)

    def failed(
        self, found: str, advice: str, fault: Fault, *, took_s: float | None = None
    ) -> Check:
        return self._check(State.FAIL, found, advice, fault, took_s)

    def skipped(self, why: str) -> Check:
        return self._check(State.SKIP, why)

    def _check(
        self,
        state: State,
        found: str,
        advice: str = "",
        fault: Fault | None = None,
        took_s: float | None = None,
    ) -> Check:
        return Check(
            name=self.name,
            target=self.target,
            state=state,
            found=found,
            advice=advice,
            fault=fault,
            took_ms=None if took_s is None else round(took_s * 1_000, 1),
        )


def any_failed(checks: Iterable[Check]) -> bool:
    return any(each.state is State.FAIL for each in checks)


def time_text(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds * 1_000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def room_text(size_bytes: int) -> str:
    """A size for people."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes} bytes"
