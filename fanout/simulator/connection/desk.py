"""What a connection gets besides its streams: a welcome, replies, messages on a clock.

The dialect words all of it. The faults of answers may change it on the way.
"""

import msgspec

from fanout.simulator.connection.streams import Streams, Subscriber
from fanout.simulator.dialects.base import Close, Dialect, Pulse, Session
from fanout.simulator.faults import AuthFault
from fanout.simulator.faults.answers import AnswerFaults
from fanout.simulator.market.clock import Clock


class Desk:
    """Of one exchange, for all its connections."""

    def __init__(
        self, dialect: Dialect, streams: Streams, clock: Clock, faults: AnswerFaults | None = None
    ) -> None:
        self.dialect = dialect
        self.streams = streams
        self.clock = clock
        self.faults = faults or AnswerFaults()

    def welcome(self, subscriber: Subscriber, session: Session) -> Close | None:
        """Begin a connection. Returns how it ends, if it ends at once."""
        welcome = self.dialect.welcome(session)
        if welcome is None:
            self.streams.tune(subscriber, session)
            return None
        self.streams.answer(subscriber, welcome)
        return welcome.close

    def answer(self, subscriber: Subscriber, text: str) -> Close | None:
        """Answer a request. Returns how the connection ends, if it does."""
        session, faults = subscriber.session, self.faults
        mood = msgspec.structs.replace(faults.mood(), streams=self.streams.names)
        answer = self.dialect.answer(session, text, self.clock.now_ms(), mood)
        answer = faults.through(answer, session, self.streams.symbol_of)
        self.streams.answer(subscriber, answer)
        return answer.close

    def pulse(self, subscriber: Subscriber, pulse: Pulse) -> bool:
        """Send the messages of a pulse. False during maintenance, when there is none."""
        if self.faults.is_maintained:
            return False
        now_ms = self.clock.now_ms()
        for message in self.dialect.pulse(
            pulse.name, subscriber.session, self.streams.market, now_ms
        ):
            self.streams.send(subscriber, message)
        return True

    def announce_maintenance(self, subscriber: Subscriber, *, begins: bool) -> None:
        now_ms = self.clock.now_ms()
        for message in self.dialect.maintenance(begins, now_ms, subscriber.session):
            self.streams.send(subscriber, message)

    def deprive(self, subscriber: Subscriber, how: AuthFault) -> Close | None:
        """End its access, if it has any. Returns how the connection ends, if it does."""
        answer = self.dialect.deprived(subscriber.session, how, self.clock.now_ms())
        if answer is None:
            return None
        self.streams.answer(subscriber, answer)
        return answer.close
