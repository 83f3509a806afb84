"""`fanout tail`: print what a service sends."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from fanout.cli.formats import (
    KINDS,
    LINES,
    Format,
    Line,
    csv_line,
    is_new,
    require_same,
    table_of,
    text_line,
)
from fanout.cli.outcome import emit, exit_codes, say
from fanout.cli.run_options import Follow
from fanout.cli.source import Source, nats_client, told
from fanout.cli.source_options import Address, takes_source
from fanout.clients.outcomes import Disconnected, Restarted
from fanout.errors import UsageError
from fanout.protocol.feature_rows import FeatureRow
from fanout.protocol.records import Header, Record

if TYPE_CHECKING:
    from fanout.clients.journal import JournalClient
    from fanout.clients.multicast import MulticastClient
    from fanout.clients.nats import NatsClient
    from fanout.clients.ring import RingClient
    from fanout.clients.shm import ShmClient
    from fanout.clients.tcp import TcpClient


@takes_source()
def tail(
    address: Address,
    output: Annotated[
        Format, typer.Option("--format", help="json and csv keep every digit.")
    ] = Format.TEXT,
    limit: Annotated[
        int | None,
        typer.Option(
            help="End after that many trades, quotes, book updates or rows; 0 ends when connected",
            min=0,
        ),
    ] = None,
    follow: Follow = True,
    *,
    source: Source,
) -> None:
    """Print what a service sends, or what its journal has: trades, quotes, book updates, rows of
    features and events to stdout, the rest to stderr.

    Example: fanout tail tcp://127.0.0.1:9000 --format json --limit 10
    Example: fanout tail multicast://239.10.1.1:9100 --recovery tcp://10.0.0.5:9000
    Example: fanout tail nats://10.0.0.9:4222/binance --start oldest
    Example: fanout tail journal:///data/journal --start 2026-11-29T13:00Z --no-follow

    csv is one table, of the channel's first kind: trades, else quotes, else the levels of book
    updates, else rows of features. Other records go to stderr, and do not count for --limit.
    """
    from fanout.clients.journal import JournalClient
    from fanout.clients.multicast import MulticastClient
    from fanout.clients.ring import RingClient
    from fanout.clients.shm import ShmClient  # with what a service has no use for
    from fanout.clients.tcp import TcpClient

    with exit_codes():
        reconnect = source.reconnect and limit != 0
        source = replace(source, address=address, reconnect=reconnect)
        if not follow and not source.is_journal:
            raise UsageError("--no-follow is for a journal: a service has no end")
        with source.client(
            TcpClient,
            ShmClient,
            RingClient,
            MulticastClient,
            JournalClient,
            nats_client,
            follow=follow,
        ) as client:
            if limit == 0:
                client.connect()
            else:
                _print_all(client, output, limit)


def _print_all(
    client: "TcpClient | ShmClient | RingClient | MulticastClient | JournalClient | NatsClient",
    output: Format,
    limit: int | None,
) -> None:
    line_of: Line | None = None
    count = 0
    for record in client:
        if isinstance(record, Disconnected | Restarted):
            say(told(client.url, record))
            continue
        header = client.header
        assert header is not None, "every record but Disconnected comes after a header"
        line_of = line_of or _begun(output, header)
        line = line_of(record, header.epoch_ns, header.columns)
        if line is None:
            say(text_line(record, header.epoch_ns, header.columns))
        else:
            emit(line)
            count += is_new(record)
        if count == limit:
            return


def _begun(output: Format, header: Header) -> Line:
    """What prints the records of a channel. For CSV, print the names of its table's columns."""
    if output is not Format.CSV:
        return LINES[output]
    table = table_of(header)
    emit(KINDS[table].csv_header_with(header.columns))
    if table is FeatureRow:
        return partial(_csv_row, header.columns)
    return partial(csv_line, table=table)


def _csv_row(
    begun: Sequence[str], record: Record, epoch_ns: int, columns: Sequence[str]
) -> str | None:
    """A row of features under the columns that were printed. A service that starts anew may have
    others: raises `OutputError` then."""
    if type(record) is FeatureRow:
        require_same("stdout", begun, columns, "start again, or take --format json")
    return csv_line(record, epoch_ns, columns, table=FeatureRow)
