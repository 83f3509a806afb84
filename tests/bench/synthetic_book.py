"""A synthetic order book with the statistics of the recording, as the lines that a venue sends.

The simulator's book has some 500 levels a side, and its updates some ten. The recording has ten
times as many levels, and seven times as many in an update, so the stages have a generator of their
own. It is seeded: every run on every machine measures the same bytes. `test_market.py` compares its
statistics with those of the recording.

First comes the REST snapshot, then quotes and updates. Quotes move the touch. The next update takes
the touch over from the newest quote: it removes the levels that the touch has passed. Its other
levels are drawn: a kind (new, changed, removed, or removed before), and a distance from the touch,
from quantiles that were measured for this kind. Both sides of an update are about equally large.

    snapshot | quote ... quote update | quote ... quote update | ...
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Final, NamedTuple

from tests.bench.synthetic import (
    BAND,
    CLOCK_NS,
    MARKETS,
    OPENING_MS,
    SEED,
    SHARES,
    Quantiles,
    Row,
)

SYMBOL: Final = "BTCUSDT"
MESSAGES: Final = 6_545
"""Updates after the snapshot."""
SNAPSHOT_LEVELS: Final = 1_000
FIRST_ID: Final = 5_123_107_852_948
FARTHEST_BID: Final = 10_000
"""The lowest bid. Prices are in ticks of 0.1, quantities in thousandths."""

SNAPSHOT_GAPS: Final = (1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 8, 9, 13, 13)
"""Ticks from one level of the snapshot to the next."""
SIZES: Final = (1, 16, 20, 24, 29, 34, 42, 53, 74, 142, 252, 443, 611, 746, 999, 1_226)
"""Levels of an update."""
BID_PERCENT: Final = (5, 38, 42, 45, 48, 50, 53, 56, 60, 66, 71, 76, 80, 84, 91, 95)
"""Of the levels of an update."""
QUOTES: Final = (0, 0, 1, 2, 3, 4, 6, 8, 11, 24, 49, 76, 98, 114, 153, 202)
"""Between two updates."""

NEW: Final = 0.194
REMOVED: Final = 0.176
REMOVED_BEFORE: Final = 0.04
"""Shares of levels. The others are changes of the quantity. A level is removed before if the book
does not have it: it is beyond the snapshot, or came and went between two updates."""
NEW_DISTANCES: Final = (
    *(1, 47, 110, 188, 280, 402, 580, 943, 1_711, 6_739),
    *(11_479, 30_822, 61_691, 116_736, 432_628, 5_563_994),
)
REMOVED_DISTANCES: Final = (
    *(0, 49, 97, 165, 244, 342, 483, 675, 1_114, 2_178),
    *(6_301, 11_218, 30_914, 61_874, 432_628, 5_563_994),
)
REMOVED_BEFORE_DISTANCES: Final = (
    *(1, 1, 10, 54, 111, 184, 304, 597, 3_144, 61_457),
    *(431_900, 432_600, 432_666, 432_710, 432_829, 5_595_634),
)
CHANGED_DISTANCES: Final = (
    *(0, 89, 171, 245, 324, 436, 567, 799, 1_208, 6_175),
    *(61_481, 568_040, 607_001, 607_603, 608_199, 612_797),
)
"""Ticks from the best price of the side."""
QUANTITIES: Final = (
    *(1, 4, 10, 30, 70, 132, 253, 492, 940, 2_338),
    *(5_927, 21_182, 606_675, 606_675, 606_675, 858_739),
)
TOUCH_QUANTITIES: Final = (
    *(1, 81, 348, 969, 1_753, 2_677, 3_494, 4_421, 5_705, 8_448),
    *(11_290, 15_390, 18_537, 20_607, 23_447, 26_897),
)
STEPS: Final = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 16, 56, 671)
"""Ticks by which a quote moves the best bid, without their sign."""
SPREADS: Final = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 14, 29, 47, 136, 243)

ID_STEPS: Final = (
    *(551, 1_847, 2_202, 2_473, 2_802, 3_125, 3_508, 4_069, 4_979, 7_039),
    *(10_758, 16_446, 17_767, 19_638, 32_686, 40_000),
)
"""From the last id of an update to that of the next."""
ID_GAPS: Final = (1, 12, 40, 73, 106, 138, 180, 233, 311, 461, 629, 892, 1_080, 1_411, 2_194, 3_000)
"""From the last id of an update to the first of the next."""
PAUSES_MS: Final = (4, 48, 50, 51, 51, 52, 53, 54, 55, 58, 61, 65, 69, 73, 89, 390)
LATE_MS: Final = (0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 9, 13, 16, 20, 51, 89)
"""From the transaction time of a message to its event time."""


class _Quote(NamedTuple):
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class _Side:
    """The prices of one side. `sign` is 1 for bids and -1 for asks."""

    def __init__(self, sign: int) -> None:
        self.prices: list[int] = []
        self._sign = sign

    def fill(self, best: int, random: Random) -> dict[int, int]:
        """The levels of the snapshot, from the best outwards."""
        levels, price = {}, best
        for _ in range(SNAPSHOT_LEVELS):
            levels[price] = _quantity(random)
            price -= self._sign * _integer(SNAPSHOT_GAPS, random)
        self.prices = sorted(levels)
        return levels

    def update(self, best: int, quantity: int, count: int, random: Random) -> dict[int, int]:
        """At least one level, and as many as are asked for unless the touch has passed more."""
        levels = dict.fromkeys(self._passed(best), 0)
        levels[best] = quantity
        if best not in self:
            insort(self.prices, best)
        while len(levels) < count:
            price, quantity = self._level(best, random)
            if price not in levels:
                levels[price] = quantity
                self._put(price, quantity)
        return levels

    def __contains__(self, price: int) -> bool:
        place = bisect_left(self.prices, price)
        return place < len(self.prices) and self.prices[place] == price

    def _passed(self, best: int) -> list[int]:
        """Take away the prices that are better than the best one."""
        place = bisect_left(self.prices, best + (self._sign > 0))
        worse, better = self.prices[:place], self.prices[place:]
        if self._sign < 0:
            worse, better = better, worse
        self.prices = worse
        return better

    def _level(self, best: int, random: Random) -> tuple[int, int]:
        kind = random.random()
        if kind < NEW:
            return self._price(best, NEW_DISTANCES, random), _quantity(random)
        kind -= NEW
        if kind < REMOVED:
            return self._nearest(self._price(best, REMOVED_DISTANCES, random)), 0
        if kind < REMOVED + REMOVED_BEFORE:
            return self._price(best, REMOVED_BEFORE_DISTANCES, random), 0
        return self._nearest(self._price(best, CHANGED_DISTANCES, random)), _quantity(random)

    def _price(self, best: int, distances: Quantiles, random: Random) -> int:
        return max(FARTHEST_BID, best - self._sign * _integer(distances, random))

    def _nearest(self, price: int) -> int:
        """The level of the book at this price, or one beside it."""
        return self.prices[min(bisect_left(self.prices, price), len(self.prices) - 1)]

    def _put(self, price: int, quantity: int) -> None:
        if quantity and price not in self:
            insort(self.prices, price)
        elif not quantity:
            place = bisect_left(self.prices, price)
            if place < len(self.prices) and self.prices[place] == price:
                del self.prices[place]


def synthetic_book(seed: int = SEED) -> Iterator[Row]:
    """The REST snapshot, then quotes and as many updates as the recording has after it. The same
    lines for the same seed."""
    random = Random(f"{seed} book")
    bids, asks = _Side(1), _Side(-1)
    touch = MARKETS[SYMBOL].first_price // MARKETS[SYMBOL].tick
    quote = _quote(touch, random)
    time_ms, last_id = OPENING_MS, FIRST_ID
    received_ns = time_ms * 1_000_000 + CLOCK_NS
    levels = bids.fill(quote.bid, random), asks.fill(quote.ask, random)
    yield received_ns, _snapshot_text(last_id, time_ms, *levels)
    for _ in range(MESSAGES):
        pause_ms, ids = _integer(PAUSES_MS, random), _integer(ID_STEPS, random)
        count = _integer(QUOTES, random)
        for share in sorted(random.random() for _ in range(count)):
            quote = _quote(_moved(quote.bid, touch, random), random)
            at_ms, update_id = time_ms + int(share * pause_ms), last_id + int(share * ids)
            event_ms = at_ms + _integer(LATE_MS, random) // 2
            received_ns = max(received_ns, event_ms * 1_000_000 + CLOCK_NS)
            yield received_ns, _quote_text(update_id, at_ms, event_ms, quote)
        time_ms += pause_ms
        event_ms = time_ms + _integer(LATE_MS, random)
        received_ns = max(received_ns, event_ms * 1_000_000 + CLOCK_NS)
        size = _integer(SIZES, random)
        of_bids = round(size * _integer(BID_PERCENT, random) / 100)
        levels = (
            bids.update(quote.bid, quote.bid_quantity, of_bids, random),
            asks.update(quote.ask, quote.ask_quantity, size - of_bids, random),
        )
        ids_of = last_id + min(ids, _integer(ID_GAPS, random)), last_id + ids, last_id
        yield received_ns, _update_text(event_ms, time_ms, ids_of, *levels)
        last_id += ids


def _integer(quantiles: Quantiles, random: Random) -> int:
    """`drawn`, rounded. It is called a million times, so it is written out here."""
    share = random.random()
    place = bisect_right(SHARES, share)
    low, begin = quantiles[place - 1], SHARES[place - 1]
    return round(low + (quantiles[place] - low) * (share - begin) / (SHARES[place] - begin))


def _quantity(random: Random) -> int:
    return _integer(QUANTITIES, random)


def _quote(bid: int, random: Random) -> _Quote:
    bid_quantity, ask_quantity = (_integer(TOUCH_QUANTITIES, random) for _ in range(2))
    return _Quote(bid, bid_quantity, bid + _integer(SPREADS, random), ask_quantity)


def _moved(price: int, first: int, random: Random) -> int:
    step, strayed = _integer(STEPS, random), price - first
    is_down = strayed > 0 if abs(strayed) > BAND * first else random.random() < 0.5
    return price - step if is_down else price + step


@cache
def _text(price: int) -> str:
    whole, tenths = divmod(price, 10)
    return f"{whole}.{tenths}0"


@cache
def _quantity_text(quantity: int) -> str:
    units, thousandths = divmod(quantity, 1_000)
    return f"{units}.{thousandths:03}"


def _levels_text(levels: dict[int, int], *, descending: bool = False) -> str:
    pairs = (
        f'["{_text(price)}","{_quantity_text(quantity)}"]'
        for price, quantity in sorted(levels.items(), reverse=descending)
    )
    return f"[{','.join(pairs)}]"


def _snapshot_text(last_id: int, time_ms: int, bids: dict[int, int], asks: dict[int, int]) -> bytes:
    return (
        f'{{"lastUpdateId":{last_id},"E":{time_ms},"T":{time_ms},'
        f'"bids":{_levels_text(bids, descending=True)},"asks":{_levels_text(asks)}}}'
    ).encode()


def _quote_text(update_id: int, time_ms: int, event_ms: int, quote: _Quote) -> bytes:
    return (
        f'{{"stream":"{SYMBOL.lower()}@bookTicker","data":{{"e":"bookTicker","u":{update_id},'
        f'"s":"{SYMBOL}","b":"{_text(quote.bid)}","B":"{_quantity_text(quote.bid_quantity)}",'
        f'"a":"{_text(quote.ask)}","A":"{_quantity_text(quote.ask_quantity)}",'
        f'"T":{time_ms},"E":{event_ms}}}}}'
    ).encode()


def _update_text(
    event_ms: int,
    time_ms: int,
    ids: tuple[int, int, int],
    bids: dict[int, int],
    asks: dict[int, int],
) -> bytes:
    """`ids` are the first, the last, and the last of the update before. Both sides are listed by
    rising price, as the venue lists them."""
    first_id, last_id, previous_id = ids
    return (
        f'{{"stream":"{SYMBOL.lower()}@depth@0ms","data":{{"e":"depthUpdate","E":{event_ms},'
        f'"T":{time_ms},"s":"{SYMBOL}","U":{first_id},"u":{last_id},"pu":{previous_id},'
        f'"b":{_levels_text(bids)},"a":{_levels_text(asks)}}}}}'
    ).encode()
