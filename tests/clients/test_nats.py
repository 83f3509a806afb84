"""The clients of NATS, with a real server."""

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import os
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
import trustme
from msgspec.structs import replace
from nats.js.api import ConsumerConfig
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue

from fanout.clients import nats_durable, nats_stream
from fanout.clients.books import Books
from fanout.clients.nats import AsyncioNatsClient, Link, LoopThread, NatsClient
from fanout.clients.nats_trio import TrioNatsClient
from fanout.clients.outcomes import (
    AddressError,
    Disconnected,
    DisconnectedError,
    ForkedError,
    RefusedError,
    Restarted,
    UnknownSymbolError,
)
from fanout.protocol import (
    BookFlags,
    BookUpdate,
    DataKinds,
    Loss,
    LossReason,
    Position,
    Quote,
    Snapshot,
    Trade,
    pack_levels,
)
from fanout.protocol.errors import MissingPackageError
from fanout.protocol.request import Moment
from tests.clients.nats_streams import (
    BASE_NS,
    BOTH,
    BTC,
    CHANNEL,
    LIFE,
    Stand,
    Writer,
    stand,
    trade,
    until,
)
from tests.stand.nats import NatsOptions, NatsServer, running_nats

EPOCH_NS = BOTH.epoch_ns
PATIENCE_S = 20.0


def run(main: Coroutine[Any, Any, None]) -> None:
    async def patient() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await main

    asyncio.run(patient())


def reader(its: Stand, url: str, **options: Any) -> AsyncioNatsClient:
    return AsyncioNatsClient(f"{url}/{its.channel}", prefix=its.prefix, **options)


async def take(client: AsyncioNatsClient, seq: int) -> list[Any]:
    """The records up to a number."""
    records: list[Any] = []
    async for record in client:
        records.append(record)
        if getattr(record, "seq", 0) >= seq:
            break
    return records


def seqs(records: list[Any]) -> list[Any]:
    """Numbers of records, ranges of losses, and the names of what has neither."""
    return [
        (each.first_seq, each.last_seq)
        if isinstance(each, Loss)
        else getattr(each, "seq", type(each).__name__)
        for each in records
    ]


# Where to begin.


def test_the_oldest_records_come_first_and_new_ones_follow(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(3, 1)
            async with reader(its, shared_nats.url, start="oldest") as client:
                header = await client.connect()
                assert header == replace(BOTH, next_seq=1)
                assert seqs(await take(client, 4)) == [1, 2, 3, 4]
                await its.write(its.writer.trades(2))
                assert seqs(await take(client, 6)) == [5, 6]
                assert client.foreign == ()
                assert client.position == Position(epoch_ns=EPOCH_NS, seq=7)

    run(main())


QUOTE = Quote(BTC, 7, 5, 10, 1, 11, 2)
BOOK = BookUpdate(BTC, 7, 5, pack_levels([(10, 5)]), pack_levels([(11, 2)]), BookFlags.WHOLE)
ALL_KINDS = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


def test_a_live_reader_gets_what_a_service_would_send(shared_nats: NatsServer) -> None:
    """From the last header with a whole snapshot on: the newest one may be without it yet."""

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            writer.header = replace(BOTH, data=ALL_KINDS)
            await its.write(*writer.head(), writer.trades(2))
            await its.write(*writer.head(writer.snapshot(trade(2), QUOTE, BOOK)))
            change = replace(BOOK, update_id=9, packed_asks=b"", flags=BookFlags.NONE)
            await its.write(writer.trades(1), writer.block([change]))
            await its.write(writer.head(writer.snapshot(QUOTE))[0])
            writer.last -= 1  # the snapshot's part is not there yet
            async with reader(its, shared_nats.url) as client:
                await client.connect()
                books = Books(client)
                its_records = []
                await its.write(writer.trades(1))
                async for record in books:
                    its_records.append(record)
                    if isinstance(record, Trade):
                        break
                snapshot, quote, book, last = its_records
                assert isinstance(snapshot, Snapshot)
                assert [each.trade_id for each in snapshot.trades] == [1_003]
                assert isinstance(quote, Quote)
                assert isinstance(book, BookUpdate)
                assert (quote.update_id, book.update_id, book.seq) == (7, 9, 0)
                assert isinstance(last, Trade)
                assert (last.seq, books["BTCUSDT"].best_bid) == (5, (10, 5))

    run(main())


def test_a_live_reader_of_an_empty_stream_waits_for_the_first_header(
    shared_nats: NatsServer,
) -> None:
    async def main() -> None:
        prefix = shared_nats.new_prefix()
        async with (
            stand(shared_nats.url, prefix) as its,
            reader(its, shared_nats.url) as client,
        ):
            reading = asyncio.create_task(client.connect())
            await until(its.consumers)
            await its.begin(2)
            await reading
            assert seqs(await take(client, 2)) == [1, 2]

    run(main())


@pytest.mark.parametrize(
    ("seq", "expected"), [(1, [1, 2, 3, 4, 5, 6]), (2, [2, 3, 4, 5, 6]), (6, [6]), (8, [8])]
)
def test_a_position_begins_with_its_number(
    shared_nats: NatsServer, seq: int, expected: list[int]
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(3, 2)
            start = Position(epoch_ns=EPOCH_NS, seq=seq)
            async with reader(its, shared_nats.url, start=start) as client:
                await client.connect()
                assert client.position == start
                await its.write(its.writer.trades(1), its.writer.trades(2))
                assert seqs(await take(client, expected[-1])) == expected

    run(main())


@pytest.mark.parametrize("is_late", [False, True])
def test_a_position_within_a_block_that_has_a_header_in_it_begins_with_the_block(
    shared_nats: NatsServer, is_late: bool
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            one, (subject, data, headers) = its.writer.divided(BTC.symbol, LIFE.symbol, BTC.symbol)
            rest = (subject, data, {**headers, "Fanout-Header": "6"})
            again = Writer(its.prefix, header=replace(BOTH, next_seq=2)).head() * 3
            await its.write(one, *again, *[rest][: not is_late])
            start = Position(epoch_ns=EPOCH_NS, seq=3)
            async with reader(its, shared_nats.url, start=start) as client:
                reading = asyncio.create_task(take(client, 4))
                await until(its.consumers)
                await its.write(*[rest][:is_late])
                assert seqs(await reading) == [3, 4]
                assert client.statistics.lost == 0

    run(main())


def test_a_position_that_was_removed_begins_with_the_loss(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2, 2, 2)
            await its.remove(2, 3)
            start = Position(epoch_ns=EPOCH_NS, seq=2)
            async with reader(its, shared_nats.url, start=start) as client:
                first, *others = await take(client, 6)
                assert first == Loss(first_seq=2, last_seq=4, reason=LossReason.EVICTED)
                assert seqs(others) == [5, 6]

    run(main())


@pytest.mark.parametrize("is_lower", [True, False])
def test_a_position_in_an_epoch_that_is_not_there_stands_for_the_next_one(
    shared_nats: NatsServer, is_lower: bool
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2)
            epoch_ns = EPOCH_NS - 1 if is_lower else EPOCH_NS + 1
            start = Position(epoch_ns=epoch_ns, seq=7)
            async with reader(its, shared_nats.url, start=start) as client:
                reading = asyncio.create_task(take(client, 2))
                await until(its.consumers)
                if not is_lower:
                    header = replace(BOTH, epoch_ns=EPOCH_NS + 9)
                    its.writer = Writer(its.prefix, header=header, last=its.writer.last)
                    await its.begin(2)
                restarted, *records = await reading
                assert isinstance(restarted, Restarted)
                assert restarted.before == start
                assert seqs(records) == [1, 2]

    run(main())


@pytest.mark.parametrize(("offset_ns", "expected"), [(0, 1), (1, 3), (3, 4), (4, 5), (9, 6)])
def test_a_time_begins_with_the_first_record_of_it(
    shared_nats: NatsServer, offset_ns: int, expected: int
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            await its.write(
                *writer.head(),
                writer.trades(2, time_ns=BASE_NS),
                writer.trades(1, time_ns=BASE_NS + 2),
                *writer.head(),
                (f"{its.prefix}.perps.records", b"?", {}),
            )
            writer.last += 1
            await its.write(
                writer.trades(1, time_ns=BASE_NS + 3),
                writer.trades(1, time_ns=BASE_NS + 5),
                *writer.head(),
            )
            start = Moment(time_ns=BASE_NS + offset_ns)
            async with reader(its, shared_nats.url, start=start) as client:
                await client.connect()
                await its.write(writer.trades(1))
                records = [each for each in await take(client, 6) if isinstance(each, Trade)]
                assert seqs(records) == list(range(expected, 7))

    run(main())


def test_what_comes_while_a_live_reader_joins_follows_the_snapshot(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = nats_stream.NatsStream._info

    async def early(stream: Any) -> Any:
        info = await real(stream)
        info.state.last_seq -= 1
        return info

    monkeypatch.setattr(nats_stream.NatsStream, "_info", early)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2, 1)
            async with reader(its, shared_nats.url) as client:
                snapshot, last = await take(client, 3)
                assert [each.trade_id for each in snapshot.trades] == [1_002]
                assert last.seq == 3

    run(main())


# Holes.


def test_what_is_removed_under_a_reader_is_lost_with_its_numbers(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest", idle_timeout_s=0.3) as client:
                assert seqs(await take(client, 1)) == [1]
                await the_consumer_is_gone(its)
                await its.write(*[its.writer.trades(2) for _ in range(3)])
                await its.jetstream.purge_stream(its.name, seq=its.writer.last)
                assert seqs(await take(client, 7)) == [(2, 5), 6, 7]

    run(main())


async def the_consumer_is_gone(its: Stand) -> None:
    """Delete the consumers, of which the server tells its readers."""
    for each in await its.consumers():
        await its.jetstream.delete_consumer(its.name, each)


def test_a_consumer_that_is_gone_is_made_anew_and_nothing_is_lost(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest", idle_timeout_s=0.3) as client:
                assert seqs(await take(client, 1)) == [1]
                await the_consumer_is_gone(its)
                await its.write(its.writer.trades(1))
                assert seqs(await take(client, 2)) == [2]
                assert client.statistics.connections == 1
                assert client.reconnects == ()

    run(main())


def test_records_name_the_header_that_a_purge_took(shared_nats: NatsServer) -> None:
    """The header is fetched if it is there, else the records up to the next one are lost."""

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2, 2)
            start = Position(epoch_ns=EPOCH_NS, seq=3)
            async with reader(its, shared_nats.url, start=start) as client:
                assert seqs(await take(client, 4)) == [3, 4]
            await its.remove(1)
            await its.write(*its.writer.head(), its.writer.trades(1))
            async with reader(its, shared_nats.url, start=start) as client:
                assert seqs(await take(client, 5)) == [(3, 4), 5]

    run(main())


def test_a_message_that_a_consumer_leaves_out_makes_it_anew(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = []

    def numbers_in(reply: str) -> tuple[int, int, int]:
        stream_seq, consumer_seq, pending = _numbers_in(reply)
        if stream_seq == 3 and not left_out:
            left_out.append(reply)
            return stream_seq, consumer_seq + 1, pending
        return stream_seq, consumer_seq, pending

    _numbers_in = nats_stream._numbers_in
    monkeypatch.setattr(nats_stream, "_numbers_in", numbers_in)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1, 1, 1)
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, 3)) == [1, 2, 3]
                assert (len(left_out), client.statistics.lost) == (1, 0)

    run(main())


def test_more_messages_come_than_one_request_asks_for(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            count = 3 * nats_stream.BATCH
            await its.write(*its.writer.head())
            await asyncio.gather(*[its.write(its.writer.trades(1)) for _ in range(count)])
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, count)) == list(range(1, count + 1))

    run(main())


def test_a_request_that_runs_out_is_followed_by_another(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_stream, "PULL_S", 0.05)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, 1)) == [1]
                reading = asyncio.create_task(take(client, 2))
                link = client._link
                assert link is not None
                await until(lambda: _is_beyond(link._stream, 4))
                await its.write(its.writer.trades(1))
                assert seqs(await reading) == [2]
                assert client.statistics.connections == 1

    run(main())


async def _is_beyond(stream: Any, requests: int) -> bool:
    return bool(stream._requests > requests)


def test_a_consumer_whose_heartbeats_stop_is_made_anew_but_not_for_ever(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_stream, "BEATS", 0.1)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            options: Any = {"start": "oldest", "reconnect": False, "idle_timeout_s": 0.1}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 1)) == [1]
                with pytest.raises(DisconnectedError, match="failed again and again: its heart"):
                    await take(client, 2)

    run(main())


# Epochs, divided blocks, foreign messages.


def test_another_epoch_follows_a_restarted(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2)
            header = replace(BOTH, epoch_ns=EPOCH_NS + 1)
            its.writer = Writer(its.prefix, header=header, last=its.writer.last)
            await its.begin(2)
            async with reader(its, shared_nats.url, start="oldest", reconnect=False) as client:
                assert seqs(await take(client, 2)) == [1, 2]
                assert seqs(await take(client, 2)) == ["Restarted", 1, 2]

    run(main())


def test_a_stream_that_is_divided_by_symbol_is_read_whole(shared_nats: NatsServer) -> None:
    names = (BTC.symbol, LIFE.symbol, BTC.symbol)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            await its.write(*writer.head(), *writer.divided(*names), *writer.divided(*names))
            start = Position(epoch_ns=EPOCH_NS, seq=2)
            async with reader(its, shared_nats.url, start=start) as client:
                assert seqs(await take(client, 6)) == [2, 3, 4, 5, 6]
            options: Any = {"start": "oldest", "symbols": [LIFE.symbol]}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 5)) == [2, 5]
                assert client.statistics.lost == 0

    run(main())


def test_header_and_position_are_of_the_epoch_of_what_is_handed_over(
    shared_nats: NatsServer,
) -> None:
    """Also at an epoch that ended within a block, and although all of it is read at once."""
    header = replace(BOTH, epoch_ns=EPOCH_NS + 1)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(2)
            (part, _) = its.writer.divided(BTC.symbol, LIFE.symbol)
            its.writer = Writer(its.prefix, header=header, last=its.writer.last - 1)
            await its.write(part)
            await its.begin(2)
            found = []
            async with reader(its, shared_nats.url, start="oldest") as client:
                while len(found) < 7:
                    (name,) = seqs([await anext(client)])
                    assert client.header is not None
                    assert client.position is not None
                    place = client.position.epoch_ns - EPOCH_NS, client.position.seq
                    found.append((name, client.header.epoch_ns - EPOCH_NS, *place))
            assert found == [
                (1, 0, 0, 2),
                (2, 0, 0, 3),
                (3, 0, 0, 4),
                ((4, 4), 0, 0, 5),
                ("Restarted", 1, 1, 1),
                (1, 1, 1, 2),
                (2, 1, 1, 3),
            ]

    run(main())


ETH = replace(BTC, index=2, symbol="ETHUSDT")
THREE = replace(
    BOTH, instruments=(BTC, LIFE, ETH), references=(*BOTH.references, BOTH.references[0])
)
B, L, E = BTC.symbol, LIFE.symbol, ETH.symbol


def test_a_reader_of_some_symbols_asks_for_their_subjects_alone(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server before 2.10 sends the others too, and they are left out here."""
    configs: list[ConsumerConfig] = []
    real = JetStreamContext.add_consumer

    async def add(context: Any, stream: str, config: ConsumerConfig) -> Any:
        configs.append(config)
        return await real(context, stream, config)

    monkeypatch.setattr(JetStreamContext, "add_consumer", add)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            writer.header = THREE
            await its.write(*writer.head(), *writer.divided(B, L, B), *writer.divided(E, E))
            async with reader(its, shared_nats.url, start="oldest", symbols=[L]) as client:
                assert seqs(await take(client, 2)) == [2]
                await its.write(*writer.divided(B, E), *writer.head(), *writer.divided(E, L))
                assert seqs(await take(client, 9)) == [9]
                assert (client.statistics.lost, client.foreign) == (0, ())
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, 9)) == list(range(1, 10))
            records = f"{its.prefix}.perps.records"
            assert [each.filter_subjects for each in configs] == [
                [
                    f"{its.prefix}.perps.header",
                    f"{its.prefix}.perps.snapshot",
                    records,
                    f"{records}.%all",
                    f"{records}.{L}",
                ],
                None,
            ]

    run(main())


def test_a_reader_of_some_symbols_joins_comes_back_and_is_told_its_own_losses(
    shared_nats: NatsServer,
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            writer.header = THREE
            await its.write(*writer.head(), *writer.divided(L), *writer.divided(B, E))
            async with reader(its, shared_nats.url, symbols=[L]) as client:
                await client.connect()
                await its.write(*writer.divided(E, L))
                snapshot, last = await take(client, 5)
                assert [each.trade_id for each in snapshot.trades] == [1_001]
                assert last.seq == 5
                client._lost(DisconnectedError("cut"))
                await its.write(*writer.divided(E), *writer.divided(L), *writer.divided(L))
                await its.remove(writer.last - 2, writer.last - 1)
                assert seqs(await take(client, 8)) == ["Disconnected", (6, 7), 8]
                assert client.statistics.lost == 2

    run(main())


@pytest.mark.parametrize("is_filtered", [True, False])
def test_the_end_of_a_block_is_looked_for(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch, is_filtered: bool
) -> None:
    """Where the server filters, the last part does not come if it is of another symbol."""
    if is_filtered:
        monkeypatch.setattr(nats_stream, "stamp_of", lambda headers: None)
    looks: list[bool] = []
    real = nats_stream.NatsStream._look
    info = JetStreamContext.consumer_info
    asked: list[str] = []

    async def consumer_info(context: Any, stream: str, consumer: str) -> Any:
        """At first the consumer is gone, and then it has a message on the way."""
        asked.append(consumer)
        if len(asked) == 1:
            raise NotFoundError
        found = await info(context, stream, consumer)
        found.num_pending = int(len(asked) == 2)
        return found

    monkeypatch.setattr(JetStreamContext, "consumer_info", consumer_info)

    async def look(stream: Any) -> None:
        await real(stream)
        looks.append(stream._amid is None)

    async def has_looked() -> bool:
        return len(looks) > 1

    monkeypatch.setattr(nats_stream.NatsStream, "_look", look)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            writer = its.writer
            writer.header = THREE
            *parts, last = writer.head() + writer.divided(B, L, B, E)
            await its.write(*parts)
            async with reader(its, shared_nats.url, start="oldest", symbols=[B, L]) as client:
                assert seqs(await take(client, 2)) == [1, 2]
                reading = asyncio.create_task(take(client, 3))
                await until(has_looked)
                assert not any(looks), "the last part is not there yet"
                await its.write(last)
                assert seqs(await reading) == [3]
                assert (any(looks), len(asked)) == (is_filtered, 3 * is_filtered)

    run(main())


def test_messages_that_are_not_ours_are_counted_and_skipped(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.write((f"{its.prefix}.perps.header", b"?", {"Fanout-Epoch": "x"}))
            its.writer.last += 1
            await its.begin(1)
            await its.write((f"{its.prefix}.perps.records", b"?", {}))
            its.writer.last += 1
            await its.write(its.writer.trades(1))
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, 2)) == [1, 2]
                ((why, first, count),) = [
                    (each.why, each.first_stream_seq, each.messages) for each in client.foreign
                ]
                assert (why, first, count) == ("a message without the headers of fanout", 1, 2)

    run(main())


@pytest.mark.parametrize("has_more", [False, True])
def test_a_newest_header_that_is_not_ours_is_no_place_to_begin(
    shared_nats: NatsServer, has_more: bool
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            headers = its.writer.head()[0][2] if has_more else {}
            await its.write((f"{its.prefix}.perps.header", b"?", headers))
            its.writer.last += not has_more
            start: Any = Position(epoch_ns=EPOCH_NS, seq=2) if has_more else "live"
            async with reader(its, shared_nats.url, start=start) as client:
                reading = asyncio.create_task(client.connect())
                await until(its.consumers)
                await its.write(*its.writer.head(), its.writer.trades(1))
                await reading
                assert seqs(await take(client, 2)) == [2]

    run(main())


def test_a_symbol_that_is_not_served_is_an_error(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, symbols=["NONE"]) as client:
                with pytest.raises(UnknownSymbolError, match="NONE is not served here"):
                    await client.connect()

    run(main())


# The connection.


def test_a_server_that_comes_back_is_read_on_from_where_it_was_left(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.clients.subscription.FIRST_PAUSE_S", 0.01)

    async def main() -> None:
        async with stand(nats_server.url, "fanout", reconnect_time_wait=0.01) as its:
            await its.begin(2)
            async with reader(its, nats_server.url, start="oldest") as client:
                assert seqs(await take(client, 2)) == [1, 2]
                nats_server.kill()
                first = await anext(client)
                assert isinstance(first, Disconnected)
                assert first.why.startswith("the connection to NATS was lost")
                assert isinstance(await anext(client), Disconnected)
                nats_server.start()
                await until(lambda: _is_written(its, its.writer.trades(2)))
                records = [each for each in await take(client, 4) if isinstance(each, Trade)]
                assert seqs(records) == [3, 4]
                (reconnect,) = client.reconnects
                assert (reconnect.lost, reconnect.is_new_epoch) == ((), False)
                assert client.statistics.connections == 2

    run(main())


async def _is_written(its: Stand, message: Any) -> bool:
    with contextlib.suppress(Exception):
        await its.write(message)
        return True
    return False


def test_a_stream_that_is_made_anew_is_another_place_to_begin(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1, 1)
            async with reader(its, shared_nats.url, start="oldest") as client:
                assert seqs(await take(client, 2)) == [1, 2]
                await its.jetstream.delete_stream(its.name)
                gone = await anext(client)
                assert isinstance(gone, Disconnected)
                assert "there is no stream" in gone.why
                header = replace(BOTH, next_seq=3)
                its.writer = Writer(its.prefix, header=header)
                await its.make()
                await its.begin(1)
                records = [each for each in await take(client, 3) if isinstance(each, Trade)]
                assert seqs(records) == [3]

    run(main())


def test_a_stream_that_was_replaced_is_noticed(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest", reconnect=False) as client:
                assert seqs(await take(client, 1)) == [1]
                monkeypatch.setattr(nats_stream, "_made_at", lambda info: "another time")
                await the_consumer_is_gone(its)
                with pytest.raises(DisconnectedError, match="was made anew"):
                    await take(client, 2)

    run(main())


def test_a_cancellation_loses_no_record(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest") as client:
                got = await take(client, 1)
                for seq in range(2, 6):
                    waiting = asyncio.create_task(take(client, seq))
                    await asyncio.sleep(0)
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await waiting
                    await its.write(its.writer.trades(1))
                    got += await take(client, seq)
                assert seqs(got) == [1, 2, 3, 4, 5]
                assert client.statistics.connections == 1

    run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_event_loop_connects_again(shared_nats: NatsServer) -> None:
    prefix = shared_nats.new_prefix()
    client = AsyncioNatsClient(f"{shared_nats.url}/{CHANNEL}", prefix=prefix, start="oldest")

    async def first() -> None:
        async with stand(shared_nats.url, prefix) as its:
            await its.begin(1, 1)
            assert seqs([await anext(client)]) == [1]

    async def second() -> None:
        async with client:
            client._ready.clear()
            assert isinstance(await anext(client), Disconnected)

    run(first())
    run(second())
    gc.collect()


# What cannot be read.


def refusal(url: str, **options: Any) -> str:
    """The error of a client that cannot connect, and does so at once although it may try again."""
    found: list[str] = []

    async def main() -> None:
        async with AsyncioNatsClient(url, **options) as client:
            with pytest.raises(DisconnectedError) as raised:
                await client.connect()
            found.append(str(raised.value))
            if options.get("reconnect", True):
                assert isinstance(raised.value, RefusedError)
                assert [each async for each in AsyncioNatsClient(url, **options)] == []

    with contextlib.suppress(RefusedError):
        run(main())
    return found[0]


def test_a_stream_that_is_not_there_is_told(shared_nats: NatsServer) -> None:
    host = shared_nats.url
    assert refusal(f"{host}/no.such", prefix="x") == (
        f"{host}/no.such: there is no stream x-no=2Esuch for channel no.such"
    )


def test_a_server_that_is_not_there_is_told_and_tried_again(nats_server: NatsServer) -> None:
    nats_server.kill()

    async def main() -> None:
        async with AsyncioNatsClient(f"{nats_server.url}/a") as client:
            first = await anext(client)
            assert isinstance(first, Disconnected)
            assert "refused" in first.why.lower()

    run(main())
    assert refusal(f"{nats_server.url}/a", reconnect=False).startswith(f"{nats_server.url}/a: ")


@pytest.mark.parametrize("hosts", ["127.0.0.1:9,{}", "{},127.0.0.1:9"])
def test_another_server_of_the_cluster_is_tried(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch, hosts: str
) -> None:
    named = [urlsplit("nats://127.0.0.1:8"), urlsplit("nats://127.0.0.1:8")]
    monkeypatch.setattr("nats.aio.client.Client.discovered_servers", named)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            url = "nats://" + hosts.format(shared_nats.url.removeprefix("nats://"))
            async with reader(its, url, start="oldest") as client:
                assert seqs(await take(client, 1)) == [1]
                *given, other = client._settings.servers
                assert sorted(given) == sorted(["nats://127.0.0.1:9", shared_nats.url])
                assert other == "nats://127.0.0.1:8"

    run(main())


def test_a_server_that_does_not_answer_is_told(nats_server: NatsServer) -> None:
    async def main() -> None:
        async with stand(nats_server.url, "fanout") as its:
            await its.begin(1)
            options: Any = {"start": "oldest", "reconnect": False, "idle_timeout_s": 0.05}
            async with reader(its, nats_server.url, **options) as client:
                await take(client, 1)
                nats_server.pause()
                with pytest.raises(DisconnectedError, match="does not answer"):
                    await take(client, 2)
            nats_server.resume()

    run(main())


@pytest.mark.parametrize("login", ["", "user:wrong@"])
def test_a_wrong_password_is_refused_and_never_shown(tmp_path: Path, login: str) -> None:
    with running_nats(tmp_path, user="user", password="right") as server:
        url = server.url.replace("//", f"//{login}") + "/perps"
        words = refusal(url)
        shown = f"{server.url}/perps"
        assert words == f"{shown}: the NATS server refuses: Authorization Violation"

        async def main() -> None:
            right = {"user": "user", "password": "right"}
            async with stand(server.url, "fanout", **right) as its:
                await its.begin(1)
                url = server.url.replace("//", "//user:right@") + "/perps"
                async with AsyncioNatsClient(url, start="oldest") as client:
                    assert seqs(await take(client, 1)) == [1]
                    assert "right" not in f"{client!r} {client.url} {client._settings!r}"

        run(main())


def test_a_server_without_jetstream_is_told(tmp_path: Path) -> None:
    with running_nats(tmp_path, has_jetstream=False) as server:
        words = refusal(f"{server.url}/perps", reconnect=False)
    assert words == f"{server.url}/perps: JetStream is not available: it is off, or has no leader"


@pytest.mark.parametrize("login", ["user:right@", ""])
def test_tls_is_asked_for_before_a_password_is_given_away(
    shared_nats: NatsServer, login: str
) -> None:
    url = shared_nats.url.replace("nats://", f"nats+tls://{login}") + "/perps"
    words = refusal(url, reconnect=False)
    assert words.endswith("the NATS server does not speak TLS: use nats://")


class TlsServer(NatsServer):
    """A server that speaks TLS, with a certificate of an authority of its own."""

    def _lines(self) -> Iterator[str]:
        yield from super()._lines()
        files = f'cert_file: "{self.directory}/cert.pem", key_file: "{self.directory}/key.pem"'
        yield f"tls {{ {files} }}"


def test_a_server_with_tls_is_read_if_its_certificate_is_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    cert = authority.issue_cert("127.0.0.1")
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = TlsServer(tmp_path, NatsOptions())

    async def main() -> None:
        url = server.url.replace("nats://", "nats+tls://") + f"/{CHANNEL}"
        async with stand(server.url, "fanout", tls=trusting) as its:
            await its.begin(1)
            async with AsyncioNatsClient(url, start="oldest", tls=trusting) as client:
                assert seqs(await take(client, 1)) == [1]
        async with AsyncioNatsClient(url, reconnect=False) as client:
            with pytest.raises(DisconnectedError, match="TLS handshake with NATS failed: unable"):
                await client.connect()

    with contextlib.closing(server):
        server.start()
        run(main())


def test_a_file_of_credentials_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    words = refusal("nats://127.0.0.1:9/a", creds=str(tmp_path / "none"))
    assert words.startswith(f"credentials {tmp_path / 'none'}: ")


def test_wrong_credentials_are_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("-----BEGIN\n")
    with running_nats(tmp_path, user="user", password="right") as server:
        words = refusal(f"{server.url}/a", creds=str(tmp_path / "wrong"))
    assert "refuses" in words


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("nats://u:secret@h", {}, "nats://h:4222 names no channel"),
        ("nats://u:secret@h/a", {"tls": object()}, "is not nats"),
        ("nats://h/a", {"prefix": "a.b"}, "is no prefix"),
        ("nats://h", {"durable": "a b"}, "is no prefix"),
    ],
)
def test_what_cannot_be_asked_for_is_an_error(
    url: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(AddressError, match=words) as raised:
        NatsClient(url, **options)
    assert "secret" not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'fanout\[nats\]'"):
        NatsClient("nats://h/a")


# The blocking client.


@pytest.fixture
def written(shared_nats: NatsServer) -> tuple[str, str]:
    """A stream with three trades: its address and its prefix."""
    prefix = shared_nats.new_prefix()

    async def main() -> None:
        async with stand(shared_nats.url, prefix) as its:
            await its.begin(2, 1)

    run(main())
    return f"{shared_nats.url}/{CHANNEL}", prefix


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "fanout-nats"]


def test_a_blocking_client_reads_the_same(written: tuple[str, str]) -> None:
    url, prefix = written
    with NatsClient(url, prefix=prefix, start="oldest") as client:
        assert client.connect() == replace(BOTH, next_seq=1)
        assert seqs([next(client) for _ in range(3)]) == [1, 2, 3]
        assert threads() == ["fanout-nats"]
    assert threads() == []
    assert list(client) == []


def test_a_blocking_client_can_be_closed_by_another_thread(written: tuple[str, str]) -> None:
    url, prefix = written
    client = NatsClient(url, prefix=prefix, start="oldest")
    records = []
    reading = threading.Thread(target=lambda: records.extend(client))
    reading.start()
    while len(records) < 3:
        time.sleep(0.001)
    while client._waiting is None:
        time.sleep(0.001)
    client.close()
    client.close()
    reading.join(PATIENCE_S)
    assert not reading.is_alive()
    assert (seqs(records), threads()) == ([1, 2, 3], [])


def test_a_client_that_was_closed_does_not_connect(written: tuple[str, str]) -> None:
    url, prefix = written
    client = NatsClient(url, prefix=prefix)
    client.close()
    assert list(client) == []
    with pytest.raises(DisconnectedError, match="the stream ended before the session header"):
        client.connect()
    client._step()
    assert (client._link, threads()) == (None, [])


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("error", [None, OSError("cut")])
def test_a_client_that_is_closed_as_it_connects_leaves_nothing(
    written: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    is_done: bool,
) -> None:
    """Also if it was connected before it could be told."""
    url, prefix = written
    client = NatsClient(url, prefix=prefix)
    opening, submit = client._opening, client._submit

    def closing(link: Any) -> Any:
        client._is_closed = True
        if error is not None:
            raise error
        return opening(link)

    def submitted(coroutine: Coroutine[Any, Any, Any]) -> Any:
        future = submit(coroutine)
        if is_done:
            concurrent.futures.wait([future], PATIENCE_S)
        return future

    monkeypatch.setattr(client, "_opening", closing)
    monkeypatch.setattr(client, "_submit", submitted)
    assert list(client) == []
    assert (client._link, client._doubt, threads()) == (None, None, [])


@pytest.mark.parametrize("step", ["_run", "_opened", "_take"])
@pytest.mark.parametrize("is_before", [True, False])
def test_an_interrupt_loses_no_record(
    written: tuple[str, str], monkeypatch: pytest.MonkeyPatch, step: str, is_before: bool
) -> None:
    url, prefix = written
    with NatsClient(url, prefix=prefix, start="oldest") as client:
        real, hits = getattr(client, step), []

        def interrupted(*arguments: Any) -> Any:
            hits.append(step)
            if is_before and len(hits) == 1:
                for each in arguments:
                    if asyncio.iscoroutine(each):
                        each.close()
                raise KeyboardInterrupt
            result = real(*arguments)
            if len(hits) == 1:
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(client, step, interrupted)
        got: list[Any] = []
        while len(got) < 3:
            with contextlib.suppress(KeyboardInterrupt):
                record = next(client)
                got += [record] if isinstance(record, Trade) else []
        assert (seqs(got), client.statistics.lost) == ([1, 2, 3], 0)


def test_a_cancellation_while_it_connects_leaves_no_connection(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            client = reader(its, shared_nats.url, start="oldest")
            for turns in range(40):
                reading = asyncio.create_task(client.connect())
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
            async with client:
                assert seqs(await take(client, 1)) == [1]
            await until(lambda: _has_connections(shared_nats, 1))

    run(main())


async def _has_connections(server: NatsServer, count: int) -> bool:
    found = await asyncio.to_thread(server.ask, "connz")
    return bool(found["num_connections"] == count)


def test_a_blocking_client_that_cannot_connect_tries_again() -> None:
    with NatsClient("nats://127.0.0.1:9/a") as client:
        assert isinstance(next(client), Disconnected)


def test_an_error_in_the_program_ends_the_thread_too(written: tuple[str, str]) -> None:
    url, prefix = written
    with (
        contextlib.suppress(ZeroDivisionError),
        NatsClient(url, prefix=prefix, start="oldest") as client,
    ):
        assert seqs([next(client)]) == [1]
        raise ZeroDivisionError
    assert threads() == []


def test_what_hangs_in_the_thread_is_cancelled() -> None:
    loop = LoopThread()
    hanging = loop.submit(asyncio.sleep(1_000))
    loop.end()
    assert hanging.cancelled()


# The client for trio.


async def trio_take(client: TrioNatsClient, seq: int) -> list[Any]:
    records: list[Any] = []
    async for record in client:
        records.append(record)
        if getattr(record, "seq", 0) >= seq:
            break
    return records


def test_a_client_for_trio_reads_the_same(written: tuple[str, str]) -> None:
    url, prefix = written

    async def main() -> None:
        async with TrioNatsClient(url, prefix=prefix, start="oldest") as client:
            assert await client.connect() == replace(BOTH, next_seq=1)
            assert seqs(await trio_take(client, 3)) == [1, 2, 3]
            with trio.move_on_after(0):
                await trio_take(client, 4)
            client._lost(DisconnectedError("cut"))
            assert isinstance(await anext(client), Disconnected)

    trio.run(main)
    assert threads() == []


def test_a_client_ends_when_its_lost_connection_is_closed_too(
    written: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, prefix = written
    closed: list[Link] = []
    real = Link.close

    async def slow(link: Link, done: Position | None = None) -> None:
        await asyncio.sleep(0.05)
        await real(link, done)
        closed.append(link)

    monkeypatch.setattr(Link, "close", slow)

    async def main() -> None:
        async with TrioNatsClient(url, prefix=prefix, start="oldest") as client:
            await client.connect()
            client._lost(DisconnectedError("cut"))
            assert not closed
        assert len(closed) == 1

    trio.run(main)


def test_a_cancellation_under_trio_loses_no_record(written: tuple[str, str]) -> None:
    url, prefix = written

    async def main() -> None:
        async with TrioNatsClient(url, prefix=prefix, start="oldest") as client:
            got: list[Any] = []
            for turns in itertools.count():
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_cancelling, scope, turns)
                        while len(got) < 3:
                            got.append(await anext(client))
                        nursery.cancel_scope.cancel()
                if len(got) == 3:
                    break
            assert (seqs(got), client.statistics.lost) == ([1, 2, 3], 0)

    trio.run(main)
    assert threads() == []


async def _cancelling(scope: trio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await trio.sleep(0.0002)
    scope.cancel()


def test_a_client_for_trio_that_cannot_connect_tries_again() -> None:
    async def main() -> None:
        async with TrioNatsClient("nats://127.0.0.1:9/a") as client:
            assert isinstance(await anext(client), Disconnected)

    trio.run(main)


def test_a_thread_that_outlives_trio_wakes_nobody(written: tuple[str, str]) -> None:
    url, prefix = written
    client = TrioNatsClient(url, prefix=prefix, start="oldest")

    async def main() -> None:
        await trio_take(client, 3)
        with trio.move_on_after(0.001):
            await anext(client)

    trio.run(main)
    client._leave(None, is_last=True)
    assert threads() == []


# Forks.


def test_a_fork_leaves_the_connection_to_its_parent(written: tuple[str, str]) -> None:
    url, prefix = written
    with NatsClient(url, prefix=prefix, start="oldest") as client:
        assert seqs([next(client)]) == [1]
        link, loop = client._link, client._loop
        client._leave_to_parent(os.getpid() + 1)
        client._ready.clear()
        with pytest.raises(ForkedError):
            next(client)
        client._link, client._loop = link, loop  # they would be the parent's

    async def main() -> None:
        async with AsyncioNatsClient(url, prefix=prefix, start="oldest") as client:
            await client.connect()
            link = client._link
            assert link is not None
            client._leave_to_parent(os.getpid() + 1)
            client._ready.clear()
            with pytest.raises(ForkedError):
                await anext(client)
            await link.close()

    run(main())


# Durable readers.


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_durable, "LEASE_S", 0.3)
    monkeypatch.setattr(nats_durable, "SAVE_S", 0.0)


@pytest.mark.usefixtures("quick_leases")
def test_a_durable_reader_goes_on_where_the_last_one_stopped(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1, 2, 2)
            options: Any = {"start": "oldest", "durable": "book-keeper"}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 4)) == [1, 2, 3, 4]
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 5)) == [5]
            await its.write(its.writer.trades(1), its.writer.trades(1))
            await its.remove(its.writer.last - 1)
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 7)) == [(6, 6), 7]

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_a_program_that_fails_gets_the_last_records_again(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1, 2)
            options: Any = {"start": "oldest", "durable": "d"}
            with contextlib.suppress(ZeroDivisionError):
                async with reader(its, shared_nats.url, **options) as client:
                    await take(client, 3)
                    raise ZeroDivisionError
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 3)) == [1, 2, 3]

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_readers_of_one_name_share_channels_and_take_over(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = shared_nats.new_prefix()
    attempts: list[object] = []
    real = nats_durable.Durable._free

    async def free(*arguments: Any) -> str:
        attempts.append(arguments)
        return await real(*arguments)

    async def has_tried() -> bool:
        return len(attempts) >= 4

    monkeypatch.setattr(nats_durable.Durable, "_free", free)

    async def main() -> None:
        async with (
            stand(shared_nats.url, prefix, "a.b") as one,
            stand(shared_nats.url, prefix, "c") as other,
        ):
            for each in (one, other):
                each.writer.header = replace(BOTH, channel=each.channel)
                await each.begin(1)
            options: Any = {"start": "oldest", "durable": "d", "prefix": prefix}
            clients = [AsyncioNatsClient(shared_nats.url, **options) for _ in range(3)]
            async with clients[1]:
                async with clients[0]:
                    headers = [await each.connect() for each in clients[:2]]
                    assert {each.channel for each in headers} == {"a.b", "c"}
                    waiting = asyncio.create_task(clients[2].connect())
                    await until(has_tried)
                    assert seqs(await take(clients[0], 1)) == [1]
                async with clients[2]:
                    assert (await waiting).channel == headers[0].channel
                    its = one if headers[0].channel == "a.b" else other
                    await its.write(its.writer.trades(1))
                    assert seqs(await take(clients[2], 2)) == [2]

    run(main())


def _forgetful(
    request: Callable[..., Awaitable[int]], asked: asyncio.Event
) -> Callable[..., Awaitable[int]]:
    """A request of nats-py whose answer comes together with a cancellation. It forgets that one, as
    `asyncio.wait_for` does before Python 3.12."""

    async def forgetful(*arguments: Any, **options: Any) -> int:
        asked.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(PATIENCE_S)
        return await request(*arguments, **options)

    return forgetful


@pytest.mark.usefixtures("quick_leases")
def test_a_reader_that_leaves_as_its_lease_is_renewed_gives_it_back(
    shared_nats: NatsServer,
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            # Leases that do not go by themselves.
            await its.jetstream.create_key_value(bucket=f"{its.prefix}-leases")
            options: Any = {"start": "oldest", "durable": "d"}
            renews = asyncio.Event()
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 1)) == [1]
                link: Any = client._link
                leases = link._durable._leases
                leases.update = _forgetful(leases.update, renews)
                await renews.wait()
            await its.write(its.writer.trades(1))
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 2)) == [2]

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_a_reader_that_is_cancelled_as_its_lease_comes_gives_it_back(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            await its.jetstream.create_key_value(bucket=f"{its.prefix}-leases")
            options: Any = {"start": "oldest", "durable": "d"}
            asks = asyncio.Event()
            async with reader(its, shared_nats.url, **options) as client:
                with monkeypatch.context() as patch:
                    patch.setattr(KeyValue, "create", _forgetful(KeyValue.create, asks))
                    connecting = asyncio.create_task(client.connect())
                    await asks.wait()
                    connecting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await connecting
                async with reader(its, shared_nats.url, **options) as other:
                    assert seqs(await take(other, 1)) == [1]

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_a_reader_whose_lease_was_taken_stops(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            options: Any = {"start": "oldest", "durable": "d", "reconnect": False}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 1)) == [1]
                leases = await its.jetstream.key_value(f"{its.prefix}-leases")
                await leases.put(f"d.{its.channel}", b"another")
                with pytest.raises(DisconnectedError, match="another reader of this durable name"):
                    await take(client, 2)

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_a_lease_that_is_not_renewed_in_time_is_not_another_readers(
    shared_nats: NatsServer,
) -> None:
    async def slow(*_: object, **__: object) -> None:
        raise TimeoutError

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            options: Any = {"start": "oldest", "durable": "d", "reconnect": False}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 1)) == [1]
                link: Any = client._link
                link._durable._leases.update = slow
                words = "the lease of the channel was not renewed: the NATS server does not answer"
                with pytest.raises(DisconnectedError, match=words):
                    await take(client, 2)

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_as_many_readers_as_there_are_channels_read_all_of_them(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server tells some of many names at a time; here one."""
    prefix = shared_nats.new_prefix()
    real = JetStreamContext._api_request

    async def one_by_one(context: Any, subject: str, *rest: Any, **options: Any) -> Any:
        answer = await real(context, subject, *rest, **options)
        if subject.endswith("STREAM.NAMES"):
            answer["streams"] = answer["streams"][:1]
        return answer

    monkeypatch.setattr(JetStreamContext, "_api_request", one_by_one)
    options: Any = {"prefix": prefix}
    names = ["a.b", "c", "d"]

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for channel in reversed(names):
                its = await stack.enter_async_context(stand(shared_nats.url, prefix, channel))
                its.writer.header = replace(BOTH, channel=channel)
                await its.begin(1)
            found = await AsyncioNatsClient.channels(shared_nats.url, **options)
            assert found == names
            durable: Any = {**options, "durable": "d", "start": "oldest"}
            clients = [
                await stack.enter_async_context(AsyncioNatsClient(shared_nats.url, **durable))
                for _ in found
            ]
            headers = await asyncio.gather(*[each.connect() for each in clients])
            assert sorted(each.channel for each in headers) == names

    run(main())
    assert NatsClient.channels(shared_nats.url, **options) == names
    assert trio.run(partial(TrioNatsClient.channels, shared_nats.url, **options)) == names
    assert threads() == []


def test_channels_of_a_server_that_is_not_there_are_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        NatsClient.channels("nats://127.0.0.1:9")
    with pytest.raises(AddressError, match="is not nats"):
        NatsClient.channels("nats://127.0.0.1:9", tls=ssl.create_default_context())
    assert threads() == []


@pytest.mark.usefixtures("quick_leases")
def test_a_place_that_another_reader_has_moved_is_left_alone(shared_nats: NatsServer) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1, 1)
            options: Any = {"start": "oldest", "durable": "d", "reconnect": False}
            async with reader(its, shared_nats.url, **options) as client:
                assert seqs(await take(client, 2)) == [1, 2]
                places = await its.jetstream.key_value(f"{its.prefix}-places")
                await places.put(f"d.{its.channel}", f"{EPOCH_NS} 9".encode())
                with pytest.raises(DisconnectedError, match="another reader of this durable name"):
                    await take(client, 3)

    run(main())


def test_a_durable_reader_that_reconnects_takes_its_own_lease_again(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr("nats.js.kv.KeyValue.delete", kept)

    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            async with reader(its, shared_nats.url, start="oldest", durable="d") as client:
                assert seqs(await take(client, 1)) == [1]
                leases = await its.jetstream.key_value(f"{its.prefix}-leases")
                before = await leases.get(f"d.{its.channel}")
                client._lost(DisconnectedError("cut"))
                await its.write(its.writer.trades(1))
                assert seqs(await take(client, 2)) == ["Disconnected", 2]
                after = await leases.get(f"d.{its.channel}")
                # Changed, so that the connection before cannot release it any more.
                assert (after.value, after.revision > before.revision) == (before.value, True)

    run(main())


@pytest.mark.parametrize("value", [b"", b"x 1", b"1 0", b"1 2 3", b"99999999999999999999999 1"])
@pytest.mark.usefixtures("quick_leases")
def test_a_place_that_is_none_counts_as_no_place(shared_nats: NatsServer, value: bytes) -> None:
    async def main() -> None:
        async with stand(shared_nats.url, shared_nats.new_prefix()) as its:
            await its.begin(1)
            places = await its.jetstream.create_key_value(bucket=f"{its.prefix}-places")
            await places.put(f"d.{its.channel}", value)
            async with reader(its, shared_nats.url, start="oldest", durable="d") as client:
                assert seqs(await take(client, 1)) == [1]

    run(main())


@pytest.mark.usefixtures("quick_leases")
def test_a_prefix_without_streams_is_told(shared_nats: NatsServer) -> None:
    prefix = shared_nats.new_prefix()
    words = refusal(shared_nats.url, prefix=prefix, durable="d")
    assert words == f"{shared_nats.url}: no stream has the prefix {prefix}"


def test_a_durable_reader_of_a_channel_without_a_stream_is_told(shared_nats: NatsServer) -> None:
    prefix = shared_nats.new_prefix()
    words = refusal(f"{shared_nats.url}/perps", prefix=prefix, durable="d")
    assert words.endswith(f"/perps: there is no stream {prefix}-perps for channel perps")
