"""`fanout book`: shows the order book of one symbol, as a service sends it."""

from typing import Annotated, Final

import typer

from fanout.cli.outcome import exit_codes
from fanout.cli.source import (
    Address,
    Creds,
    GroupB,
    Interface,
    Prefix,
    Reconnects,
    Recovery,
    Source,
    TlsCa,
    TokenFile,
)
from fanout.config.assets import typed_symbols
from fanout.errors import UsageError
from fanout.protocol.constants import MAX_BOOK_LEVELS

LEVELS: Final = 20


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
    reconnect: Reconnects = True,
    token_file: TokenFile = None,
    tls_ca: TlsCa = None,
    recovery: Recovery = None,
    group_b: GroupB = None,
    interface: Interface = "",
    creds: Creds = None,
    prefix: Prefix = None,
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
        source = Source(
            address=address,
            symbols=list(names),
            market_only=False,
            start="live",
            reconnect=reconnect,
            token_file=token_file,
            tls_ca=tls_ca,
            recovery=recovery,
            group_b=group_b,
            interface=interface,
            creds=creds,
            prefix=prefix,
        )
        number = watch(source, names[0], levels, as_json=as_json, limit=limit)
        if number is not None:
            raise typer.Exit(128 + number)
