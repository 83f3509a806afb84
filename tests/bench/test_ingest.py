"""The stage `ingest`: everybody is measured, on trades that are all there and in order."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from tests.bench import ingest
from tests.bench.ingest_rivals.ledger import Ledger
from tests.bench.ingest_rivals.sender import framed
from tests.bench.ingest_rivals.workload import RECORD, checksum, texts
from tests.bench.market import SYMBOLS, frames
from tests.bench.report import Absent, Row
from tests.thoroughness import small_dose

FEW = 300
RIVALS = (ingest.TRIO_WEBSOCKET, ingest.WEBSOCKETS_TRIO, ingest.PICOWS)


@pytest.fixture(autouse=True)
def few_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "SMALL_TRADES", FEW)


def names_of(rows: Sequence[Row | Absent]) -> set[str]:
    return {each.name for each in rows if isinstance(each, Row)}


def absent_of(rows: Sequence[Row | Absent]) -> dict[str, str]:
    return {each.name: each.why for each in rows if isinstance(each, Absent)}


@small_dose
def test_every_contender_brings_every_trade_into_its_log() -> None:
    rows = ingest.run(small=True)
    absent = absent_of(rows)
    assert ingest.PLAIN not in absent
    there = [each for each in ingest.CONTENDERS if each not in absent]
    assert names_of(rows) >= {*there, *(f"{each}, CPU" for each in there)}
    assert len(names_of(rows)) == 2 * len(there) + len([each for each in RIVALS if each in there])


def test_a_rival_that_is_missing_is_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    picows = ingest.Contender("picows_orjson", {"no_such_module": "pip install it"})
    ours = ingest.CONTENDERS[ingest.PLAIN]
    monkeypatch.setattr(ingest, "CONTENDERS", {ingest.PLAIN: ours, ingest.PICOWS: picows})
    rows = ingest.run(small=True)
    assert absent_of(rows) == {ingest.PICOWS: "pip install it"}
    assert names_of(rows) == {ingest.PLAIN, f"{ingest.PLAIN}, CPU"}


@pytest.mark.parametrize(
    "wrong", [{"trades": FEW - 1}, {"checksum": checksum([b"of other trades"])}]
)
def test_a_contender_that_loses_or_changes_a_trade_fails_the_stage(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = checksum(map(ingest.record_of, texts(FEW)))
    said = {"trades": FEW, "seconds": 1.0, "cpu_s": 1.0, "checksum": right}
    monkeypatch.setattr(ingest, "sender", lambda count: nullcontext(0))
    monkeypatch.setattr(ingest, "start", lambda *arguments, **options: None)
    monkeypatch.setattr(ingest, "answer", lambda child: said)
    assert ingest.run(small=True)
    monkeypatch.setattr(ingest, "answer", lambda child: said | wrong)
    with pytest.raises(ValueError, match="not those that were sent"):
        ingest.run(small=True)


def test_the_market_begins_again_with_ids_that_follow_and_is_the_same_but_for_them() -> None:
    once = sum(len(frames(each)) for each in SYMBOLS)
    rows = [json.loads(each)["data"] for each in texts(once + FEW)]
    for symbol in SYMBOLS:
        ids = [each["t"] for each in rows if each["s"] == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    again = [each | {"t": 0} for each in rows[once:]]
    assert again == [each | {"t": 0} for each in rows[:FEW]]


def test_a_record_is_what_the_text_says() -> None:
    text = (
        b'{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"T":1723161256560,"s":"ETHUSDT",'
        b'"t":4308068523,"p":"2681.62","q":"1.000","X":"MARKET","m":true}}'
    )
    expected = (1, 4308068523, 1723161256560, 268162, 1000, 1, 0)
    assert RECORD.unpack(ingest.record_of(text)) == expected


def test_a_rivals_ledger_packs_the_same_and_refuses_what_is_wrong() -> None:
    ledger = Ledger()
    ledger.take("ETHUSDT", 7, 1723161256560, "2681.62", "1.000", True, "MARKET")
    assert RECORD.unpack(ledger.log[0]) == (1, 7, 1723161256560, 268162, 1000, 1, 0)
    for trade_id in (7, 9):
        with pytest.raises(ValueError, match="does not follow"):
            ledger.take("ETHUSDT", trade_id, 1, "2681.62", "1.000", True, "MARKET")
    with pytest.raises(ValueError, match="other decimals"):
        ledger.take("ETHUSDT", 8, 1, "2681.6", "1.000", True, "MARKET")


@pytest.mark.parametrize(("size", "head"), [(125, "817d"), (126, "817e007e"), (300, "817e012c")])
def test_messages_are_framed_as_a_server_does(size: int, head: str) -> None:
    assert framed(bytes(size)) == bytes.fromhex(head) + bytes(size)
