"""`fanout analytics nbbo`: the best price of an asset across venues."""

from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec.structs import replace

from fanout.cli.outcome import exit_codes
from fanout.cli.source import Source
from fanout.cli.source_options import takes_source
from fanout.config.assets import split_words
from fanout.config.duration import parse_milliseconds
from fanout.errors import UsageError

if TYPE_CHECKING:
    from fanout.analytics.nbbo.assets import AssetName

DEFAULT_ADDRESS: Final = "tcp://127.0.0.1:9000"


@takes_source(without=("market_only", "start"))
def nbbo(
    assets: Annotated[
        list[str],
        typer.Argument(
            help="BASE-QUOTE such as BTC-USDT, which is every type of it, or with a type: "
            "BTC-USDT:perpetual. Several, if they are wanted.",
            metavar="ASSET",
            show_default=False,
        ),
    ],
    addresses: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            help="A service, as tail takes it; repeated for several, the preferred one first. "
            "Without /CHANNEL all channels of tcp:// and tls:// count. journal://DIR/CHANNEL reads "
            f"the past. \\[default: {DEFAULT_ADDRESS}]",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--type", help="Of assets without a type: spot, perpetual or inverse."),
    ] = None,
    max_stale: Annotated[
        str,
        typer.Option(help="A venue whose newest update is older does not count.", metavar="TIME"),
    ] = "500ms",
    as_json: Annotated[bool, typer.Option("--json", help="Print a line for each change.")] = False,
    limit: Annotated[int | None, typer.Option(help="End after that many changes.", min=1)] = None,
    *,
    source: Source,
) -> None:
    """Show the best bid and ask of assets across venues, until Ctrl-C.

    Example: fanout analytics nbbo BTC-USDT
    Example: fanout analytics nbbo BTC-USDT:perpetual --at tcp://a:9000 --at tcp://b:9000/okx
    Example: fanout analytics nbbo BTC-USDT ETH-USDT --type spot --json

    The services need --data book, or quotes. A venue counts while its book is
    known, LIVE, not crossed in itself, and not older than --max-stale. Else its
    row says why. Futures with an expiry and options are not compared. If a venue
    has two instruments of an asset, choose one with --symbol. Without a terminal
    and without --json, the table is printed once.
    """
    with exit_codes():
        from fanout.cli.analysing.nbbo.watch import watch
        from fanout.cli.inputs import fitting

        at = addresses or [DEFAULT_ADDRESS]
        if len(set(at)) < len(at):
            raise UsageError("an address is named twice: leave one out")
        number = watch(
            _names(assets, kind),
            [fitting(replace(source, address=each), at) for each in at],
            max_stale_ms=_stale_ms(max_stale),
            as_json=as_json,
            limit=limit,
        )
        if number is not None:
            raise typer.Exit(128 + number)


def _names(assets: list[str], kind: str | None) -> "list[AssetName]":
    from fanout.analytics.nbbo.assets import AssetError, parse_asset, parse_type

    try:
        of_type = None if kind is None else parse_type(kind)
        names = [parse_asset(each) for each in split_words(assets)]
    except AssetError as error:
        raise UsageError(str(error)) from error
    if not names:
        raise UsageError("no asset: name one, such as BTC-USDT")
    return [each if each.type is not None else replace(each, type=of_type) for each in names]


def _stale_ms(text: str) -> int:
    try:
        return parse_milliseconds(text)
    except UsageError as error:
        raise UsageError(f"--max-stale: {error}") from error
