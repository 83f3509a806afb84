"""`fanout save`: keep what a service sends in a file."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from fanout.cli.outcome import exit_codes
from fanout.cli.source import Source
from fanout.cli.source_options import Address, takes_source
from fanout.config.ranges import check_seconds


@takes_source()
def save(
    address: Address,
    file: Annotated[
        Path,
        typer.Argument(help="NAME.csv, .jsonl, .ndjson, .npy or .parquet", metavar="FILE"),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Replace FILE if it exists, at the end.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="End after that many trades, quotes and updates.", min=1)
    ] = None,
    duration: Annotated[float | None, typer.Option(help="End after that many seconds.")] = None,
    *,
    source: Source,
) -> None:
    """Save what a service sends to a file, until Ctrl-C; or what its journal has, to its end.

    Example: fanout save tcp://127.0.0.1:9000 trades.parquet
    Example: fanout save journal:///data/journal trades.parquet

    .csv and .jsonl have what tail prints, .npy and .parquet exact integers and
    their exponents. .parquet needs pyarrow. .jsonl has all records, with the
    events. The others are tables, one for each kind of records: FILE for the
    trades, and NAME.quotes.parquet, NAME.book.parquet or NAME.orders.parquet.

    FILE is there once it is whole; SIGINT and SIGTERM lead to that as well.
    Until then what is saved stands beside it, in .FILE.XXXXXXXX.part, and stays
    there if the machine dies or the disk is full: for .csv and .jsonl in lines,
    for .npy and .parquet in rows that numpy.load reads. docs/data.md has more.
    """
    with exit_codes():
        from fanout.cli.saving.run import record

        check_seconds("--duration", duration)
        source = replace(source, address=address)
        number = record(source, file, force=force, limit=limit, duration_s=duration)
        if number is not None:
            raise typer.Exit(128 + number)
