"""A run of the stage latency: `c/replay.c` plays the venue and all clients; what they received is
looked into, and when.

A trade's latency is the time from the moment at which its message is due at the venue's socket to
the read that brings the last of the clients the end of the frame, or message, that it is in. When
the replay itself is late, that counts.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.clients.outcomes import Received
from fanout.feed.normalise import to_trade
from fanout.protocol import Loss, SubscriberSession, Trade
from fanout.protocol.constants import LENGTH_BYTES
from fanout.venues.binance import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests.bench.broadcast.blocks import INSTRUMENTS
from tests.bench.broadcast.children import PATIENCE_S, launch, program, running
from tests.bench.broadcast.recording import NS_PER_S, Message, schedule_of
from tests.bench.broadcast.services import Contender, Reads
from tests.bench.ingest_rivals.sender import await_request, framed, shake_hands
from tests.bench.ingest_rivals.workload import ANSWER
from tests.bench.market import SYMBOLS
from tests.bench.measure import REST_CORE

ARRIVAL: Final = np.dtype([("client", "<u8"), ("received", "<u8"), ("at_ns", "<i8")])

Offsets = Iterator[tuple[Trade, int]]
"""Trades, and up to where in what a client receives one has to have read to have each."""


class Replay(msgspec.Struct, frozen=True):
    """So many clients, what is played, how many messages of that only come before, and a directory
    for files."""

    clients: int
    messages: Sequence[Message]
    before: int
    directory: Path


def latencies_ns(replay: Replay, contender: Contender) -> NDArray[np.int64]:
    """Of each trade, in the order in which they were played. Raises `ValueError` if what was
    received is not what was played."""
    arrivals, kept, joined = played(replay, contender)
    expected = [(trade, each.at_ns) for each in replay.messages if (trade := trade_of(each.text))]
    received = list(OFFSETS[contender.reads](kept, joined))
    if [trade for trade, _ in received] != [trade for trade, _ in expected]:
        raise ValueError(f"{len(received):,} trades came, not the {len(expected):,} that were sent")
    # What was played before the part that counts is only looked at for being there.
    first = sum(trade_of(each.text) is not None for each in replay.messages[: replay.before])
    offsets = np.array([offset for _, offset in received[first:]], dtype=np.uint64)
    due_ns = np.array([at_ns for _, at_ns in expected[first:]], dtype=np.int64)
    return last_arrivals_ns(arrivals, offsets, replay.clients) - due_ns


def last_arrivals_ns(
    arrivals: NDArray[np.void], offsets: NDArray[np.uint64], clients: int
) -> NDArray[np.int64]:
    """When the last of all clients had received so many bytes. Raises `ValueError` unless all have
    received as many in the end."""
    last_ns = np.full(len(offsets), np.iinfo(np.int64).min)
    totals = set()
    for client in range(clients):
        own = arrivals[arrivals["client"] == client]
        totals.add(int(own["received"][-1]) if len(own) else 0)
        if len(totals) > 1 or max(totals) < offsets[-1]:
            raise ValueError(f"clients received {sorted(totals)} bytes, not all the same")
        had = np.searchsorted(own["received"], offsets)
        np.maximum(last_ns, own["at_ns"][had], out=last_ns)
    return last_ns


def played(
    replay: Replay, contender: Contender, *joins: object
) -> tuple[NDArray[np.void], bytes, int]:
    """Arrivals, what the first client received, and how much of that before the replay began.
    `joins` are the arguments of `c/replay.c` for clients that join meanwhile."""
    schedule, kept, arrivals = (replay.directory / name for name in ("played", "kept", "arrivals"))
    schedule.write_bytes(schedule_of(replay.messages))
    with (
        socket.create_server(("127.0.0.1", 0)) as venue,
        ExitStack() as connections,  # a service does not live to see them closed
        contender.serving(venue.getsockname()[1], replay.clients) as service,
    ):
        venue.settimeout(PATIENCE_S)
        connection = connections.enter_context(venue.accept()[0])
        open_venue(connection)
        command = [program("replay"), service.port(), replay.clients, contender.greeting.hex()]
        command += [contender.ready.hex(), connection.fileno(), schedule, kept, arrivals]
        command += joins
        process = launch(command, core=REST_CORE, pass_fds=(connection.fileno(),))
        with running(process) as child:
            assert child.hear() == "settled"
            service.await_ready()
            child.say("go")
            joined = int(child.hear(PATIENCE_S + replay.messages[-1].at_ns / NS_PER_S))
    return np.fromfile(arrivals, dtype=ARRIVAL), kept.read_bytes(), joined


def open_venue(connection: socket.socket) -> None:
    """Play the venue up to the answer to what is asked of it."""
    connection.settimeout(PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shake_hands(connection)
    await_request(connection)
    connection.sendall(framed(ANSWER))
    connection.setblocking(False)


_VENUE: Final = BinanceUsdm()
_INSTRUMENTS: Final = dict(zip(SYMBOLS, INSTRUMENTS, strict=True))


def trade_of(text: bytes) -> Trade | None:
    """The trade that a message of the venue's tells of."""
    item = _VENUE.parse(text)
    return to_trade(item, _INSTRUMENTS[item.symbol]) if isinstance(item, VenueTrade) else None


def records_of(kept: bytes) -> Iterator[tuple[Received, int]]:
    """Each record that a client of fanout received, and the end of its frame. Raises `ValueError`
    for a loss."""
    session = SubscriberSession()
    start = 0
    while start < len(kept):
        end = start + LENGTH_BYTES + int.from_bytes(kept[start : start + LENGTH_BYTES], "little")
        session.receive(kept[start:end])
        while (records := session.next_records()) is not None:
            for each in records:
                if isinstance(each, Loss):
                    raise ValueError(f"the client was told of a loss: {each}")
                yield each, end
        start = end


def _in_frames(kept: bytes, joined: int) -> Offsets:
    for each, end in records_of(kept):
        if isinstance(each, Trade):
            yield msgspec.structs.replace(each, seq=0, received_ns=0), end - joined


def _in_messages(kept: bytes, joined: int) -> Offsets:
    start = joined
    while start < len(kept):
        head, _, _ = kept[start : start + 100].partition(b"\r\n")
        begin = start + len(head) + 2
        start = begin + int(head.rpartition(b" ")[2]) + 2
        for text in kept[begin : start - 2].split(b"\n"):
            trade = trade_of(text)
            if trade is not None:
                yield trade, start - joined


OFFSETS: Final = {Reads.FRAMES: _in_frames, Reads.NATS: _in_messages}
