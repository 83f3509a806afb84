"""A source: one venue, from its REST and its sockets to the channel that it feeds.

    begin   ask the venue for its instruments            before anything listens
    open    make the channel, with what is known by then
    run     feed the channel; retry what the venue refuses
    end     close what is open, and say END

A source knows nothing of the other sources. What goes wrong at its venue is told in its channel.
With `retries` the source stays: it pauses, longer each time or until a ban is over, and asks
again. Without, as the only source of a service, its failure ends the service. A fault of ours
ends the channel in both cases.
"""

import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import trio

from fanout.channel.channel import Channel, units_of
from fanout.channel.memory import Memory
from fanout.channel.past import Past
from fanout.config import SourceConfig
from fanout.errors import (
    ConfigError,
    VenueBusyError,
    VenueError,
    VenueForbiddenError,
    VenueUnreachableError,
)
from fanout.feed import Feed
from fanout.feed.listing import check_connections
from fanout.feed.market import Market, ask_market
from fanout.feed.roster import NO_REFERENCE
from fanout.net.budget import MINUTE_S, SHARE
from fanout.net.proxy import proxy_for
from fanout.net.rest import RestClient
from fanout.net.websocket import open_websocket
from fanout.protocol.backoff import backoff
from fanout.protocol.constants import DataKinds, EndReason, FeedState
from fanout.protocol.encoding import LONGEST_BYTES
from fanout.protocol.errors import reason
from fanout.protocol.instrument import Instrument
from fanout.protocol.records import Header, Trade
from fanout.stats.anomalies import Anomalies
from fanout.stats.naming import name_lines
from fanout.stats.snapshots import FeedStats
from fanout.venues import Venue
from fanout.venues.values import BookSource, Continuity

_LOG = logging.getLogger("fanout")

RETRY_MS: Final = 1_000
"""When clients are asked to come back after an orderly end: a restart takes about that long."""

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0
"""Before a source that failed asks its venue again. Each pause is twice the one before."""

_UNKNOWN: Final = Market(instruments=(), references=(), newest=(), usual_s=(), longest_s=())


class Source:
    """One venue and its channel."""

    def __init__(
        self,
        config: SourceConfig,
        venue: Venue,
        rest: RestClient,
        *,
        retries: bool,
        wall_ns: Callable[[], int],
    ) -> None:
        """`wall_ns` gives unix ns."""
        self.name = config.name
        self.venue = venue
        self.feed: Feed | None = None
        """None while the venue has not said what it lists."""
        self.failure: Exception | None = None
        """What ended the source, or what its last attempt to begin came to."""
        self.why = ""
        """Why there is no feed, in words; empty while there is one."""
        self.has_ended = False
        self._config = config
        self._rest = rest
        self._retries = retries
        self._wall_ns = wall_ns
        self._market: Market | None = None
        self._memory: Memory | None = None
        """What is known of an earlier start, until the first feed goes on from there."""

    @property
    def has_begun(self) -> bool:
        """Whether the venue has said what it lists."""
        return self._market is not None

    async def begin(self) -> None:
        """Ask the venue for the instruments, and keep its failure, if it is one.

        Raises `ConfigError` for a symbol that is unknown or does not trade.
        """
        name_lines(self.name)
        try:
            while self._market is None:
                await self._ask_once()
            self._warn_of_many(self._market)
        except* VenueError as group:
            self.failure, self.why = group, reason(group)

    async def _ask_once(self) -> None:
        """Ask the venue. A patient source pauses while the venue limits or bans it."""
        try:
            self._market = await self._ask_market()
        except* VenueBusyError as group:
            if not self._config.feed.patient:
                raise
            pause_s = _pause_s(group)
            self.failure, self.why = group, reason(group)
            _LOG.warning("%s: asking again in %.0f s", self.why, pause_s)
            await trio.sleep(pause_s)
        else:
            self.failure, self.why = None, ""

    async def _ask_market(self) -> Market:
        """Raises `ConfigError` for more symbols than the venue allows connections for, too."""
        market = await ask_market(self._rest, self.venue, self._config.assets)
        symbols = [each.symbol for each in market.instruments]
        check_connections(symbols, self.venue, self._config.feed)
        return market

    def _warn_of_many(self, market: Market) -> None:
        """Say how long many symbols wait for REST."""
        count = len(market.instruments)
        if not market.pending:
            return
        symbol = market.instruments[0].symbol
        weight, what = self.venue.recent_trades_request(symbol).weight, "latest trades"
        book = self.venue.book_request(symbol)
        is_over_rest = self.venue.book_source is BookSource.REST
        if is_over_rest and DataKinds.BOOK_BY_PRICE in self.venue.data and book is not None:
            weight, what = weight + book.weight, f"{what} and books"
        limits = self.venue.limits
        minute = int(limits.weight * SHARE * MINUTE_S / limits.window_s)
        minutes = -(-count * weight // minute)
        _LOG.warning(
            "%d symbols: their %s take REST weight %s, of which %s a minute are used: "
            "all are there in about %d min",
            count,
            what,
            f"{count * weight:,}",
            f"{minute:,}",
            minutes,
        )

    def open(
        self,
        *,
        log_bytes: int,
        channels: tuple[str, ...],
        past: Past | None = None,
        longest_frame_bytes: int = LONGEST_BYTES,
    ) -> None:
        """Make the channel, one of these. It has no instruments if the venue has not said what it
        lists. `past` is what is kept of earlier starts: the new epoch is later than those, also if
        the clock was set back. `fanout.channel.channel.Channel` describes the others."""
        if self._market is None and self.failure is None:
            self.failure = VenueUnreachableError(f"no answer from {self.venue.rest_url} yet")
        market = self._market or _UNKNOWN
        self._memory = past.memory if past else None
        header = Header(
            epoch_ns=max(self._wall_ns(), past.newest_epoch_ns + 1 if past else 0),
            next_seq=1,
            venue=self.venue.name,
            channel=self.name,
            channels=tuple(each for each in channels if each != self.name),
            instruments=market.instruments,
            references=market.references,
            data=self.venue.data,
        )
        self.channel = Channel(
            header,
            log_bytes=log_bytes,
            wall_ns=self._wall_ns,
            past=past,
            longest_frame_bytes=longest_frame_bytes,
        )
        self._seed(market)

    def _seed(self, market: Market) -> None:
        """Show readers that join the newest trades until the stream brings newer ones: those of an
        earlier start, else REST's. Where ids do not ascend, nothing tells which are newer, so the
        snapshot begins empty."""
        if self.venue.continuity is Continuity.NOTHING:
            return
        known = self._memory.symbols if self._memory else {}
        served = [each for each in market.instruments if each.symbol in known]
        before = [_in_units(known[each.symbol].newest, each) for each in served]
        self.channel.recall([each for each in before if each is not None])
        self.channel.seed([each for each in market.newest if each.symbol not in known])

    async def run(self) -> None:
        """Feed the channel until cancelled, or until a failure that no retry mends, which
        `failure` then is."""
        name_lines(self.name)
        failure = self.failure
        pauses = backoff(first_s=FIRST_PAUSE_S, cap_s=LONGEST_PAUSE_S, uniform=random.uniform)
        while failure is None or self._is_retried(failure):
            if failure is not None:
                await self._wait_after(failure, next(pauses))
            failure = await self._attempt()
        self._end_failed(failure)

    async def _attempt(self) -> Exception:
        """Learn what is not known yet, and run a feed. Gives what ended it."""
        try:
            if self._market is None:
                await self._learn()
            assert self._market is not None, "learned"
            self._market = served(self._market, self.channel.header)
            self.feed, self.failure, self.why = self._make_feed(self._market), None, ""
            self.feed.turn()  # rates count from here
            await self.feed.run()
        except Exception as error:
            return error
        raise AssertionError("a feed runs until it is cancelled or fails")

    async def _learn(self) -> None:
        """Ask for what was not known when the channel was opened, and add it to the channel."""
        market = self._market = await self._ask_market()
        self._warn_of_many(market)
        self.channel.change(market.instruments, market.references)
        self._seed(market)

    def _is_retried(self, failure: Exception) -> bool:
        """Whether to ask the venue again: if it did not answer before there was a feed, or refuses
        the feed's first connection."""
        kinds = (VenueForbiddenError, VenueBusyError) if self.feed else (VenueError, ConfigError)
        return self._retries and _are_all(failure, kinds)

    async def _wait_after(self, failure: Exception, pause_s: float) -> None:
        """Report the source as DOWN, and pause: at least for as long as a ban lasts."""
        pause_s = max(pause_s, _pause_s(failure))
        feed, self.feed, self.failure, self.why = self.feed, None, failure, reason(failure)
        _LOG.warning("%s: trying again in %.0f s", self.why, pause_s)
        if feed is not None:
            assert self._market is not None, "a feed was made from it"
            self._market = msgspec.structs.replace(self._market, is_old=True, gone=feed.gone)
            feed.finish()
        if feed is None or feed.stats().state != FeedState.DOWN.name:
            self.channel.publish_status(None, FeedState.DOWN, self.why)
        await trio.sleep(pause_s)

    def _end_failed(self, failure: Exception) -> None:
        """Say END to the readers: the source will not come back by itself."""
        self.failure, self.why = failure, reason(failure)
        if _are_all(failure, (VenueError, ConfigError)):
            self._end(EndReason.FEED_FAILED, retry_ms=None, why=self.why)
            return
        if self._retries and _are_all(failure, (MemoryError,)):
            raise failure  # it is everybody's
        if self._retries:  # else the service ends with it, and Python shows the traceback
            _LOG.error("an internal fault ends the channel: %r", failure, exc_info=failure)
        self._end(EndReason.FEED_FAILED, retry_ms=RETRY_MS, why="an internal fault")

    def end(self) -> None:
        """Say END to the readers if that is not done: the service was stopped."""
        if not self.has_ended:
            self._end(EndReason.SHUTDOWN, retry_ms=RETRY_MS, why="the service was stopped")

    def _end(self, why_code: EndReason, *, retry_ms: int | None, why: str) -> None:
        if self.feed is not None:
            self.feed.finish(goes_on=self.channel.past is not None)
        self.channel.end(why_code, retry_ms=retry_ms, why=why)
        self.has_ended = True

    def _make_feed(self, market: Market) -> Feed:
        proxy = proxy_for(self.venue.parts()[0].stream_url(), self._config.feed.proxy)
        memory, self._memory = self._memory, None
        if self.channel.past is not None:
            self.channel.past.memory = None  # it may be large
        return Feed(
            self.venue,
            market,
            self.channel,
            self._rest,
            Anomalies(clock=trio.current_time),
            self._config.feed,
            connect=partial(
                open_websocket,
                proxy=proxy,
                wall_ns=self._wall_ns,
                limits=self.venue.limits,
                refusal=self.venue.refusal,
            ),
            memory=memory,
            wall_ns=self._wall_ns,
        )

    def log_totals(self) -> None:
        """Log what came and what went out since the start."""
        name_lines(self.name)
        if self.feed is not None:
            _log_totals(self.feed.stats(), self.channel)


def _in_units(trade: Trade | None, of: Instrument) -> Trade | None:
    """A trade of an earlier start as the channel has it now. None if the units are others."""
    if trade is None or units_of(trade.instrument) != units_of(of):
        return None
    return msgspec.structs.replace(trade, instrument=of, seq=0, received_ns=0, back_filled=False)


def served(market: Market, header: Header) -> Market:
    """The market as its channel has it by now: an earlier feed may have learned units, references
    and instruments. An index of the channel belongs to one symbol for good."""
    known = len(market.instruments)
    new = range(known, len(header.instruments))
    unknown = (0.0,) * len(new)
    wanted = (each for each in (*market.pending, *new) if each not in market.gone)
    pending = (each for each in wanted if header.references[each] == NO_REFERENCE)
    return msgspec.structs.replace(
        market,
        instruments=header.instruments,
        references=header.references,
        usual_s=market.usual_s + unknown,
        longest_s=market.longest_s + unknown,
        pending=tuple(pending),
    )


def _are_all(error: BaseException, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether an error, or each in a group, is one of these."""
    if isinstance(error, BaseExceptionGroup):
        return all(_are_all(each, kinds) for each in error.exceptions)
    return isinstance(error, kinds)


def _pause_s(error: BaseException) -> float:
    """The longest that a venue wants to be left alone for."""
    if isinstance(error, BaseExceptionGroup):
        return max(map(_pause_s, error.exceptions))
    return error.pause_s if isinstance(error, VenueBusyError) else 0.0


def _log_totals(feed: FeedStats, channel: Channel) -> None:
    _LOG.info(
        "%d messages, %d trades in %d blocks, %d events",
        feed.messages,
        channel.trades,
        channel.blocks,
        channel.events,
    )
    if feed.clock_offset_ns is not None and feed.clock_uncertainty_ns is not None:
        _LOG.info(
            "the venue's clock less ours: %+.1f ms, give or take %.1f ms",
            feed.clock_offset_ns / 1e6,
            feed.clock_uncertainty_ns / 1e6,
        )
    for link in feed.links:
        _LOG.info(
            "%s: first with %d trades, replaced %d times", link.name, link.won, link.rotations
        )
    for each in feed.instruments:
        if each.missing:
            _LOG.info(
                "%s: %d ids did not come in their turn: %d back-filled, %d no trades, %d lost",
                each.symbol,
                each.missing,
                each.back_filled,
                each.no_trade,
                each.lost,
            )
