"""The service that is played with: the real transport, and what was published under each number."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.protocol import (
    EndReason,
    FeedState,
    Gap,
    GapState,
    Position,
    Reference,
    Status,
    Trade,
    TradeKind,
)
from fanout.stats.snapshots import ConsumerStats
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.model.loop import Loop
from tests.protocol.golden import HEADER
from tests.stand.past import KeepingLog, KeptEpoch, MemoryPast

Numbered = Trade | Status | Gap

BULK_BYTES: Final = 20_000
"""More than small sockets hold."""

AGE_S: Final = 61.0
"""After which who falls off the log may be sent on to its end."""

STALL_S: Final = 10_000.0
"""After which a client that takes nothing is given up."""

KINDS: Final = (TradeKind.MARKET, TradeKind.RPI, TradeKind.MARKET, TradeKind.ADL)


class Epoch:
    """One start of the service: its channel, its transport, and each record by its number."""

    def __init__(
        self,
        loop: Loop,
        *,
        epoch_ns: int,
        log_bytes: int,
        max_clients: int,
        past: MemoryPast | None = None,
    ) -> None:
        """`past` is what a journal keeps of this epoch and of those before it."""
        self.epoch_ns = epoch_ns
        self.past = past
        self.greeted_seq = 1
        """The next number when a client was greeted last."""
        self.greeted_trades: list[Trade] = []
        """The newest trades then."""
        self.records: list[Numbered] = []
        """The one with number n is at n - 1."""
        self.has_aged = False
        self.port = 0
        self._loop = loop
        self._max_clients = max_clients
        self._instruments = HEADER.instruments
        self._newest: dict[int, Trade] = {}
        self._renewals = 0
        self._returned = False
        header = replace(HEADER, epoch_ns=epoch_ns, next_seq=1)
        self._channel = GreetingChannel(header, log_bytes=log_bytes, wall_ns=self._wall_ns)
        self._channel.on_greeting = self._note_greeting
        self.kept = past.begin(self._channel) if past else KeptEpoch(header)
        self.log = RememberingLog(self._channel, self.kept, self._monotonic_ns)
        self._channel.log = self.log
        config = TcpConfig(
            port=0, max_clients=max_clients, accept_rate=1_000_000, stall_timeout_s=STALL_S
        )
        self.transport = TcpTransport(
            config, wall_ns=self._wall_ns, monotonic=loop.clock.current_time
        )

    def _note_greeting(self) -> None:
        self.greeted_seq, self.greeted_trades = self.end.seq, self.newest

    def _wall_ns(self) -> int:
        return self.epoch_ns + self._monotonic_ns()

    def _monotonic_ns(self) -> int:
        return int(self._loop.clock.current_time() * 1e9)

    @property
    def is_full(self) -> bool:
        return self.transport.client_count >= self._max_clients

    @property
    def end(self) -> Position:
        return Position(epoch_ns=self.epoch_ns, seq=len(self.records) + 1)

    @property
    def newest(self) -> list[Trade]:
        """Of each instrument, the newest trade since the units changed, as a snapshot shows it."""
        newest = [self._newest[index] for index in sorted(self._newest)]
        return [replace(each, seq=0, received_ns=0) for each in newest]

    @property
    def first_due_to_the_slow(self) -> int:
        """A reader that fell off the log must get what is kept; of an old one it need not."""
        return self.end.seq if self.has_aged else self.log.first_kept

    # Running.

    async def open(self) -> None:
        async def run() -> None:
            await self.transport.run([self._channel], task_status=_Announcement(urls))
            self._returned = True

        urls: list[str] = []
        self._loop.start(run)
        while not urls:
            await trio.lowlevel.checkpoint()
        self.port = int(urls[0].rpartition(":")[2])

    def say_goodbye(self) -> None:
        self._channel.end(EndReason.SHUTDOWN, retry_ms=1_000, why="a restart")

    async def close(self) -> None:
        """Wait until all clients are gone, or the time for that is over."""
        await self._loop.let_pass(10)
        while not self._returned:
            await trio.lowlevel.checkpoint()
        assert self.transport.client_count == 0
        assert self.consumers() == {}

    @property
    def turned_away(self) -> int:
        """How many found no place."""
        return self.transport._oddities.counts["client turned away"]

    def has_begun(self, name: str) -> bool:
        """Whether the client of that name is given its data."""
        return name in self.consumers()

    def consumers(self) -> dict[str, ConsumerStats]:
        """What the service says of each client, by its name."""
        return {each.address: each for each in self.transport.stats().consumers}

    # Publishing.

    def publish(self, count: int, *, gap: bool = False) -> None:
        """Publish trades, as one read brings them; with a gap, told in their middle."""
        records: list[Trade | Gap] = []
        for place in range(count):
            if gap and place == count // 2:
                records.append(self._next_gap())
            records.append(self._next_trade())
        self._channel.publish(records, received_ns=self._received_ns, held_ns=count)

    def publish_statuses(self, of: int | None, count: int) -> None:
        instrument = None if of is None else self._instruments[of]
        for _ in range(count):
            status = Status(
                seq=self.end.seq,
                instrument=instrument,
                state=FeedState.STALE,
                since_ns=self._wall_ns(),
                why="x" * 255,
            )
            self.records.append(status)
            self._channel.publish_status(instrument, status.state, status.why)

    def renew_header(self, times: int = 1) -> None:
        """Go on in other units, from other references."""
        for _ in range(times):
            self._renew_header()

    def _renew_header(self) -> None:
        self._renewals += 1
        exponent = -3 - self._renewals % 8
        self._instruments = tuple(
            replace(each, price_exponent=exponent) for each in self._instruments
        )
        references = [
            Reference(price=1_000 * self._renewals, quantity=1, trade_id=self.end.seq, time=index)
            for index in range(len(self._instruments))
        ]
        self._newest.clear()
        self._channel.change(self._instruments, tuple(references))

    async def publish_bulk(self, *, of_trades: bool, at_once: bool, renewing: bool) -> None:
        """Publish until all that was kept is gone, and more than sockets hold. `at_once`: before
        anybody can be sent any of it. `renewing`: with a new header before it, which goes too."""
        if renewing:
            self.renew_header()
        end, bulk_bytes = self.log.end, self.log.appended_bytes + BULK_BYTES
        while self.log.oldest < end or self.log.appended_bytes < bulk_bytes:
            if of_trades:
                self.publish(200)
            else:
                self.publish_statuses(0, 1)
            if not at_once:
                await trio.lowlevel.checkpoint()

    async def undergo(self, happenings: list[str]) -> None:
        for each in happenings:
            match each:
                case "publish":
                    self.publish(3)
                case "bulk":
                    await self.publish_bulk(of_trades=True, at_once=False, renewing=False)
                case "renew":
                    self.renew_header()
                case "silence":
                    await self._loop.let_pass(0.2)
                case "goodbye":
                    self.say_goodbye()

    @property
    def _received_ns(self) -> int:
        return self.epoch_ns + len(self.log._first_seqs)

    def _next_trade(self) -> Trade:
        seq = self.end.seq
        trade = Trade(
            self._instruments[seq % 5 == 0],
            trade_id=self.epoch_ns * 1_000_000 + seq,
            time=1_791_382_992_338 + seq // 3,
            price=100_000 * self._renewals + seq * 7 % 1_000,
            quantity=seq % 300,
            buyer_is_maker=seq % 2 == 0,
            kind=KINDS[seq // 3 % 4],
            seq=seq,
            received_ns=self._received_ns,
        )
        self.records.append(trade)
        self._newest[trade.instrument.index] = trade
        return trade

    def _next_gap(self) -> Gap:
        seq = self.end.seq
        gap = Gap(
            seq=seq,
            instrument=self._instruments[0],
            first_id=seq,
            last_id=seq + 5,
            state=GapState.OPEN,
            why="skipped",
        )
        self.records.append(gap)
        return gap


class GreetingChannel(Channel):
    """A channel that says when it greets a client."""

    on_greeting: Callable[[], None] | None = None

    def greeting(self) -> bytes:
        if self.on_greeting is not None:
            self.on_greeting()
        return super().greeting()


class RememberingLog(KeepingLog):
    """A log that does not forget at which number each of its frames began."""

    def __init__(self, channel: Channel, kept: KeptEpoch, clock_ns: Callable[[], int]) -> None:
        super().__init__(channel, kept, clock_ns)
        self._first_seqs: list[int] = []

    def append(self, frame: bytes, *, count: int, held_ns: int = 0, time_ns: int = 0) -> None:
        self._first_seqs.append(self.next_seq)
        super().append(frame, count=count, held_ns=held_ns, time_ns=time_ns)

    @property
    def first_kept(self) -> int:
        """The number of the oldest trade or event that is kept; the next one if none is."""
        return self._first_seqs[self.oldest] if self.oldest < self.end else self.next_seq

    def frames_from(self, seq: int) -> int:
        """How many there have been from the one on that holds a number."""
        index = bisect_left(self._first_seqs, seq)
        first = self._first_seqs[index] if index < self.end else self.next_seq
        return self.end - index + (first > seq)


class _Announcement(trio.TaskStatus[str]):
    """Keeps what a task says when it is ready."""

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def started(self, value: str = "") -> None:
        self._said.append(value)
