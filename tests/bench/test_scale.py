"""The stage `scale`: all trades of all symbols arrive, and one that does not fails the stage."""

import json
import socket
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from fanout.venues.binance import BinanceUsdm
from fanout.venues.values import VenueTrade
from tests.bench import scale
from tests.bench.memory_parts.dialogue import Part
from tests.bench.scale import Account, Dose, Found, LostError, compared, p99_ms, rows
from tests.bench.scale_parts.consumer import Consumer
from tests.bench.scale_parts.exchange import Exchange, messages_of, pieces
from tests.thoroughness import small_dose

FOUND = Found(
    first_s=1,
    all_s=9,
    references_s=33,
    joins_s=[0.01, 0.02, 0.5],
    p99_ms=2,
    p99_after_burst_ms=11,
    cpu_us=12,
    bytes_a_trade=23,
    peak_mib=100,
    trades=7,
)


@small_dose
def test_a_small_run_measures_every_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    dose = Dose(symbols=10, few=5, steady_s=0.5, few_steady_s=0.5, burst=2_000, burst_s=0.3)
    monkeypatch.setattr(scale, "SMALL", dose)
    monkeypatch.setattr(scale, "QUIET_S", 0.5)
    monkeypatch.setattr(scale, "AFTER_BURST_S", 0.3)
    found = {each.name: each for each in scale.run(small=True)}
    assert len([name for name, each in found.items() if each.goal]) == 8
    assert found["10 symbols, trades, none lost"].value >= 600 + 600 + 360 + 600 + 10
    assert found["10 symbols, memory at most"].value > 10
    assert found["10 symbols, start to the first"].value > 0


def test_goals_are_those_of_the_docstring() -> None:
    found = {each.name: each for each in rows(FOUND, 800)}
    assert found["800 symbols, a join"].value == 20
    assert [name for name, each in found.items() if not each.met] == [
        "800 symbols, p99 after a burst"
    ]
    few = replace(FOUND, cpu_us=10, bytes_a_trade=19)
    met = {each.name: (each.value, each.met) for each in compared(FOUND, few, Dose())}
    assert met["800 symbols / 100, CPU"] == (1.2, True)
    assert met["800 symbols / 100, size"] == (pytest.approx(1.21, abs=0.01), False)


@pytest.mark.parametrize(("received", "lost"), [(9, 0), (11, 0), (10, 1)])
def test_a_trade_too_few_or_too_many_and_a_reported_loss_fail_the_stage(
    received: int, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale, "CALLS_S", 0)
    monkeypatch.setattr(scale, "SETTLE_S", 0.1)
    sent = iter([5, 15, 15])
    exchange = cast(Part, SimpleNamespace(ask=lambda words: next(sent)))
    consumer: Any = SimpleNamespace(trades=0, lost=0)
    account = Account(exchange, cast(Consumer, consumer))
    consumer.trades = 10
    assert account.settled() == 10
    consumer.trades, consumer.lost = received, lost
    with pytest.raises(
        LostError, match=f"{received} trades of 10 were received, and {lost} losses"
    ):
        account.settled()


def test_p99_is_of_the_slowest_hundredth() -> None:
    assert p99_ms([1_000_000] * 98 + [5_000_000, 9_000_000]) == 9


def test_pieces_add_up_to_the_rate() -> None:
    assert sum(pieces(1_234, 1)) == 1_234
    assert sum(pieces(25_000, 0.5)) == 12_500
    assert max(pieces(1_250, 1)) - min(pieces(1_250, 1)) == 1


def test_the_exchange_sends_a_connection_what_it_subscribed_and_ids_follow_each_other() -> None:
    exchange, (ours, theirs) = Exchange(3), socket.socketpair()
    received: list[bytes] = []
    exchange._streams[theirs] = {"S0001USDT"}
    reader = threading.Thread(target=lambda: received.extend(_texts(ours)))
    reader.start()
    assert exchange.once_each() == 3
    assert exchange.play(2_000, 0.05) == 103
    theirs.close()
    reader.join(10)
    trades = [BinanceUsdm().parse(each) for each in received]
    ids = [each.trade_id for each in trades if isinstance(each, VenueTrade)]
    assert len(ids) > 1
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {json.loads(each)["data"]["s"] for each in received} == {"S0001USDT"}


def _texts(sock: socket.socket) -> list[bytes]:
    """The payloads of unmasked frames, up to the end."""
    with sock, sock.makefile("rb") as file:
        texts = []
        while len(head := file.read(2)) == 2:
            size = head[1] if head[1] < 126 else int.from_bytes(file.read(2))
            texts.append(file.read(size))
        return texts


def test_a_clients_frames_are_unmasked() -> None:
    ours, theirs = socket.socketpair()
    long = b"x" * 300
    with ours, theirs:
        ours.sendall(b"\x81\x82\x01\x02\x03\x04" + bytes((ord("h") ^ 1, ord("i") ^ 2)))
        ours.sendall(b"\x89\xfe" + len(long).to_bytes(2) + b"\0\0\0\0" + long)
        ours.shutdown(socket.SHUT_WR)
        assert list(messages_of(theirs)) == [(1, b"hi"), (9, long)]
