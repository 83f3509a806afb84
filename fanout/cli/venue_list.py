"""`fanout venues`: the exchanges that there are, and what each brings.

A line for each in columns, and below it the title, the default symbols, and the variables of its
credentials.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import typer

from fanout.cli.columns import aligned
from fanout.cli.outcome import emit, exit_codes
from fanout.cli.secrets import variables
from fanout.config.source import names_of
from fanout.venues import VENUES, VenueClass

HEAD: Final = ("VENUE", "DATA", "STREAMS", "CONTINUITY", "BOOK")

SIMULATOR: Final = "sim"


class ShownVenue(msgspec.Struct, frozen=True, kw_only=True):
    """The object that `--json` prints for each venue."""

    name: str
    title: str
    data: tuple[str, ...]
    streams: tuple[str, ...]
    continuity: str
    book_source: str
    optional_variables: tuple[str, ...]
    default_assets: tuple[str, ...]


def venues(
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a line, for programs, instead of a table.")
    ] = False,
) -> None:
    """List the venues: what each brings, and the credentials that it can use.

    DATA is what --data takes, and STREAMS what --stream takes. CONTINUITY says
    what proves that no trade is missing: ids (each missing trade is known),
    sequence (a loss is noticed, but not which trades), nothing. BOOK says where
    whole order books come from. Nothing is opened.

    Example: fanout venues --json
    """
    with exit_codes():
        shown = [shown_venue(name, each) for name, each in VENUES.items()]
        if as_json:
            for each in shown:
                emit(msgspec.json.encode(each).decode())
            return
        for line in _lines(shown):
            emit(line)


def shown_venue(name: str, venue: VenueClass) -> ShownVenue:
    is_simulator = name == SIMULATOR
    return ShownVenue(
        name=name,
        title=f"built-in simulator of {venue.title}" if is_simulator else venue.title,
        data=names_of(venue.kinds),
        streams=venue.streams,
        continuity=venue.continuity.name.lower(),
        book_source=venue.book_source.name.lower(),
        optional_variables=variables(venue.secrets) if venue.secrets and not is_simulator else (),
        default_assets=venue.default_assets,
    )


def _lines(shown: list[ShownVenue]) -> Iterator[str]:
    rows = [
        (
            each.name,
            ",".join(each.data),
            ",".join(each.streams),
            each.continuity,
            each.book_source,
        )
        for each in shown
    ]
    head, *lines = aligned([HEAD, *rows])
    yield head
    for each, line in zip(shown, lines, strict=True):
        yield line
        yield f"    {each.title}"
        yield f"    default symbols {', '.join(each.default_assets)}"
        if each.optional_variables:
            yield f"    optional {', '.join(each.optional_variables)}"
