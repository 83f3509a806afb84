"""Reading some symbols of a stream that is divided by symbol. WIRE.md, section 14, has the layout.

The numbers of a channel are those of all its symbols, so a reader of some of them sees gaps in the
numbering where nothing is missing. What it can rely on is the chain of each subject: a message of
`.records.SYMBOL` names, in Fanout-Before, the last number of the message before on its subject.

    BTCUSDT    1-3 (0)         7-7 (3)        12-12 (10)     8 to 10 were removed
    ETHUSDT            4-6 (0)        11-11 (6)

If the number before is one that this reader has not had, it gets a `Loss`: from the number behind
the last message of this subject that it had, to the number that Fanout-Before names. That is 8 to
10 here. The last of these numbers is a record of this subject that is gone. Others among them may
be so, or may be of other subjects and have come.

A hole shows with the next message of its subject. Later records of other symbols may have come by
then, as 11 has. So with several symbols a `Loss` may name numbers before those that were handed
over already.

Messages of `.records` have all symbols, and follow on one another without gaps.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from fanout.clients.nats_client import NOWHERE, Foreigners, Opened, Reading, Run
from fanout.clients.subscription import Subscription
from fanout.protocol.constants import LossReason
from fanout.protocol.jetstream import ALL, Stamp, Subject, subject_of, symbol_token_of, token
from fanout.protocol.records import Loss


def tokens_of(symbols: Collection[str]) -> frozenset[str]:
    """The symbols as they stand in subjects."""
    return frozenset(map(token, symbols))


def subjects_wanted(prefix: str, channel: str, tokens: Collection[str]) -> list[str]:
    """The subjects that a reader of these symbols needs; none without symbols, which stand for
    all."""
    if not tokens:
        return []
    records = subject_of(prefix, channel, Subject.RECORDS)
    kinds = (subject_of(prefix, channel, each) for each in Subject)
    return [*kinds, *(f"{records}.{each}" for each in (ALL, *sorted(tokens)))]


class ReadingOfSymbols(Reading):
    """A `Reading` to which only the messages of some symbols come, and those for all of them."""

    def __init__(
        self,
        subscription: Subscription,
        foreigners: Foreigners,
        *,
        tokens: Collection[str],
        last: Mapping[str, int] | None = None,
        **place: Any,
    ) -> None:
        """`tokens` are the symbols as they stand in subjects. `last` is that of the connection
        before, in the same epoch. `place` is as in `Reading`."""
        super().__init__(subscription, foreigners, **place)
        self._tokens: Final = (ALL, *tokens)
        self._last: dict[str, int] = {}
        """By subject, the number up to which nothing of it is missing, or was told as lost."""
        if self._due is not None:
            self._know_up_to(self._due - 1)
        self._last.update(last or {})
        self._is_whole = False
        """Whether the last records were on the subject of all symbols."""
        self._snapshot_due: int | None = None
        """The number that was due when the newest header came."""

    @property
    def last(self) -> Mapping[str, int]:
        """By subject, the number up to which nothing of it is missing, or was told as lost."""
        return self._last

    def _know_up_to(self, seq: int) -> None:
        self._last = dict.fromkeys(self._tokens, seq)

    def begin(self, opened: Opened) -> None:
        super().begin(opened)
        if not self._last:
            assert self._due is not None, "a header is for a place"
            self._know_up_to(self._due - 1)
        self._last.update(opened.last or {})

    def _is_due(self, stamp: Stamp) -> bool:
        is_due = super()._is_due(stamp)
        if not self._last:
            assert self._due is not None, "a message has come"
            self._know_up_to(self._due - 1)
        return is_due

    def _turn(self, epoch_ns: int) -> None:
        super()._turn(epoch_ns)
        self._know_up_to(0)
        self._is_whole = False

    def _put_together(self, subject: str, stamp: Stamp, runs: list[Run]) -> None:
        name = symbol_token_of(subject)
        self._is_whole = not name
        if name:
            # Without Fanout-Before anything may be missing.
            before = stamp.seq - 1 if stamp.before is None else stamp.before
            known = self._last.get(name, before)
            if before > known:
                self._lose(known + 1, before)
            self._hand_on(stamp, runs)
            self._note(name, stamp, known, before)
        else:
            self._lose_up_to(stamp.seq)
            self._feed(runs)
            assert self._due is not None, "the first message has set it"
            self._know_up_to(self._due - 1)

    def _hand_on(self, stamp: Stamp, runs: list[Run]) -> None:
        """Hand on a part of a block, as far as parts that may still come have later numbers. With
        one symbol no other part comes."""
        if len(self._tokens) == 2 or stamp.parts == 1:
            self._feed(runs)
            return
        known = sorted([*self._divided, *runs])
        self._divided_at = stamp
        # Parts come in the order of their first records, and a run is of one part.
        certain = stamp.next_seq if stamp.part >= stamp.parts else runs[0][1]
        self._divided = [each for each in known if each[0] >= certain]
        self._feed(known[: len(known) - len(self._divided)])

    def _complete(self) -> None:
        runs, self._divided, self._divided_at = self._divided, [], NOWHERE
        self._feed(runs)

    def _reach(self, seq: int) -> None:
        """The numbers before are not wanted."""
        assert self._due is not None, "the first message has set it"
        if seq > self._due:
            self._subscription.pass_over(seq)
            self._due = seq

    def _lose(self, first: int, last: int) -> None:
        """A message that ended with the number `last` has not come."""
        assert self._due is not None, "the first message has set it"
        behind = min(last, self._due - 1)
        if first <= behind:
            late = Loss(first_seq=first, last_seq=behind, reason=LossReason.EVICTED)
            self._subscription.lose_late(late)
            self._note_loss()
        if last >= self._due:
            self._reach(first)
            self._lose_up_to(last + 1)

    def _note(self, name: str, stamp: Stamp, known: int, before: int) -> None:
        """A message has been handed on, and all losses before it were told."""
        if before > known:
            # The same numbers are not told for other subjects again.
            for each, number in self._last.items():
                if known <= number < before:
                    self._last[each] = before
        # What follows in the block is not of this subject.
        self._last[name] = max(known, stamp.next_seq - 1)

    def _reach_header(self, seq: int) -> None:
        """What is missing of a symbol shows with its next message, and else at once."""
        if self._is_whole:
            self._lose_up_to(seq)
        self._snapshot_due = self._due if self._due is not None and self._due <= seq else None

    def _is_here(self, stamp: Stamp) -> bool:
        return stamp.header == self._header_at and self._due == self._snapshot_due
