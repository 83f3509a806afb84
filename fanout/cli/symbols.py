"""`fanout symbols`: what can be subscribed to at a venue, from one listing over REST."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Final

import msgspec
import typer

from fanout.cli.columns import aligned
from fanout.cli.logs import log_to_stderr
from fanout.cli.outcome import emit, exit_codes
from fanout.cli.serve import ServeOptions
from fanout.cli.venues import check_venue, spelled
from fanout.config import FeedConfig, SimConfig, SourceConfig
from fanout.config.assets import ALL, is_pattern
from fanout.errors import ConfigError, shown
from fanout.protocol.fixedpoint import to_text
from fanout.venues import VENUES, Listing

ATTEMPTS: Final = 2
"""Most attempts at a request of the listing."""

HEAD: Final = ("SYMBOL", "TYPE", "BASE", "QUOTE", "TICK", "LOT", "CONTRACT", "")

UNKNOWN: Final = "-"


class ShownSymbol(msgspec.Struct, frozen=True, kw_only=True):
    """The object that `--json` prints for each symbol. Terms that the venue does not say are null.
    Numbers are decimal text. `contract` is one unit of quantity, as an amount of `contract_of`."""

    symbol: str
    fault: str | None
    type: str | None = None
    base: str | None = None
    quote: str | None = None
    tick: str | None = None
    lot: str | None = None
    contract: str | None = None
    contract_of: str | None = None


def symbols(
    context: typer.Context,
    venue: Annotated[
        str, typer.Argument(help=f"{', '.join(VENUES)}.", metavar="VENUE", show_default=False)
    ],
    pattern: Annotated[
        str, typer.Argument(help="A symbol, a pattern such as '*USDT', or all.", metavar="PATTERN")
    ] = ALL,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, for programs, instead of a table.")
    ] = False,
    rest_url: Annotated[
        str | None, typer.Option(help="REST base URL instead of the venue's.", metavar="URL")
    ] = None,
) -> None:
    """List the symbols of a venue that match a pattern.

    TICK and LOT are the smallest steps of price and quantity. CONTRACT is the
    amount that one unit of quantity stands for. A symbol that cannot be served
    has the reason behind it. A dash means that the venue does not say.

    Example: fanout symbols binance '*USDC'
    """
    with exit_codes():
        check_venue("symbols", venue)
        (wanted,) = spelled(venue, (pattern,))
        options: ServeOptions = context.obj
        log_to_stderr()
        listing = _fetched(venue, rest_url or None, options.said["proxy"])
        found = [_shown_symbol(each, listing) for each in matching(listing, wanted)]
        if as_json:
            for each in found:
                emit(msgspec.json.encode(each).decode())
            return
        for line in _lines(found):
            emit(line)


def matching(listing: Listing, pattern: str) -> list[str]:
    """The symbols of a listing that match, sorted, with those that cannot be served. Raises
    `ConfigError` if there are none."""
    known = sorted({*listing.rows, *listing.odd})
    if not is_pattern(pattern):
        if pattern not in known:
            raise ConfigError(str(listing.fault(pattern)))
        return [pattern]
    glob = "*" if pattern == ALL else pattern
    found = [each for each in known if fnmatchcase(each, glob)]
    if not found:
        raise ConfigError(
            f"{shown(pattern)} matches none of the {len(known):,} symbols at {listing.venue}: "
            "check the pattern"
        )
    return found


def _fetched(venue: str, rest_url: str | None, proxy: str | None) -> Listing:
    import trio

    from fanout.service import fetch_symbols

    source = SourceConfig(
        venue=venue,
        assets=(ALL,),
        rest_url=rest_url,
        feed=FeedConfig(proxy=proxy),
        sim=SimConfig() if venue == "sim" and not rest_url else None,
    )
    return trio.run(partial(fetch_symbols, source, attempts=ATTEMPTS))


def _shown_symbol(symbol: str, listing: Listing) -> ShownSymbol:
    row = listing.rows.get(symbol)
    if row is None:
        return ShownSymbol(symbol=symbol, fault=f"cannot be read: {listing.odd[symbol]}")
    return ShownSymbol(
        symbol=symbol,
        fault=row.fault,
        type=row.type.name.lower().replace("_", "-"),
        base=row.base or None,
        quote=row.quote or None,
        tick=_step(row.tick, row.price_exponent),
        lot=_step(row.lot, row.quantity_exponent),
        contract=to_text(row.contract_mantissa, row.contract_exponent),
        contract_of=(row.quote if row.type.is_inverse else row.base) or None,
    )


def _step(units: int, exponent: int) -> str | None:
    return to_text(units, exponent) if units else None


def _lines(found: list[ShownSymbol]) -> Iterator[str]:
    rows = [
        (
            each.symbol,
            *(
                value or UNKNOWN
                for value in (each.type, each.base, each.quote, each.tick, each.lot)
            ),
            " ".join(word for word in (each.contract, each.contract_of) if word) or UNKNOWN,
            each.fault or "",
        )
        for each in found
    ]
    return aligned([HEAD, *rows])
