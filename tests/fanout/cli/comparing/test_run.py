"""Real streams: a service, its journal, another service, the venue, a service with faults."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from fanout.channel.channel import Channel
from fanout.cli.comparing.compared import Compared
from fanout.cli.comparing.record import Findings
from fanout.cli.comparing.sources import VenueOptions, Wish, is_kept
from fanout.cli.source import Source
from fanout.clients.consolidated import ConsolidatedClient, ConsolidatedTrade, Start
from fanout.compare import What
from fanout.config import FeedConfig
from fanout.protocol import EndReason, Gap, GapState, Header, Trade
from fanout.simulator import Simulator, SimulatorConfig
from fanout.transports.consolidate.config import ConsolidateConfig
from fanout.transports.journal.config import JournalConfig
from fanout.transports.tcp import TcpTransport
from fanout.transports.tcp.config import TcpConfig
from tests.protocol.golden import BTC, HEADER
from tests.stand.channels import serving
from tests.stand.inside import config_for, running_service, running_simulator

WITHIN_S = 5.0


def wish(address: str, simulator: Simulator | None = None, *, follow: bool = True) -> Wish:
    source = Source(
        address=address,
        symbols=None,
        market_only=False,
        start="oldest" if is_kept(address) else None,
        reconnect=False,
        token_file=None,
        tls_ca=None,
    )
    urls = (simulator.ws_url, simulator.rest_url) if simulator else (None, None)
    venue = VenueOptions(feed=FeedConfig(), ws_url=urls[0], rest_url=urls[1])
    return Wish(source=source, follow=follow, venue=venue, by_content=False)


def comparing(a: Wish, b: Wish, findings: Findings, for_s: float) -> Compared:
    return Compared((a, b), findings, by_content=False, for_s=for_s, within_s=WITHIN_S)


async def test_a_service_its_journal_another_service_and_the_venue_are_equal(
    tmp_path: Path,
) -> None:
    market = SimulatorConfig(symbols=("BTCUSDT", "ETHUSDT"), rate=100)
    with trio.fail_after(30):
        async with running_simulator(market) as simulator:
            config = config_for(simulator)
            source = replace(config.sources[0], data=("trades", "quotes", "book"))
            config = replace(config, sources=(source,))
            kept = replace(config, transports=(TcpConfig(port=0), JournalConfig(dir=str(tmp_path))))
            async with running_service(kept) as one, running_service(config) as two:
                one_url = next(each for each in one.urls if each.startswith("tcp://"))
                for other in (f"journal://{tmp_path}", two.url, "venue://binance"):
                    findings = Findings(None)
                    compared = comparing(wish(one_url), wish(other, simulator), findings, 0.6)
                    await compared.run()
                    report = compared.report
                    assert report is not None
                    assert findings.first == {}, other
                    assert sum(each.matched for each in report.symbols) > 10, other
                    assert sum(each.books.matched for each in report.symbols) > 10, other
                    assert compared.addresses == (one_url, other)


@pytest.mark.parametrize("is_first", [True, False])
async def test_rings_and_the_venue_are_equal_whichever_comes_first(
    tmp_path: Path, is_first: bool
) -> None:
    """The venue is asked for the symbols of the rings, and rings do not name the venue."""
    market = SimulatorConfig(symbols=("ETHUSDT", "SOLUSDT"), rate=100)
    kept = ConsolidateConfig(rings=str(tmp_path), data_bytes=2**20)
    with trio.fail_after(30):
        async with running_simulator(market) as simulator:
            config = config_for(simulator)
            source = replace(config.sources[0], assets=("ETHUSDT",))
            config = replace(config, sources=(source,), transports=(kept,))
            async with running_service(config):
                while not any(read_trades(tmp_path)):  # noqa: ASYNC110  files
                    await trio.sleep(0.02)
                findings = Findings(None)
                wishes = [wish(f"rings://{tmp_path}"), wish("venue://binance", simulator)]
                a, b = wishes if is_first else wishes[::-1]
                compared = comparing(a, b, findings, 1.5)
                await compared.run()
    report = compared.report
    assert report is not None
    assert findings.first == {}
    assert [each.symbol for each in report.symbols] == ["ETHUSDT"]
    assert report.symbols[0].matched > 0
    assert report.only_served_by_a == report.only_served_by_b == ()


def read_trades(folder: Path) -> list[ConsolidatedTrade]:
    with ConsolidatedClient(str(folder), start=Start.OLDEST, follow=False) as client:
        return [each for each in client if isinstance(each, ConsolidatedTrade)]


async def of_two_channels(
    publish: Callable[[Channel, Channel], None], header: Header = HEADER
) -> tuple[Findings, Compared]:
    """Compare what two services publish, which end behind it."""
    findings = Findings(None)
    channels = [Channel(header, log_bytes=1_000_000, wall_ns=lambda: 0) for _ in "AB"]
    for each in channels:  # a service with a trade to show answers at once
        each.publish([Trade(BTC, 0, 999, 99, 5, False)], received_ns=1, held_ns=0)
    transports = [TcpTransport(TcpConfig(port=0)) for _ in "AB"]
    with trio.fail_after(10):
        async with (
            serving(channels[0], transports[0]) as a,
            serving(channels[1], transports[1]) as b,
            trio.open_nursery() as nursery,
        ):
            compared = comparing(wish(a), wish(b), findings, math.inf)
            nursery.start_soon(compared.run)
            await compared.has_begun.wait()
            publish(*channels)
            for each in channels:
                each.end(EndReason.SHUTDOWN, retry_ms=None, why="over")
    return findings, compared


async def test_the_faults_of_a_service_are_named() -> None:
    trades = [Trade(BTC, each, 1_000 + each, 100 + each, 5, False) for each in range(1, 21)]
    faulty = [*trades[:4], *trades[5:]]  # without 5
    faulty[8] = replace(faulty[8], quantity=6)  # of 10
    faulty[12:12] = [faulty[11]]  # 13, twice

    def publish(right: Channel, wrong: Channel) -> None:
        for channel, its in ((right, trades), (wrong, faulty)):
            for each in its:
                channel.publish([each], received_ns=1, held_ns=0)

    findings, compared = await of_two_channels(publish)
    found = {what: each.number for what, each in findings.first.items()}
    assert found == {What.ONLY_A: 5, What.UNEQUAL: 10, What.DOUBLE_B: 13}
    assert compared.report is not None
    assert compared.report.differences == 3


async def test_what_a_service_lost_is_told_apart() -> None:
    trades = [Trade(BTC, each, 1_000 + each, 100 + each, 5, False) for each in range(1, 11)]

    def publish(whole: Channel, holed: Channel) -> None:
        for each in trades:
            whole.publish([each], received_ns=1, held_ns=0)
        holed.publish(trades[:4], received_ns=1, held_ns=0)
        for state in (GapState.OPEN, GapState.UNRECOVERABLE):
            told = Gap(seq=0, instrument=BTC, first_id=5, last_id=6, state=state)
            holed.publish([told], received_ns=1, held_ns=0)
        holed.publish(trades[6:], received_ns=1, held_ns=0)

    findings, compared = await of_two_channels(publish)
    report = compared.report
    assert report is not None
    assert findings.first == {}
    assert (report.symbols[0].lost_b, report.b.lost_ids, report.differences) == (2, 2, 0)
