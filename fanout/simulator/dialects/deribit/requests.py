"""JSON-RPC requests on Deribit's stream, as a pure function of a session and a message.

    {"jsonrpc":"2.0","id":42,"method":"public/subscribe","params":{"channels":["book.X.raw"]}}
    {"jsonrpc":"2.0","id":42,"result":["book.X.raw"],"usIn":...,"usOut":...,"usDiff":...}

Any credentials are good: the simulator has no accounts. A subscription to `raw` without access is
refused whole (recorded in 2026), and a channel that does not exist is missing in the result, as
clients report. Errors have the documented codes.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fanout.simulator.dialects.base import Answer, Mood, Session

PLATFORM: Final = "platform_state"
LIFE_S: Final = 900
MAX_BYTES: Final = 32_000
LEAST_HEARTBEAT_S: Final = 10

_INVALID_REQUEST: Final = -32600
_NO_METHOD: Final = -32601
_INVALID_PARAMS: Final = -32602
_PARSE_ERROR: Final = -32700
_BAD_REQUEST: Final = 11050
_INVALID_CREDENTIALS: Final = 13004
_UNAUTHORIZED: Final = 13009
_RAW: Final = (13778, "raw_subscriptions_not_available_for_unauthorized")


class Own(msgspec.Struct, frozen=True):
    """The state of a connection: whether it has access, which refresh token is good, and how often
    it wants heartbeats."""

    is_authorized: bool = False
    refresh_token: str = ""
    heartbeat_s: float | None = None


class _Request(msgspec.Struct):
    method: str
    id: int | None = None
    params: dict[str, Any] = {}


class _RefusedError(Exception):
    """A request that is answered with an error. It never leaves this file."""

    def __init__(self, code: int, message: str, refused: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.refused = code, message, refused


_decode = msgspec.json.Decoder(_Request).decode


def answer(session: Session, text: str, now_ms: int, mood: Mood) -> Answer:
    request = _Request("")
    try:
        if len(text) > MAX_BYTES:
            raise _RefusedError(_INVALID_REQUEST, "request entity too large")
        request = _parsed(text)
        method = _METHODS.get(request.method)
        if method is None:
            raise _RefusedError(_NO_METHOD, "Method not found")
        return method(session, request, now_ms, mood)
    except _RefusedError as refused:
        error = {"code": refused.code, "message": refused.message}
        reply = _reply(request, now_ms, error=error)
        return Answer((reply,), session, refused=refused.refused)


def deprived(session: Session) -> Answer | None:
    """The session without its access. Deribit sends nothing, and its channels stay."""
    own = _own(session)
    if not own.is_authorized:
        return None
    own = msgspec.structs.replace(own, is_authorized=False, refresh_token="")
    return Answer((), msgspec.structs.replace(session, own=own))


def _parsed(text: str) -> _Request:
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        raise _RefusedError(_INVALID_REQUEST, "Invalid request") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise _RefusedError(_PARSE_ERROR, "Parse error") from error


def _test(session: Session, request: _Request, now_ms: int, mood: Mood) -> Answer:
    return Answer((_reply(request, now_ms, result={"version": "1.2.26"}),), session)


def _set_heartbeat(session: Session, request: _Request, now_ms: int, mood: Mood) -> Answer:
    interval = request.params.get("interval")
    if type(interval) is not int or interval < LEAST_HEARTBEAT_S:
        raise _RefusedError(_INVALID_PARAMS, "Invalid params")
    own = msgspec.structs.replace(_own(session), heartbeat_s=float(interval))
    session = msgspec.structs.replace(session, own=own)
    return Answer((_reply(request, now_ms, result="ok"),), session)


def _auth(session: Session, request: _Request, now_ms: int, mood: Mood) -> Answer:
    own, params = _own(session), request.params
    match params.get("grant_type"):
        case "client_credentials":
            is_good = bool(params.get("client_id") and params.get("client_secret"))
            if not is_good or mood.auth in ("reject", "revoke"):
                raise _RefusedError(_INVALID_CREDENTIALS, "invalid_credentials")
        case "refresh_token":
            is_good = params.get("refresh_token") == own.refresh_token != ""
            if not is_good or mood.auth in ("expire", "revoke"):
                raise _RefusedError(_UNAUTHORIZED, "unauthorized")
        case _:
            raise _RefusedError(_INVALID_PARAMS, "Invalid params")
    token = f"{now_ms}.1GP4rQd0.refresh"
    result = {
        "access_token": f"{now_ms}.1MbQ-J_4.access",
        "expires_in": LIFE_S,
        "refresh_token": token,
        "scope": "connection mainaccount",
        "enabled_features": [],
        "token_type": "bearer",
    }
    own = msgspec.structs.replace(own, is_authorized=True, refresh_token=token)
    session = msgspec.structs.replace(session, own=own)
    return Answer((_reply(request, now_ms, result=result),), session)


def _subscribe(session: Session, request: _Request, now_ms: int, mood: Mood) -> Answer:
    names = _channels(request)
    bad = {name: how for name in names if (how := mood.refused.get(_symbol(name))) is not None}
    refused = tuple(sorted({_symbol(name) for name in bad}))
    if "request" in bad.values():
        raise _RefusedError(_BAD_REQUEST, "bad_request", refused)
    if any(name.endswith(".raw") for name in names) and not _own(session).is_authorized:
        raise _RefusedError(*_RAW)
    good = [name for name in names if name not in bad and (name == PLATFORM or mood.has(name))]
    streams = tuple(dict.fromkeys((*session.streams, *good)))
    reply = _reply(request, now_ms, result=sorted(good, reverse=True))
    return Answer(
        (reply,),
        msgspec.structs.replace(session, streams=streams),
        greeted=tuple(name for name in good if name not in session.streams),
        refused=refused,
    )


def _unsubscribe(session: Session, request: _Request, now_ms: int, mood: Mood) -> Answer:
    gone = set(_channels(request))
    streams = tuple(name for name in session.streams if name not in gone)
    reply = _reply(request, now_ms, result=[name for name in session.streams if name in gone])
    return Answer((reply,), msgspec.structs.replace(session, streams=streams))


_METHODS: Final[dict[str, Callable[[Session, _Request, int, Mood], Answer]]] = {
    "public/auth": _auth,
    "public/set_heartbeat": _set_heartbeat,
    "public/subscribe": _subscribe,
    "public/test": _test,
    "public/unsubscribe": _unsubscribe,
}


def _channels(request: _Request) -> list[str]:
    channels = request.params.get("channels")
    if not isinstance(channels, list) or not all(isinstance(each, str) for each in channels):
        raise _RefusedError(_INVALID_PARAMS, "Invalid params")
    return channels


def _symbol(name: str) -> str:
    return name.split(".")[1] if "." in name else name


def _own(session: Session) -> Own:
    assert isinstance(session.own, Own), "every session of this dialect has one"
    return session.own


def _reply(request: _Request, now_ms: int, **content: Any) -> str:
    known = {} if request.id is None else {"id": request.id}
    in_us = now_ms * 1_000
    times = {"usIn": in_us, "usOut": in_us + 114, "usDiff": 114, "testnet": False}
    return msgspec.json.encode({"jsonrpc": "2.0", **known, **content, **times}).decode()
