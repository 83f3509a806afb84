"""What the clients of a service with books received, held against what was sent, and how old each
record was then.

An age is the time from the moment at which a message is due at the exchange's socket to the read
that brings the last client the end of the frame with its record. So it includes the wait in the
kernel's buffers on both sides. A large change of a book takes several frames: the last one counts.

Quotes that are no newer than the one before are not sent on, and neither are ids that the exchange
spent without a trade.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fanout.clients.books import Books
from fanout.protocol import BookUpdate, DataKinds, Quote, Trade
from tests.bench.books_parts.market import BOOK, QUOTES, TRADES, Market
from tests.bench.broadcast.children import running
from tests.bench.broadcast.recording import Message
from tests.bench.broadcast.replay import Replay, last_arrivals_ns, played, records_of
from tests.bench.broadcast.services import Contender, Service
from tests.bench.measure import WORK_CORE, start

KINDS: Final = {
    TRADES: DataKinds.TRADES,
    QUOTES: DataKinds.QUOTES,
    BOOK: DataKinds.BOOK_BY_PRICE,
}
Key = tuple[str, str, int]
"""What identifies a record: the venue's name of the message, the symbol, and an id."""


class Played(msgspec.Struct, frozen=True):
    """One run: what the first client received, how many bytes of that before the replay, every
    arrival, and the service's CPU time."""

    kept: bytes
    joined: int
    arrivals: NDArray[np.void]
    cpu_s: float


class _Data(msgspec.Struct):
    e: str
    s: str
    u: int = 0
    t: int = 0
    X: str = ""


class _Envelope(msgspec.Struct):
    data: _Data


_decode: Final = msgspec.json.Decoder(_Envelope).decode


def run_of(market: Market, streams: Sequence[bytes], clients: int, *joins: object) -> Played:
    """Play a market through a service with so many clients. `joins` are for `c/replay.c`."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "begins").write_bytes(msgspec.json.encode(market.begins))
        data = DataKinds(sum(KINDS[each] for each in streams))
        cpu_s: list[float] = []
        contender = Contender(serving=partial(_serving, directory / "begins", data, cpu_s))
        replay = Replay(clients, market.messages, market.lead, directory)
        arrivals, kept, joined = played(replay, contender, *joins)
        return Played(kept, joined, arrivals, *cpu_s)


@contextmanager
def _serving(
    begins: Path, data: DataKinds, cpu_s: list[float], venue_port: int, clients: int
) -> Iterator[Service]:
    module = "tests.bench.books_parts.service"
    process = start(module, venue_port, clients, begins, data.value, core=WORK_CORE, stdin=PIPE)
    with running(process) as child:

        def await_ready() -> None:
            word = child.hear()
            assert word == "ready", word
            child.say("cpu")
            cpu_s.append(-float(child.hear()))

        yield Service(lambda: int(child.hear()), await_ready)
        child.say("cpu")
        cpu_s[0] += float(child.hear())


def ages_ns(market: Market, run: Played, clients: int) -> NDArray[np.int64]:
    """Of each record behind the lead, in the order in which they were due. Raises `ValueError` if
    the records are not those that were sent."""
    due = _due(market)
    offsets = dict(_received(run.kept, run.joined, len(market.begins)))
    if missing := due.keys() - offsets.keys():
        raise ValueError(f"{len(missing):,} records of {len(due):,} did not come: {min(missing)}")
    if more := offsets.keys() - due.keys():
        raise ValueError(f"{len(more):,} records came that were not sent: {min(more)}")
    ends = np.array([offsets[each] for each in due], dtype=np.uint64)
    return last_arrivals_ns(run.arrivals, ends, clients) - due_ns(market)


def whole_books_bytes(run: Played) -> int:
    """The size of one whole book of each symbol, as the first client received it at the start."""
    begun, size, before = set[str](), 0, 0
    for each, end in records_of(run.kept):
        if isinstance(each, BookUpdate) and each.symbol not in begun:
            size += end - before
            if not each.has_more:
                begun.add(each.symbol)
        before = end
    return size


def due_ns(market: Market) -> NDArray[np.int64]:
    """When the message of each record behind the lead is due."""
    return np.array(list(_due(market).values()), dtype=np.int64)


def _due(market: Market) -> dict[Key, int]:
    return dict(_records(market.messages[market.lead :]))


def _records(messages: Sequence[Message]) -> Iterator[tuple[Key, int]]:
    """Each record that is to come, and when its message is due."""
    newest: dict[str, int] = {}
    for each in messages:
        data = _decode(each.text).data
        if data.e == "bookTicker":
            if data.u <= newest.get(data.s, 0):
                continue
            newest[data.s] = data.u
        if data.X != "NA":
            yield (data.e, data.s, data.t or data.u), each.at_ns


def _received(kept: bytes, joined: int, books: int) -> Iterator[tuple[Key, int]]:
    """Each record, and up to where a client has to have read to have it. Raises `ValueError` if
    something was lost, or if not all books are known in the end."""
    followed, begun = Books(), set[str]()
    for each, end in records_of(kept):
        followed.apply(each)
        match each:
            case Trade():
                yield ("trade", each.symbol, each.trade_id), end - joined
            case Quote():
                yield ("bookTicker", each.symbol, each.update_id), end - joined
            case BookUpdate() if each.symbol in begun:
                yield ("depthUpdate", each.symbol, each.update_id), end - joined
            case BookUpdate(has_more=False):  # the end of the whole book
                begun.add(each.symbol)
    if len(followed.known) != books:
        raise ValueError(f"{len(followed.known)} of {books} books are known in the end")
