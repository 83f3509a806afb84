"""Remedies for instruments that are quiet, or refused, until they trade.

REST tells why an instrument is quiet. If the stream is at fault, the remedies are a new
subscription, a new connection, and another kind of stream; see `Remedies._wake_up` for their order.
An instrument that the venue refuses is subscribed to anew, ever more seldom.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
import trio

from fanout.config import FeedConfig
from fanout.errors import VenueUnreachableError
from fanout.feed.healing import Healing
from fanout.feed.liveness import Change
from fanout.feed.parts import Parts
from fanout.feed.recovery import Recovery
from fanout.feed.shard import Shard
from fanout.feed.silence import (
    EVIDENCE,
    LOOK_AGAIN_S,
    LOOK_SOON_S,
    MANY_QUIET,
    SETTLING_S,
    Finding,
    Remedy,
    Silence,
)
from fanout.feed.upkeep import Upkeep
from fanout.protocol.constants import DataKinds, FeedState
from fanout.venues.base import Venue

_LOG = logging.getLogger("fanout")

MOST_DOUBLINGS: Final = 5
"""How often the time between subscriptions to a refused instrument doubles: to half an hour."""


class Remedies:
    """For the instruments of one feed."""

    def __init__(
        self,
        parts: Parts,
        silence: Silence,
        recovery: Recovery,
        healing: Healing,
        upkeep: Upkeep,
        config: FeedConfig,
        *,
        say: Callable[[Sequence[Change]], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """`say` publishes changes of state, and `fail` ends the feed."""
        self._parts = parts
        self._silence = silence
        self._recovery = recovery
        self._healing = healing
        self._upkeep = upkeep
        self._config = config
        self._say = say
        self._fail = fail
        self._looked_into: set[int] = set()
        self._applied: Counter[int] = Counter()
        """Remedies for a silent stream since an instrument traded last, by index."""
        self._applied_s: dict[int, float] = {}
        """When the last of them was applied, in trio's time."""
        self._resubscribed: set[int] = set()
        """Instruments for which a new subscription was the only remedy so far."""
        self._refused: set[int] = set()
        """Instruments that the venue refused, until the next subscription."""
        self._unconfirmed: dict[int, DataKinds] = {}
        """What was refused or ignored of an instrument, until a later subscription is confirmed."""
        self._refusals: Counter[int] = Counter()
        """New subscriptions since an instrument was refused first, by index."""
        self._complained: set[tuple[str, int]] = set()

    def begin(self, nursery: trio.Nursery) -> None:
        """Run all tasks in `nursery`."""
        self._nursery = nursery

    def look_into(self, indexes: Iterable[int]) -> None:
        """Find out why these instruments are quiet, and apply remedies until they trade."""
        for index in indexes:
            self._nursery.start_soon(self._look_into, index)

    def turned_down(self, kinds: DataKinds, refused: Mapping[str, str]) -> None:
        """The venue refused subscriptions to these kinds of data. `refused` maps symbols to
        reasons."""
        for symbol, why in refused.items():
            index = self._parts.roster.index_of(symbol)
            if index is None:
                continue
            liveness = self._parts.liveness
            if liveness.trades.state(index) is FeedState.LIVE:
                del self._refusals[index]
            self._say(liveness.halted(index, f"the venue refuses it: {why}", lacks=kinds))
            self._doubt(index, kinds)
            if index not in self._refused:
                self._refused.add(index)
                self._nursery.start_soon(self._subscribe_again, index)

    def _doubt(self, index: int, kinds: DataKinds) -> None:
        self._unconfirmed[index] = self._unconfirmed.get(index, DataKinds.NONE) | kinds

    def confirmed(self, kinds: DataKinds, symbols: Iterable[str]) -> None:
        """The venue confirmed all subscriptions to these kinds of data of these symbols."""
        if not self._unconfirmed:
            return
        now_s = trio.current_time()
        for symbol in symbols:
            index = self._parts.roster.index_of(symbol)
            if index is None:
                continue
            before = self._unconfirmed.get(index, DataKinds.NONE)
            if before & kinds:
                self._unconfirmed[index] = before & ~kinds
                self._say(self._parts.liveness.part_up(index, before & kinds, now_s))

    async def _subscribe_again(self, index: int) -> None:
        """Subscribe anew to an instrument that the venue refused, ever more seldom: the reason may
        pass."""
        await trio.sleep(LOOK_AGAIN_S * 2 ** min(self._refusals[index], MOST_DOUBLINGS))
        self._refused.discard(index)
        self._refusals[index] += 1
        symbol, kinds = self._parts.roster[index].instrument.symbol, self._unconfirmed[index]
        shards = [
            each
            for each in self._parts.connections
            if symbol in each.instruments and each.venue.data & kinds
        ]
        if not (shards and self._is_refused(index)):
            return
        self._say(self._parts.liveness.resumed(index, "subscribing anew: the venue refused it"))
        for shard in shards:
            self._resubscribe(shard, symbol, "the venue refused it for a while")
        await self._look_into(index)

    def _is_refused(self, index: int) -> bool:
        """Whether an instrument still lacks something of what was refused."""
        liveness, kinds = self._parts.liveness, self._unconfirmed[index]
        is_halted = liveness.trades.state(index) is FeedState.HALTED
        return is_halted or liveness.lacks(index, kinds)

    def _resubscribe(self, shard: Shard, symbol: str, why: str) -> None:
        """Subscribe to an instrument anew, and fetch what it traded until now."""
        shard.resubscribe(symbol)
        if DataKinds.TRADES in shard.venue.data:
            self._healing.heal(shard.venue.stream, symbol, why)

    async def _look_into(self, index: int) -> None:
        """Investigate a quiet instrument and apply remedies until it trades."""
        if index in self._looked_into:
            return
        self._looked_into.add(index)
        self._note_recovery(index)  # it may have traded since the last look
        liveness = self._parts.liveness.trades
        looks, stale_count = 0, liveness.stale_count(index)
        while self._is_quiet(index):
            if not self._upkeep.is_pending(index):  # its reference will tell how often it trades
                await self._look(index, is_first=looks == 0)
                looks += 1
            pause_s = LOOK_SOON_S if index in self._resubscribed else LOOK_AGAIN_S
            await trio.sleep(pause_s * max(1.0, len(self._looked_into) / MANY_QUIET))
            if liveness.stale_count(index) != stale_count:  # it recovered in between
                looks, stale_count = 0, liveness.stale_count(index)
                self._note_recovery(index)
        self._looked_into.discard(index)
        self._note_recovery(index)

    def _is_quiet(self, index: int) -> bool:
        """Whether its trades are missed. Of one that trades rarely they may not be for minutes. If
        it brings nothing else either, and its subscription is unanswered, that is reason enough."""
        liveness, entry = self._parts.liveness, self._parts.roster[index]
        if entry.is_gone:
            return False
        if liveness.trades.state(index) in (FeedState.STALE, FeedState.HALTED):
            return True
        if liveness.state(index) is not FeedState.STALE:
            return False
        shard = self._parts.connections.shard_of(entry.instrument.symbol)
        return shard is not None and shard.unanswered(entry.instrument.symbol)

    async def _look(self, index: int, *, is_first: bool) -> None:
        liveness, connections = self._parts.liveness.trades, self._parts.connections
        instrument = self._parts.roster[index].instrument
        shard = connections.shard_of(instrument.symbol)
        if shard is None or shard.is_paused or index in self._refused:
            return
        if is_first and self._is_ignored(instrument.symbol, shard):
            self._subscribe_unanswered(index, shard)
            return
        has_traded = liveness.has_traded(index)
        is_first |= liveness.state(index) is FeedState.HALTED or index in self._resubscribed
        finding = await self._silence.find(shard, instrument)
        if not self._is_quiet(index) or connections.shard_of(instrument.symbol) is not shard:
            return
        fallback = shard.venue.fallback() if self._config.stream == "auto" else None
        if finding.remedy is Remedy.RECONNECT and fallback:
            is_proven = not is_first or (not has_traded and finding.newer >= EVIDENCE)
            if is_proven:
                finding = msgspec.structs.replace(finding, remedy=Remedy.FALL_BACK)
        self._complain(index, shard, finding)
        self._apply(index, shard, finding, fallback)

    def _is_ignored(self, symbol: str, shard: Shard) -> bool:
        """Whether the venue has had time to answer a subscription, and has not."""
        is_old = trio.current_time() - shard.subscribed_s(symbol) > SETTLING_S
        return is_old and shard.unanswered(symbol)

    def _subscribe_unanswered(self, index: int, shard: Shard) -> None:
        """The venue has ignored a subscription: that needs no proof from REST, which may be long in
        coming where few requests are allowed."""
        liveness, symbol = self._parts.liveness, self._parts.roster[index].instrument.symbol
        why = "the venue never answered the subscription"
        if liveness.trades is not liveness and liveness.trades.state(index) is FeedState.STALE:
            self._say(liveness.lost(index, DataKinds.TRADES, why))
            self._doubt(index, DataKinds.TRADES)
        _LOG.warning("%s: %s; subscribing anew", symbol, why)
        self._resubscribed.add(index)
        self._resubscribe(shard, symbol, why)

    def _apply(self, index: int, shard: Shard, finding: Finding, fallback: Venue | None) -> None:
        liveness = self._parts.liveness
        instrument = self._parts.roster[index].instrument
        if finding.newest_id is not None:
            self._miss(instrument.symbol, shard.venue.stream, finding.newest_id)
        if finding.is_halted:
            self._say(liveness.halted(index, finding.why))
            return
        if liveness.trades.state(index) is FeedState.HALTED:
            self._say(liveness.resumed(index, "the venue trades it again"))
        if finding.remedy is not Remedy.NONE and liveness.trades is not liveness:
            self._say(liveness.lost(index, DataKinds.TRADES, finding.why))
        if finding.remedy is Remedy.FALL_BACK and fallback:
            self._parts.sequences.turn_to(
                instrument.symbol, shard.venue.stream, fallback.stream, fallback.continuity
            )
            self._recovery.cover(fallback)
            self._healing.cover(fallback)
            self._parts.connections.fall_back(instrument, fallback, finding.why)
        elif finding.remedy is Remedy.RECONNECT:
            self._wake_up(index, shard, finding.why)
            self._healing.heal(shard.venue.stream, instrument.symbol, finding.why)
        elif shard.unanswered(instrument.symbol):
            _LOG.warning(
                "%s: the venue never answered the subscription; subscribing anew", instrument.symbol
            )
            self._resubscribe(shard, instrument.symbol, "the venue did not answer its subscription")

    def _wake_up(self, index: int, shard: Shard, why: str) -> None:
        """Subscribe to a silent instrument anew, or open another connection.

        A new connection concerns all instruments of the shard. So it comes first only if half of
        them are quiet, and for the others it comes ever more seldom: it is the second remedy, the
        4th, the 8th, the 16th.
        """
        symbol = self._parts.roster[index].instrument.symbol
        self._applied[index] += 1
        self._applied_s[index] = trio.current_time()
        count = self._applied[index]
        is_its_turn = count > 1 and count & (count - 1) == 0
        if is_its_turn or 2 * sum(map(self._is_quiet, shard.indexes)) > len(shard.indexes):
            self._resubscribed.discard(index)
            _LOG.warning("%s: %s; connecting anew", symbol, why)
            shard.rotate()
        else:
            if count == 1:
                self._resubscribed.add(index)
            _LOG.warning("%s: %s; subscribing anew", symbol, why)
            shard.resubscribe(symbol)

    def _note_recovery(self, index: int) -> None:
        """Forget the remedies for an instrument that has traded since. Other signs of life prove
        nothing: the answer to a new subscription is one, whatever follows it."""
        since_s = self._applied_s.get(index, -math.inf)
        if not self._parts.liveness.trades.has_traded_since(index, since_s):
            return
        del self._applied[index]
        self._resubscribed.discard(index)

    def _miss(self, symbol: str, stream: str, trade_id: int) -> None:
        """Report all trades up to `trade_id` that did not arrive as missing, and recover them."""
        gaps = self._parts.sequences.miss(stream, symbol, trade_id, trio.current_time())
        self._parts.announcer.gaps(gaps)
        self._recovery.see_to(gaps)
        self._parts.watch.wake()

    def _complain(self, index: int, shard: Shard, finding: Finding) -> None:
        """Log a missing first trade with the reason. With `strict`, end the feed."""
        of = shard.venue.stream, index
        if self._parts.liveness.trades.has_ever_traded(index) or of in self._complained:
            return
        self._complained.add(of)
        symbol, timeout_s = (
            self._parts.roster[index].instrument.symbol,
            self._config.first_trade_timeout_s,
        )
        said = f"{symbol}: no trade within {timeout_s:g} s; {finding.why}"
        _LOG.error("%s", said)
        if self._config.strict and finding.remedy is not Remedy.FALL_BACK:
            self._fail(VenueUnreachableError(f"{said} (--strict)"))
