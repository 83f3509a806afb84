"""`fanout book`: shows the order book of one symbol, as a service sends it."""

from typing import Annotated, Final

import typer
from msgspec.structs import replace

from fanout.cli.outcome import exit_codes
from fanout.cli.source import Source
from fanout.cli.source_options import Address, takes_source
from fanout.config.assets import typed_symbols
from fanout.errors import UsageError
from fanout.protocol.constants import MAX_BOOK_LEVELS

LEVELS: Final = 20


@takes_source(without=("symbols", "market_only", "start"))
def book(
    address: Address,
    symbol: Annotated[str, typer.Argument(help="The book's symbol.", metavar="SYMBOL")],
    levels: Annotated[
        int,
        typer.Option(help="How many levels of each side.", min=1, max=MAX_BOOK_LEVELS),
    ] = LEVELS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line for each change of these levels.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="End after that many changes.", min=1)] = None,
    *,
    source: Source,
) -> None:
    """Show the order book of a symbol until Ctrl-C, on a terminal as a ladder.

    Example: fanout book tcp://127.0.0.1:9000 BTCUSDT --levels 10

    The service needs --data book. While the book is unknown, no levels are shown: before
    the first whole book, and after a loss until the next one. With --json a book that
    becomes unknown is a line whose is_known is false. Without a terminal and without
    --json, the ladder is printed once.
    """
    with exit_codes():
        from fanout.cli.book_view import watch

        names = typed_symbols([symbol])
        if len(names) != 1:
            raise UsageError(f"{symbol!r} is not one symbol: give one, such as BTCUSDT")
        source = replace(source, address=address, symbols=list(names), start="live")
        number = watch(source, names[0], levels, as_json=as_json, limit=limit)
        if number is not None:
            raise typer.Exit(128 + number)
