"""The best price across six venues: time for each update.

Workload: the best levels of a book after each of the 6,545 messages of `btcusdt_20240808.gz`
(`@depth@0ms`), or of the synthetic book without it. Six venues have them, each from another place
on, a tick or two apart, at three exponents of prices and four of quantities; they take turns, a
millisecond apart. So a venue's best levels change as often as they did, and the best venue changes
all the time. `busy` is the same with only those updates that change the venue's best levels: the
worst case.

Contenders, each after every update with best bid and ask, their quantities and venues, and venues
left out that are older than 500 ms:

- `BestPrices.update`: plain Python, with the answer whether anything changed. And the same with
  the value, an `Nbbo`, made at each change.
- All six compared anew at each update: in floats, in integers at the common exponent, in
  `Decimal`, in `Fraction`. Each venue's numbers are converted once, as they come.

Before the measurement, the stage checks that all of them say the same after each update, floats
excepted. A sample is one pass; the figure is the thread's CPU time, the best of the rounds. At last
the way from a record: `VenueStream.take` of book updates, beside `Books.apply` alone.

Goals: an update in 1,000 ns, also the busy one.
"""

import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from fanout.analytics.nbbo.assets import Asset
from fanout.analytics.nbbo.best_prices import BestPrices, Top, Venue
from fanout.analytics.nbbo.nbbos import BestPricesOf
from fanout.clients.books import Books
from fanout.protocol import Header, OrderBook
from fanout.protocol.book_records import BookUpdate
from fanout.protocol.constants import InstrumentType
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Reference
from tests.bench.book import Market, best, market_of
from tests.bench.measure import in_rounds
from tests.bench.report import Absent, Row

VENUES: Final = 6
SMALL_MESSAGES: Final = 300
ROUNDS: Final = 7
STEP_NS: Final = 1_000_000
STALE_NS: Final = 500 * STEP_NS
BEGAN_NS: Final = 1_795_219_200_000_000_000
BTC: Final = Asset("BTC", "USDT", InstrumentType.LINEAR_PERPETUAL)

Step = tuple[int, Top, int]
"""Place of the venue, its best levels, and the time."""

Shown = tuple[Any, ...]
"""Best bid, quantity and venue, and the same of the ask."""


def run(*, small: bool) -> list[Row | Absent]:
    """See `tests.bench.report.Stage`."""
    market = market_of(SMALL_MESSAGES if small else None)
    steps = steps_of(market)
    rounds = 1 if small else ROUNDS
    require_the_same(steps[: 5 * SMALL_MESSAGES])
    rows: list[Row | Absent] = []
    for name, its_steps in (("", steps), (", busy", busy(steps))):
        rows += _rows(name, its_steps, rounds)
    return [*rows, *_record_rows(market, rounds)]


def venues() -> list[Venue]:
    return [
        Venue(
            f"venue {place}",
            Instrument(
                index=0,
                symbol="BTCUSDT",
                price_exponent=-2 - place % 3,
                quantity_exponent=-3 - place % 4,
                base=BTC.base,
                quote=BTC.quote,
                type=BTC.type,
            ),
        )
        for place in range(VENUES)
    ]


def steps_of(market: Market) -> list[Step]:
    """The venues' best levels in turns."""
    tops = _tops(market)
    steps = []
    for number in range(len(tops)):
        for place in range(VENUES):
            bid, bid_quantity, ask, ask_quantity = tops[(number + place * 17) % len(tops)]
            price, quantity = 10 ** (place % 3), 10 ** (place % 4)
            shift = 10 * (place % 2)
            top = (
                (bid + shift) * price,
                bid_quantity * quantity,
                (ask + shift) * price,
                ask_quantity * quantity,
            )
            steps.append((place, top, BEGAN_NS + len(steps) * STEP_NS))
    return steps


def _tops(market: Market) -> list[Top]:
    book = OrderBook()
    book.apply(market.snapshot)
    tops = []
    for update in market.updates:
        book.apply(update)
        bid, ask = book.best_bid, book.best_ask
        assert bid is not None
        assert ask is not None
        tops.append((*bid, *ask))
    return tops


def busy(steps: Sequence[Step]) -> list[Step]:
    """Those that change the venue's best levels."""
    last: dict[int, Top] = {}
    kept = []
    for place, top, _ in steps:
        if last.get(place) != top:
            last[place] = top
            kept.append((place, top, BEGAN_NS + len(kept) * STEP_NS))
    return kept


class Anew:
    """All venues compared at each update, in numbers of some kind."""

    def __init__(self, number: Callable[[int, int], Any]) -> None:
        """`number` makes one of an integer and an exponent."""
        self._number = number
        of = [each.instrument for each in venues()]
        self._exponents = [(each.price_exponent, each.quantity_exponent) for each in of]
        self._tops: list[Any] = [None] * VENUES
        self._times = [0] * VENUES

    def update(self, place: int, top: Top, time_ns: int) -> Shown:
        number, (prices, quantities) = self._number, self._exponents[place]
        bid, bid_quantity, ask, ask_quantity = top
        self._tops[place] = (
            number(bid, prices),
            number(bid_quantity, quantities),
            number(ask, prices),
            number(ask_quantity, quantities),
        )
        self._times[place] = time_ns
        bid_of = ask_of = -1
        best_bid = best_ask = None
        for each in range(VENUES):
            its = self._tops[each]
            if its is not None and time_ns - self._times[each] <= STALE_NS:
                if best_bid is None or its[0] > best_bid:
                    best_bid, bid_of = its[0], each
                if best_ask is None or its[2] < best_ask:
                    best_ask, ask_of = its[2], each
        return (
            *(best_bid, self._tops[bid_of][1], bid_of),
            *(best_ask, self._tops[ask_of][3], ask_of),
        )


NUMBERS: Final[dict[str, Callable[[int, int], Any]]] = {
    "floats": lambda value, exponent: value / 10**-exponent,
    "integers": lambda value, exponent: value * 10 ** (exponent + 6),
    "Decimal": lambda value, exponent: Decimal(value).scaleb(exponent),
    "Fraction": lambda value, exponent: Fraction(value, 10**-exponent),
}


def require_the_same(steps: Sequence[Step]) -> None:
    """Raises `ValueError` if a contender says something else than the others."""
    ours = BestPrices(BTC, venues())
    exact = {name: Anew(number) for name, number in NUMBERS.items() if name != "floats"}
    units = {"integers": Fraction(1, 10**6)}
    for step in steps:
        ours.update(*step)
        nbbo = ours.best
        assert nbbo.bid is not None
        assert nbbo.ask is not None
        shown: list[Any] = []
        for each in (nbbo.bid, nbbo.ask):
            shown += [
                Fraction(nbbo.price_decimal(each.price)),
                Fraction(nbbo.quantity_decimal(each.quantity)),
                nbbo.venues.index(each.venue),
            ]
        for name, other in exact.items():
            theirs = list(other.update(*step))
            for at in (0, 1, 3, 4):
                theirs[at] = Fraction(theirs[at]) * units.get(name, 1)
            if theirs != shown:
                raise ValueError(f"{name} shows {theirs}, and BestPrices {shown}")


def _rows(name: str, steps: Sequence[Step], rounds: int) -> list[Row]:
    passes: dict[str, Callable[[], float]] = {
        "BestPrices.update": partial(_ours_ns, steps),
        "BestPrices.update, and a value at each change": partial(_values_ns, steps),
        **{
            f"all compared anew, {kind}": partial(_anew_ns, number, steps)
            for kind, number in NUMBERS.items()
        },
    }
    goals = {"BestPrices.update": {"at_most": 1_000.0}}
    return [
        best(f"{what}{name}", [each / len(steps) for each in times], "ns", **goals.get(what, {}))
        for what, times in in_rounds(passes, rounds).items()
    ]


def _ours_ns(steps: Sequence[Step]) -> float:
    update = BestPrices(BTC, venues()).update
    began_ns = time.thread_time_ns()
    for place, top, time_ns in steps:
        update(place, top, time_ns)
    return time.thread_time_ns() - began_ns


def _values_ns(steps: Sequence[Step]) -> float:
    prices = BestPrices(BTC, venues())
    update = prices.update
    began_ns = time.thread_time_ns()
    for place, top, time_ns in steps:
        if update(place, top, time_ns):
            _ = prices.best
    return time.thread_time_ns() - began_ns


def _anew_ns(number: Callable[[int, int], Any], steps: Sequence[Step]) -> float:
    update = Anew(number).update
    began_ns = time.thread_time_ns()
    for place, top, time_ns in steps:
        update(place, top, time_ns)
    return time.thread_time_ns() - began_ns


def _record_rows(market: Market, rounds: int) -> list[Row]:
    """From a record on: six streams of the recording's updates."""
    of = venues()[0].instrument
    updates = [
        replace(each, instrument=of, seq=number + 1, received_ns=BEGAN_NS + number * STEP_NS)
        for number, each in enumerate((market.snapshot, *market.updates))
    ]
    passes: dict[str, Callable[[], float]] = {
        "Books.apply of a book update": partial(_books_ns, updates),
        "VenueStream.take of a book update": partial(_take_ns, updates, of),
    }
    count = VENUES * len(updates)
    return [
        best(what, [each / count for each in times], "ns")
        for what, times in in_rounds(passes, min(rounds, 3)).items()
    ]


def _books_ns(updates: Sequence[BookUpdate]) -> float:
    books = [Books() for _ in range(VENUES)]
    began_ns = time.thread_time_ns()
    for each in updates:
        for one in books:
            one.apply(each)
    return time.thread_time_ns() - began_ns


def _take_ns(updates: Sequence[BookUpdate], of: Instrument) -> float:
    prices = BestPricesOf()
    streams = [prices.stream() for _ in range(VENUES)]
    for place, stream in enumerate(streams):
        stream.meet(_header(f"venue {place}", of))
    began_ns = time.thread_time_ns()
    for each in updates:
        for stream in streams:
            stream.take(each)
    return time.thread_time_ns() - began_ns


def _header(venue: str, of: Instrument) -> Header:
    return Header(
        epoch_ns=1,
        next_seq=1,
        venue=venue,
        instruments=(of,),
        references=(Reference(price=0, quantity=0, trade_id=0, time=0),),
    )
