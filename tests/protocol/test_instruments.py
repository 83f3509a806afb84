"""INSTRUMENTS: runs that add instruments to a header or change them, and those that are refused."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from fanout.protocol import (
    Header,
    InstrumentType,
    LimitExceededError,
    MalformedError,
    PeerError,
    encode_changes,
    encode_instruments,
    with_instruments,
)
from fanout.protocol.constants import MAX_FRAME_BYTES
from fanout.protocol.framing import seal, unseal
from tests.protocol.golden import BARE_HEADER, BTC, HEADER, LIFE


def of(*symbols: str) -> Header:
    instruments = tuple(replace(BTC, index=i, symbol=each) for i, each in enumerate(symbols))
    references = HEADER.references[:1] * len(symbols)
    return replace(HEADER, instruments=instruments, references=references)


def body_of(header: Header = HEADER) -> bytearray:
    (payload,) = encode_instruments(header, 0, len(header.instruments))
    return bytearray(unseal(payload))


def test_a_run_adds_instruments_at_the_end() -> None:
    (run,) = encode_instruments(of("A", "B", "C"), 1, 3)
    assert with_instruments(of("A"), run) == of("A", "B", "C")


def test_a_run_changes_those_it_names_and_no_others() -> None:
    old = of("A", "B", "C")
    finer = replace(old.instruments[1], price_exponent=-9, tick=7)
    new = replace(old, instruments=(old.instruments[0], finer, old.instruments[2]))
    (run,) = encode_instruments(new, 1, 2)
    assert with_instruments(old, run) == new


def test_a_run_may_change_some_and_add_others() -> None:
    new = of("A", "B", "C")
    new = replace(new, instruments=tuple(replace(each, lot=3) for each in new.instruments))
    (run,) = encode_instruments(new, 1, 3)
    assert with_instruments(of("A", "B"), run).instruments[1:] == new.instruments[1:]


@pytest.mark.parametrize(
    ("known", "sent", "first", "message"),
    [
        (("A",), ("A", "B", "C"), 2, "from index 2 on, where 1 are known"),
        (("A", "B"), ("A", "X"), 1, "index 1 is B, and cannot become X"),
        (("A", "B"), ("X", "Y", "A"), 2, "symbol 'A' stands twice"),
    ],
)
def test_a_run_that_does_not_fit_the_header_is_refused(
    known: tuple[str, ...], sent: tuple[str, ...], first: int, message: str
) -> None:
    (run,) = encode_instruments(of(*sent), first, len(sent))
    with pytest.raises(MalformedError, match=message):
        with_instruments(of(*known), run)


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1_025), (1_024, 1), (1_000, 25)])
def test_a_run_beyond_1024_instruments_is_refused(first: int, count: int) -> None:
    body = body_of()
    body[2:6] = first.to_bytes(2, "little") + count.to_bytes(2, "little")
    with pytest.raises(LimitExceededError, match="1 to 1,024 allowed in all"):
        with_instruments(BARE_HEADER, seal(body))


def set_byte(offset: int, value: int) -> Callable[[bytearray], None]:
    def damage(body: bytearray) -> None:
        body[offset] = value

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(set_byte(0, 0x24), id="another kind"),
        pytest.param(set_byte(4, 3), id="more instruments than entries"),
        pytest.param(set_byte(6, 40), id="entry shorter than its fields"),
        pytest.param(set_byte(6, 75), id="entry without its contract"),
        pytest.param(set_byte(6, 255), id="entry longer than the body"),
        pytest.param(set_byte(7, 0), id="empty symbol"),
        pytest.param(set_byte(7, 65), id="symbol over its limit"),
        pytest.param(set_byte(8, 0xFF), id="symbol not UTF-8"),
        pytest.param(set_byte(8, 0x07), id="symbol not printable"),
        pytest.param(set_byte(15, 9), id="price exponent too large"),
        pytest.param(set_byte(16, 9), id="quantity exponent too large"),
        pytest.param(set_byte(17, 1), id="time exponent too large"),
        pytest.param(set_byte(74, 33), id="base over its limit"),
        pytest.param(set_byte(75, ord(" ")), id="base with a blank"),
        pytest.param(set_byte(79, ord(" ")), id="quote with a blank"),
        pytest.param(set_byte(92, 9), id="contract exponent too large"),
    ],
)
def test_damaged_instruments_with_a_right_crc_are_refused(
    damage: Callable[[bytearray], None],
) -> None:
    body = body_of()
    assert with_instruments(BARE_HEADER, seal(body)) == HEADER
    damage(body)
    with pytest.raises(PeerError):
        with_instruments(BARE_HEADER, seal(body))


def test_bytes_behind_the_known_fields_of_an_entry_are_ignored() -> None:
    body = body_of()
    entry_end = 7 + body[6]
    body[6] += 5
    body[entry_end:entry_end] = b"later"
    assert with_instruments(BARE_HEADER, seal(body)) == HEADER


def test_an_unknown_instrument_type_is_read_as_other() -> None:
    body = body_of()
    body[83] = 77
    changed = with_instruments(BARE_HEADER, seal(body))
    assert changed.instruments[0].type is InstrumentType.OTHER


def test_quantities_of_inverse_contracts_are_amounts_of_the_quote() -> None:
    inverse = {each.name for each in InstrumentType if each.is_inverse}
    assert inverse == {"INVERSE_PERPETUAL", "INVERSE_FUTURE"}


def test_instruments_that_do_not_fit_one_frame_take_several() -> None:
    header = of(*(f"{i:064}" for i in range(1_024)))
    runs = encode_instruments(header, 3, 1_024)
    assert len(runs) > 1
    assert all(len(each) <= MAX_FRAME_BYTES for each in runs)
    found = of(*(f"{i:064}" for i in range(3)))
    for each in runs:
        found = with_instruments(found, each)
    assert found == header


def test_no_instruments_take_no_frame() -> None:
    assert encode_instruments(HEADER, 2, 2) == []


def test_changes_lead_from_one_header_to_the_next() -> None:
    old = of("A", "B", "C", "D", "E")
    new = of("A", "B", "C", "D", "E", "F")
    for index in (0, 2, 3):
        changed = list(new.instruments)
        changed[index] = replace(changed[index], lot=9)
        new = replace(new, instruments=tuple(changed))
    runs = encode_changes(old, new)
    assert [int.from_bytes(each[2:4], "little") for each in runs] == [0, 2, 5]
    found = old
    for each in runs:
        found = with_instruments(found, each)
    assert found == new
    assert encode_changes(new, new) == []


def test_changes_come_in_frames_as_small_as_asked_for() -> None:
    new = of(*(f"S{i}" for i in range(100)))
    runs = encode_changes(of(), new, max_bytes=1_024)
    assert len(runs) > 5
    assert all(len(each) <= 1_024 for each in runs)
    found = of()
    for each in runs:
        found = with_instruments(found, each)
    assert found == new


def test_a_changed_reference_is_a_change() -> None:
    new = replace(HEADER, references=(HEADER.references[0], replace(HEADER.references[1], price=1)))
    (run,) = encode_changes(HEADER, new)
    assert with_instruments(HEADER, run) == new
    assert new.instruments[1] is LIFE
