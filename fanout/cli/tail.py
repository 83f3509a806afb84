"""`fanout tail`: print what a service sends."""

import csv
import io
import ssl
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from typing import Annotated, Any, Final

import msgspec
import typer

from clients.client import ClientOptions
from clients.shm import ShmClient
from clients.tcp import Disconnected, Restarted, TcpClient
from fanout.cli.outcome import emit, exit_codes, say
from fanout.cli.secrets import read_token
from fanout.config import split_symbols
from fanout.errors import ConfigError, UsageError, shown
from protocol.errors import reason
from protocol.records import Instrument, Record, Snapshot, Trade
from protocol.request import Position, Request, Start, encode_request


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def tail(
    address: Annotated[
        str,
        typer.Argument(help="tcp://HOST:PORT, tls://HOST:PORT or shm://NAME", metavar="ADDRESS"),
    ],
    output: Annotated[
        Format, typer.Option("--format", help="json and csv keep every digit.")
    ] = Format.TEXT,
    limit: Annotated[
        int | None,
        typer.Option(help="End after that many trades; 0 ends once connected.", min=0),
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="Only these, comma-separated or repeated.", metavar="SYMBOL,..."),
    ] = None,
    market_only: Annotated[
        bool, typer.Option("--market-only", help="Leave out insurance fund and ADL.")
    ] = False,
    start: Annotated[
        str,
        typer.Option(help="live, oldest, or EPOCH_NS:SEQ as json and csv have them."),
    ] = "live",
    reconnect: Annotated[
        bool, typer.Option(help="Connect again when the connection is lost.")
    ] = True,
    token_file: Annotated[
        str | None,
        typer.Option(
            help="File with the service's token; or set FANOUT_TOKEN.",
            envvar="FANOUT_TOKEN_FILE",
            metavar="FILE",
        ),
    ] = None,
    tls_ca: Annotated[
        str | None,
        typer.Option(
            help="Certificates to trust for tls:// (PEM), instead of the system's.",
            envvar="FANOUT_TLS_CA",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Print what a service sends: trades and events to stdout, the rest to stderr.

    Example: fanout tail tcp://127.0.0.1:9000 --format json --limit 10
    """
    with exit_codes():
        options: ClientOptions = {
            "reconnect": reconnect and limit != 0,
            "symbols": split_symbols(symbol or ()),
            "market_only": market_only,
        }
        if address.startswith("shm://"):
            if start != "live":
                raise UsageError(f"--start {start}: a queue is read from where it was left")
            client: TcpClient | ShmClient = ShmClient(address, **options)
        else:
            if tls_ca is not None and not address.startswith("tls://"):
                raise UsageError(f"{address} does not speak TLS: leave --tls-ca out, or tls://")
            token = read_token(token_file)
            client = TcpClient(
                address,
                start=_parse_start(start),
                token=None if token is None else token.reveal(),
                tls=_tls(tls_ca),
                **options,
            )
        with client:
            if limit == 0:
                client.connect()
            else:
                _print_all(client, output, limit)


def _parse_start(text: str) -> str | Position:
    if text in tuple(Start):
        return text
    epoch, _, seq = text.partition(":")
    try:
        position = Position(epoch_ns=int(epoch), seq=int(seq))
        encode_request(Request(start=position))
    except ValueError:
        raise UsageError(
            f"--start {text!r}: live, oldest, or EPOCH_NS:SEQ, like 1795219200000000000:1001"
        ) from None
    return position


def _tls(ca_file: str | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"cannot use --tls-ca {ca_file}: {reason(error)}") from error


def _print_all(client: TcpClient | ShmClient, output: Format, limit: int | None) -> None:
    line_of = _LINES[output]
    if output is Format.CSV:
        emit(_csv_text(_COLUMNS))
    trades = 0
    for record in client:
        if isinstance(record, Disconnected):
            say(f"{client.url}: {shown(record.why)}; trying again in {record.pause_s:.1f} s")
            continue
        if isinstance(record, Restarted):
            say(f"{client.url}: the service was started anew: numbers begin at 1 again")
            continue
        header = client.header
        assert header is not None, "every record but Disconnected comes after a header"
        line = line_of(record, header.epoch_ns)
        if line is None:
            say(_text_line(record, header.epoch_ns))
        else:
            emit(line)
        trades += isinstance(record, Trade)
        if trades == limit:
            return


_COLUMNS: Final = (
    "seq",
    "symbol",
    "trade_id",
    "time_ms",
    "price",
    "quantity",
    "buyer_is_maker",
    "kind",
    "received_ns",
    "back_filled",
    "epoch_ns",
)


def _row(trade: Trade, epoch_ns: int) -> dict[str, Any]:
    values = (
        trade.seq,
        trade.symbol,
        trade.trade_id,
        trade.time_ms,
        trade.price_text,
        trade.quantity_text,
        trade.buyer_is_maker,
        trade.kind.name,
        trade.received_ns,
        trade.back_filled,
        epoch_ns,
    )
    return dict(zip(_COLUMNS, values, strict=True))


def _event(record: Record, epoch_ns: int) -> dict[str, Any]:
    """An event's fields under their own names, `event` first."""
    row: dict[str, Any] = {"event": type(record).__name__.lower()}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name == "trades":
            row[name] = [_row(each, epoch_ns) for each in value]
        elif name == "instrument":
            row["symbol"] = value.symbol if isinstance(value, Instrument) else None
        else:
            row[name] = value.name if isinstance(value, Enum) else value
    row["epoch_ns"] = epoch_ns
    return row


def _json_line(record: Record, epoch_ns: int) -> str:
    row = _row(record, epoch_ns) if isinstance(record, Trade) else _event(record, epoch_ns)
    return msgspec.json.encode(row).decode()


def _csv_line(record: Record, epoch_ns: int) -> str | None:
    """A trade as a row; events have no place in a table."""
    if not isinstance(record, Trade):
        return None
    values = _row(record, epoch_ns).values()
    return _csv_text(str(each).lower() if isinstance(each, bool) else each for each in values)


def _csv_text(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _text_line(record: Record, epoch_ns: int) -> str:
    if isinstance(record, Trade):
        return _trade_text(record)
    if isinstance(record, Snapshot):
        return "\n".join(f"{_trade_text(each)}  before joining" for each in record.trades)
    fields = _event(record, epoch_ns)
    name = fields.pop("event").upper()
    del fields["epoch_ns"]
    told = (f"{key} {shown(value)}" for key, value in fields.items() if value not in (None, ""))
    return "  ".join((name, *told))


def _trade_text(trade: Trade) -> str:
    seconds, ms = divmod(trade.time_ms % 86_400_000, 1000)
    time = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"
    side = "sell" if trade.buyer_is_maker else "buy"
    kind = "" if trade.kind.name == "MARKET" else f"  {trade.kind.name}"
    late = "  back-filled" if trade.back_filled else ""
    return (
        f"{time}  {trade.symbol:<12} {side:<4} {trade.quantity_text:>12} @ {trade.price_text:<12}"
        f" #{trade.trade_id}{kind}{late}"
    )


Line = Callable[[Record, int], str | None]

_LINES: Final[dict[Format, Line]] = {
    Format.TEXT: _text_line,
    Format.JSON: _json_line,
    Format.CSV: _csv_line,
}
