"""A whole venue on disk: 800 symbols through rings, a journal and TCP at once. Do they agree?

    simulator --stream, rest--> service (a process) --tcp------> one client, in a thread
        '-----> its own record       |
                                     |------------journal------> files, read at the end
                                     '------------rings--------> files, read at the end

    python -m tests.soak.consolidate --minutes 30
    python -m tests.soak.consolidate --minutes 2          the short form

Each of the three is reduced to the same account: for each symbol its trade ids in order, and a
digest of all that was said of each trade. At the end the three accounts have to be equal, and each
symbol's ids have to be those that the exchange issued, without a hole. Each of the three is
compared with the exchange's own record, trade by trade, as `fanout compare` does it. The command
itself compares the rings with the journal. The market runs on while everybody joins and while the
service ends, so an account begins with the first trade that was delivered and ends with the last.

`CHECKS` lists the checks of an `Ended` run. Each gives what is wrong, in words. The exit code is 0
only if nothing is.
"""

import hashlib
import subprocess
import sys
import tempfile
import threading
from argparse import ArgumentParser
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic, process_time
from typing import Any, Final

import msgspec
import trio

from fanout.clients.consolidated import (
    ConsolidatedClient,
    ConsolidatedTrade,
    RingOpened,
    Start,
)
from fanout.clients.journal import JournalClient
from fanout.clients.tcp import TcpClient
from fanout.protocol import Loss, Trade
from fanout.simulator import Simulator, SimulatorConfig, made_up_symbols
from fanout.simulator.market.ticks import Trade as Issued
from fanout.transports.consolidate.config import MIN_DATA_BYTES
from tests.soak.figures import Sampler
from tests.soak.record import MS, MergedRecord, Noted, Record, compared
from tests.stand.exchange import SPENT
from tests.stand.inside import running_simulator
from tests.stand.service import serving
from tests.stand.verified import faults_of, verified

SYMBOLS: Final = 800
RATE: Final = 1_200.0
"""Trades a second, those of the busiest minutes that were recorded of a whole venue."""

DIALECT: Final = "binance-usdm"
CHANNEL: Final = "binance"
CHUNKS: Final = 2

MAX_MISSING_ROWS: Final = 0.02
"""Seconds without a row in metrics.csv, on a machine that does other work too."""

TRADE_BYTES: Final = 400
"""Of a ring's data, for each trade: more than one takes. A ring has room for all that trade."""

JOIN_S: Final = 15.0
"""From the opening of the market until the service is subscribed to all symbols, and half of a
shorter run."""

ENDING_S: Final = 2.0
"""How long a trade may be on its way at the end."""

ORDERLY: Final = 143


class Account:
    """What was delivered of each symbol."""

    def __init__(self, record: Record | MergedRecord | None = None) -> None:
        """Each trade goes into the `record` too."""
        self.record = record
        self.ids: dict[str, array[int]] = {}
        self.trades = 0
        self.lost = 0
        self._digests: dict[str, Any] = {}

    def add(self, symbol: str, trade_id: int, said: str) -> None:
        """Note a trade. `said` is all that was said of it."""
        ids = self.ids.get(symbol)
        if ids is None:
            ids = self.ids[symbol] = array("q")
            self._digests[symbol] = hashlib.blake2b(digest_size=16)
        ids.append(trade_id)
        self._digests[symbol].update(said.encode())
        self.trades += 1

    def note(self, noted: Noted) -> None:
        """Note a trade, and all that was said of it."""
        self.add(noted.symbol, noted.trade_id, repr(noted))
        if self.record is not None:
            self.record.add(noted)

    def take(self, record: object) -> None:
        """Note what a client of a service or a journal handed over."""
        if isinstance(record, Trade):
            self.note(
                Noted(
                    record.symbol,
                    record.trade_id,
                    record.price_text,
                    record.quantity_text,
                    record.buyer_is_maker,
                    record.time_ms,
                    record.received_ns // MS,
                )
            )
        elif isinstance(record, Loss):
            self.lost += record.count

    def take_kept(self, trade: ConsolidatedTrade) -> None:
        """Note what was in a ring."""
        assert isinstance(trade.exchange_trade_id, int), "fanout's are numbers"
        self.note(
            Noted(
                trade.asset,
                trade.exchange_trade_id,
                trade.px,
                trade.sz,
                trade.side == "Sell",
                trade.exchange_ts_ms,
                trade.recv_ts_ms,
            )
        )

    def digest(self, symbol: str) -> str:
        """Of all that was said of its trades, in order."""
        found: str = self._digests[symbol].hexdigest()
        return found


class Ended(msgspec.Struct, kw_only=True):
    """A run that is over, and what it left."""

    directory: Path
    """`rings` and `journal` are in it."""
    simulator: Simulator
    """Still there, with its record of what it issued."""
    symbols: Sequence[str]
    tcp: Account
    journal: Account
    rings: Account
    odd: list[str]
    """What the rings handed over beside trades."""
    joined: dict[str, int]
    """The last id of each symbol when everybody had joined; 0 before its first."""
    ending: dict[str, int]
    """The same shortly before the end."""
    issued: Record
    """The exchange's own record of the trades that it issued."""
    command: "subprocess.CompletedProcess[str]"
    """`fanout compare` of the rings with the journal."""
    served_s: float
    exit_code: int
    said: list[str]


Check = Callable[[Ended], Iterator[str]]


def orderly(run: Ended) -> Iterator[str]:
    """The service ended as it should, and nothing was lost or out of order on the way."""
    if run.exit_code != ORDERLY:
        yield f"the service ended with {run.exit_code}"
    for line in run.said:
        if "Traceback" in line or "fault" in line:
            yield f"the service said: {line}"
    for name in ("tcp", "journal", "rings"):
        account: Account = getattr(run, name)
        if account.lost:
            yield f"{name} lost {account.lost} records"
    yield from run.odd
    checked = verified(run.directory / "journal")
    yield from faults_of(checked.get(CHANNEL, []))


def same_everywhere(run: Ended) -> Iterator[str]:
    """The rings and the journal have what the client got: every trade, each digit, in order."""
    for name in ("journal", "rings"):
        account: Account = getattr(run, name)
        for symbol in run.tcp.ids.keys() | account.ids.keys():
            got, here = run.tcp.ids.get(symbol), account.ids.get(symbol)
            if got is None or here is None or got != here:
                yield f"{symbol}: {len(here or ())} trades in {name}, {len(got or ())} over TCP"
            elif run.tcp.digest(symbol) != account.digest(symbol):
                yield f"{symbol}: its trades in {name} differ from those over TCP"


def as_issued(run: Ended) -> Iterator[str]:
    """Each symbol's ids are those of the exchange, from the first that came to the last. All that
    it issued from the time when everybody had joined to the last seconds have to be among them."""
    for symbol in run.symbols:
        got = list(run.rings.ids.get(symbol, ()))
        issued = [
            number
            for each in run.simulator.issued(symbol)
            if each.kind != SPENT
            for number in range(each.first_id, each.last_id + 1)
        ]
        due = {each for each in issued if run.joined[symbol] < each <= run.ending[symbol]}
        if not due <= set(got):
            yield f"{symbol}: {len(due.difference(got))} trades are missing of {len(due)}"
        elif got and got != [each for each in issued if got[0] <= each <= got[-1]]:
            yield f"{symbol}: its {len(got)} trades are not those that the exchange issued"


def chunked(run: Ended) -> Iterator[str]:
    """There are as many rings as chunks, and a row a second for each."""
    rings = run.directory / "rings"
    names = sorted(each.stem for each in rings.glob("*.meta"))
    if names != [f"{CHANNEL}_trade_chunk{number}" for number in range(CHUNKS)]:
        yield f"the rings are {names}"
    rows = [
        line for path in rings.glob("metrics*.csv") for line in path.read_text().splitlines()[1:]
    ]
    least = (1 - MAX_MISSING_ROWS) * (run.served_s - 2) * CHUNKS
    if len(rows) < least:
        yield f"metrics.csv has {len(rows)} rows, and {least:.0f} are due"
    written = sum(int(each.split(",")[2]) for each in rows)
    if written != run.rings.trades:
        yield f"metrics.csv counts {written} trades, and the rings have {run.rings.trades}"


def as_recorded(run: Ended) -> Iterator[str]:
    """The trades of each have the price, quantity, side and time of the exchange's own record."""
    for name in ("tcp", "journal", "rings"):
        account: Account = getattr(run, name)
        assert account.record is not None, "a run keeps them"
        report, findings = compared(run.issued, account.record, run.symbols)
        for each in findings[:10]:
            yield f"{name}, compared with the exchange: {each}"
        if report.compared < account.trades:
            yield f"{name}: {report.compared} of {account.trades} trades could be compared"


def as_compared(run: Ended) -> Iterator[str]:
    """`fanout compare` finds that the rings and the journal are equal, in all trades."""
    done = run.command
    is_whole = f"equal: {run.rings.trades:,} trades" in done.stdout
    if (done.returncode, done.stderr, is_whole) != (0, "", True):
        yield f"fanout compare ended with {done.returncode}: {done.stderr or done.stdout[-2_000:]}"


CHECKS: Final[tuple[Check, ...]] = (
    orderly,
    same_everywhere,
    as_issued,
    as_recorded,
    as_compared,
    chunked,
)
"""What is asked of a run."""


def read_rings(directory: Path, records: Path) -> tuple[Account, list[str]]:
    """What the rings have, and what else they handed over. Each ring has a record of its own, since
    the trades of two are in no order."""
    merged = MergedRecord(records)
    account, odd = Account(merged), list[str]()
    url = f"rings://{directory}"
    with ConsolidatedClient(url, start=Start.OLDEST, follow=False) as client:
        for ring in client.look():
            merged.begin()
            while found := client.read(ring):
                for each in found:
                    if isinstance(each, ConsolidatedTrade):
                        account.take_kept(each)
                    elif not isinstance(each, RingOpened) or each.oldest_seq > 1:
                        odd.append(f"the rings: {each}")
    merged.close()
    return account, odd


def read_journal(directory: Path, record: Record) -> Account:
    account = Account(record)
    with JournalClient(f"journal://{directory}/{CHANNEL}") as client:
        for each in client:
            account.take(each)
    return account


class Consumer:
    """A client over TCP, in a thread."""

    def __init__(self, url: str, record: Record) -> None:
        self.account = Account(record)
        self._client = TcpClient(url, start="oldest", reconnect=False)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._client as client:
            for each in client:
                self.account.take(each)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()


async def soak(
    minutes: float, seed: int, directory: Path, *, symbols: int, rate: float
) -> tuple[Ended, list[tuple[str, float]]]:
    """Run it. Gives what it left, and figures."""
    names = made_up_symbols(symbols, DIALECT)
    config = SimulatorConfig(
        symbols=names, rate=rate, seed=seed, hold=True, kept_ids=10_000_000, kept_trades=1_000
    )
    records = {each: Record(directory / f"{each}.record") for each in ("issued", "tcp", "journal")}

    def witness(trade: Issued) -> None:
        if trade.kind != SPENT:
            records["issued"].add(
                Noted(
                    trade.symbol,
                    trade.trade_id,
                    trade.price,
                    trade.quantity,
                    trade.buyer_is_maker,
                    trade.time_ms,
                    trade.time_ms,
                )
            )

    async with running_simulator(config) as simulator:
        simulator.watch(witness)
        words = [
            *("--assets", "all", "--ws-url", simulator.ws_url, "--rest-url", simulator.rest_url),
            *("--http-port", "0", "tcp", "--port", "0", "journal", "--dir"),
            *(str(directory / "journal"), "consolidate", "--rings", str(directory / "rings")),
            *("--chunk-symbols", str(-(-symbols // CHUNKS))),
            *("--data-bytes", str(int(MIN_DATA_BYTES + rate * minutes * 60 * TRADE_BYTES))),
        ]
        async with serving(*words, log=directory / "log") as service:
            consumer = Consumer(await service.address("tcp"), records["tcp"])
            sampler = Sampler(service, await service.address("http"))
            await service.address("rings")
            began_s = monotonic()
            simulator.release()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sampler.run)
                await trio.sleep(min(JOIN_S, minutes * 30))
                joined = last_ids(simulator, names)
                await trio.sleep(minutes * 60 - min(JOIN_S, minutes * 30))
                ending = last_ids(simulator, names)
                await trio.sleep(ENDING_S)
                nursery.cancel_scope.cancel()
            await sampler.look()
            served_s = monotonic() - began_s
            exit_code = await service.end()
            await _until_over(consumer)
            said = service.said
        simulator.watch(None)
        read_s = process_time()
        rings, odd = read_rings(directory / "rings", directory / "rings.record")
        read_s = process_time() - read_s
        journal = read_journal(directory / "journal", records["journal"])
        for each in records.values():
            each.close()
        compare_s = monotonic()
        command = await trio.to_thread.run_sync(_compare, directory)
        compare_s = monotonic() - compare_s
        ended = Ended(
            directory=directory,
            simulator=simulator,
            symbols=names,
            tcp=consumer.account,
            journal=journal,
            rings=rings,
            odd=odd,
            joined=joined,
            ending=ending,
            issued=records["issued"],
            command=command,
            served_s=served_s,
            exit_code=exit_code,
            said=said,
        )
        return ended, list(_figures(ended, sampler, read_s, compare_s))


def _compare(directory: Path) -> "subprocess.CompletedProcess[str]":
    rings, journal = f"rings://{directory}/rings", f"journal://{directory}/journal"
    return subprocess.run(
        [sys.executable, "-m", "fanout", "compare", rings, journal],
        capture_output=True,
        text=True,
        check=False,
    )


def last_ids(simulator: Simulator, symbols: Sequence[str]) -> dict[str, int]:
    """The last id that was issued of each symbol, 0 before the first."""
    return {
        each: max((found.last_id for found in simulator.issued(each)), default=0)
        for each in symbols
    }


async def _until_over(consumer: Consumer) -> None:
    with trio.move_on_after(30):
        while not consumer.is_over:  # noqa: ASYNC110  a thread
            await trio.sleep(0.05)


def _figures(
    run: Ended, sampler: Sampler, read_s: float, compare_s: float
) -> Iterator[tuple[str, float]]:
    first, last = sampler.samples[0], sampler.samples[-1]
    yield "trades over TCP", run.tcp.trades
    yield "trades in the rings", run.rings.trades
    yield "trades in the journal", run.journal.trades
    yield "symbols", len(run.rings.ids)
    assert sampler.last is not None
    for ring in [each for transport in sampler.last.transports for each in transport.rings]:
        yield f"{ring.name}: symbols", ring.symbols
        yield f"{ring.name}: symbols live", ring.symbols_live
        yield f"{ring.name}: bytes a trade", round(ring.bytes / max(1, ring.trades), 1)
    rows = [
        line.split(",")
        for path in (run.directory / "rings").glob("metrics*.csv")
        for line in path.read_text().splitlines()[1:]
    ]
    longest = sorted(float(each[5]) for each in rows if each[5])
    if longest:
        yield "recv_to_write_ms_max, median of seconds", longest[len(longest) // 2]
        yield "recv_to_write_ms_max, of all", longest[-1]
    yield (
        "CPU of the service, % of a core",
        round(100 * (last.cpu_s - first.cpu_s) / max(1, last.at_s - first.at_s), 1),
    )
    yield "resident memory, MiB", round(last.resident_mib, 1)
    yield "growth once settled, MiB/hour", round(sampler.growth_mib_per_hour, 1)
    yield (
        "slowest hand-over of a minute, ms",
        round(1_000 * max(each.send_max_s for each in sampler.samples), 1),
    )
    yield "reading the rings, us of CPU a trade", round(1e6 * read_s / max(1, run.rings.trades), 1)
    yield "fanout compare rings:// journal://, s", round(compare_s, 1)


def main() -> int:
    parser = ArgumentParser(prog="python -m tests.soak.consolidate", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--rate", type=float, default=RATE, help="trades a second of all symbols")
    parser.add_argument("--directory", type=Path, help="where the files go and stay")
    options = parser.parse_args()
    print(f"{options.symbols} symbols on disk for {options.minutes:g} minutes", flush=True)
    with tempfile.TemporaryDirectory() as made:
        directory = options.directory or Path(made)
        directory.mkdir(parents=True, exist_ok=True)
        ended, figures = trio.run(
            lambda: soak(
                options.minutes,
                options.seed,
                directory,
                symbols=options.symbols,
                rate=options.rate,
            )
        )
        wrong = [f"{check.__name__}: {each}" for check in CHECKS for each in check(ended)]
    for name, value in figures:
        print(f"{name:<44} {value:>14,}")
    for each in wrong[:40]:
        print(f"BROKEN {each}")
    print(f"{len(wrong)} broken" if wrong else "nothing broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
