"""Subscriptions, access and errors on Deribit's connections. Documented messages; no recording of
access, heartbeats or maintenance was found."""

import json
from typing import Any

import pytest

from fanout.errors import (
    VenueBusyError,
    VenueError,
    VenueKeyError,
    VenueMessageError,
    VenueRefusalError,
)
from fanout.protocol import DataKinds
from fanout.venues import Outcome, VenueItem
from fanout.venues.deribit import Deribit
from fanout.venues.deribit.dialogue import DeribitDialogue
from fanout.venues.values import Credentials
from tests.fanout.venues.test_deribit import (
    ALL,
    CREDENTIALS,
    answer,
    compact,
    notification,
    refusal,
    trades,
)

BOTH = DataKinds.TRADES | DataKinds.BOOK_BY_PRICE
HEARTBEAT, ACCESS, TEST, PLATFORM, LEAVE, REFRESH = range(1_000_000_001, 1_000_000_007)
TOKEN = {
    "access_token": "1582628593469.1MbQ-J_4",
    "expires_in": 900,
    "refresh_token": "1582628593469.1GP4rQd0",
    "scope": "connection mainaccount",
    "token_type": "bearer",
}
SECRETS = (CREDENTIALS.id, CREDENTIALS.secret, TOKEN["access_token"], TOKEN["refresh_token"])


def dialogue(
    *symbols: str, data: DataKinds = DataKinds.TRADES, keyed: bool = False
) -> DeribitDialogue:
    return Deribit(data=data, credentials=CREDENTIALS if keyed else None).dialogue(symbols)


def said(words: tuple[str, ...]) -> list[tuple[int, str, dict[str, Any]]]:
    """Requests as id, method and parameters."""
    requests = [json.loads(each) for each in words]
    assert all(each["jsonrpc"] == "2.0" for each in requests)
    return [(each["id"], each["method"], each["params"]) for each in requests]


def channels(words: tuple[str, ...], method: str = "public/subscribe") -> list[list[str]]:
    return [params["channels"] for _, name, params in said(words) if name == method]


def received(talk: DeribitDialogue, message: bytes) -> Outcome | None:
    items: list[VenueItem] = []
    outcome = talk.receive(message, items)
    assert items == []
    return outcome


def opened(*symbols: str, keyed: bool = False, **more: Any) -> DeribitDialogue:
    """A dialogue that has subscribed, with request 1."""
    talk = dialogue(*symbols, keyed=keyed, **more)
    talk.opening()
    if keyed:
        received(talk, answer(TOKEN, ACCESS))
    return talk


# Subscriptions.


def test_without_credentials_it_subscribes_at_once_for_100_ms_and_says_so_once() -> None:
    talk = dialogue("A", "B", data=BOTH)
    assert said(talk.opening()) == [
        (HEARTBEAT, "public/set_heartbeat", {"interval": 10}),
        (PLATFORM, "public/subscribe", {"channels": ["platform_state"]}),
        (
            1,
            "public/subscribe",
            {"channels": ["trades.A.100ms", "book.A.100ms", "trades.B.100ms", "book.B.100ms"]},
        ),
    ]
    outcome = received(talk, answer("ok", HEARTBEAT))
    assert outcome is not None
    assert outcome.notice == "without credentials Deribit sends trades and books every 100 ms"
    assert received(talk, answer("ok", HEARTBEAT)) is None
    assert talk.due_s == float("inf")
    assert talk.tick(1e9) == ()


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (DataKinds.TRADES, ["trades.A.100ms"]),
        (DataKinds.QUOTES, ["book.A.none.1.100ms"]),
        (DataKinds.BOOK_BY_PRICE, ["book.A.100ms"]),
        (DataKinds.TRADES | DataKinds.QUOTES, ["trades.A.100ms", "book.A.none.1.100ms"]),
        (ALL, ["trades.A.100ms", "book.A.100ms"]),
    ],
)
def test_each_kind_has_its_channel(data: DataKinds, names: list[str]) -> None:
    assert channels(dialogue("A", data=data).opening())[-1] == names


def test_quotes_alone_need_no_access() -> None:
    talk = dialogue("A", data=DataKinds.QUOTES, keyed=True)
    assert "public/auth" not in " ".join(talk.opening())
    assert received(talk, answer("ok", HEARTBEAT)) is None


def test_channels_are_confirmed_in_any_order() -> None:
    talk = opened("A", "B", data=BOTH)
    names = ["book.B.100ms", "trades.A.100ms", "book.A.100ms", "trades.B.100ms"]
    outcome = received(talk, answer(names))
    assert outcome is not None
    assert (set(outcome.confirmed), outcome.refused, outcome.answers) == ({"A", "B"}, {}, ())
    assert talk.unanswered == frozenset()
    assert received(talk, answer(names)) is None, "it was answered already"


def test_a_channel_that_the_answer_leaves_out_is_refused_and_the_symbols_others_are_left() -> None:
    talk = opened("A", "B", "C", data=BOTH)
    names = ["trades.A.100ms", "book.A.100ms", "trades.B.100ms"]
    outcome = received(talk, answer(names))
    assert outcome is not None
    assert outcome.confirmed == ("A",)
    assert outcome.refused == {
        "B": "Deribit does not subscribe to book.B.100ms",
        "C": "Deribit does not subscribe to trades.C.100ms",
    }
    assert channels(outcome.answers, "public/unsubscribe") == [["trades.B.100ms", "book.C.100ms"]]
    assert talk.unanswered == frozenset()
    assert talk.unsubscribe(("B",)) == ()


@pytest.mark.parametrize("code", [11050, 11029, -32602, 10999])
def test_a_request_that_is_refused_whole_is_repeated_in_halves(code: int) -> None:
    talk = opened("A", "B", "C")
    outcome = received(talk, refusal(code, "no"))
    assert outcome is not None
    assert (outcome.refused, outcome.confirmed) == ({}, ())
    assert channels(outcome.answers) == [["trades.A.100ms"], ["trades.B.100ms", "trades.C.100ms"]]
    (number, _, _), (other, _, _) = said(outcome.answers)
    outcome = received(talk, refusal(code, "no", number, data={"reason": "unknown instrument"}))
    assert outcome == Outcome(refused={"A": f"no ({code}): unknown instrument"})
    outcome = received(talk, answer(["trades.B.100ms", "trades.C.100ms"], other))
    assert outcome == Outcome(confirmed=("B", "C"))
    assert talk.unanswered == frozenset()


def test_a_subscription_that_timed_out_stays_unanswered() -> None:
    talk = opened("A")
    outcome = received(talk, refusal(13888, "timed_out"))
    assert outcome == Outcome(notice="Deribit did not subscribe in time: timed_out (13888)")
    assert talk.unanswered == {"A"}


@pytest.mark.parametrize(
    "message",
    [
        refusal(-32600, "request entity too large"),
        refusal(-32601, "Method not found"),
        refusal(-32700, "Parse error", None),
        refusal(11050, "bad_request", None),
        compact({"jsonrpc": "2.0", "error": {"code": 1, "message": "no id"}}),
    ],
)
def test_an_error_that_names_no_subscription_ends_the_connection(message: bytes) -> None:
    with pytest.raises(VenueRefusalError, match="the venue refuses: "):
        opened("A").receive(message, [])


@pytest.mark.parametrize("number", [1, ACCESS, HEARTBEAT, TEST, None])
def test_a_limit_ends_the_connection_for_a_minute(number: int | None) -> None:
    talk = dialogue("A", keyed=True)
    talk.opening()
    with pytest.raises(VenueBusyError, match=r"limits this address: .* \(10028\)") as caught:
        talk.receive(refusal(10028, "too_many_requests", number), [])
    assert caught.value.pause_s == 60


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (HEARTBEAT, "the heartbeat"),
        (TEST, "the answer to its test request"),
        (PLATFORM, "news of maintenance"),
        (LEAVE, "to unsubscribe"),
        (REFRESH, "to send a book anew"),
    ],
)
def test_other_requests_that_are_refused_are_noted(number: int, what: str) -> None:
    outcome = received(opened("A"), refusal(11050, "bad_request", number))
    assert outcome == Outcome(notice=f"Deribit refuses {what}: bad_request (11050)")


def test_one_symbol_more_and_one_less() -> None:
    talk = opened("A", data=BOTH)
    assert channels(talk.subscribe(("B",))) == [["trades.B.100ms", "book.B.100ms"]]
    words = talk.unsubscribe(("A", "X"))
    assert channels(words, "public/unsubscribe") == [["trades.A.100ms", "book.A.100ms"]]
    assert talk.unanswered == {"B"}
    assert received(talk, answer([], LEAVE)) is None
    assert talk.unsubscribe(("A",)) == ()


def test_the_first_subscription_of_an_empty_dialogue_greets() -> None:
    talk = dialogue()
    assert talk.opening() == ()
    assert [method for _, method, _ in said(talk.subscribe(("A",)))] == [
        "public/set_heartbeat",
        "public/subscribe",
        "public/subscribe",
    ]


def test_a_book_is_asked_for_anew_by_leaving_its_channel() -> None:
    talk = opened("A", data=BOTH)
    assert said(talk.refresh("A")) == [
        (LEAVE, "public/unsubscribe", {"channels": ["book.A.100ms"]}),
        (REFRESH, "public/subscribe", {"channels": ["book.A.100ms"]}),
    ]
    assert received(talk, answer(["book.A.100ms"], REFRESH)) is None
    assert talk.refresh("B") == ()
    assert opened("A").refresh("A") == (), "it has no book"


def test_requests_keep_to_the_limits() -> None:
    symbols = tuple(f"XRP_USDC-30JUN26-{n}d{'5' * 40}-C" for n in range(300))
    talk = dialogue(*symbols, data=BOTH)
    words = talk.opening()
    assert max(len(each.encode()) for each in words) <= Deribit().limits.request_bytes
    names = channels(words)[1:]
    assert max(map(len, names)) <= 100
    assert sum(map(len, names)) == 600


# Heartbeats and maintenance.


def test_a_test_request_is_answered_and_a_heartbeat_is_not() -> None:
    talk = opened("A")
    heartbeat = {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}}
    assert received(talk, compact(heartbeat)) is None
    outcome = received(talk, compact({**heartbeat, "params": {"type": "test_request"}}))
    assert outcome is not None
    assert said(outcome.answers) == [(TEST, "public/test", {})]
    assert received(talk, answer({"version": "1.2.26"}, TEST)) is None


def test_maintenance_pauses_and_its_end_asks_for_a_new_connection() -> None:
    talk = opened("A")
    assert received(talk, answer(["platform_state"], PLATFORM)) is None
    began = notification("platform_state", {"maintenance": True})
    ended = notification("platform_state", {"maintenance": False})
    assert received(talk, ended) is None, "it did not begin"
    assert received(talk, began) == Outcome(pauses="Deribit began its maintenance")
    assert received(talk, began) is None
    assert received(talk, ended) == Outcome(closes="Deribit ended its maintenance")


def test_a_locked_index_is_noted() -> None:
    talk = opened("A")

    def state(*, locked: object) -> bytes:
        return notification("platform_state", {"price_index": "sol_usdc", "locked": locked})

    assert received(talk, state(locked=False)) is None
    locked = Outcome(notice="Deribit locked the price index sol_usdc")
    assert received(talk, state(locked=True)) == locked
    assert received(talk, state(locked=True)) is None
    unlocked = Outcome(notice="Deribit unlocked the price index sol_usdc")
    assert received(talk, state(locked=False)) == unlocked
    assert received(talk, notification("platform_state", {"new": 1})) is None
    with pytest.raises(VenueMessageError, match="platform state of the wrong shape"):
        received(talk, state(locked="yes"))


@pytest.mark.parametrize(
    "message",
    [
        notification("ticker.A.raw", {}),
        notification("", {}),
        notification("tradesA", []),
        compact({"jsonrpc": "2.0", "method": "subscription"}),
        compact({"jsonrpc": "2.0", "method": "subscription", "params": None}),
        compact({"jsonrpc": "2.0", "method": "shout", "params": {}}),
        compact({"jsonrpc": "2.0", "id": 1}),
        compact({"jsonrpc": "2.0", "id": "1", "result": []}),
        compact({"jsonrpc": "2.0", "id": 1, "error": {"code": "1", "message": ""}}),
        answer({}),
        answer([7]),
        answer(None),
        answer([], None),
    ],
)
@pytest.mark.parametrize("keyed", [False, True])
def test_what_was_not_asked_for_and_what_makes_no_sense_is_refused(
    message: bytes, keyed: bool
) -> None:
    with pytest.raises(VenueMessageError):
        opened("A", keyed=keyed).receive(message, [])


@pytest.mark.parametrize("data", [DataKinds.TRADES, DataKinds.QUOTES])
@pytest.mark.parametrize("message", [answer(TOKEN, ACCESS), refusal(13004, "no", ACCESS)])
def test_an_answer_about_access_that_was_not_asked_for_is_refused(
    message: bytes, data: DataKinds
) -> None:
    talk = opened("A", data=data)
    with pytest.raises(VenueMessageError, match="unexpected event: an answer about access"):
        talk.receive(message, [])


def test_the_members_of_a_message_may_come_in_another_order() -> None:
    params = json.loads(trades())["params"]
    turned = compact({"params": dict(reversed(params.items())), "method": "subscription"})
    one, other = list[VenueItem](), list[VenueItem]()
    opened("A").receive(trades(), one)
    opened("A").receive(turned, other)
    assert one == other != []


# Access.


def test_with_credentials_subscriptions_wait_for_access_and_are_raw() -> None:
    talk = dialogue("A", data=BOTH, keyed=True)
    (first, access, last) = said(talk.opening())
    assert (first[1], last[2]) == ("public/set_heartbeat", {"channels": ["platform_state"]})
    assert access == (
        ACCESS,
        "public/auth",
        {
            "grant_type": "client_credentials",
            "client_id": CREDENTIALS.id,
            "client_secret": CREDENTIALS.secret,
        },
    )
    assert talk.subscribe(("B", "C")) == ()
    assert talk.unsubscribe(("C",)) == ()
    assert talk.unanswered == {"A", "B"}
    assert received(talk, answer("ok", HEARTBEAT)) is None
    outcome = received(talk, answer(TOKEN, ACCESS))
    assert outcome is not None
    assert outcome.notice is None
    assert channels(outcome.answers) == [
        ["trades.A.raw", "book.A.raw", "trades.B.raw", "book.B.raw"]
    ]
    assert talk.unanswered == {"A", "B"}
    assert channels(talk.subscribe(("D",))) == [["trades.D.raw", "book.D.raw"]]


@pytest.mark.parametrize("code", [13004, 13009, 11050])
def test_credentials_that_are_refused_fall_back_to_100_ms_with_words(code: int) -> None:
    talk = dialogue("A", keyed=True)
    talk.opening()
    outcome = received(talk, refusal(code, "invalid_credentials", ACCESS))
    assert outcome is not None
    assert outcome.notice == (
        f"Deribit refuses the credentials (invalid_credentials ({code})): "
        "trades and books come every 100 ms"
    )
    assert channels(outcome.answers) == [["trades.A.100ms"]]
    assert talk.due_s == float("inf")
    assert channels(talk.subscribe(("B",))) == [["trades.B.100ms"]]


def test_credentials_that_are_refused_are_an_error_to_an_operator_who_wants_raw_channels() -> None:
    talk = Deribit(credentials=CREDENTIALS).without_fallback().dialogue(("A",))
    talk.opening()
    outcome = received(talk, refusal(13028, "temporarily_unavailable", ACCESS))
    assert outcome is not None
    assert outcome.notice == (
        "Deribit gives no access now: temporarily_unavailable (13028); next try in 5 s"
    )
    assert talk.due_s == 5
    assert talk.unanswered == {"A"}
    assert said(talk.tick(5))[0][1] == "public/auth"
    with pytest.raises(VenueKeyError, match=r"refuses the credentials: invalid_credentials"):
        received(talk, refusal(13004, "invalid_credentials", ACCESS))


def test_later_refusals_are_no_error_to_anybody() -> None:
    talk = Deribit(credentials=CREDENTIALS).without_fallback().dialogue(("A",))
    talk.opening()
    received(talk, answer(TOKEN, ACCESS))
    talk.tick(721)
    assert received(talk, refusal(13009, "unauthorized", ACCESS)) is not None


def test_access_is_renewed_with_its_own_token_before_it_ends() -> None:
    talk = opened("A", keyed=True)
    assert talk.due_s == 720
    assert talk.tick(719.9) == ()
    (renewal,) = said(talk.tick(721))
    assert renewal[2] == {
        "grant_type": "refresh_token",
        "refresh_token": TOKEN["refresh_token"],
    }
    assert received(talk, answer({**TOKEN, "expires_in": 1_000}, ACCESS)) is None
    assert talk.due_s == 721 + 800


def test_a_request_for_access_without_an_answer_is_repeated() -> None:
    talk = dialogue("A", keyed=True)
    talk.opening()
    assert talk.due_s == 30
    assert said(talk.tick(30))[0][2]["grant_type"] == "client_credentials"
    assert talk.due_s == 60


def test_a_token_that_lives_for_nothing_is_not_renewed_all_the_time() -> None:
    talk = dialogue("A", keyed=True)
    talk.opening()
    received(talk, answer({"expires_in": 0}, ACCESS))
    assert talk.due_s == 5
    assert said(talk.tick(5))[0][2]["grant_type"] == "client_credentials", "it came without one"


def test_access_that_is_refused_later_is_asked_for_with_growing_pauses() -> None:
    talk = opened("A", keyed=True)
    now_s, pauses = 720.0, []
    for _ in range(8):
        (asked,) = said(talk.tick(now_s))
        outcome = received(talk, refusal(13009, "invalid_token", ACCESS))
        assert outcome is not None
        assert "refuses to renew the access: invalid_token (13009); next try in" in outcome.notice
        pauses.append(talk.due_s - now_s)
        now_s = talk.due_s
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert asked[2]["grant_type"] == "client_credentials", "the other token may be revoked"
    talk.tick(now_s)
    outcome = received(talk, answer(TOKEN, ACCESS))
    assert outcome == Outcome(notice="Deribit accepts the credentials again")
    assert talk.due_s == now_s + 720
    assert channels(talk.subscribe(("B",))) == [["trades.B.raw"]]


@pytest.mark.parametrize("code", [13778, 13009])
def test_raw_channels_that_are_refused_are_asked_for_at_100_ms(code: int) -> None:
    talk = opened("A", "B", keyed=True, data=BOTH)
    outcome = received(talk, refusal(code, "raw_subscriptions_not_available"))
    assert outcome is not None
    assert outcome.refused == {}
    assert f"raw_subscriptions_not_available ({code})" in outcome.notice
    ((number, _, params),) = said(outcome.answers)
    names = ["trades.A.100ms", "book.A.100ms", "trades.B.100ms", "book.B.100ms"]
    assert params == {"channels": names}
    assert talk.unanswered == {"A", "B"}
    assert channels(talk.subscribe(("C",))) == [["trades.C.100ms", "book.C.100ms"]]
    assert received(talk, answer(names, number)) == Outcome(confirmed=("A", "B"))
    assert channels(talk.refresh("A")) == [["book.A.100ms"]]


def test_a_venue_that_refuses_100_ms_too_refuses_the_symbols() -> None:
    talk = opened("A", "B")
    outcome = received(talk, refusal(13778, "raw"))
    assert outcome == Outcome(refused={"A": "raw (13778)", "B": "raw (13778)"})
    assert received(talk, refusal(13778, "raw")) is None
    assert talk.unanswered == frozenset()


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"expires_in": "900"},
        {"expires_in": -1},
        {"expires_in": 10**400},
        {**TOKEN, "refresh_token": 7},
    ],
)
def test_a_token_of_the_wrong_shape_is_refused(odd: dict[str, object]) -> None:
    talk = dialogue("A", keyed=True)
    talk.opening()
    with pytest.raises(VenueMessageError, match="token of the wrong shape"):
        talk.receive(answer(odd, ACCESS), [])
    assert talk.unanswered == {"A"}


def test_no_secret_is_in_any_words() -> None:
    granted = answer(TOKEN, ACCESS)
    echo = f"unknown {CREDENTIALS.id} {CREDENTIALS.secret} "
    renewal = echo + str(TOKEN["refresh_token"])
    messages = [
        *(granted[:length] for length in range(len(granted))),
        *(granted[:place] + b"\xff" + granted[place + 1 :] for place in range(len(granted))),
        answer({**TOKEN, "expires_in": TOKEN["access_token"]}, ACCESS),
        *(refusal(code, echo, ACCESS, data={"reason": echo}) for code in (13004, 10028, 1)),
        *(refusal(code, "x" * 190 + echo, 1) for code in (13778, 11050, 13888, -32600)),
        *(
            compact({"result": TOKEN, **json.loads(notification(channel, [{}]))})
            for channel in ("trades.A.raw", "book.A.raw", "ticker.A.raw")
        ),
    ]
    words: list[str] = []
    for is_open in (False, True):
        more = [refusal(13009, renewal, ACCESS, data={"reason": renewal})] if is_open else []
        for message in messages + more:
            talk = opened("A", keyed=True) if is_open else dialogue("A", keyed=True)
            talk.opening()
            words += [repr(talk), str(vars(talk).values())]
            try:
                outcome = talk.receive(message, [])
            except VenueError as error:
                words.append(repr(error) + str(error))
            else:
                said_back = () if outcome is None else outcome.answers
                assert "public/auth" not in " ".join(said_back)
                words.append(str(outcome))
    everything = " ".join(words)
    assert not [each for each in SECRETS if each in everything]
    assert "W0H6FJ" not in everything, "not a part of it either"
    assert "***" in everything


def test_a_secret_is_hidden_in_the_form_of_a_request_too() -> None:
    secrets = Credentials(id="i\\d", secret='p"w')
    talk = Deribit(credentials=secrets).dialogue(("A",))
    request = next(each for each in talk.opening() if "public/auth" in each)
    outcome = received(talk, refusal(13004, request, ACCESS))
    assert outcome is not None
    assert '"client_id":"***","client_secret":"***"' in outcome.notice
