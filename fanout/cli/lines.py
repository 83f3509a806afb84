"""Rows of trades as the lines that `fanout.cli.formats` makes of single trades, byte for byte, and
many times faster."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fanout.cli.formats import csv_text
from fanout.protocol.constants import TradeKind
from fanout.protocol.fixedpoint import to_text
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header
from fanout.protocol.rows import ROW
from fanout.speedups import twin

_BOOLS: Final = (b"false", b"true")
_COLUMNS: Final = (
    *("seq", "symbol", "trade_id", "time_ms", "price", "quantity", "buyer_is_maker", "kind"),
    *("received_ns", "back_filled", "epoch_ns"),
)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around the numbers of each line."""

    symbols: tuple[bytes, ...]
    """From behind the sequence number to before the trade's id, for each instrument."""
    exponents: tuple[tuple[int, int, int], ...]
    """Those of price, quantity and time, for each instrument."""
    kinds: tuple[bytes, ...]
    """From behind `buyer_is_maker` to before `received_ns`, for each code of a kind."""
    between: tuple[bytes, ...]
    """Before `seq`, `time_ms`, `price`, `quantity`, `buyer_is_maker` and `back_filled`, and behind
    that to the end of the line."""


def csv_form(header: Header) -> Form:
    """Lines of CSV under a header."""
    texts = ["", *[","] * (len(_COLUMNS) - 1), "\n"]
    return _form(header, texts, csv_text)


def json_form(header: Header) -> Form:
    """JSON Lines under a header."""
    quoted = {"price", "quantity"}
    texts, closing = list[str](), ""
    for name in _COLUMNS:
        begin = "{" if not texts else closing + ","
        closing = '"' if name in quoted else ""
        texts.append(f'{begin}"{name}":{closing}')
    return _form(header, [*texts, "}\n"], lambda value: msgspec.json.encode(value[0]).decode())


def _form(header: Header, texts: Sequence[str], said: Callable[[tuple[str]], str]) -> Form:
    before = dict(zip((*_COLUMNS, "end"), (each.encode() for each in texts), strict=True))
    epoch = str(header.epoch_ns).encode()

    def text(value: str) -> bytes:
        return said((value,)).encode()

    return Form(
        symbols=tuple(
            before["symbol"] + text(each.symbol) + before["trade_id"] for each in header.instruments
        ),
        exponents=tuple(map(_exponents, header.instruments)),
        kinds=tuple(
            before["kind"] + text(TradeKind(code).name) + before["received_ns"]
            for code in range(256)
        ),
        between=(
            *(before[name] for name in ("seq", "time_ms", "price", "quantity", "buyer_is_maker")),
            before["back_filled"],
            before["epoch_ns"] + epoch + before["end"],
        ),
    )


def _exponents(instrument: Instrument) -> tuple[int, int, int]:
    return instrument.price_exponent, instrument.quantity_exponent, instrument.time_exponent


@twin
def trade_lines(rows: bytes | bytearray, form: Form) -> bytes:
    """A line for each of the rows of `fanout.protocol.rows`."""
    seq_, time_, price_, quantity_, maker_, late_, end = form.between
    lines = list[bytes]()
    for (
        seq,
        trade_id,
        time,
        price,
        quantity,
        received_ns,
        index,
        kind,
        maker,
        late,
    ) in ROW.iter_unpack(rows):
        of_price, of_quantity, of_time = form.exponents[index]
        lines += (
            *(seq_, b"%d" % seq, form.symbols[index], b"%d" % trade_id, time_),
            *(b"%d" % (time * 10 ** (of_time + 9) // 1_000_000), price_),
            *(to_text(price, of_price).encode(), quantity_),
            *(to_text(quantity, of_quantity).encode(), maker_, _BOOLS[maker]),
            *(form.kinds[kind], b"%d" % received_ns, late_, _BOOLS[late], end),
        )
    return b"".join(lines)
