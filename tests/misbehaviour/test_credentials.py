"""Credentials are shown nowhere, whatever the exchange does.

A service takes all kinds of data from an exchange that does every fault. The words of its
credentials are searched for in everything that it logs, announces, answers over HTTP and sends, and
in the traceback of what ends it.
"""

import logging
import traceback

import pytest
import trio
from trio.testing import MockClock

from fanout.cli.secrets import read_credentials, variables
from fanout.clients.tcp_trio import TrioTcpClient
from fanout.config import Config, HttpConfig
from fanout.errors import UsageError, VenueKeyError
from fanout.protocol import End
from fanout.service import open_venue, run_service
from fanout.simulator import Simulator, SimulatorConfig
from fanout.simulator.dialects import dialect_of, symbols_of
from fanout.simulator.faults import FAULTS, Http
from fanout.simulator.faults.fields import fault_from
from fanout.transports.tcp.config import TcpConfig
from fanout.venues import VENUES
from fanout.venues.values import DATA
from tests.fanout.http.watched import Watched
from tests.misbehaviour.scene import BEGAN_NS, DIALECT_OF
from tests.stand.inside import one_source, running_service, running_simulator

KEYED = ("binance", "deribit")
"""The venues that take credentials and have a dialect, one of each exchange."""

TOKENS = {"deribit": ["1MbQ-J_4", "1GP4rQd0"]}
"""Parts of the tokens that an exchange gives for them."""

FIELDS: dict[str, dict[str, object]] = {
    "http": {"status": 503},
    "spend": {"weight": 100},
    "list": {"symbol": "NEWUSDT"},
    "clock": {"offset_ms": 1_000},
}
"""What a fault needs beside a symbol."""

LAST = {"rename": {"to": "OTHERUSDT"}, "delist": {}}
"""Faults after which the symbol is gone."""


def test_every_exchange_that_takes_credentials_is_searched() -> None:
    takes = {each.secrets for name, each in VENUES.items() if name in DIALECT_OF and each.secrets}
    assert {VENUES[name].secrets for name in KEYED} == takes


async def do_all_faults(simulator: Simulator, symbol: str) -> int:
    """Each fault, and a while for what follows from it. A venue may refuse one that it cannot
    have. Returns how many it did."""
    done = 0
    for name in (*(each for each in FAULTS if each not in LAST), *LAST):
        fields = FIELDS.get(name) or LAST.get(name) or {}
        for needed in ({}, {"symbol": symbol}):
            try:
                simulator.faults.inject(fault_from(name, {**needed, **fields}))
            except UsageError:
                continue
            done += 1
            await trio.sleep(1)
            break
    return done


@pytest.mark.parametrize("name", KEYED)
async def test_no_words_of_the_credentials_are_shown(
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    name: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    names = VENUES[name].secrets
    assert names is not None
    words = [f"NotForAnybodysEyes{number}" for number, _ in enumerate(variables(names))]
    for variable, word in zip(variables(names), words, strict=True):
        monkeypatch.setenv(variable, word)
    shown: list[str] = []
    began_s = trio.current_time()

    def wall_ns() -> int:
        return BEGAN_NS + int((trio.current_time() - began_s) * 1e9)

    dialect = DIALECT_OF[name]
    symbols = symbols_of(dialect_of(dialect), 2)
    market = SimulatorConfig(dialect=dialect, symbols=symbols, rate=5, start_ns=BEGAN_NS)
    async with running_simulator(market) as simulator:
        config = one_source(
            venue=name,
            assets=symbols,
            data=tuple(each for each in DATA if DATA[each] in VENUES[name].kinds),
            transports=(TcpConfig(port=0),),
            http=HttpConfig(),
            ws_url=simulator.ws_url,
            rest_url=simulator.rest_url,
            credentials=read_credentials(names),
        )
        async with (
            trio.open_nursery() as reading,
            running_service(config, wall_ns=wall_ns) as running,
        ):
            http = Watched(running, simulator)
            reading.start_soon(read, http.tcp_url, shown)
            assert await do_all_faults(simulator, symbols[0]) > 0.7 * len(FAULTS)
            shown += [(await http.get(path)).text for path in ("/status", "/metrics", "/readyz")]
        shown += await what_ends_it(config, simulator)
        shown += running.urls
    shown += [repr(config), caplog.text, *capfd.readouterr()]
    assert len(shown) > 100
    assert "anomalies" in "".join(shown)
    words += TOKENS.get(name, [])
    assert [each for each in shown if any(word in each for word in words)] == []


async def read(url: str, shown: list[str]) -> None:
    async with TrioTcpClient(url, start="oldest") as client:
        async for record in client:
            shown.append(repr(record))
            if isinstance(record, End):
                return


async def what_ends_it(config: Config, simulator: Simulator) -> list[str]:
    """The exchange rejects the credentials at the start."""
    simulator.faults.inject(Http(401, requests=None))
    (source,) = config.sources
    async with open_venue(source) as venue:
        said = [repr(venue), *map(repr, venue.listing_requests())]
        said.append(repr(venue.history_request(source.assets[0], 1)))
    with pytest.RaisesGroup(VenueKeyError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        await run_service(config, stop=trio.Event(), announce=said.append)
    return [*said, *traceback.format_exception(caught.value)]
