"""The feed at a venue that talks: pings in text, refusals of one symbol, an announced end, ids that
prove nothing."""

import json
import logging
from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from fanout.config import FeedConfig
from fanout.errors import VenueBusyError, VenueUnreachableError
from fanout.feed.connection import LONGEST_MAINTENANCE_S, STABLE_S
from fanout.protocol import BookUpdate, DataKinds, Gap, Status, Trade
from fanout.venues import Outcome, VenueItem
from tests.fanout.feed.running import RunningFeed, running_feed
from tests.fanout.feed.toy import (
    KEEP_ALIVE_S,
    TalkativeVenue,
    ToyDialogue,
    ToyVenue,
    alive,
    lost,
    newest,
    past,
)
from tests.stand.loopback import Exchange, Socket

BTC, ETH = "BTCUSDT", "ETHUSDT"
ALL = DataKinds.TRADES | DataKinds.QUOTES | DataKinds.BOOK_BY_PRICE


SECRET = "swordfish"


class SecretDialogue(ToyDialogue):
    """Every request holds a secret."""

    def _requests(self, method: str, symbols: tuple[str, ...]) -> Iterator[str]:
        for each in super()._requests(method, symbols):
            yield each.replace("{", f'{{"token":"{SECRET}",', 1)

    def receive(self, message: bytes, out: list[VenueItem]) -> Outcome | None:
        outcome = super().receive(message, out)
        if outcome is not None and outcome.answers:
            return Outcome(answers=(f'{{"method":"{SECRET}","params":[]}}',))
        return outcome

    def tick(self, now_s: float) -> tuple[str, ...]:
        super().tick(now_s)
        return (f'{{"method":"{SECRET}","params":[]}}',)


class SecretVenue(ToyVenue):
    trade_dialogue = SecretDialogue


async def refuse(socket: Socket, text: str) -> None:
    raise VenueUnreachableError("the venue accepted no bytes for 5 s")


def said(running: RunningFeed, place: int = 0) -> list[str]:
    """The methods of what a connection was sent."""
    return [json.loads(each)["method"] for each in running.exchange.sockets[place].sent]


def ids(running: RunningFeed, symbol: str = BTC) -> list[int]:
    running.read()
    return [
        each.trade_id % 1_000_000
        for each in running.records
        if isinstance(each, Trade) and each.symbol == symbol
    ]


def gaps(running: RunningFeed) -> list[Gap]:
    running.read()
    return [each for each in running.records if isinstance(each, Gap)]


async def test_a_stream_without_comparable_ids_opens_no_gap(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC, "MARKET", "MARKET")
        exchange.trade(BTC, *["MARKET"] * 5, skip=True)
        row = exchange.trade(BTC)[0]
        exchange.deliver(exchange.rows[BTC][0])
        await trio.sleep(60)
        assert ids(running) == [0, 1, row.trade_id % 1_000_000]
        assert gaps(running) == []
        (stats,) = running.feed.stats().instruments
        assert stats.continuity == "NOTHING"
        assert (stats.missing, stats.lost, stats.duplicates) == (0, 0, 1)


async def test_the_status_of_a_stream_without_comparable_ids_says_so(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(1)
        told = [each for each in running.read() if isinstance(each, Status) and each.instrument]
        assert told[0].why == "subscribed; nothing proves that all trades come"
    exchange = Exchange(BTC)
    async with running_feed(exchange) as running:
        assert running.feed.stats().instruments[0].continuity == "IDS"
        assert all("proves" not in getattr(each, "why", "") for each in running.read())


async def test_two_connections_without_comparable_ids_deliver_each_trade_once(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    config = FeedConfig(connections=2)
    async with running_feed(exchange, config, venue_class=ToyVenue) as running:
        await trio.sleep(3)
        for second in range(30):
            exchange.trade(BTC)
            if second == 10:
                exchange.sockets[0].break_off()
            await trio.sleep(1)
        assert ids(running) == list(range(30))
        assert running.feed.stats().anomalies == {}


async def test_a_text_ping_is_answered(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        exchange.sockets[0].push(b'{"toy":"ping","n":7}')
        await trio.sleep(2)
        assert exchange.sockets[0].sent[1:] == ['{"method": "pong", "params": [7]}']
        assert ids(running) == [0]


async def test_keep_alive_is_sent_when_it_is_due(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for _ in range(50):
            exchange.trade(BTC)
            await trio.sleep(KEEP_ALIVE_S / 10)
        assert said(running) == ["SUBSCRIBE", *["keep-alive"] * 4]


async def test_a_refused_symbol_is_halted_and_the_others_are_served(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.sockets[0].push(b'{"toy":"refused","symbol":"ETHUSDT","why":"no such symbol"}')
        for _ in range(10):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert running.feed.states() == {BTC: "LIVE", ETH: "HALTED"}
        whys = [each.why for each in running.read() if isinstance(each, Status)]
        whys += [each.why for each in running.records if isinstance(each, Status)]
        assert "the venue refuses it: no such symbol" in whys
        assert len(exchange.opened) == 1


async def test_an_announced_close_replaces_the_connection_beforehand(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC)
    caplog.set_level(logging.INFO)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for second in range(30):
            exchange.trade(BTC)
            if second == 5:
                exchange.sockets[0].push(b'{"toy":"closing"}')
            await trio.sleep(1)
        assert len(exchange.opened) == 2
        assert len(exchange.sockets) == 1
        assert ids(running) == list(range(30))
        states = [each.state.name for each in running.records if isinstance(each, Status)]
        assert "DOWN" not in states, "the successor came first"
        assert running.feed.stats().links[0].rotations == 1
        assert "maintenance in a minute; replacing it" in caplog.text


def whys(running: RunningFeed) -> list[tuple[str, str, str]]:
    """The symbol, state and reason of each status."""
    running.read()
    return [
        (each.instrument.symbol if each.instrument else "", each.state.name, each.why)
        for each in running.records
        if isinstance(each, Status)
    ]


async def test_a_notice_is_told_once_however_many_connections_bring_it(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, FeedConfig(connections=2), venue_class=ToyVenue) as running:
        await trio.sleep(3)
        exchange.trade(BTC)
        await trio.sleep(1)
        for socket in (*exchange.sockets, *exchange.sockets):
            socket.push(b'{"toy":"notice","words":"prices are delayed"}')
        await trio.sleep(1)
        exchange.sockets[1].push(b'{"toy":"notice","words":"prices are in time"}')
        await trio.sleep(1)
        told = [each for each in whys(running) if "prices" in each[2]]
        assert told == [("", "LIVE", "prices are delayed"), ("", "LIVE", "prices are in time")]
        assert caplog.text.count("prices are delayed") == 1
        assert len(exchange.opened) == 2


async def test_a_connection_that_lost_messages_is_replaced_and_the_loss_is_told(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue, data=ALL) as running:
        exchange.trade(BTC)
        exchange.change(BTC, {"61800.10": "1"})
        await trio.sleep(2)
        assert running.feed.states() == {BTC: "LIVE"}
        exchange.change(BTC, {"61800.10": "2"})
        exchange.sockets[0].push(b'{"toy":"lost"}')
        await trio.sleep(0.1)
        why = "messages are missing: number 8 follows 6"
        assert whys(running)[-2:] == [(BTC, "STALE", why), ("", "LIVE", why)]
        changes = [each for each in running.records if isinstance(each, BookUpdate)]
        assert changes[-1].update_id == 5_000_000_000_200, "it came before the loss"
        for _ in range(10):
            exchange.trade(BTC)
            exchange.change(BTC, {"61800.10": "1"})
            exchange.quote(BTC)
            await trio.sleep(1)
        assert len(exchange.opened) == 2
        assert running.feed.states() == {BTC: "LIVE"}
        assert ids(running) == list(range(11))
        assert running.feed.stats().anomalies["messages lost"] == 1


async def test_a_connection_that_lost_messages_before_it_took_over_is_replaced_too(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for second in range(30):
            exchange.trade(BTC)
            if second == 5:
                exchange.sockets[0].push(lost())
            if second == 7:
                assert len(exchange.sockets) == 2
                exchange.sockets[1].push(lost())
            await trio.sleep(1)
        assert len(exchange.opened) == 3
        assert ids(running) == list(range(30))


async def test_connections_that_lose_messages_again_and_again_are_replaced_ever_more_seldom(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for number in range(240):
            exchange.trade(BTC)
            for socket in exchange.sockets:
                socket.push(lost(number=number))
            await trio.sleep(0.5)
        assert 5 < len(exchange.opened) < 12
        told = [each for each in whys(running) if "messages are missing" in each[2]]
        assert 100 < len(told) <= 120, "each second at most"
        assert told[0] == ("", "LIVE", "messages are missing: number 0 follows -2")
        before = len(exchange.opened)
        await trio.sleep(STABLE_S)
        exchange.sockets[0].push(lost())
        exchange.trade(BTC)
        await trio.sleep(1)
        assert len(exchange.opened) == before + 1, "it is replaced at once"


async def test_announced_maintenance_excuses_silence_until_the_venue_goes_on(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    config = FeedConfig(connections=2)
    async with running_feed(exchange, config, venue_class=ToyVenue) as running:
        await trio.sleep(3)
        for _ in range(30):
            exchange.trade(BTC)
            await trio.sleep(1)
        exchange.sockets[0].push(b'{"toy":"pauses"}')
        await trio.sleep(1)
        assert running.feed.states()[BTC] == "LIVE", "the other connection goes on"
        exchange.sockets[1].push(b'{"toy":"pauses"}')
        requests = len(exchange.requests)
        exchange.trade(BTC, *["MARKET"] * 10, skip=True)
        await trio.sleep(1_000)
        told = [each for each in whys(running) if "maintenance" in each[2]]
        assert told == [
            (each, "STALE", "the venue pauses: maintenance has begun") for each in (BTC, ETH)
        ]
        assert len(exchange.opened) == 2
        asked = {each.path for each in exchange.requests[requests:]}
        assert asked <= {"/fapi/v1/time", "/fapi/v1/exchangeInfo"}
        for socket in exchange.sockets:
            socket.push(b'{"toy":"closing"}')
        await trio.sleep(1)
        for _ in range(70):
            exchange.trade(BTC)
            await trio.sleep(1)
        assert [each.rotations for each in running.feed.stats().links] == [1, 1]
        assert running.feed.states()[BTC] == "LIVE"
        words = "the venue closes its connections: maintenance in a minute"
        assert [each[2] for each in whys(running)].count(words) == 1


async def test_silence_beyond_an_hour_of_maintenance_is_looked_into(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        exchange.sockets[0].push(b'{"toy":"pauses"}')
        exchange.trade(BTC, *["MARKET"] * 10, skip=True)
        await trio.sleep(LONGEST_MAINTENANCE_S - 60)
        exchange.trade(BTC, *["MARKET"] * 10, skip=True)
        assert len(exchange.opened) == 1
        await trio.sleep(240)
        assert len(exchange.opened) > 1
        assert running.feed.states() == {BTC: "STALE"}


async def test_a_venue_that_is_busy_gets_no_new_connection_before_its_time(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        exchange.trade(BTC)
        await trio.sleep(10)
        exchange.sockets[0].push(b'{"toy":"busy"}')
        await trio.sleep(100)
        exchange.trade(BTC)
        exchange.refusals.append(VenueBusyError("too many connections", 60.0))
        exchange.sockets[0].push(b'{"toy":"closing"}')
        for _ in range(100):
            exchange.trade(BTC)
            await trio.sleep(1)
        opened = [at_s for at_s, _ in exchange.opened]
        pauses = [later - earlier for earlier, later in pairwise(opened)]
        assert len(pauses) == 3
        assert pauses[0] > 70
        assert pauses[2] > 60, "the successor was refused"
        assert ids(running) == list(range(102))


async def test_a_silent_symbol_is_subscribed_to_anew_before_its_connection_is_replaced(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for second in range(60):
            if second == 10:
                exchange.sockets[0]._asked_for.discard("ethusdt@trade")
            exchange.trade(BTC)
            exchange.trade(ETH)
            await trio.sleep(1)
        requests = [each for each in said(running) if each != "keep-alive"]
        assert requests == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        assert len(exchange.opened) == 1
        # Nothing helps from now on: the others are disturbed ever more seldom.
        exchange.mute.add("ethusdt@trade")
        for _ in range(600):
            exchange.trade(BTC)
            exchange.trade(ETH)
            await trio.sleep(1)
        assert ids(running) == list(range(660))
        opened = [round(at_s / 60) for at_s, _ in exchange.opened[1:]]
        assert opened == [2, 4, 8]


async def test_answers_to_new_subscriptions_do_not_hide_that_nothing_follows_them(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH, "XRPUSDT")
    async with running_feed(exchange, venue_class=TalkativeVenue) as running:
        (socket,) = exchange.sockets
        for second in range(120):
            for symbol in exchange.rows:
                exchange.trade(symbol)
            if second == 10:
                socket.silent.add(ETH)
            if "UNSUBSCRIBE" in said(running) and len(exchange.opened) == 1:
                socket.push(past(*exchange.rows[ETH][-2:]))
                socket.sent.clear()
            await trio.sleep(1)
        assert len(exchange.opened) == 2, "the second remedy"
        assert ids(running, "XRPUSDT") == list(range(120))
        assert sorted(ids(running, ETH)) == list(range(120))


async def test_an_unanswered_subscription_of_a_quiet_symbol_is_repeated(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = Socket.push

    def push_no_answer(self: Socket, *messages: bytes) -> None:
        if b'"id": 2}' not in messages[0]:
            push(self, *messages)

    monkeypatch.setattr(Socket, "push", push_no_answer)
    symbols = [f"SYMBOL{number:02}USDT" for number in range(30)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        for _ in range(100):
            for symbol in symbols[:15]:
                exchange.trade(symbol)
            await trio.sleep(1)
        (socket,) = exchange.sockets
        again = [each for each in socket.sent if '"UNSUBSCRIBE"' in each]
        assert len(again) == len(set(again)) == 3, "one for each in the second request"
        (shard,) = running.feed._parts.connections
        assert not any(map(shard.unanswered, symbols[15:]))


async def test_an_ignored_subscription_is_repeated_though_the_symbol_trades_rarely(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, heeded = Socket.send, list[str]()

    async def ignore_the_second(self: Socket, text: str) -> None:
        if len(exchange.opened) == 2 and (heeded or '"UNSUBSCRIBE"' in text):
            heeded.append(text)
        if len(exchange.opened) == 1 or heeded:
            await send(self, text)

    monkeypatch.setattr(Socket, "send", ignore_the_second)
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=ToyVenue, data=ALL) as running:
        for second in range(200):
            if second % 40 == 0:
                exchange.trade(BTC)
            exchange.change(BTC, {"61800.10": str(1 + second % 5)})
            exchange.quote(BTC)
            await trio.sleep(1)
        exchange.sockets[0].break_off()
        await trio.sleep(30)
        assert '"SUBSCRIBE"' in heeded[1], "it was left, and asked for anew"
        for _ in range(3):
            exchange.change(BTC, {"61800.10": "1"})
            await trio.sleep(1)
        assert running.feed.states() == {BTC: "LIVE"}
        assert len(exchange.opened) == 2


async def test_nothing_shows_what_is_sent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of a dialogue may hold a secret. Here each of them does."""
    caplog.set_level(logging.DEBUG)
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=SecretVenue) as running:
        (link,) = running.feed._parts.connections.links
        for second in range(90):
            exchange.trade(BTC)
            if second == 10:
                exchange.sockets[0].push(b'{"toy":"ping","n":7}', b'{"toy":"pauses"}')
            if second == 50:
                monkeypatch.setattr(Socket, "send", refuse)
            if second == 70:
                exchange.sockets[0].break_off()
            await trio.sleep(1)
        connection = link._current
        shown = [connection, link, connection and vars(connection), connection and connection.why]
        shown += [Outcome(answers=(SECRET,)), running.feed.stats(), running.read(), caplog.text]
        assert len(exchange.opened) > 2
    assert "the venue accepted no bytes" in caplog.text
    assert SECRET not in "".join(map(repr, shown))


async def test_subscription_batches_keep_to_the_venues_message_limit(
    autojump_clock: MockClock,
) -> None:
    symbols = [f"SYMBOL{number:02}USDT" for number in range(30)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        await trio.sleep(10)
        (socket,) = exchange.sockets
        assert len(socket.sent) >= 3
        assert max(len(each.encode()) for each in socket.sent) <= ToyVenue.limits.request_bytes
        pauses = [later - earlier for earlier, later in pairwise(socket.said_s)]
        assert min(pauses) >= 0.5
        for symbol in symbols:
            exchange.trade(symbol)
        await trio.sleep(1)
        assert set(running.feed.states().values()) == {"LIVE"}


async def test_a_venue_with_few_subscriptions_a_connection_gets_more_connections(
    autojump_clock: MockClock,
) -> None:
    symbols = [f"S{number}USDT" for number in range(100)]
    exchange = Exchange(*symbols)
    async with running_feed(exchange, venue_class=ToyVenue) as running:
        await trio.sleep(20)
        asked = [len(each._asked_for) for each in exchange.sockets]
        assert sum(asked) == 100
        assert max(asked) <= ToyVenue.limits.subscriptions
        names = [each.name for each in running.feed.stats().links]
        assert names[0].startswith("trade connection 1 of 1, shard 1 of ")
        assert len(set(names)) == len(exchange.sockets) == len(names)


async def test_past_trades_begin_a_sequence_and_later_fill_it(autojump_clock: MockClock) -> None:
    exchange = Exchange(BTC)
    old = exchange.trade(BTC, "MARKET", "MARKET", skip=True)
    async with running_feed(exchange, venue_class=TalkativeVenue) as running:
        exchange.sockets[0].push(past(*old))
        await trio.sleep(1)
        assert running.told() == [
            ("", "CONNECTING"),
            (BTC, "CONNECTING"),
            ("", "LIVE"),
            (BTC, "LIVE"),
        ]
        exchange.trade(BTC)
        await trio.sleep(1)
        exchange.sockets[0].break_off()
        missed = exchange.trade(BTC, "MARKET", "MARKET", skip=True)
        await trio.sleep(3)
        exchange.sockets[0].push(
            past(missed[1]), *[each.message for each in exchange.trade(BTC, skip=True)]
        )
        await trio.sleep(3)
        told = [each for each in running.told() if not isinstance(each, tuple) or len(each) == 3]
        assert told == [2, "4+", 5, (3, 3, "OPEN"), "3+", (3, 3, "BACK_FILLED")]
        assert running.feed.stats().anomalies == {}


async def test_the_venues_newest_id_proves_silence_and_reveals_a_loss(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC)
    async with running_feed(exchange, venue_class=TalkativeVenue) as running:
        (row,) = exchange.trade(BTC)
        for _ in range(100):
            exchange.sockets[0].push(newest(row))
            await trio.sleep(1)
        assert running.feed.states() == {BTC: "LIVE"}
        asked = [each.path.rpartition("/")[2] for each in exchange.requests]
        assert asked.count("trades") == 1, "nobody looked into a silence"
        late, lost = exchange.trade(BTC, "MARKET", "MARKET", skip=True)
        running.told()
        exchange.sockets[0].push(newest(lost))
        await trio.sleep(0.4)
        exchange.deliver(late)
        assert running.told() == []
        await trio.sleep(0.4)
        assert running.told() == [1, (2, 2, "OPEN"), "2+", (2, 2, "BACK_FILLED")]
        assert running.feed.stats().anomalies == {}


async def test_a_venue_that_says_nothing_happened_keeps_an_instrument_live(
    autojump_clock: MockClock,
) -> None:
    exchange = Exchange(BTC, ETH)
    async with running_feed(exchange, venue_class=TalkativeVenue) as running:
        exchange.trade(BTC)
        for _ in range(10):
            exchange.sockets[0].push(alive(BTC), alive(ETH), alive("XRPUSDT"))
            await trio.sleep(10)
        assert running.feed.states() == {BTC: "LIVE", ETH: "LIVE"}
        await trio.sleep(13)
        assert running.feed.states() == {BTC: "STALE", ETH: "STALE"}
