"""Promise P2, whatever happens: what a reader received, together with what it was told it lost, is
all that was published from its first due number on, in order, each once.

Hypothesis makes up the story: what is published, who joins where, reads how much and leaves when,
and when the service starts anew. `tests.model` says what must come of it, after every step.

    FANOUT_EXAMPLES=80 pytest tests/test_sessions.py      tells more of them than the suite does
"""

import sys
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)
from msgspec.structs import replace

from fanout.channel import reader as channel_reader
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.protocol import End, EndReason, Position
from fanout.transports.tcp import connection
from tests.model.epoch import AGE_S, STALL_S, Epoch
from tests.model.ledger import Tastes
from tests.model.loop import Loop, open_descriptors
from tests.model.reader import Client, SteppedReader
from tests.protocol.golden import BTC, LIFE
from tests.stand.past import MemoryPast
from tests.thoroughness import examples

COUNTS = st.integers(1, 40) | st.sampled_from([1_024, 1_025, 2_500])
TASTES = st.builds(
    Tastes,
    resume=st.sampled_from([True, True, False]),
    slow=st.sampled_from(["skip", "skip", "disconnect"]),
    symbols=st.sampled_from([(), (), (BTC.symbol,), (LIFE.symbol,)]).map(frozenset),
    market_only=st.sampled_from([False, False, True]),
    receive_bytes=st.sampled_from([None, 4_096, 4_096]),
)
TAKINGS = st.integers(0, 100) | st.sampled_from([-1, -2])
UNWRITTEN = st.sampled_from([0, 0, 1, 3, 1_000])
RARELY = st.sampled_from([False, False, True])
PLACES = st.sampled_from(["live", "oldest", "earlier", "later"]) | st.integers(0, 100)
HAPPENINGS = st.sampled_from(["publish", "bulk", "renew", "silence"])


class ReadersAgainstTheModel(RuleBasedStateMachine):
    readers = Bundle("readers")

    @initialize(
        target=readers,
        log_bytes=st.sampled_from([3_000, 30_000]),
        max_clients=st.sampled_from([2, 100]),
        has_past=st.booleans(),
        tastes=st.lists(TASTES, min_size=1, max_size=3),
    )
    def begin(
        self, log_bytes: int, max_clients: int, has_past: bool, tastes: list[Tastes]
    ) -> MultipleResults[SteppedReader]:
        self.descriptors = open_descriptors()
        self.patches = pytest.MonkeyPatch()
        # Small ones, so that a reader is behind, and falls off, soon.
        self.patches.setattr(connection, "SEND_BUFFER_BYTES", 4_096)
        self.patches.setattr(channel_reader, "CHUNK_BYTES", 4_096)
        self.past = MemoryPast() if has_past else None
        self.new_service = partial(
            Epoch, log_bytes=log_bytes, max_clients=max_clients, past=self.past
        )
        self.all_readers: list[SteppedReader] = []
        self.services: dict[int, Epoch] = {}
        self.loop = Loop()
        self.open_service()
        return multiple(*map(self.new_reader, tastes))

    def open_service(self) -> None:
        self.service = self.new_service(self.loop, epoch_ns=1_000 * (1 + len(self.services)))
        self.services[self.service.epoch_ns] = self.service
        self.loop.do(self.service.open)

    # What the service does.

    @rule(count=COUNTS, gap=st.booleans(), renewing=RARELY)
    def publish(self, count: int, gap: bool, renewing: bool) -> None:
        if renewing:
            self.loop.do(self.service.renew_header)
        self.loop.do(partial(self.service.publish, count, gap=gap))

    @rule(of=st.sampled_from([None, 0, 1]), count=st.integers(1, 6))
    def publish_statuses(self, of: int | None, count: int) -> None:
        self.loop.do(partial(self.service.publish_statuses, of, count))

    @rule(times=st.sampled_from([1, 10]))
    def renew_header(self, times: int) -> None:
        self.loop.do(partial(self.service.renew_header, times))

    @rule(
        reader=readers,
        amid=RARELY,
        of_trades=st.booleans(),
        at_once=st.booleans(),
        renewing=st.booleans(),
        ageing=st.booleans(),
    )
    def publish_bulk(self, reader: SteppedReader, amid: bool, ageing: bool, **how: bool) -> None:
        """`amid`: while a reader is in the middle of much, and has a new header still to come."""
        if amid:
            self.loop.do(partial(self.service.publish, 2_500))
            self.loop.do(self.service.renew_header)
            self.loop.do(reader.read)
        self.loop.do(partial(self.service.publish_bulk, **how))
        if ageing:
            self.let_pass(AGE_S)

    @rule(seconds=st.sampled_from([0.2, 1.5, AGE_S, STALL_S]))
    def let_pass(self, seconds: float) -> None:
        if seconds >= AGE_S:
            self.service.has_aged = True
        if seconds >= STALL_S:
            self.have_connections_break()
        self.loop.do(partial(self.loop.let_pass, seconds))

    @rule(all_read=st.booleans(), unwritten=UNWRITTEN, forgetting=RARELY)
    def restart(self, all_read: bool, unwritten: int, forgetting: bool) -> None:
        self.loop.do(self.service.say_goodbye)
        self.start_anew(all_read, unwritten)
        if forgetting and self.past and len(self.past.epochs) > 1:
            del self.past.epochs[min(self.past.epochs)]

    @rule(reader=readers, publishing=st.booleans(), all_read=st.booleans())
    def restart_while_somebody_asks(
        self, reader: SteppedReader, publishing: bool, all_read: bool
    ) -> None:
        happenings = ["publish", "goodbye"] if publishing else ["goodbye"]
        self.come_again(reader, (0, 0, False), happenings)
        self.start_anew(all_read)

    # What readers do.

    @rule(target=readers, place=PLACES, tastes=TASTES)
    def join(self, place: str | int, tastes: Tastes) -> SteppedReader:
        return self.new_reader(replace(tastes, start=self.start_at(place)))

    @rule(ahead=st.integers(1, 10_000))
    def ask_for_what_is_still_to_come(self, ahead: int) -> None:
        end = self.service.end
        start = Position(epoch_ns=end.epoch_ns, seq=end.seq + ahead)
        if self.service.is_full:
            return  # and no precondition: it depends on the kernel when a place becomes free

        async def ask() -> None:
            async with TrioTcpClient(f"tcp://127.0.0.1:{self.service.port}", start=start) as client:
                refusal = await anext(client)
                assert isinstance(refusal, End)
                assert (refusal.reason, refusal.retry_ms) == (EndReason.BAD_REQUEST, None)
                assert (refusal.last_seq, client.statistics.lost) == (end.seq - 1, 0)
                assert client.position == end

        self.loop.do(ask)

    @rule(reader=readers, limit=st.integers(1, 3_000))
    def read_some_bytes(self, reader: SteppedReader, limit: int) -> None:
        self.loop.do(partial(reader.read, limit))

    @rule(reader=readers)
    def catch_up(self, reader: SteppedReader) -> None:
        self.loop.do(reader.catch_up)

    @rule(reader=readers, count=st.integers(0, 40), taking=TAKINGS, renewing=RARELY)
    def leave(self, reader: SteppedReader, count: int, taking: int, renewing: bool) -> None:
        """Having read once and taken a part of it: mostly in the middle of a block."""
        self.loop.do(partial(self.service.publish, count))
        self.loop.do(reader.read)
        self.loop.do(partial(reader.take, taking))
        self.loop.do(reader.leave)
        if renewing:
            self.loop.do(self.service.renew_header)

    @rule(
        reader=readers,
        half=RARELY,
        count=st.integers(0, 3),
        happenings=st.lists(HAPPENINGS, max_size=2),
    )
    def break_off(
        self, reader: SteppedReader, half: bool, count: int, happenings: list[str]
    ) -> None:
        """The connection; or half of it, and the service goes on sending."""
        self.think(reader, happenings, times=1)
        self.loop.do(reader.say_no_more if half else reader.break_off)
        self.loop.do(partial(self.service.publish, count))
        self.loop.do(reader.catch_up)

    @rule(
        reader=readers,
        leaving=st.tuples(st.integers(0, 40), TAKINGS, RARELY),
        happenings=st.lists(HAPPENINGS, max_size=3),
        times=st.sampled_from([1, 1, 3]),
    )
    def come_again(
        self,
        reader: SteppedReader,
        leaving: tuple[int, int, bool],
        happenings: list[str],
        times: int = 1,
    ) -> None:
        """Leave, connect, and ask only after all that happened; so many times in a row."""
        self.leave(reader, *leaving)
        self.think(reader, happenings, times)
        self.loop.do(reader.connect)

    # What must come of it.

    @invariant()
    def everybody_has_what_was_due(self) -> None:
        for reader in getattr(self, "all_readers", ()):
            reader.check()

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        is_sound = sys.exception() is None
        try:
            if is_sound:
                self.finish()
        finally:
            self.close()
        if is_sound:
            assert open_descriptors() == self.descriptors

    def close(self) -> None:
        self.patches.undo()
        for reader in self.all_readers:
            self.loop.do(reader.close)
        self.loop.close()

    def finish(self) -> None:
        """Let everybody read to the end, and see that nothing is left of them."""
        self.loop.do(self.service.say_goodbye)
        self.read_to_the_close()
        self.everybody_has_what_was_due()
        self.loop.do(self.service.close)

    # Helpers.

    def start_anew(self, all_read: bool, unwritten: int = 0) -> None:
        """`unwritten` of the newest frames did not reach the disk."""
        if all_read:
            self.read_to_the_close()
        self.have_connections_break()
        self.loop.do(self.service.close)
        self.service.kept.lose_newest(unwritten)
        self.open_service()

    def new_reader(self, tastes: Tastes) -> SteppedReader:
        reader = SteppedReader(self.loop, self.services, tastes)
        self.all_readers.append(reader)
        self.loop.do(reader.connect)
        return reader

    def start_at(self, place: str | int) -> str | Position:
        """A number is percents of what was published."""
        end = self.service.end
        if isinstance(place, int):
            return replace(end, seq=1 + (end.seq - 1) * place // 100)
        elsewhere = {"earlier": end.epoch_ns - 1_000, "later": end.epoch_ns + 1}
        return Position(epoch_ns=elsewhere[place], seq=1_000) if place in elsewhere else place

    def think(self, reader: SteppedReader, happenings: list[str], times: int) -> None:
        """Before asking, in so many connections: the service may be another by then."""
        reader.think_before_asking([lambda: self.service.undergo(happenings)] * times)

    def have_connections_break(self) -> None:
        for reader in self.all_readers:
            reader.ledger.may_break |= reader.is_connected

    def read_to_the_close(self) -> None:
        for reader in self.all_readers:
            self.loop.do(reader.read_to_the_close)


def test_a_number_that_was_published_after_the_greeting_is_still_to_come() -> None:
    """Else those between the greeting's and that one would be told as lost, which nobody is due."""
    loop = Loop()
    service = Epoch(loop, epoch_ns=1_000, log_bytes=30_000, max_clients=1)

    async def think(name: str) -> None:
        service.publish(3)

    async def ask() -> None:
        start = Position(epoch_ns=1_000, seq=3)
        async with Client(f"tcp://127.0.0.1:{service.port}", start=start) as client:
            client.think = think
            refusal = await anext(client)
            assert isinstance(refusal, End)
            assert refusal.reason is EndReason.BAD_REQUEST

    try:
        loop.do(service.open)
        loop.do(ask)
    finally:
        loop.close()


TestReadersAgainstTheModel = ReadersAgainstTheModel.TestCase
TestReadersAgainstTheModel.settings = settings(
    max_examples=examples(25),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
