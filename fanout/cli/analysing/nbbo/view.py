"""Shows best prices: a table that is redrawn, the same table once, or lines of JSON."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanout.analytics.nbbo.best_prices import BestPrices
from fanout.analytics.nbbo.nbbo import Best, Nbbo, Why
from fanout.analytics.nbbo.nbbos import BestPricesOf
from fanout.cli.figures import brief
from fanout.cli.outcome import emit, say
from fanout.protocol.fixedpoint import to_text

_PLAIN_COLUMNS: Final = 100

_STYLES: Final = {Why.FRESH: "green", Why.STALE: "yellow", Why.CROSSED: "bold red"}


class View(ABC):
    """A way to show best prices."""

    is_done = False
    """Whether there is nothing more to show."""

    @abstractmethod
    def change(self, prices: BestPrices, now_ns: int) -> None:
        """The best prices of an asset are others now."""

    def tell(self, message: str) -> None:
        """Something has happened to a connection."""
        say(message)

    def redraw(self, prices: BestPricesOf) -> None:  # noqa: B027, lines need it not
        """Called every `REDRAW_S`, and at the end."""


class Lines(View):
    """A line of JSON for each change."""

    def change(self, prices: BestPrices, now_ns: int) -> None:
        emit(msgspec.json.encode(row_of(prices.best, now_ns)).decode())


def row_of(nbbo: Nbbo, time_ns: int) -> dict[str, Any]:
    """An `Nbbo` as an object of JSON. Prices and quantities are texts with every digit."""
    asset = nbbo.asset
    both = nbbo.bid is not None and nbbo.ask is not None
    mid = nbbo.mid_decimal
    return {
        "time_ns": time_ns,
        "asset": str(asset),
        "base": asset.base,
        "quote": asset.quote,
        "type": asset.type.name,
        **_side_of("bid", nbbo, nbbo.bid),
        **_side_of("ask", nbbo, nbbo.ask),
        "mid": None if mid is None else f"{mid:f}",
        "spread": price_text(nbbo, nbbo.spread) if nbbo.spread is not None else None,
        "locked": nbbo.is_locked if both else None,
        "crossed_by": price_text(nbbo, nbbo.crossed_by) if both else None,
        "crossed_quantity": quantity_text(nbbo, nbbo.crossed_quantity) if both else None,
        "fresh": nbbo.fresh,
        "venues": {name: why.value for name, why in zip(nbbo.venues, nbbo.whys, strict=True)},
        "why": nbbo.why,
    }


def _side_of(name: str, nbbo: Nbbo, best: Best | None) -> dict[str, str | None]:
    if best is None:
        return {name: None, f"{name}_quantity": None, f"{name}_venue": None}
    return {
        name: price_text(nbbo, best.price),
        f"{name}_quantity": quantity_text(nbbo, best.quantity),
        f"{name}_venue": best.venue,
    }


def price_text(nbbo: Nbbo, price: int) -> str:
    return to_text(price, nbbo.price_exponent)


def quantity_text(nbbo: Nbbo, quantity: int) -> str:
    return to_text(quantity, nbbo.quantity_exponent)


class Once(View):
    """The table, printed once: when every venue is fresh, or when it is asked for."""

    def __init__(self, *, at_end: bool = False) -> None:
        """With `at_end` it is printed when there are no more records."""
        self._at_end = at_end

    def change(self, prices: BestPrices, now_ns: int) -> None:
        """Nothing is shown before all is there."""

    def redraw(self, prices: BestPricesOf) -> None:
        fresh = [each.best.fresh == len(each.venues) for each in prices.assets]
        if fresh and all(fresh) and not self._at_end:
            self.print(prices)

    def print(self, prices: BestPricesOf) -> None:
        if self.is_done:
            return
        self.is_done = True
        console = Console(width=_PLAIN_COLUMNS, color_system=None)
        with console.capture() as capture:
            console.print(tables(prices))
        emit("\n".join(line.rstrip() for line in capture.get().rstrip().splitlines()))


class Screen(View):
    """The whole terminal, redrawn. It is a context, in which it has the terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(
            Text("connecting"), console=self._console, screen=True, auto_refresh=False
        )
        self._message = ""

    def __enter__(self) -> None:
        self._live.start(refresh=True)

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def change(self, prices: BestPrices, now_ns: int) -> None:
        """It is shown when the screen is drawn next."""

    def tell(self, message: str) -> None:
        self._message = message

    def redraw(self, prices: BestPricesOf) -> None:
        foot = Text(self._message, style="dim", overflow="ellipsis", no_wrap=True)
        shown = tables(prices, fitting=self._console.height - 1) if prices.assets else None
        self._live.update(Group(shown or Text("waiting for a venue"), foot), refresh=True)


def tables(prices: BestPricesOf, fitting: int | None = None) -> RenderableType:
    """Of each asset its best prices and its venues; without venues where the lines do not fit."""
    assets = prices.assets
    lines = sum(len(each.venues) + 4 for each in assets)
    with_venues = fitting is None or lines <= fitting
    parts: list[RenderableType] = []
    for each in assets:
        parts.append(_title(each.best, with_prices=not with_venues))
        if with_venues:
            parts += [_venues(each, prices.now_ns), ""]
    return Group(*parts)


def _title(nbbo: Nbbo, *, with_prices: bool) -> Text:
    words: list[tuple[str, str] | str] = [(str(nbbo.asset), "bold")]
    words.append(f"  {nbbo.fresh} of {len(nbbo.venues)} fresh")
    if nbbo.bid is None or nbbo.ask is None:
        words.append((f"  {nbbo.why}", "bold yellow"))
    else:
        if with_prices:
            words.append(f"  {price_text(nbbo, nbbo.bid.price)} {nbbo.bid.venue}")
            words.append(f" / {price_text(nbbo, nbbo.ask.price)} {nbbo.ask.venue}")
        words += [f"  mid {nbbo.mid_decimal:f}", *_state(nbbo)]
    return Text.assemble(*words, overflow="ellipsis", no_wrap=True)


def _state(nbbo: Nbbo) -> Iterable[tuple[str, str] | str]:
    """The spread, and whether the best prices are locked or crossed."""
    if nbbo.is_locked:
        yield "  locked", "bold yellow"
    elif nbbo.crossed_by:
        by = price_text(nbbo, nbbo.crossed_by)
        yield f"  crossed by {by} for {quantity_text(nbbo, nbbo.crossed_quantity)}", "bold red"
    elif nbbo.spread is not None:
        yield f"  spread {price_text(nbbo, nbbo.spread)}"


def _venues(prices: BestPrices, now_ns: int) -> Table:
    table = Table(box=None, pad_edge=False, expand=True)
    for name, side in [
        *(("venue", "left"), ("quantity", "right"), ("bid", "right")),
        *(("ask", "right"), ("quantity", "right"), ("age", "right"), ("state", "left")),
    ]:
        justify: Any = side
        table.add_column(name, justify=justify, no_wrap=True, header_style="dim")
    nbbo = prices.best
    names = [each.venue for each in (nbbo.bid, nbbo.ask) if each is not None]
    table.add_row("best", *_cells(nbbo, nbbo.bid, nbbo.ask, bold=True), "", " / ".join(names))
    for place, name in enumerate(prices.names):
        table.add_row(name, *_venue(prices, nbbo, place, now_ns))
    return table


def _venue(prices: BestPrices, nbbo: Nbbo, place: int, now_ns: int) -> Iterable[Text]:
    """The cells of a venue. Prices of one that does not count are not shown."""
    why, time_ns = nbbo.whys[place], prices.time_ns(place)
    yield from _cells(nbbo, *(prices.top(place) if why is Why.FRESH else (None, None)))
    yield Text(brief(max(0, now_ns - time_ns)) if time_ns else "-")
    yield Text(why.value, _STYLES.get(why, "yellow"))


def _cells(nbbo: Nbbo, bid: Best | None, ask: Best | None, *, bold: bool = False) -> Iterable[Text]:
    """Quantity and price of the bid, price and quantity of the ask."""
    weight = "bold " if bold else ""
    yield Text("" if bid is None else quantity_text(nbbo, bid.quantity))
    yield Text("" if bid is None else price_text(nbbo, bid.price), f"{weight}green")
    yield Text("" if ask is None else price_text(nbbo, ask.price), f"{weight}red")
    yield Text("" if ask is None else quantity_text(nbbo, ask.quantity))
