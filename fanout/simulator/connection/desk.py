"""What a connection gets besides its streams: a welcome, replies, messages on a clock.

The dialect words all of it.
"""

from fanout.simulator.connection.streams import Streams, Subscriber
from fanout.simulator.dialects.base import Close, Dialect, Pulse, Session
from fanout.simulator.market.clock import Clock


class Desk:
    """Of one exchange, for all its connections."""

    def __init__(self, dialect: Dialect, streams: Streams, clock: Clock) -> None:
        self.dialect = dialect
        self.streams = streams
        self.clock = clock

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
        answer = self.dialect.answer(subscriber.session, text, self.clock.now_ms())
        self.streams.answer(subscriber, answer)
        return answer.close

    def pulse(self, subscriber: Subscriber, pulse: Pulse) -> None:
        """Send the messages of a pulse."""
        now_ms = self.clock.now_ms()
        for message in self.dialect.pulse(
            pulse.name, subscriber.session, self.streams.market, now_ms
        ):
            self.streams.send(subscriber, message)
