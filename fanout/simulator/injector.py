"""`Simulator.faults`: where every fault is asked for, and from where it goes to its place.

A fault that concerns the market, a connection or REST has taken effect when `inject` returns, or
stands ready for the next message or request. Nothing waits, nothing is scheduled: repeating is up
to whoever injects (a test, or `schedule` for the command line).
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Final

from fanout.errors import UsageError
from fanout.simulator.clock import Clock
from fanout.simulator.connections import Connections
from fanout.simulator.engine import Engine
from fanout.simulator.fault_fields import F, checked
from fanout.simulator.faults import (
    MAX_ROWS,
    CountedFault,
    Delist,
    Drop,
    Fault,
    Forget,
    Garbage,
    Http,
    Insert,
    Malformed,
    Relist,
    Renumber,
    ShiftClock,
    Silence,
    Spend,
    Stall,
    UnknownEvent,
)
from fanout.simulator.rate_limit import RateLimit
from fanout.simulator.rest_faults import RestFaults
from fanout.simulator.routes import ROUTE_OF
from fanout.simulator.stream_faults import StreamFaults
from fanout.simulator.symbols import no_such_symbol
from fanout.simulator.ticks import Tick
from fanout.simulator.ws_frames import binary_frame, event_frame, text_frame

NO_FRAME: Final = b"\xff"  # reserved bits, and an opcode that WebSocket does not have


class FaultInjector:
    """`symbols` are those that trade; all else is the exchange's, and shared with it."""

    def __init__(
        self,
        symbols: tuple[str, ...],
        *,
        seed: int,
        clock: Clock,
        engine: Engine,
        stream_faults: StreamFaults,
        rest_faults: RestFaults,
        rate_limit: RateLimit,
        connections: Connections,
        publish: Callable[[list[Tick]], None],
    ) -> None:
        self._symbols = symbols
        self._clock = clock
        self._engine = engine
        self._stream_faults = stream_faults
        self._rest_faults = rest_faults
        self._rate_limit = rate_limit
        self._connections = connections
        self._publish = publish
        self._dice = random.Random(f"{seed}/garbage")

    def inject(self, fault: Fault) -> None:
        """Let it happen. Raises `UsageError` for values out of range and unknown symbols."""
        self._inject(self.check(fault))

    def check(self, fault: F) -> F:
        """The fault, if it could happen here. Raises as `inject` does."""
        fault = checked(fault)
        symbol = getattr(fault, "symbol", None)
        known = self._engine.symbols if isinstance(fault, Relist | Delist) else self._symbols
        if symbol is not None and symbol not in known:
            raise UsageError(no_such_symbol(symbol, known))
        if isinstance(fault, Insert) and fault.count * len(self._concerned(symbol)) > MAX_ROWS:
            raise UsageError(f"fault insert: no more than {MAX_ROWS:,} rows in all at once")
        return fault

    def clear(self) -> None:
        """End what stands, and send what was held. What has changed stays so: a listing, a clock,
        ids."""
        self._publish(self._stream_faults.clear())
        self._rest_faults.clear()
        self._connections.resume()

    @property
    def standing(self) -> tuple[Fault, ...]:
        """What was injected and is not over."""
        return (
            *self._stream_faults.standing(),
            *self._rest_faults.standing(),
            *self._connections.standing(),
        )

    @property
    def connections(self) -> int:
        """How many WebSocket connections are past their handshake, and not dropped."""
        return len(self._connections)

    def _inject(self, fault: Fault) -> None:
        match fault:
            case Drop():
                self._connections.drop(fault)
            case Stall():
                self._connections.stall(fault)
            case Malformed():
                frame = text_frame(fault.text.encode())
                self._connections.say(fault, lambda combined: frame)
            case UnknownEvent():
                event = partial(event_frame, fault.name, fault.data, self._clock.now_ms())
                self._connections.say(fault, lambda combined: event(combined=combined))
            case Garbage():
                garbage = self._garbage(fault)
                self._connections.say(fault, lambda combined: garbage)
            case Silence() | CountedFault():
                self._stream_faults.begin(fault, self._streams(fault))
            case Http():
                self._rest_faults.begin(fault, self._clock.now_ms())
            case Spend():
                self._rate_limit.spend(fault.weight, self._clock.now_ms())
            case Forget():
                for symbol in self._concerned(fault.symbol):
                    self._engine.history.forget(symbol, fault.kept)
            case _:
                self._change_market(fault)

    def _change_market(self, fault: Fault) -> None:
        match fault:
            case Insert():
                for symbol in self._concerned(fault.symbol):
                    for tick in self._engine.insert(fault, symbol):
                        self._publish(list(self._stream_faults.through(tick)))
            case Renumber():
                self._engine.renumber(fault)
            case Relist():
                self._engine.relist(fault)
            case Delist():
                self._engine.delist(fault.symbol)
            case ShiftClock():
                self._clock.offset_ms = fault.offset_ms
            case _:
                raise AssertionError(f"{fault} is in the vocabulary, and nothing comes of it")

    def _concerned(self, symbol: str | None) -> tuple[str, ...]:
        return self._symbols if symbol is None else (symbol,)

    def _streams(self, fault: Silence | CountedFault) -> list[str]:
        symbols = self._concerned(fault.symbol)
        suffixes = ROUTE_OF if fault.stream is None else (f"@{fault.stream}",)
        return [symbol.lower() + suffix for symbol in symbols for suffix in suffixes]

    def _garbage(self, fault: Garbage) -> bytes:
        if not fault.framed:
            return NO_FRAME * fault.size_bytes
        return binary_frame(self._dice.randbytes(fault.size_bytes))
