"""The names and the headers of messages in JetStream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.protocol.constants import MAX_SEQ, U64_MAX
from fanout.protocol.jetstream import (
    ALL,
    MAX_PARTS,
    Stamp,
    Subject,
    channel_of,
    headers_of,
    kind_of,
    prefix_fault,
    stamp_of,
    stream_of,
    subject_of,
    subjects_of,
    symbol_token_of,
    token,
)

U64 = st.integers(0, U64_MAX)
BARE = {"Fanout-Epoch": "1", "Fanout-Seq": "2", "Fanout-Count": "3"}
MOST = {**BARE, "Fanout-Time": "4", "Fanout-Header": "5"}


@pytest.mark.parametrize("prefix", ["fanout", "a", "A-1_b", "x" * 32])
def test_a_prefix_is_letters_digits_and_dashes(prefix: str) -> None:
    assert prefix_fault(prefix) is None


@pytest.mark.parametrize("prefix", ["", "x" * 33, "a.b", "a b", "-", "ü", "a*", ">", "a/b"])
def test_another_prefix_is_a_fault_that_says_the_limit(prefix: str) -> None:
    fault = prefix_fault(prefix)
    assert fault is not None
    assert "1 to 32 letters" in fault


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BTCUSDT", "BTCUSDT"),
        ("eu.spot", "eu%2Espot"),
        ("BTC/USD", "BTC%2FUSD"),
        ("%all", "%25all"),
        ("a* >\\\x7f", "a%2A%20%3E%5C%7F"),
        ("币安人生USDT", "币安人生USDT"),
    ],
)
def test_a_token_has_no_character_that_means_something_in_a_subject(
    name: str, expected: str
) -> None:
    assert token(name) == expected


@given(one=st.text(), other=st.text())
def test_two_names_have_two_tokens(one: str, other: str) -> None:
    one, other = (each.encode(errors="replace").decode() for each in (one, other))
    assert (token(one) == token(other)) == (one == other)
    assert not set(token(one)) & set(".*> \\/\t\n")


def test_the_names_of_a_channel() -> None:
    assert stream_of("fanout", "eu.spot") == "fanout-eu=2Espot"
    assert subjects_of("fanout", "perps") == (
        "fanout.perps.header",
        "fanout.perps.snapshot",
        "fanout.perps.records",
        "fanout.perps.records.*",
    )
    records = [subject_of("x", "a.b", Subject.RECORDS, each) for each in ("", "BTC/USD", ALL)]
    assert records == ["x.a%2Eb.records", "x.a%2Eb.records.BTC%2FUSD", "x.a%2Eb.records.%all"]


@pytest.mark.parametrize("channel", ["perps", "eu.spot", "a-b_c", "a..b"])
def test_a_stream_names_its_channel(channel: str) -> None:
    assert channel_of("x-y", stream_of("x-y", channel)) == channel


@pytest.mark.parametrize("stream", ["x-", "y-perps", "perps", "x-PERPS", "x-a=b", "KV_x-places"])
def test_another_stream_names_none(stream: str) -> None:
    assert channel_of("x", stream) is None


@pytest.mark.parametrize(
    ("subject", "kind", "symbol"),
    [
        ("x.a.header", Subject.HEADER, ""),
        ("x.a.snapshot", Subject.SNAPSHOT, ""),
        ("x.a.records", Subject.RECORDS, ""),
        ("x.a.records.BTC", Subject.RECORDS, "BTC"),
        ("x.a.header.BTC", None, "BTC"),
        ("x.a.other", None, ""),
        ("x.a", None, ""),
        ("x.a.records.BTC.ETH", None, "BTC.ETH"),
    ],
)
def test_a_subject_says_what_a_message_holds(
    subject: str, kind: Subject | None, symbol: str
) -> None:
    assert (kind_of(subject), symbol_token_of(subject)) == (kind, symbol)


@st.composite
def stamps(draw: st.DrawFn) -> Stamp:
    seq = draw(st.integers(1, MAX_SEQ))
    return Stamp(
        epoch_ns=draw(U64),
        seq=seq,
        count=draw(st.integers(0, MAX_SEQ + 1 - seq)),
        time_ns=draw(U64),
        header=draw(U64),
        whole=draw(U64),
        part=draw(st.integers(1, MAX_PARTS)),
        parts=draw(st.integers(2, MAX_PARTS)),
        before=draw(st.none() | st.integers(0, MAX_SEQ)),
    )


@given(stamps())
def test_a_stamp_of_a_header_goes_round(stamp: Stamp) -> None:
    assert stamp_of(headers_of(Subject.HEADER, stamp)) == stamp
    assert stamp.next_seq == stamp.seq + stamp.count


@pytest.mark.parametrize(
    ("symbol", "expected"), [("", "7-9"), ("BTC/USD", "7-9-BTC%2FUSD"), (ALL, "7-9-%all")]
)
def test_records_have_an_id_and_say_parts_only_if_divided(symbol: str, expected: str) -> None:
    stamp = Stamp(epoch_ns=7, seq=9, count=2)
    headers = headers_of(Subject.RECORDS, stamp, symbol)
    assert headers == {
        "Nats-Msg-Id": expected,
        "Fanout-Epoch": "7",
        "Fanout-Seq": "9",
        "Fanout-Count": "2",
        "Fanout-Time": "0",
        "Fanout-Header": "0",
    }
    assert stamp_of(headers) == stamp
    divided = Stamp(epoch_ns=7, seq=9, count=2, part=1, parts=2, before=4)
    assert stamp_of(headers_of(Subject.RECORDS, divided, symbol)) == divided


def test_a_snapshot_has_parts_and_no_id() -> None:
    headers = headers_of(Subject.SNAPSHOT, Stamp(epoch_ns=7, seq=9))
    assert (headers["Fanout-Part"], headers["Fanout-Parts"]) == ("1", "1")
    assert not {"Nats-Msg-Id", "Fanout-Whole", "Fanout-Before"} & set(headers)


@pytest.mark.parametrize("headers", [None, {}, {"Nats-Msg-Id": "1-2"}])
def test_a_message_without_our_headers_is_not_ours(headers: dict[str, str] | None) -> None:
    assert stamp_of(headers) is None


@pytest.mark.parametrize("name", list(MOST))
def test_a_message_that_lacks_one_is_not_ours(name: str) -> None:
    assert stamp_of(MOST) is not None
    assert stamp_of({key: value for key, value in MOST.items() if key != name}) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "+1", " 1", "1.0", "01", "²", "٣", "9" * 21])
@pytest.mark.parametrize("name", [*MOST, "Fanout-Whole", "Fanout-Part", "Fanout-Before"])
def test_a_message_with_what_is_no_number_is_not_ours(name: str, text: str) -> None:
    assert stamp_of({**MOST, name: text}) is None


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("Fanout-Epoch", U64_MAX + 1),
        ("Fanout-Seq", 0),
        ("Fanout-Seq", MAX_SEQ + 1),
        ("Fanout-Count", MAX_SEQ),
        ("Fanout-Parts", MAX_PARTS + 1),
        ("Fanout-Before", MAX_SEQ + 1),
    ],
)
def test_a_number_beyond_the_limits_is_not_ours(name: str, number: int) -> None:
    assert stamp_of({**MOST, name: str(number)}) is None
