"""What every venue and its dialogues have to do. Subclass `VenueContract`, give a few real
messages, and inherit the tests.

Venues differ in where the rows of an answer stand and in the names of their columns, so a subclass
says that too. A venue whose rows are no JSON objects overrides `listing` and `spoil`.
"""

import contextlib
import json
from abc import ABC, abstractmethod
from functools import reduce
from itertools import combinations
from operator import or_
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fanout.errors import ConfigError, VenueMessageError, VenueRefusalError
from fanout.feed.roster import NO_REFERENCE
from fanout.protocol import Header, Instrument
from fanout.protocol.header import decode_opening, opening
from fanout.venues import Credentials, Dialogue, Venue, VenueClass, VenueItem, VenueTrade
from fanout.venues.values import Continuity, Refusal

GARBAGE = [
    b"",
    b"\0",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"\xff\xfe",
    b'{"stream":"x","data":null}',
    b'{"stream":"x","data":{"e":"somethingNew","E":1}}',
    b'{"e":"serverShutdown","E":1770123456789}',
    b"[" * 100_000,
    b'{"data":' * 10_000,
    b"1" * 10_000,
]


def rows_at(keys: tuple[str | int, ...], body: Any) -> list[Any]:
    """The rows of an answer, where its keys lead."""
    for key in keys:
        body = body[key]
    assert isinstance(body, list)
    return body


TERMS: dict[str, Any] = {"tick": 0, "lot": 0, "base": "", "quote": ""}
"""Terms that can be unknown, and how an instrument says so."""


class VenueContract(ABC):
    trade_message: ClassVar[bytes]
    trade: ClassVar[VenueTrade]
    preamble: ClassVar[tuple[bytes, ...]] = ()
    """What a connection must have received before the trade can be read: the number of its
    channel, for instance."""
    acknowledgement: ClassVar[bytes]
    instruments_body: ClassVar[bytes]
    listing_rows: ClassVar[tuple[str | int, ...]]
    """The keys that lead to the rows in the listing's answer."""
    symbol_column: ClassVar[str]
    status_column: ClassVar[str]
    symbols: ClassVar[tuple[str, ...]]
    recent_trades_body: ClassVar[bytes]
    recent_rows: ClassVar[tuple[str | int, ...]]
    """The keys that lead to the rows in an answer with recent trades."""
    bad_trade: ClassVar[dict[str, object]] = {"price": None}
    """Changes to a recent trade that make it unreadable, but for its id."""
    error_body: ClassVar[bytes]
    odd_row: ClassVar[dict[str, object]]
    """Changes to the listing's first row that make it unreadable."""
    instrument: ClassVar[Instrument]
    """What the listing's first row means, at index 7."""
    odd_terms: ClassVar[tuple[dict[str, object], ...]]
    """Changes to the listing's first row that make a term of it unreadable, and not the row."""
    understood: ClassVar[tuple[bytes, ...]] = ()
    """What is garbage elsewhere, and not here."""

    @abstractmethod
    def make(self) -> Venue:
        """The adapter."""

    def acknowledgements(self) -> tuple[bytes, ...]:
        """The messages that confirm the subscriptions to all of `symbols`."""
        return (self.acknowledgement,)

    def next_trade_message(self) -> bytes:
        """The message after `trade_message`, with the same trade: it may have another number."""
        return self.trade_message

    def listing(self, *more: dict[str, object]) -> bytes:
        """The listing with more rows: changes to its first. "symbol" and "status" stand for the
        venue's own names of these columns."""
        names = {"symbol": self.symbol_column, "status": self.status_column}
        body = json.loads(self.instruments_body)
        rows = rows_at(self.listing_rows, body)
        for changes in more:
            own = {names.get(name, name): value for name, value in changes.items()}
            rows.append({**rows[0], **own})
        return json.dumps(body).encode()

    def empty_listing(self) -> bytes:
        body = json.loads(self.instruments_body)
        rows_at(self.listing_rows, body).clear()
        return json.dumps(body).encode()

    def spoil(self, row: Any) -> None:
        """Make a row of recent trades unreadable, but for its id."""
        row.update(self.bad_trade)

    def unsubscribed(self, symbol: str) -> str:
        """What stands in a request to unsubscribe the first symbol: its name, or a number."""
        return symbol

    def opened(self, *symbols: str) -> Dialogue:
        """A dialogue that has received what comes before the trade."""
        dialogue = self.make().dialogue(symbols or self.symbols)
        if self.preamble:
            dialogue.opening()
        for message in self.preamble:
            dialogue.receive(message, [])
        return dialogue

    def parse(self, message: bytes) -> VenueItem | None:
        """What a new connection takes from a message, if that is an item."""
        items: list[VenueItem] = []
        self.opened().receive(message, items)
        return items[0] if items else None

    def instruments(self, body: bytes, symbols: tuple[str, ...]) -> list[Instrument]:
        listing = self.make().parse_listing(body)
        return [listing.instrument(symbol, index) for index, symbol in enumerate(symbols)]

    def test_a_trade_is_parsed_into_the_venues_own_words(self) -> None:
        assert self.parse(self.trade_message) == self.trade

    def test_an_acknowledgement_needs_no_answer(self) -> None:
        assert self.parse(self.acknowledgement) is None

    @pytest.mark.parametrize("message", GARBAGE, ids=lambda each: repr(each[:20]))
    def test_garbage_is_refused_as_a_message(self, message: bytes) -> None:
        if message in self.understood:
            return
        with pytest.raises(VenueMessageError):
            self.parse(message)

    def test_every_truncation_is_refused_as_a_message(self) -> None:
        for length in range(len(self.trade_message)):
            with pytest.raises(VenueMessageError):
                self.parse(self.trade_message[:length])

    def test_damage_gives_a_venue_error_or_something_well_formed(self) -> None:
        whole = self.trade_message
        damage = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255))

        @given(st.lists(damage, min_size=1, max_size=4))
        def check(damages: list[tuple[int, int]]) -> None:
            message = bytearray(whole)
            for place, value in damages:
                message[place] = value
            with contextlib.suppress(VenueMessageError, VenueRefusalError):
                item = self.parse(bytes(message))
                assert item is None or isinstance(item.symbol, str)

        check()

    def test_what_it_says_of_a_bad_message_is_short(self) -> None:
        with pytest.raises(VenueMessageError) as caught:
            self.parse(b"x" * 1_000_000)
        assert len(str(caught.value)) < 300

    def test_the_subscription_names_every_symbol(self) -> None:
        venue = self.make()
        said = " ".join(venue.dialogue(self.symbols).opening()).lower()
        assert all(each.lower() in said for each in self.symbols)
        assert venue.stream_url().startswith(("ws://", "wss://"))

    def test_instruments_come_in_the_order_they_were_asked_for(self) -> None:
        backwards = tuple(reversed(self.symbols))
        instruments = self.instruments(self.instruments_body, backwards)
        assert [each.symbol for each in instruments] == list(backwards)
        assert [each.index for each in instruments] == list(range(len(backwards)))

    def test_a_symbol_that_is_not_listed_is_told_with_a_suggestion(self) -> None:
        almost = self.symbols[0] + "X"
        with pytest.raises(ConfigError, match=f"{almost} is not listed .*{self.symbols[0]}"):
            self.instruments(self.instruments_body, (almost,))

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"{}", b'{"symbols":[{}]}', b"[{}]", b"\xff"]
    )
    def test_an_answer_that_is_nonsense_is_a_message_error(self, body: bytes) -> None:
        if body != self.empty_listing():
            with pytest.raises(VenueMessageError):
                self.make().parse_listing(body)
        with pytest.raises(VenueMessageError):
            self.make().parse_recent_trades(body if body != b"[]" else b"{}", self.symbols[0])

    def test_recent_trades_come_oldest_first(self) -> None:
        trades = self.make().parse_recent_trades(self.recent_trades_body, self.symbols[0])
        ids = [each.trade_id for each in trades]
        assert ids
        assert ids == sorted(ids)
        assert {each.symbol for each in trades} == {self.symbols[0]}

    def test_its_own_words_in_an_error_are_found_and_nonsense_has_none(self) -> None:
        venue = self.make()
        assert venue.explain(400, self.error_body)
        assert [venue.explain(400, each) for each in (b"", b"<html>", b"[]", b"\xff")] == [""] * 4

    # The listing.

    def test_an_instrument_has_the_units_and_terms_of_its_row(self) -> None:
        listing = self.make().parse_listing(self.instruments_body)
        assert listing.instrument(self.instrument.symbol, 7) == self.instrument

    def test_an_instrument_fits_its_own_row_and_not_one_with_units_far_from_it(self) -> None:
        venue = self.make()
        row = venue.parse_listing(self.instruments_body).rows[self.instrument.symbol]
        assert venue.still_fits(self.instrument, row)
        far = replace(row, price_exponent=row.price_exponent + 6)
        assert not venue.still_fits(self.instrument, far)

    def test_a_term_that_cannot_be_read_is_unknown_and_the_row_is_taken(self) -> None:
        for odd in self.odd_terms:
            listing = self.make().parse_listing(self.listing({"symbol": "ODDUSDT", **odd}))
            assert listing.odd == {}
            assert listing.fault("ODDUSDT") is None
            found = listing.instrument("ODDUSDT", 7)
            as_listed = replace(self.instrument, symbol="ODDUSDT")
            unknown = {name for name in TERMS if getattr(found, name) == TERMS[name]}
            assert unknown, odd
            assert replace(as_listed, **{name: TERMS[name] for name in unknown}) == found

    def test_every_instrument_fits_a_header(self) -> None:
        listing = self.make().parse_listing(self.listing(*map(self._named, self.odd_terms)))
        symbols = [each for each in listing.rows if listing.fault(each) is None]
        instruments = tuple(listing.instrument(each, place) for place, each in enumerate(symbols))
        header = Header(
            epoch_ns=1,
            next_seq=1,
            venue=self.make().name,
            instruments=instruments,
            references=(NO_REFERENCE,) * len(instruments),
        )
        assert decode_opening(opening(header)) == header

    @staticmethod
    def _named(changes: dict[str, object]) -> dict[str, object]:
        return {"symbol": f"ODD{abs(hash(str(changes)))}USDT", **changes}

    def test_an_odd_row_is_named_and_hides_no_other(self) -> None:
        odd = {"symbol": "ODDUSDT", **self.odd_row}
        listing = self.make().parse_listing(self.listing(odd, {"symbol": None}))
        assert [each for each in self.symbols if listing.fault(each)] == []
        assert "ODDUSDT" in listing.odd
        assert len(listing.odd) == 2
        assert "ODDUSDT" not in listing.rows

    def test_an_odd_row_that_was_asked_for_is_named_in_the_error(self) -> None:
        listing = self.make().parse_listing(self.listing({"symbol": "ODDUSDT", **self.odd_row}))
        with pytest.raises(VenueMessageError, match="ODDUSDT"):
            listing.instrument("ODDUSDT", 0)
        assert "ODDUSDT cannot be read" in str(listing.fault("ODDUSDT"))

    def test_of_two_different_rows_of_a_symbol_none_is_believed(self) -> None:
        symbol = self.symbols[0]
        listing = self.make().parse_listing(self.listing({"status": "SOMETHING_ELSE"}))
        assert symbol not in listing.rows
        assert "two different rows" in listing.odd[symbol]
        assert self.make().parse_listing(self.listing({})).fault(symbol) is None

    def test_a_row_with_an_unknown_status_does_not_trade(self) -> None:
        new = {"symbol": "NEWUSDT", "status": "NEVER_HEARD_OF"}
        listing = self.make().parse_listing(self.listing(new))
        assert "NEVER_HEARD_OF" in str(listing.fault("NEWUSDT"))
        with pytest.raises(ConfigError, match="NEVER_HEARD_OF"):
            listing.instrument("NEWUSDT", 0)

    @pytest.mark.parametrize("symbol", ["", "S" * 65, "币" * 22, "BTC\x1bUSDT", "BTC\nUSDT"])
    def test_a_symbol_that_no_header_carries_is_an_odd_row(self, symbol: str) -> None:
        listing = self.make().parse_listing(self.listing({"symbol": symbol}))
        assert symbol not in listing.rows
        assert len(listing.odd) == 1
        assert all(each.isprintable() for each in listing.odd)

    def test_an_empty_listing_is_one(self) -> None:
        assert self.make().parse_listing(self.empty_listing()).rows == {}

    def test_a_recent_trade_that_cannot_be_read_keeps_its_id_and_hides_no_other(self) -> None:
        venue, symbol, body = self.make(), self.symbols[0], json.loads(self.recent_trades_body)
        whole = venue.parse_recent_trades(self.recent_trades_body, symbol)
        self.spoil(rows_at(self.recent_rows, body)[0])
        trades = venue.parse_recent_trades(json.dumps(body).encode(), symbol)
        assert [each.trade_id for each in trades] == [each.trade_id for each in whole]
        (odd,) = (each for each in trades if not each.price)
        assert [each for each in trades if each != odd] == [
            each for each in whole if each.trade_id != odd.trade_id
        ]

    def test_how_a_symbol_is_spelled_is_the_same_when_spelled_again(self) -> None:
        venue = self.make()
        for symbol in self.symbols:
            assert venue.spell(symbol) == symbol
            assert venue.spell(venue.spell(symbol.lower())) == venue.spell(symbol.lower())
        assert venue.spell("*") == "*"

    def test_its_limits_and_its_continuity_are_stated(self) -> None:
        limits = self.make().limits
        assert min(limits.weight, limits.subscriptions, limits.pongs_a_second) >= 1
        assert limits.messages_a_second > 0
        assert len(self.trade_message) < limits.message_bytes <= 16 * 1024 * 1024
        assert limits.connect_every_s > 0
        assert isinstance(self.make().continuity, Continuity)
        assert self.make().short_name

    def test_its_class_states_what_it_offers(self) -> None:
        venue = self.make()
        made: VenueClass = type(venue)
        assert made.title.isprintable()
        assert venue.stream in made.streams
        assert venue.data in made.kinds_with(venue.stream)
        assert all(made.kinds_with(each) in made.kinds for each in made.streams)
        assert made.continuity == venue.continuity
        assert made.book_source == venue.book_source
        assert tuple(map(made.spell, made.default_assets)) == made.default_assets

    def test_a_venue_with_credentials_shows_them_nowhere(self) -> None:
        made: VenueClass = type(self.make())
        credentials = Credentials(id="NotForAnybody", secret="NotForAnybodysEyes")
        venue = made(stream=made.streams[0], ws_url=None, rest_url=None, credentials=credentials)
        names = made.secrets
        assert names is None or "NotForAnybody" not in names.secret + str(names.id)
        for each in (venue, venue.without_fallback(), venue.dialogue(self.symbols), credentials):
            assert "NotForAnybody" not in repr(each) + str(each)
        requests = (venue.history_request(self.symbols[0], 1), *venue.listing_requests())
        assert "NotForAnybody" not in repr(requests)
        assert venue.without_fallback().stream == venue.stream
        assert venue.without_key().stream == venue.stream

    def test_its_parts_are_the_same_venue_and_bring_each_kind_of_data_once(self) -> None:
        venue = self.make()
        parts = venue.parts()
        assert {each.name for each in parts} == {venue.name}
        assert not any(one.data & other.data for one, other in combinations(parts, 2))
        assert reduce(or_, (each.data for each in parts)) == venue.data

    @pytest.mark.parametrize("status", [204, 301, 400, 404, 500, 503, 999])
    def test_a_status_that_means_nothing_special_bans_nobody(self, status: int) -> None:
        assert self.make().refusal(status) in (Refusal.PASSING, Refusal.OTHER)

    # Dialogues.

    def test_a_dialogue_opens_with_batches_within_the_limits(self) -> None:
        venue = self.make()
        symbols = tuple(f"{each}{n}" for n in range(300) for each in self.symbols)
        words = venue.dialogue(symbols).opening()
        assert len(words) > 1
        assert max(len(each.encode()) for each in words) <= venue.limits.request_bytes
        said = " ".join(words).lower()
        assert all(each.lower() in said for each in symbols)
        assert venue.dialogue(()).opening() == ()

    def test_nothing_but_a_book_is_lost_with_a_message_that_is_too_long(self) -> None:
        dialogue = self.make().dialogue(self.symbols)
        long = b" " * self.make().limits.message_bytes
        for message in (self.trade_message, self.acknowledgement, b"", b"{", b"\xff"):
            out: list[VenueItem] = []
            dialogue.skip(message + long, out)
            assert out == []

    def test_a_dialogue_knows_what_was_not_answered(self) -> None:
        dialogue = self.make().dialogue(self.symbols)
        assert dialogue.unanswered == frozenset()
        dialogue.opening()
        waiting = set(self.symbols)
        for message in self.acknowledgements():
            assert dialogue.unanswered == waiting
            outcome = dialogue.receive(message, [])
            assert outcome is not None
            assert waiting.issuperset(outcome.confirmed)
            waiting.difference_update(outcome.confirmed)
        assert waiting == dialogue.unanswered == frozenset()

    def test_a_dialogue_appends_trades_in_their_order(self) -> None:
        dialogue = self.opened()
        items: list[VenueItem] = []
        assert dialogue.receive(self.trade_message, items) is None
        assert dialogue.receive(self.next_trade_message(), items) is None
        assert items == [self.trade, self.trade]

    def test_a_message_that_is_refused_brings_nothing(self) -> None:
        items: list[VenueItem] = []
        for message in [*GARBAGE, self.trade_message[:-1]]:
            with contextlib.suppress(VenueMessageError):
                self.opened().receive(message, items)
        assert items == []

    def test_one_symbol_more_or_less_is_said_in_mid_stream(self) -> None:
        dialogue = self.make().dialogue(self.symbols[:1])
        opening = dialogue.opening()
        for message in self.preamble:
            dialogue.receive(message, [])
        more, less = dialogue.subscribe(self.symbols[1:2]), dialogue.unsubscribe(self.symbols[:1])
        assert self.symbols[1].lower() in " ".join(more).lower()
        assert self.unsubscribed(self.symbols[0]).lower() in " ".join(less).lower()
        assert len({*opening, *more, *less}) == len(opening) + len(more) + len(less)

    def test_a_book_is_asked_for_anew_within_the_limits_or_by_a_new_connection(self) -> None:
        venue, symbol = self.make(), self.symbols[0]
        dialogue = venue.dialogue(self.symbols)
        dialogue.opening()
        words = dialogue.refresh(symbol)
        assert all(len(each.encode()) <= venue.limits.request_bytes for each in words)

    def test_what_a_dialogue_says_of_its_own_moves_the_next_time(self) -> None:
        dialogue = self.make().dialogue(self.symbols)
        if dialogue.due_s != float("inf"):
            before = dialogue.due_s
            assert dialogue.tick(before)
            assert dialogue.due_s > before
