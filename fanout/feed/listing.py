"""Resolves the user's symbols and patterns to symbols of a venue's listing, and spreads them over
connections.

Pure. `all` matches every symbol that trades. A word with `*`, `?` or `[` is a pattern as in a
shell. Every other word is one symbol. It may be missing in the listing; the caller reports that.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Final

from fanout.config.assets import ALL, is_pattern
from fanout.config.source import FeedConfig
from fanout.errors import ConfigError, shown
from fanout.protocol.constants import MAX_INSTRUMENTS
from fanout.venues.base import Venue
from fanout.venues.values import Limits, Listing

MAX_MATCHES: Final = 2_000
"""Most symbols that one pattern may match. A pattern that matches more is probably a mistake."""


def resolve(patterns: Sequence[str], listing: Listing) -> tuple[str, ...]:
    """Return the symbols that match, each once, in the order of the patterns.

    A pattern matches only symbols that trade, and yields them in the order of the listing. Raises
    `ConfigError` for a pattern that matches nothing or too much, and for more symbols than a
    channel holds.
    """
    symbols: dict[str, None] = {}
    for pattern in patterns:
        symbols.update(dict.fromkeys(_matches(pattern, listing)))
    if len(symbols) > MAX_INSTRUMENTS:
        raise ConfigError(
            f"{len(symbols):,} symbols exceed the {MAX_INSTRUMENTS:,} of a channel: "
            "divide them over several [[source]] tables with a channel each"
        )
    return tuple(symbols)


def _matches(pattern: str, listing: Listing) -> Iterable[str]:
    if not is_pattern(pattern):
        return (pattern,)
    glob = "*" if pattern == ALL else pattern
    traded = [each.symbol for each in listing.rows.values() if each.fault is None]
    found = [symbol for symbol in traded if fnmatchcase(symbol, glob)]
    if not found:
        raise ConfigError(
            f"{shown(pattern)} matches none of the {len(traded):,} symbols that trade at "
            f"{listing.venue}: check the pattern"
        )
    if len(found) > MAX_MATCHES:
        raise ConfigError(
            f"{shown(pattern)} matches {len(found):,} symbols at {listing.venue}, more than "
            f"{MAX_MATCHES:,}: take a narrower pattern"
        )
    return found


def shard_of(symbol: str, count: int) -> int:
    """The number of the connection, of `count`, that takes a symbol.

    It depends on symbol and count only, so a new or delisted symbol moves no other. This is
    rendezvous hashing: each connection bids for the symbol, and the highest bid wins. A higher
    count moves only the symbols that the new connections win.
    """
    return max(range(count), key=lambda shard: _bid(symbol, shard)) if count > 1 else 0


def shard_count(symbols: Sequence[str], per_connection: int, limits: Limits) -> int:
    """The number of connections to spread symbols over.

    Each gets at most `per_connection` symbols on average, and never more than the venue allows.
    """
    average = min(per_connection, limits.subscriptions)
    least = max(1, -(-len(symbols) // average))
    best = {symbol: (_bid(symbol, 0), 0) for symbol in symbols}
    count = 1
    while count < least or _fullest(best.values()) > limits.subscriptions:
        for symbol in symbols:
            best[symbol] = max(best[symbol], (_bid(symbol, count), count))
        count += 1
    return count


def check_connections(symbols: Sequence[str], venue: Venue, config: FeedConfig) -> None:
    """Raise `ConfigError` if symbols need more connections than the venue allows an address.

    One has to stay free, since a connection is replaced by opening its successor first.
    """
    most = venue.limits.connections
    if most is None:
        return
    shards = sum(
        shard_count(symbols, config.symbols_per_connection, each.limits) for each in venue.parts()
    )
    count = shards * config.connections
    if count >= most:
        raise ConfigError(
            f"connections needed: {count:,}, and one for replacements; {venue.name} allows an "
            f"address {most:,}: take fewer symbols, fewer --connections, or more "
            "--symbols-per-connection"
        )


def _bid(symbol: str, shard: int) -> bytes:
    # CRC-32 is linear, which made one connection in five twice as full as another.
    return blake2b(f"{shard} {symbol}".encode(), digest_size=8).digest()


def _fullest(bids: Iterable[tuple[bytes, int]]) -> int:
    return max(Counter(shard for _, shard in bids).values(), default=0)
