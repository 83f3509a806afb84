"""The result of a check: rows, each with its outcome, what was found, and what to do.

Values only. A failed row says what kind of fault it is. The command line makes an exit code of it.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Name(StrEnum):
    """What a check looks at. `docs/check.md` explains each. A transport from outside of this
    package may have names of its own."""

    MACHINE = "machine"
    DESCRIPTORS = "descriptors"
    PORT = "port"
    CERTIFICATE = "certificate"
    MEMORY = "memory"
    QUEUE = "queue"
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
    """The service will run; it could be better."""
    FAIL = "fail"
    SKIP = "skip"
    """It depends on something that failed, or does not apply."""


class Fault(StrEnum):
    """The kind of a failure. The first of several counts: lasting ones stand before passing ones,
    and the exchange's before this machine's."""

    FORBIDDEN = "forbidden"
    """The venue does not serve this address."""
    CONFIG = "config"
    """What was asked for is not to be had: a symbol, a certificate."""
    BUSY = "busy"
    """The venue limits or bans this address for a while."""
    UNREACHABLE = "unreachable"
    """The venue, or its trades, cannot be reached."""
    MACHINE = "machine"
    """A port, a queue, memory, a limit of this machine."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A row. `advice` is empty where there is nothing to do, `fault` None unless it failed, and
    `took_ms` None where time means nothing."""

    name: str
    target: str
    state: State
    found: str
    advice: str = ""
    fault: Fault | None = None
    took_ms: float | None = None


class Report(msgspec.Struct, frozen=True):
    """All rows, in the order in which they are to be read."""

    checks: tuple[Check, ...]

    @property
    def fault(self) -> Fault | None:
        """The failure that counts; None if nothing failed."""
        faults = {each.fault for each in self.checks}
        return next((each for each in Fault if each in faults), None)

    def count(self, state: State) -> int:
        return sum(each.state is state for each in self.checks)


class Subject(msgspec.Struct, frozen=True):
    """What a row is about. The methods make the row, one for each way that it can go."""

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
