"""Lines of many trades are those of single ones, and C writes what the plain function writes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.cli.formats import csv_line, json_line
from fanout.cli.lines import Form, csv_form, json_form, trade_lines
from fanout.protocol import Block, Header, encode_block
from fanout.protocol.block import decode_block
from fanout.protocol.rows import rows_from
from fanout.speedups import twin
from tests.protocol.golden import BTC, HEADER, LIFE, TRADES
from tests.protocol.strategies import blocks, headers
from tests.thoroughness import examples

WAYS = (trade_lines, twin.plain[trade_lines.__name__])


def both(block: Block, header: Header) -> None:
    trades = decode_block(encode_block(block, header), header).trades
    packed = rows_from(trades)
    for line_of, form_of in ((csv_line, csv_form), (json_line, json_form)):
        expected = "".join(f"{line_of(each, header.epoch_ns)}\n" for each in trades)
        for way in WAYS:
            assert bytes(way(packed, form_of(header))).decode() == expected


@settings(max_examples=examples(30))
@given(headers().flatmap(lambda header: st.tuples(st.just(header), blocks(header))))
def test_lines_are_those_of_single_trades(written: tuple[Header, Block]) -> None:
    header, block = written
    both(block, header)


@pytest.mark.parametrize("exponent", [-18, -3, -1, 0, 1, 8])
def test_numbers_of_every_size(exponent: int) -> None:
    units = replace(BTC, price_exponent=exponent, quantity_exponent=exponent, time_exponent=0)
    header = replace(HEADER, instruments=(units, LIFE))
    numbers = [0, 1, 9, 10, 99, 10**17, 10**18 - 1, 10**18, 2**63 - 1]
    trades = [
        replace(TRADES.trades[0], instrument=units, price=sign * each, quantity=each, time=each)
        for each in numbers
        for sign in (1, -1)
    ]
    both(replace(TRADES, trades=trades), header)


def test_symbols_are_quoted() -> None:
    units = replace(BTC, symbol='A,"B"')
    header = replace(HEADER, instruments=(units, LIFE))
    both(replace(TRADES, trades=[replace(TRADES.trades[0], instrument=units)]), header)


@pytest.mark.parametrize("form_of", [csv_form, json_form])
def test_what_c_does_not_take_is_left_to_the_plain_function(
    form_of: Callable[[Header], Form],
) -> None:
    form = form_of(HEADER)
    huge = replace(form, exponents=((-30, 0, 0), (0, 0, 0)))
    packed = rows_from(TRADES.trades)
    first, second = (bytes(way(packed, huge)) for way in WAYS)
    assert first == second
    for bad in (packed[:-1], packed[:48] + b"\xff\xff" + packed[50:]):
        for way in WAYS:
            with pytest.raises(Exception, match=r"buffer|range"):
                way(bad, form)
    assert trade_lines(b"", form) == b""
