"""A channel in a stream of NATS, written block by block as WIRE.md, section 14, says."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import nats
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.api import StreamConfig

from fanout.protocol import (
    Block,
    DataKinds,
    Event,
    Header,
    Status,
    Trade,
    encode_block,
    encode_event,
)
from fanout.protocol.constants import BlockFlags
from fanout.protocol.encoding import FORMS, snapshot_of
from fanout.protocol.framing import frame
from fanout.protocol.header import opening
from fanout.protocol.jetstream import (
    ALL,
    Stamp,
    Subject,
    headers_of,
    stream_of,
    subject_of,
    subjects_of,
    token,
)
from tests.protocol.golden import BTC, HEADER, LIFE

CHANNEL = "perps"
BOTH = replace(HEADER, next_seq=1, channels=(), data=DataKinds.TRADES)
BASE_NS = 1_795_000_000_000_000_000


def trade(number: int, instrument: Any = BTC) -> Trade:
    return Trade(instrument, 1_000 + number, 1_000_000 + number, 100 + number, 5, number % 2 == 0)


def made(
    subject: str, stamp: Stamp, data: bytes, kind: Subject, symbol: str = ""
) -> tuple[Any, ...]:
    """A message: subject, data and headers."""
    return subject, data, headers_of(kind, stamp, symbol)


class Writer:
    """Makes the messages of one epoch, in order, and knows where each stands."""

    def __init__(
        self,
        prefix: str = "fanout",
        channel: str = CHANNEL,
        *,
        header: Header = BOTH,
        last: int = 0,
    ) -> None:
        """`last` is the stream's last sequence number."""
        self.prefix = prefix
        self.channel = channel
        self.header = header
        self.next_seq = header.next_seq
        self.last = last
        self.header_at = self.whole_at = 0
        self._before: dict[str, int] = {}
        """The last number of each subject of a symbol."""

    def _made(self, kind: Subject, stamp: Stamp, data: bytes, symbol: str = "") -> tuple[Any, ...]:
        self.last += 1
        subject = subject_of(self.prefix, self.channel, kind, symbol)
        return subject, data, headers_of(kind, stamp, symbol)

    def _stamp(self, **others: Any) -> Stamp:
        return Stamp(
            **{
                "epoch_ns": self.header.epoch_ns,
                "seq": self.next_seq,
                "header": self.header_at,
                **others,
            }
        )

    def head(
        self, snapshot: Sequence[bytes] = (), *, header: Header | None = None
    ) -> list[tuple[Any, ...]]:
        """The header, and behind it a snapshot, one message for each of its frames."""
        self.header = header or self.header
        stamp = self._stamp(header=0, whole=self.whole_at, parts=len(snapshot))
        data = opening(replace(self.header, next_seq=self.next_seq))
        messages = [self._made(Subject.HEADER, stamp, data)]
        self.header_at = self.last
        for part, each in enumerate(snapshot, 1):
            its = self._stamp(part=part, parts=len(snapshot))
            messages.append(self._made(Subject.SNAPSHOT, its, each))
        self.whole_at = self.header_at
        return messages

    def snapshot(self, *records: Any) -> list[bytes]:
        """Frames of a snapshot at this place, one for each record."""
        return [snapshot_of(type(each), [each], self.next_seq, self.header) for each in records]

    def block(self, records: Sequence[Any], *, time_ns: int = 0) -> tuple[Any, ...]:
        """One message with records of one kind."""
        time_ns = time_ns or BASE_NS + self.next_seq
        stamp = self._stamp(count=len(records), time_ns=time_ns)
        form = FORMS[type(records[0])]
        payload = form.encode(self.next_seq, records, time_ns, 0, BlockFlags.NONE, self.header)
        self.next_seq += len(records)
        return self._made(Subject.RECORDS, stamp, frame(payload))

    def trades(self, count: int = 1, *, time_ns: int = 0) -> tuple[Any, ...]:
        """One message with that many trades, whose ids follow their numbers."""
        return self.block([trade(self.next_seq + each) for each in range(count)], time_ns=time_ns)

    def event(self, event: Event, count: int = 1) -> tuple[Any, ...]:
        """A STATUS, a GAP or a LOSS, which has its numbers already."""
        time_ns = event.since_ns if isinstance(event, Status) else 0
        message = self._made(
            Subject.RECORDS,
            self._stamp(count=count, time_ns=time_ns),
            frame(encode_event(event)),
        )
        self.next_seq += count
        return message

    def divided(self, *symbols: str) -> list[tuple[Any, ...]]:
        """A block with a trade for each symbol in turn, as one message for each symbol."""
        instruments = {each.symbol: each for each in self.header.instruments}
        runs: dict[str, list[tuple[int, list[Trade]]]] = {}
        last = ""
        for place, symbol in enumerate(symbols):
            record = trade(self.next_seq + place, instruments[symbol])
            if symbol == last:
                runs[symbol][-1][1].append(record)
            else:
                runs.setdefault(symbol, []).append((self.next_seq + place, [record]))
            last = symbol
        messages = []
        for part, (symbol, its) in enumerate(runs.items(), 1):
            stamp = self._stamp(
                count=len(symbols),
                time_ns=BASE_NS,
                part=part,
                parts=len(runs),
                before=self._before.get(symbol, 0),
            )
            self._before[symbol] = its[-1][1][-1].trade_id - 1_000
            data = b"".join(frame(_block(seq, trades, self.header)) for seq, trades in its)
            messages.append(self._made(Subject.RECORDS, stamp, data, symbol))
        self.next_seq += len(symbols)
        return messages

    def of_all(self, event: Event, count: int = 1) -> tuple[Any, ...]:
        """An event on the subject for what concerns all symbols."""
        stamp = self._stamp(count=count, before=self._before.get(ALL, 0))
        self.next_seq += count
        self._before[ALL] = self.next_seq - 1
        return self._made(Subject.RECORDS, stamp, frame(encode_event(event)), ALL)


def _block(seq: int, trades: list[Trade], header: Header) -> bytes:
    return encode_block(Block(first_seq=seq, trades=trades, received_ns=BASE_NS), header)


class Stand:
    """A stream in a server."""

    def __init__(self, client: Nats, prefix: str, channel: str) -> None:
        self.client = client
        self.jetstream = client.jetstream()
        self.prefix = prefix
        self.channel = channel
        self.name = stream_of(prefix, channel)
        self.writer = Writer(prefix, channel)

    async def make(self) -> None:
        config = StreamConfig(name=self.name, subjects=[*subjects_of(self.prefix, self.channel)])
        await self.jetstream.add_stream(config)

    async def write(self, *messages: tuple[Any, ...]) -> None:
        """Publish, and return once all is in the stream."""
        for subject, data, headers in messages:
            await self.jetstream.publish(subject, data, headers=headers)

    async def begin(self, *counts: int) -> None:
        """A header, and a message with so many trades for each count."""
        await self.write(*self.writer.head(), *[self.writer.trades(each) for each in counts])

    async def remove(self, *stream_seqs: int) -> None:
        for each in stream_seqs:
            await self.jetstream.delete_msg(self.name, each)

    async def consumers(self) -> list[str]:
        return [each.name for each in await self.jetstream.consumers_info(self.name)]


@asynccontextmanager
async def stand(
    url: str, prefix: str, channel: str = CHANNEL, **options: Any
) -> AsyncIterator[Stand]:
    """A stream that is empty yet."""
    client = await nats.connect(url, **options)
    try:
        its = Stand(client, prefix, channel)
        await its.make()
        yield its
    finally:
        await client.close()


def numbers(records: Iterable[Any]) -> list[int]:
    """The numbers of records, in order."""
    return [each.seq for each in records]


async def until(condition: Any, patience_s: float = 20.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(patience_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


__all__ = [
    "BTC",
    "CHANNEL",
    "LIFE",
    "Stand",
    "Writer",
    "numbers",
    "stand",
    "token",
    "trade",
    "until",
]
