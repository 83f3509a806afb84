"""`Simulator.faults`: checks every fault, and passes it to the place where it acts.

When `inject` returns, the fault has acted, or is ready for the next message or request. The
injector never waits and never repeats a fault: a test, or `schedule`, injects it again.
"""

import random
from functools import partial
from typing import Final, TypeVar

import msgspec

from fanout.errors import UsageError
from fanout.simulator.connection.connections import Connections
from fanout.simulator.connection.desk import Desk
from fanout.simulator.connection.frames import binary_frame, event_frame, text_frame
from fanout.simulator.connection.rate_limit import RateLimit
from fanout.simulator.dialects.base import Dialect, Form
from fanout.simulator.faults import (
    MAX_ROWS,
    Auth,
    Checksum,
    ConnectionFault,
    CountedFault,
    Cross,
    Decimals,
    Deepen,
    Delist,
    Drop,
    Empty,
    Fault,
    Forget,
    Garbage,
    Http,
    Ignore,
    Insert,
    List,
    Lose,
    Maintain,
    Malformed,
    Mute,
    Odd,
    Refuse,
    Relist,
    Rename,
    Renumber,
    Resnapshot,
    ShiftClock,
    Shutdown,
    Silence,
    Spend,
    Stale,
    Stall,
    Unchain,
    UnknownEvent,
)
from fanout.simulator.faults.fields import F, checked
from fanout.simulator.faults.rest import RestFaults
from fanout.simulator.faults.streams import StreamFaults
from fanout.simulator.market.clock import Clock
from fanout.simulator.market.engine import Engine
from fanout.simulator.market.listing import no_such_symbol, unit
from fanout.simulator.market.ticks import AGGREGATE, QUOTE, TRADE, Tick, depth_kind, stream_of

NO_FRAME: Final = b"\xff"  # reserved bits, and an opcode that WebSocket does not have

Units = TypeVar("Units", List, Relist)

_LACKS: Final[dict[type[Fault], str]] = {
    Lose: "does not number its messages; use skip",
    Refuse: "does not refuse subscriptions so",
    Mute: "has no pings in its own messages; use stall",
    Auth: "has no authentication",
    Maintain: "does not announce maintenance; use silence",
    Resnapshot: "sends no whole books on its streams",
    Checksum: "sends no checksums",
}


class FaultInjector:
    """All its parts but the dice belong to the exchange."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        seed: int,
        clock: Clock,
        engine: Engine,
        stream_faults: StreamFaults,
        rest_faults: RestFaults,
        rate_limit: RateLimit,
        connections: Connections,
        desk: Desk,
    ) -> None:
        self._dialect = dialect
        self._clock = clock
        self._engine = engine
        self._stream_faults = stream_faults
        self._rest_faults = rest_faults
        self._rate_limit = rate_limit
        self._connections = connections
        self._desk = desk
        self._streams = desk.streams
        self._dice = random.Random(f"{seed}/garbage")

    def inject(self, fault: Fault) -> None:
        """Inject a fault. Raises `UsageError` for values out of range and unknown symbols."""
        self._inject(self.check(fault))

    def check(self, fault: F) -> F:
        """Returns the fault if this exchange can have it. Raises as `inject` does."""
        fault = checked(fault)
        self._refuse_unknown(fault)
        self._refuse_senseless(fault)
        return fault

    def clear(self) -> None:
        """End all standing faults, and send what they held back. Changes of the listing, the clock
        and ids stay."""
        self._streams.publish(self._stream_faults.clear())
        self._rest_faults.clear()
        self._desk.faults.clear()
        self._engine.aged.clear()
        self._connections.resume()
        self._engine.quirks.clear()

    @property
    def standing(self) -> tuple[Fault, ...]:
        """The injected faults that are not over."""
        return (
            *self._stream_faults.standing(),
            *self._rest_faults.standing(),
            *self._engine.aged.standing(),
            *self._connections.standing(),
            *self._desk.faults.standing(),
            *(Odd(symbol, how) for symbol, all_ in self._engine.quirks.items() for how in all_),
        )

    @property
    def connections(self) -> int:
        """The number of WebSocket connections after their handshake that are not dropped."""
        return len(self._connections)

    def _inject(self, fault: Fault) -> None:
        match fault:
            case Drop():
                self._connections.drop(fault)
            case Stall():
                self._connections.stall(fault)
            case Shutdown():
                self._shut_down(fault)
            case Malformed():
                frame = text_frame(fault.text.encode())
                self._connections.say(fault, lambda form: frame)
            case UnknownEvent():
                event = partial(event_frame, fault.name, fault.data, self._clock.now_ms())
                self._connections.say(fault, lambda form: event(combined=form.combined))
            case Garbage():
                garbage = self._garbage(fault)
                self._connections.say(fault, lambda form: garbage)
            case Lose():
                self._connections.lose(fault)
            case Refuse() | Ignore():
                self._desk.faults.begin(fault, self._concerned(fault.symbol))
            case Mute() | Auth() | Maintain():
                self._change_answers(fault)
            case Resnapshot():
                self._resnapshot(fault)
            case Checksum():
                self._streams.send_wrong_checksums(self._books_of(fault))
            case Silence() | CountedFault() | Cross():
                self._stream_faults.begin(fault, self._streams_of(fault))
            case Stale():
                self._engine.aged.begin(fault, self._concerned(fault.symbol))
            case Http():
                self._rest_faults.begin(fault, self._clock.now_ms())
            case Spend():
                self._rate_limit.spend(fault.weight, self._clock.now_ms())
            case Forget():
                for symbol in self._concerned(fault.symbol):
                    self._engine.history.forget(symbol, fault.kept)
            case _:
                self._change_market(fault)

    def _change_answers(self, fault: Mute | Auth | Maintain) -> None:
        self._desk.faults.begin_lasting(fault)
        match fault:
            case Maintain():
                silence = Silence(for_s=fault.for_s)
                self._stream_faults.begin(silence, self._streams_of(silence))
            case Auth(how="expire" | "revoke"):
                for connection in self._connections:
                    close = self._desk.deprive(connection.subscriber, fault.how)
                    if close is not None:
                        drop = Drop(code=close.code, reason=close.reason)
                        connection.drop(drop, after_replies=True)

    def _resnapshot(self, fault: Resnapshot) -> None:
        if fault.resets:
            for symbol in self._concerned(fault.symbol):
                self._send(self._engine.restart_book(symbol))
            if self._dialect.book_rules.is_chained_anew:
                return
        self._streams.greet(self._books_of(fault))

    def _change_market(self, fault: Fault) -> None:
        match fault:
            case Insert():
                for symbol in self._concerned(fault.symbol):
                    self._send(self._engine.insert(fault, symbol))
            case Unchain() | Empty() | Deepen():
                for symbol in self._concerned(fault.symbol):
                    self._send(self._engine.change_book(fault, symbol))
            case Renumber():
                self._send(self._engine.renumber(fault))
            case List():
                like = self._engine.listings.get(self._engine.traded[0])
                like = like or next(iter(self._engine.listings.values()))
                self._engine.enlist(self._spelled(fault), like)
                self._streams.add(fault.symbol)
            case Relist():
                self._send(self._engine.relist(self._spelled(fault)))
            case Decimals():
                self._send(self._engine.relist(self._spelled(_relist(fault))))
            case Rename():
                self._send(self._engine.rename(fault))
                self._streams.add(fault.to)
            case Odd():
                self._engine.make_odd(fault)
            case Delist():
                self._send(self._engine.delist(fault.symbol))
            case ShiftClock():
                self._clock.offset_ms = fault.offset_ms
            case _:
                raise AssertionError(f"{fault} is a fault that acts nowhere")

    def _send(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            self._streams.publish(list(self._stream_faults.through(tick)))

    def _refuse_unknown(self, fault: Fault) -> None:
        symbol = getattr(fault, "symbol", None)
        if symbol is None or isinstance(fault, List):
            return
        any_listed = isinstance(fault, Relist | Delist | Decimals | Rename | Odd)
        known = self._engine.symbols if any_listed else tuple(self._engine.traded)
        if symbol not in known:
            raise UsageError(no_such_symbol(symbol, known))

    def _refuse_senseless(self, fault: Fault) -> None:
        """Raises `UsageError` for a fault that this venue, or any venue, cannot have."""
        dialect, kinds = self._dialect, self._dialect.kinds
        match fault:
            case ConnectionFault(route=str(route)) if route not in dialect.routes:
                raise UsageError(
                    f"{dialect.title} has no route {route}: "
                    + (
                        f"choose from {', '.join(dialect.routes)}"
                        if dialect.routes
                        else "leave it out"
                    )
                )
            case Lose() | Refuse() | Mute() | Auth() | Maintain() | Resnapshot() | Checksum() if (
                _ability(fault) not in dialect.abilities
            ):
                raise UsageError(f"fault {_ability(fault)}: {dialect.title} {_LACKS[type(fault)]}")
            case Shutdown() if dialect.shutdown(0, Form()) is None:
                raise UsageError(
                    f"fault shutdown: {dialect.title} closes without an announcement; "
                    "use drop, or event for an undocumented announcement"
                )
            case Insert(kind=kind) if kind not in kinds.names and not kinds.is_open:
                raise UsageError(
                    f"fault insert: {dialect.title} has no rows of kind {kind}, since its messages "
                    f"have no field for it; give kind={kinds.names[0]}"
                )
            case Insert() if fault.count * len(self._concerned(fault.symbol)) > MAX_ROWS:
                raise UsageError(f"fault insert: no more than {MAX_ROWS:,} rows in all at once")
            case Unchain(by=0):
                raise UsageError("fault unchain: by is 0; give a number above or below it")
            case Unchain() if not dialect.book_rules.has_ids:
                raise UsageError(
                    f"fault unchain: the books of {dialect.title} have no update ids; use skip "
                    "with stream=depth"
                )
            case Resnapshot(resets=True) | Unchain() | Empty() | Deepen() | Cross() | Stale() if (
                not self._engine.books.can_change
            ):
                name = fault.__struct_config__.tag
                raise UsageError(
                    f"fault {name}: the books of a recording cannot change; use a synthetic market"
                )
            case Odd() if dialect.lacks(fault.how):
                raise UsageError(
                    f"fault odd: how is {fault.how!r}, and the listing of {dialect.title} has no "
                    "such field"
                )

    def _shut_down(self, fault: Shutdown) -> None:
        now_ms = self._clock.now_ms()

        def announcement(form: Form) -> bytes:
            message = self._dialect.shutdown(now_ms, form)
            assert message is not None, "a venue without an announcement was refused"
            return text_frame(message)

        self._connections.say(fault, announcement)
        self._connections.end_in(fault, fault.within_s)

    def _spelled(self, fault: Units) -> Units:
        """With units as the venue spells them."""
        given = {name: getattr(fault, name, None) for name in ("tick_size", "step_size", "price")}
        spelled = {name: self._dialect.spelled(unit) for name, unit in given.items() if unit}
        return msgspec.structs.replace(fault, **spelled)

    def _concerned(self, symbol: str | None) -> tuple[str, ...]:
        return tuple(self._engine.traded) if symbol is None else (symbol,)

    def _streams_of(self, fault: Silence | CountedFault | Cross) -> list[str]:
        depths = [depth_kind(each) for each in self._dialect.book_rules.intervals_ms]
        match fault:
            case Cross() | Silence(stream="depth") | CountedFault(stream="depth"):
                kinds = depths
            case Silence(stream=None):
                kinds = [TRADE, AGGREGATE, QUOTE, *depths]
            case _:
                kinds = [str(fault.stream)]
        return [
            stream_of(symbol, kind) for symbol in self._concerned(fault.symbol) for kind in kinds
        ]

    def _books_of(self, fault: Resnapshot | Checksum) -> list[str]:
        """The streams of the books of its symbols."""
        kinds = [QUOTE, *map(depth_kind, self._dialect.book_rules.intervals_ms)]
        return [stream_of(each, kind) for each in self._concerned(fault.symbol) for kind in kinds]

    def _garbage(self, fault: Garbage) -> bytes:
        if not fault.framed:
            return NO_FRAME * fault.size_bytes
        return binary_frame(self._dice.randbytes(fault.size_bytes))


def _ability(fault: Fault) -> str:
    tag = str(fault.__struct_config__.tag)
    return f"{tag} {fault.how}" if isinstance(fault, Refuse) else tag


def _relist(fault: Decimals) -> Relist:
    price, quantity = fault.price, fault.quantity
    return Relist(
        fault.symbol,
        None if price is None else unit(price),
        None if quantity is None else unit(quantity),
    )
