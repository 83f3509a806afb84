"""Follows the book of one symbol, and shows it as a ladder or as lines of JSON.

One task reads records and applies them. On a terminal another redraws the ladder, at most
`1 / REDRAW_S` times a second, however fast the book changes. Lines of JSON are printed as the
records come, one for each change of the levels asked for.
"""

import sys
from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import msgspec
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanout.cli.outcome import emit, is_terminal, say
from fanout.cli.saving.signals import Signals
from fanout.cli.source import Source, told, trio_nats_client
from fanout.clients.books import Book, Books
from fanout.clients.multicast_trio import TrioMulticastClient
from fanout.clients.outcomes import Disconnected, Received, Restarted
from fanout.clients.ring_trio import TrioRingClient
from fanout.clients.shm_trio import TrioShmClient
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.errors import UsageError, shown
from fanout.protocol.constants import DataKinds
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import End, Header, Loss, Status

REDRAW_S: Final = 0.1

_FRAME_LINES: Final = 5
"""Lines of the ladder that are no levels."""

_PLAIN_COLUMNS: Final = 80

_BOOKS: Final = DataKinds.BOOK_BY_PRICE | DataKinds.BOOK_BY_ORDER

if TYPE_CHECKING:
    from fanout.clients.nats_trio import TrioNatsClient

Client: TypeAlias = (
    "TrioTcpClient | TrioShmClient | TrioRingClient | TrioMulticastClient | TrioNatsClient"
)


def watch(
    source: Source, symbol: str, levels: int, *, as_json: bool, limit: int | None
) -> int | None:
    """Show the book until a signal, the limit, or the end of the service.

    Returns the number of the signal, or None. Raises `UsageError` for a channel without books, and
    the errors of the client, alone or in a group.
    """
    client: Client = source.client(
        TrioTcpClient,
        TrioShmClient,
        TrioRingClient,
        TrioMulticastClient,
        _no_journal,
        trio_nats_client,
    )
    view: View
    if as_json:
        view = Lines()
    elif is_terminal(sys.stdout):
        view = Ladder(levels)
    else:
        view, limit = Once(levels), 1
    with Signals() as signals, view if isinstance(view, Ladder) else nullcontext():
        trio.run(Watch(client, symbol, view, levels, limit).run, signals)
    return signals.first


def _no_journal(address: str, **_: object) -> NoReturn:
    raise UsageError(
        f"{address}: book shows what a service sends now; tail and save read a journal"
    )


class Shown(msgspec.Struct, frozen=True):
    """What is shown of a book."""

    symbol: str
    is_known: bool = False
    instrument: Instrument | None = None
    update_id: int = 0
    time: int = 0
    bids: list[tuple[int, int]] = []
    asks: list[tuple[int, int]] = []

    @classmethod
    def of(cls, book: Book, levels: int) -> "Shown":
        bids, asks = book.levels(levels)
        return cls(
            symbol=book.symbol,
            is_known=book.is_known,
            instrument=book.instrument,
            update_id=book.update_id,
            time=book.time,
            bids=list(bids),
            asks=list(asks),
        )

    @property
    def time_ms(self) -> int:
        exponent = -3 if self.instrument is None else self.instrument.time_exponent
        ns_per_unit: int = 10 ** (exponent + 9)
        return self.time * ns_per_unit // 1_000_000

    def texts(self, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
        """Levels as decimal digits: price and quantity."""
        of = self.instrument
        if of is None:
            return []
        return [(of.price_text(price), of.quantity_text(quantity)) for price, quantity in levels]


class View(ABC):
    """A way to show a book."""

    @abstractmethod
    def change(self, shown: Shown, header: Header) -> bool:
        """The levels have changed, or the book is known or unknown now. Returns whether this counts
        as a change for the limit."""

    @abstractmethod
    def tell(self, message: str) -> None:
        """Something has happened to the connection or the book."""

    def redraw(self) -> None:  # noqa: B027, only the ladder needs it
        """Called every `REDRAW_S`, and at the end."""


class Watch:
    """A client, the book of one symbol, and the view of it."""

    def __init__(
        self, client: Client, symbol: str, view: View, levels: int, limit: int | None
    ) -> None:
        self._client = client
        self._books = Books(client)
        self._symbol = symbol
        self._view = view
        self._levels = levels
        self._limit = limit
        self._packed: tuple[bytes, bytes] | None = None
        """The levels shown. None while the book is unknown."""

    async def run(self, signals: Signals) -> None:
        async with trio.open_nursery() as nursery, self._client:
            with signals.cancelling(nursery.cancel_scope):
                nursery.start_soon(self._redraw_now_and_again)
                await self._follow()
                nursery.cancel_scope.cancel()
        self._view.redraw()

    async def _redraw_now_and_again(self) -> None:
        while True:
            if self._client.header is not None:
                self._require_books(self._client.header)
            self._view.redraw()
            await trio.sleep(REDRAW_S)

    def _require_books(self, header: Header) -> None:
        if not header.data & _BOOKS:
            raise UsageError(
                f"channel {header.channel} has no books: start its service with --data book, or "
                "name another channel"
            )

    async def _follow(self) -> None:
        changes = 0
        async for record in self._books:
            self._note(record)
            header = self._client.header
            if header is not None and self._has_changed(record):
                shown_now = Shown.of(self._books[self._symbol], self._levels)
                changes += self._view.change(shown_now, header)
                if changes == self._limit:
                    return

    def _has_changed(self, record: Received) -> bool:
        book = self._books[self._symbol]
        if book.is_paused and not isinstance(record, Disconnected | End):
            return False  # between the parts of an update the levels shown stay
        packed = book.prices.packed(self._levels) if book.is_known else None
        if packed == self._packed:
            return False
        self._packed = packed
        return True

    def _note(self, record: Received) -> None:
        match record:
            case Disconnected() | Restarted():
                self._view.tell(told(self._client.url, record))
            case Loss():
                self._view.tell(f"{record.count:,} records were lost: {record.reason.name}")
            case Status(state=state, why=why):
                self._view.tell(f"{state.name}: {shown(why)}" if why else state.name)
            case End(why=why):
                self._view.tell(f"the service ended: {shown(why)}")


class Lines(View):
    """A line of JSON for each change."""

    def change(self, shown: Shown, header: Header) -> bool:
        row = {
            "symbol": shown.symbol,
            "is_known": shown.is_known,
            "update_id": shown.update_id,
            "time_ms": shown.time_ms,
            "bids": shown.texts(shown.bids),
            "asks": shown.texts(shown.asks),
            "epoch_ns": header.epoch_ns,
        }
        emit(msgspec.json.encode(row).decode())
        return True

    def tell(self, message: str) -> None:
        say(message)


class Once(View):
    """The ladder, printed once the book is known."""

    def __init__(self, levels: int) -> None:
        self._levels = levels

    def change(self, shown: Shown, header: Header) -> bool:
        if shown.is_known:
            console = Console(width=_PLAIN_COLUMNS, color_system=None)
            with console.capture() as capture:
                console.print(ladder(shown, header, "", self._levels))
            emit("\n".join(line.rstrip() for line in capture.get().splitlines()))
        return shown.is_known

    def tell(self, message: str) -> None:
        say(message)


class Ladder(View):
    """The whole terminal, redrawn. It is a context, in which it has the terminal."""

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._console = Console()
        self._live = Live(
            Text("connecting"), console=self._console, screen=True, auto_refresh=False
        )
        self._shown: Shown | None = None
        self._header: Header | None = None
        self._message = ""
        self._is_drawn = False
        self._height = 0

    def __enter__(self) -> None:
        self._live.start(refresh=True)

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def change(self, shown: Shown, header: Header) -> bool:
        self._shown, self._header, self._is_drawn = shown, header, False
        return True

    def tell(self, message: str) -> None:
        self._message, self._is_drawn = message, False

    def redraw(self) -> None:
        height = self._console.height
        if self._is_drawn and height == self._height:
            return
        self._is_drawn, self._height = True, height
        if self._shown is None or self._header is None:
            view: RenderableType = Text(self._message or "waiting for the book")
        else:
            fitting = max(1, min(self._levels, height - _FRAME_LINES))
            view = ladder(self._shown, self._header, self._message, fitting)
        self._live.update(view, refresh=True)


def ladder(shown: Shown, header: Header, message: str, levels: int) -> RenderableType:
    """The book: bids to the left, asks to the right, the best levels on top. Sums count from the
    best level outwards."""
    title = Text.assemble((shown.symbol, "bold"), f"  {header.venue}", overflow="ellipsis")
    title.no_wrap = True
    foot = Text(message, style="dim", overflow="ellipsis", no_wrap=True)
    if not shown.is_known:
        title.append("  unknown", "bold yellow")
        return Group(title, Text("waiting for a whole book"), foot)
    title.append(f"  update {shown.update_id}  {_clock(shown.time_ms)}{_spread(shown)}")
    table = Table(box=None, pad_edge=False, expand=True)
    for name, style in [
        *(("sum", "dim"), ("quantity", ""), ("bid", "green")),
        *(("ask", "red"), ("quantity", ""), ("sum", "dim")),
    ]:
        side: Any = "left" if name == "ask" else "right"
        table.add_column(name, justify=side, style=style, no_wrap=True, header_style="dim")
    bids, asks = _rows(shown, shown.bids[:levels]), _rows(shown, shown.asks[:levels])
    nothing = ("", "", "")
    for place in range(max(len(bids), len(asks))):
        price, quantity, total = bids[place] if place < len(bids) else nothing
        table.add_row(total, quantity, price, *(asks[place] if place < len(asks) else nothing))
    return Group(title, table, foot)


def _rows(shown: Shown, levels: list[tuple[int, int]]) -> list[tuple[str, str, str]]:
    """Price, quantity, and the sum of the quantities so far."""
    rows, total = [], 0
    for (_, number), (price, quantity) in zip(levels, shown.texts(levels), strict=True):
        total += number
        ((_, in_words),) = shown.texts([(0, total)])
        rows.append((price, quantity, in_words))
    return rows


def _spread(shown: Shown) -> str:
    if not shown.bids or not shown.asks:
        return ""
    ((words, _),) = shown.texts([(shown.asks[0][0] - shown.bids[0][0], 0)])
    return f"  spread {words}"


def _clock(time_ms: int) -> str:
    seconds, ms = divmod(time_ms % 86_400_000, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
