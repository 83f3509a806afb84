"""`fanout rings tail|csv|verify DIR`: read the rings that `consolidate` writes, or any other
consolidator of that layout."""

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from fanout.cli.outcome import OutputError, emit, exit_codes, say
from fanout.cli.rings_csv import CsvFiles
from fanout.cli.rings_filter import FilterFile
from fanout.clients.consolidated import (
    Consolidated,
    ConsolidatedClient,
    ConsolidatedTrade,
    Missed,
    OtherRecord,
    RingCounts,
    RingFault,
    RingOpened,
    Start,
    Why,
)
from fanout.protocol.errors import reason

FAULTY: Final = 1
"""Exit code of rings that are damaged."""

Directory = Annotated[
    str, typer.Argument(help="The directory of the rings.", metavar="DIR", show_default=False)
]
Symbols = Annotated[
    str, typer.Option("--filter", help="Only these.", metavar="SYMBOL,...", show_default=False)
]
Filters = Annotated[
    Path | None,
    typer.Option(
        help='Only what this file names, {"symbols": [...], "exchanges": [...]}. It is read again '
        "when it changes.",
        metavar="FILE",
        show_default=False,
    ),
]
PollMs = Annotated[int, typer.Option(help="How often to look for more, in ms.", min=1, max=60_000)]
Begin = Annotated[
    Start, typer.Option(help="Begin with the trades to come, or with the oldest that are there.")
]
Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Wait for more at the end, or end there.")
]

rings = typer.Typer(no_args_is_help=True, help="Read rings that consolidate writes.", name="rings")


@rings.command()
def tail(
    directory: Directory,
    symbols: Symbols = "",
    filters: Filters = None,
    poll_ms: PollMs = 100,
    start: Begin = Start.LIVE,
    follow: Follow = True,
) -> None:
    """Print the trades in rings as they are written, a line each, to stdout.

    What cannot be read goes to stderr, with its numbers.

    Example: fanout rings tail /var/lib/fanout/rings --filter BTCUSDT,ETHUSDT
    """
    with exit_codes():
        for trades in _read(directory, symbols, filters, poll_ms, start, follow=follow):
            for each in trades:
                emit(trade_line(each))


@rings.command()
def csv(
    directory: Directory,
    out: Annotated[
        Path,
        typer.Option(help="Directory of the files, which is made.", metavar="OUT"),
    ],
    symbols: Symbols = "",
    filters: Filters = None,
    poll_ms: PollMs = 100,
    start: Begin = Start.OLDEST,
    follow: Follow = True,
) -> None:
    """Write the trades in rings to files, one for each symbol, and follow.

    A file that is there already is left alone: take another OUT.

    Example: fanout rings csv /var/lib/fanout/rings --out /data/csv --no-follow
    """
    with exit_codes():
        files = CsvFiles(out)
        try:
            for trades in _read(directory, symbols, filters, poll_ms, start, follow=follow):
                files.add(trades)
        except OSError as error:
            raise OutputError(f"cannot write {error.filename or out}: {reason(error)}") from error
        finally:
            files.close()
            say(f"{files.rows:,} trades of {files.symbols:,} symbols in {out}")


@rings.command()
def verify(directory: Directory) -> None:
    """Check each record in rings: its slot, its numbers, its CRC and its payload.

    A line for each ring. Exit code 1 if a record is damaged. Records that a
    service overwrites meanwhile are no fault.

    Example: fanout rings verify /var/lib/fanout/rings
    """
    with exit_codes():
        is_right, unread = True, set[str]()
        with ConsolidatedClient(directory, start=Start.OLDEST, follow=False) as client:
            for each in client:
                if isinstance(each, RingFault):
                    is_right = False
                    unread.add(each.ring)
                if not isinstance(each, ConsolidatedTrade | RingOpened | OtherRecord):
                    emit(told(each))
            for name, counts in client.counts.items():
                is_right &= not counts.faults
                if name not in unread or counts.first_seq is not None:
                    emit(f"{name}: {_verdict(counts)}")
        if not is_right:
            raise typer.Exit(FAULTY)


def trade_line(trade: ConsolidatedTrade) -> str:
    """A trade for a person."""
    return (
        f"{_moment(trade.exchange_ts_ms)} {trade.asset:<14} {trade.side:<4} px={trade.px} "
        f"sz={trade.sz}"
    )


def told(each: Consolidated) -> str:
    """What is not a trade, in words."""
    match each:
        case RingOpened():
            if each.oldest_seq > each.newest_seq:
                return f"{each.ring}: empty so far"
            back = f"{each.ring}: goes back from number {each.newest_seq:,} to {each.oldest_seq:,}"
            return f"{back}, as far as its index" if each.is_short else back
        case RingFault():
            return f"{each.ring}: cannot be read: {each.why}"
        case Missed(why=Why.ANEW):
            return f"{each.ring}: begun anew behind number {each.last_seq:,}"
        case Missed():
            detail = f": {each.detail}" if each.detail else ""
            return f"{each.ring}: {_numbers(each)} {each.why.value}{detail}"
        case OtherRecord():
            return f"{each.ring}: number {each.seq:,} is of kind {each.kind}, and no trade"
        case _:
            raise AssertionError(f"{each} is a trade")


def _numbers(missed: Missed) -> str:
    if missed.count == 1:
        return f"number {missed.first_seq:,}"
    return f"numbers {missed.first_seq:,} to {missed.last_seq:,}"


def _verdict(counts: RingCounts) -> str:
    parts = [f"{counts.trades:,} trades"]
    if counts.others:
        parts.append(f"{counts.others:,} records of other kinds")
    if counts.first_seq is not None:
        parts.append(f"numbers {counts.first_seq:,} to {counts.last_seq:,}")
    lapped = counts.missed.get(Why.LAPPED, 0)
    if lapped:
        parts.append(f"{lapped:,} overwritten meanwhile")
    verdict = f"{counts.faults:,} damaged" if counts.faults else "right"
    return f"{', '.join(parts)}: {verdict}"


def _moment(time_ms: int) -> str:
    """UTC, to the second."""
    try:
        return f"{datetime.fromtimestamp(time_ms // 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return str(time_ms)


def _read(
    directory: str,
    symbols: str,
    filters: Path | None,
    poll_ms: int,
    start: Start,
    *,
    follow: bool,
) -> Iterator[list[ConsolidatedTrade]]:
    """The trades, look by look. All else is said."""
    named = frozenset(each.strip() for each in symbols.split(",") if each.strip())
    watch = FilterFile(filters, named) if filters is not None else None
    kinds: set[tuple[str, int]] = set()
    with ConsolidatedClient(
        directory, start=start, symbols=named, follow=follow, poll_s=poll_ms / 1000
    ) as client:
        if watch is not None:
            client.wanted = watch.wanted
        try:
            for found in client.looks():
                for each in found:
                    if isinstance(each, OtherRecord):
                        _say_other(each, kinds)
                    elif not isinstance(each, ConsolidatedTrade):
                        say(told(each))
                yield [each for each in found if isinstance(each, ConsolidatedTrade)]
                if watch is not None:
                    client.wanted = watch.look()
        finally:
            _say_missed(client)


def _say_missed(client: ConsolidatedClient) -> None:
    """How much could not be read, if anything."""
    missed: Counter[Why] = Counter()
    for counts in client.counts.values():
        missed.update(counts.missed)
    if missed.total():
        kinds = ", ".join(f"{count:,} {why.value}" for why, count in missed.items() if count)
        say(f"{missed.total():,} records could not be read: {kinds}", logging.WARNING)


def _say_other(record: OtherRecord, kinds: set[tuple[str, int]]) -> None:
    """Say it once for each kind and ring."""
    if (record.ring, record.kind) not in kinds:
        kinds.add((record.ring, record.kind))
        say(f"{told(record)}; those that follow are left out too")
