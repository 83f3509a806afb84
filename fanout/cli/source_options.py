"""The options of the commands that read a stream.

    @takes_source(without=("market_only",))
    def command(address: Address, ..., *, source: Source) -> None: ...

The command gets these options in the place of its last parameter, and what was typed as a `Source`
there. The address stays its own: some commands have one, some have several.
"""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from typing import Annotated, Any

import typer

from fanout.cli.options import declare
from fanout.cli.source import Source

Address = Annotated[
    str,
    typer.Argument(
        help="tcp://HOST:PORT, tls://HOST:PORT, shm://NAME, ring://NAME, multicast://GROUP:PORT or "
        "journal://DIR; with /CHANNEL behind the port for another channel than the first, or "
        "behind DIR; nats://HOST:PORT/CHANNEL, or nats+tls://",
        metavar="ADDRESS",
    ),
]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbol", help="Only these, comma-separated or repeated.", metavar="SYMBOL,..."),
]
MarketOnly = Annotated[
    bool, typer.Option("--market-only", help="Leave out insurance fund and ADL.")
]
Begin = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="live (the default), oldest (that of a journal), EPOCH_NS:SEQ as json and csv have "
        "them, or a time: 2026-11-29T13:00Z, or unix ns.",
    ),
]
Reconnects = Annotated[
    bool,
    typer.Option("--reconnect/--no-reconnect", help="Connect again when the connection is lost."),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        help="File with the service's token; or set FANOUT_TOKEN.",
        envvar="FANOUT_TOKEN_FILE",
        metavar="FILE",
    ),
]
TlsCa = Annotated[
    str | None,
    typer.Option(
        help="Certificates to trust for tls:// and nats+tls:// (PEM), instead of the system's.",
        envvar="FANOUT_TLS_CA",
        metavar="FILE",
    ),
]
Recovery = Annotated[
    str | None,
    typer.Option(
        help="For multicast: where to ask for what is missing, tcp://HOST:PORT or tls://HOST:PORT.",
        metavar="ADDRESS",
    ),
]
GroupB = Annotated[
    str | None,
    typer.Option(
        "--group-b", help="For multicast: the channel's group on line B.", metavar="GROUP:PORT"
    ),
]
Interface = Annotated[
    str,
    typer.Option(help="For multicast: address of the interface to receive from.", metavar="IP"),
]
Creds = Annotated[
    str | None,
    typer.Option(help="For nats: file of credentials.", envvar="FANOUT_CREDS", metavar="FILE"),
]
Prefix = Annotated[
    str | None,
    typer.Option(help="For nats: prefix of the streams; fanout by default.", metavar="NAME"),
]


def source_of(
    *,
    symbols: Symbols = None,
    market_only: MarketOnly = False,
    start: Begin = None,
    reconnect: Reconnects = True,
    token_file: TokenFile = None,
    tls_ca: TlsCa = None,
    recovery: Recovery = None,
    group_b: GroupB = None,
    interface: Interface = "",
    creds: Creds = None,
    prefix: Prefix = None,
) -> Source:
    """What was typed, for an address to come."""
    return Source(
        address="",
        symbols=symbols,
        market_only=market_only,
        start=start,
        reconnect=reconnect,
        token_file=token_file,
        tls_ca=tls_ca,
        recovery=recovery,
        group_b=group_b,
        interface=interface,
        creds=creds,
        prefix=prefix,
    )


def takes_source(
    *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command the options of `source_of`, but for those named, in the place of its last
    parameter, which is `source`."""
    of_source = inspect.signature(source_of).parameters
    assert of_source.keys() >= {*without}, "a name that is no option would leave out nothing"
    options = [each for name, each in of_source.items() if name not in without]

    def with_source(function: Callable[..., None]) -> Callable[..., None]:
        *own, last = inspect.signature(function).parameters.values()
        assert last.name == "source", "its options stand in its place"

        @wraps(function)
        def run(**values: Any) -> None:
            said = {each.name: values.pop(each.name) for each in options}
            function(**values, source=source_of(**said))

        declare(run, [*own, *options])
        return run

    return with_source
