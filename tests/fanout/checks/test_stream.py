"""The stream's check at a venue that talks, on a virtual clock."""

import json

import trio
from trio.testing import MockClock

from fanout.checks.patience import Patience
from fanout.checks.report import State
from fanout.checks.run import no_progress
from fanout.checks.stream import Heard, judge_part, judge_stream, listen
from fanout.protocol import DataKinds
from tests.fanout.feed.toy import KEEP_ALIVE_S, ToyVenue
from tests.stand.loopback import Exchange

BTC = "BTCUSDT"


async def heard_of(exchange: Exchange, timeout_s: float) -> Heard:
    venue = ToyVenue(ws_url="ws://venue")
    return await listen(
        exchange.connect,  # type: ignore[arg-type]
        venue,
        tuple(exchange.rows),
        Patience(timeout_s + 10),
        timeout_s=timeout_s,
        progress=no_progress,
    )


async def test_the_check_answers_the_venue_and_keeps_the_connection_alive(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    sent: list[str] = []

    async def play() -> None:
        await trio.sleep(KEEP_ALIVE_S - 1)
        (socket,) = exchange.sockets
        socket.push(b'{"toy":"past"}', b'{"toy":"ping","n":7}')
        socket.push(b'{"toy":"lost"}', b'{"toy":"notice","words":"prices are delayed"}')
        socket.push(b'{"toy":"notice","words":"prices are delayed"}', b" " * 200_000)
        await trio.sleep(2)
        sent.extend(json.loads(each)["method"] for each in socket.sent)
        exchange.trade(BTC)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(play)
        heard = await heard_of(exchange, timeout_s=60)
    assert sent == ["SUBSCRIBE", "pong", "keep-alive"]
    # The trade from before the subscription does not count.
    assert heard.first_s == {BTC: KEEP_ALIVE_S + 1}
    assert (heard.notices, heard.unreadable, heard.error) == (["prices are delayed"], 1, None)
    row, _ = judge_stream(heard, ToyVenue(), (BTC,), {}, timeout_s=60)
    assert "; prices are delayed, trade of 1 symbols" in row.found


def test_an_answer_for_each_symbol_is_wanted_where_there_are_no_trades() -> None:
    part = ToyVenue(data=DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE)
    for awaited, refused, said in (
        (set[str](), {}, "quotes and book acknowledged"),
        ({BTC}, {}, "quotes and book not acknowledged within 5.0 s"),
        (set[str](), {BTC: "no such topic"}, f"quotes and book of {BTC} refused: no such topic"),
    ):
        heard = Heard(awaited=awaited, refused=refused, opened_s=0.1)
        row = judge_part(heard, part, timeout_s=5)
        assert row.found.endswith(said)
        assert (row.state is State.OK) == said.endswith("k acknowledged")
