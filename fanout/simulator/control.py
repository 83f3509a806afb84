"""The control endpoint: faults over HTTP, for tests in other processes and for curl.

    GET  /control                  connections, standing faults, and all faults there are
    GET  /control/<fault>          what it does, and the values its fields take
    POST /control/<fault>          inject it: fields in the query, or as JSON in the body
    POST /control/clear            end all standing faults
    POST /control/release          let a held market open
    GET  /control/issued           ?symbol=BTCUSDT[&stream=trade][&after=<id>]: ranges of ids
    GET  /control/withheld         the same for ids that no stream has sent

Answers are JSON. An invalid request gets a 4xx with an `error`. Requests have no weight, and faults
do not affect them. Like the rest of the simulator, it serves every client that reaches the port.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fanout.errors import UsageError
from fanout.protocol.errors import FanoutError
from fanout.simulator.connection.http import Request, Response
from fanout.simulator.faults import FAULTS, Fault
from fanout.simulator.faults.fields import described, fault_from
from fanout.simulator.faults.injector import FaultInjector
from fanout.simulator.market.ledger import IdRange
from fanout.simulator.market.ticks import StreamKind

PREFIX: Final = "/control"
USAGE: Final = (
    "GET /control/<fault>",
    "POST /control/<fault>?<field>=<value>",
    "POST /control/clear",
    "POST /control/release",
    "GET /control/issued?symbol=BTCUSDT[&stream=trade][&after=<id>]",
    "GET /control/withheld?symbol=BTCUSDT[&stream=trade][&after=<id>]",
)

Accounts = Callable[[str, StreamKind, int | None], tuple[IdRange, ...]]
"""Takes a symbol, a kind of stream and an id. Returns the ids above that one, as ranges."""


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    symbol: str
    stream: StreamKind = "trade"
    after: int | None = None


class Control:
    """`issued` and `withheld` look up the exchange's ids. `release` opens its market."""

    def __init__(
        self,
        faults: FaultInjector,
        *,
        issued: Accounts,
        withheld: Accounts,
        release: Callable[[], None],
    ) -> None:
        self._faults = faults
        self._accounts = {"issued": issued, "withheld": withheld}
        self._actions = {"clear": faults.clear, "release": release}

    def respond(self, request: Request) -> Response:
        try:
            status, answer = self._respond(request)
        except FanoutError as error:
            status, answer = 400, {"error": str(error)}
        body = msgspec.json.encode(answer)
        # Only objects are indented for reading: a list may be long.
        return Response(status, body if isinstance(answer, list) else msgspec.json.format(body))

    def _respond(self, request: Request) -> tuple[int, Any]:
        name = request.path.removeprefix(PREFIX).strip("/")
        match request.method:
            case "GET" if not name:
                return 200, self._state()
            case "GET" if name in FAULTS:
                return 200, {"does": _does(FAULTS[name]), "fields": described(FAULTS[name])}
            case "GET" if name in self._accounts:
                return 200, self._ranges(name, request)
            case "POST" if name in FAULTS:
                fault = fault_from(name, _fields(request))
                self._faults.inject(fault)
                return 200, fault
            case "POST" if name in self._actions:
                self._actions[name]()
                return 200, {}
        what = f"{request.method} {request.path} is unknown; GET {PREFIX} lists all requests"
        return 404, {"error": what}

    def _ranges(self, name: str, request: Request) -> list[Any]:
        try:
            wanted = msgspec.convert(request.query, _Wanted, strict=False)
        except msgspec.ValidationError as error:
            takes = "symbol, stream (trade or aggTrade) and after (an id)"
            raise UsageError(f"{request.path} takes {takes}: {error}") from error
        ranges = self._accounts[name](wanted.symbol, wanted.stream, wanted.after)
        return [(each.first_id, each.last_id, each.kind) for each in ranges]

    def _state(self) -> dict[str, Any]:
        return {
            "connections": self._faults.connections,
            "standing": self._faults.standing,
            "usage": USAGE,
            "faults": {name: _does(kind).partition(".")[0] for name, kind in FAULTS.items()},
        }


def _fields(request: Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any]) if request.body else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"the body is not a JSON object of fields: {error}") from error
    return request.query | body


def _does(kind: type[Fault]) -> str:
    return " ".join((kind.__doc__ or "").split())
