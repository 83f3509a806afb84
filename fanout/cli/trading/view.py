"""Shows how a run stands, as tables for people."""

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fanout.cli.trading.amounts import money
from fanout.cli.trading.lines import moment_of, quote_words
from fanout.errors import OperatorError
from fanout.trading.kill import KillState
from fanout.trading.running.standing import DeskStanding, LimitStanding, PositionStanding, Standing

_PLAIN_COLUMNS: Final = 200
"""Wide enough that no number is cut off."""

NEAR: Final = 0.8
"""A limit that is used to this part is near."""

_NOTHING: Final = "-"

_LIMIT_DIGITS: Final = 8


def rendered(standing: Standing) -> str:
    """The tables as plain text."""
    console = Console(width=_PLAIN_COLUMNS, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(tables(standing))
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def watch_live(ask: Callable[[], Standing], interval_s: float) -> None:
    """Draw the tables on the whole terminal, again and again. Raises what the first `ask` raises;
    later failures are shown."""
    shown: RenderableType = tables(ask())
    console = Console(highlight=False)
    with Live(shown, console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(shown, refresh=True)
            time.sleep(interval_s)
            try:
                shown = tables(ask())
            except OperatorError as error:
                shown = Text(str(error), style="bold red")


def tables(standing: Standing) -> RenderableType:
    """All of a run."""
    state = "running" if standing.is_running else "not running: as its journal leaves it"
    title = f"{standing.venue} on paper, {state}, {moment_of(standing.time_ns)}"
    parts: list[RenderableType] = [Text(title, style="dim")]
    for each in standing.desks:
        parts += ["", *_desk(each)]
    return Group(*parts)


def _desk(desk: DeskStanding) -> Iterable[RenderableType]:
    market = f"{desk.bid} / {desk.ask}" if desk.bid and desk.ask else "no market"
    yield Text.assemble((desk.symbol, "bold"), f"  {market}  ", _kill(desk))
    if desk.frozen_why:
        yield Text(f"fills are frozen: {desk.frozen_why}", style="yellow")
    yield from _quote(desk)
    if desk.positions:
        yield _positions(desk.positions)
    if desk.orders:
        yield _orders(desk)
    yield _limits(desk.limits)


def _kill(desk: DeskStanding) -> tuple[str, str]:
    kill = desk.kill
    if kill.state == KillState.ARMED:
        return "trading" + (f" ({kill.why})" if kill.why else ""), "green"
    count = len(kill.open_orders)
    left = f"{count} orders still open" if kill.state == KillState.CANCELLING else "nothing is open"
    return f"KILLED by {kill.cause} {moment_of(kill.since_ns)}: {kill.why}; {left}", "bold red"


def _quote(desk: DeskStanding) -> Iterable[Text]:
    quote = desk.quote
    if quote is None:
        return
    is_quoting = desk.kill.state == KillState.ARMED and not desk.frozen_why
    name = "quotes" if is_quoting else "last quotes, which work no more"
    yield Text(f"{name}: {quote_words(quote)}")
    for each in quote.clamps:
        yield Text(f"  changed: {each}", style="dim")
    for each in quote.risk:
        yield Text(f"  refused: {each}", style="yellow")


def _table(*columns: tuple[str, str], gap: int = 2) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0))
    for name, side in columns:
        justify: Any = side
        table.add_column(name, justify=justify, no_wrap=True, header_style="dim")
    return table


def _positions(positions: Iterable[PositionStanding]) -> Table:
    """It fits a terminal of 80 columns, with amounts of five digits."""
    table = _table(
        *(("model, * leads", "left"), ("position", "right"), ("average", "right")),
        *(("realised", "right"), ("unrealised", "right"), ("fees", "right"), ("equity", "right")),
        ("fills", "right"),
        gap=1,
    )
    for each in positions:
        name = f"{each.model} *" if each.is_lead else each.model
        average = _NOTHING if each.average is None else f"{each.average:.8g}"
        amounts = (each.realised, each.unrealised, each.fees, each.equity)
        texts = (_NOTHING if amount is None else money(amount, 2) for amount in amounts)
        table.add_row(name, each.quantity, average, *texts, str(each.fills))
    return table


def _short(text: str | None) -> str:
    """A number, rounded to at most eight digits behind the point."""
    if text is None:
        return _NOTHING
    digits = text.partition(".")[2]
    return text if len(digits) <= _LIMIT_DIGITS else f"{Decimal(text):.{_LIMIT_DIGITS}f}"


def _orders(desk: DeskStanding) -> Table:
    table = _table(
        *(("order", "right"), ("side", "left"), ("price", "right"), ("left", "right")),
        *(("model", "left"), ("state", "left"), ("in front", "right")),
    )
    for each in desk.orders:
        table.add_row(
            *(str(each.order_id), each.side, each.price or "market", each.remaining),
            *(each.model, each.state, each.front or _NOTHING),
        )
    return table


def _limits(limits: Iterable[LimitStanding]) -> Table:
    table = _table(("limit", "left"), ("used", "right"), ("of", "right"), ("", "right"))
    for each in limits:
        name = each.check.replace("_", " ") + (" (kills)" if each.kills else "")
        if each.limit is None:
            table.add_row(name, _short(each.value), "none", "")
            continue
        part = "" if each.used is None else f"{each.used:.0%}"
        style = (
            "bold red" if (each.used or 0) >= 1 else "yellow" if (each.used or 0) >= NEAR else ""
        )
        table.add_row(name, _short(each.value), _short(each.limit), part, style=style)
    return table
