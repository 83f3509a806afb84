"""A subscriber without a client: a session that takes bytes from wherever a test has them, and
gives their records. It neither reconnects nor resumes, and it passes on every record, so that a
test sees what the service sent."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

from fanout.channel.channel import Channel
from fanout.protocol import Header, Record, SubscriberSession, Trade
from fanout.protocol.request import Begin


class Subscriber:
    """Takes bytes and gives records."""

    def __init__(self) -> None:
        self._session = SubscriberSession()

    @property
    def header(self) -> Header | None:
        return self._session.header

    def ask(self, start: Begin) -> None:
        """Note where the subscriber asked to begin."""
        self._session.ask(start)

    def receive(self, data: bytes) -> list[Record]:
        """The records that these bytes complete."""
        return [each for records in self.frames(data) for each in records]

    def frames(self, data: bytes) -> Iterator[list[Record]]:
        """The same, a list for each frame."""
        self._session.receive(data)
        while (records := self._session.next_records()) is not None:
            yield records


class LogSubscriber(Subscriber):
    """Reads a channel's log from its live end, as if there were no transport between them."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._log = channel.log
        self._cursor = channel.log.live()
        self._opening = channel.greeting() + channel.snapshot()

    def records(self) -> list[Record]:
        """The records since the last time; the snapshot comes first."""
        opening, self._opening = self._opening, b""
        data = self._log.read(self._cursor, 10**9)
        assert isinstance(data, bytes)
        return self.receive(opening + data)


class StreamSubscriber(Subscriber):
    """Reads what comes over a stream, and keeps it."""

    def __init__(self, read: Callable[[], Awaitable[bytes | bytearray]]) -> None:
        """`read` gives the bytes that come next, and none at the end."""
        super().__init__()
        self._read = read
        self.records: list[Record] = []
        self._counts: Counter[type] = Counter()

    @property
    def trade_ids(self) -> list[int]:
        return [each.trade_id for each in self.records if isinstance(each, Trade)]

    async def read_once(self) -> bool:
        """Whether the stream goes on."""
        data = bytes(await self._read())
        self.take(data)
        return bool(data)

    def take(self, data: bytes) -> None:
        new = self.receive(data)
        self.records += new
        self._counts.update(map(type, new))

    async def until(self, kind: type, count: int = 1) -> None:
        """Read until there are that many records of a kind."""
        while self._counts[kind] < count:
            assert await self.read_once(), f"the end came before {count} {kind.__name__}"

    async def until_header(self) -> None:
        while self.header is None:
            assert await self.read_once(), "the end came before a header"
