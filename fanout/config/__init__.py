"""The configuration of a run: frozen values, checked before anything opens."""

from typing import Annotated, Final, Protocol

import msgspec

from fanout.config.options import Kind, Option, check_range
from fanout.config.secret import Secret
from fanout.errors import UsageError
from fanout.net.addresses import check_port, check_proxy, check_url, is_host
from fanout.venues import VENUES

VENUE_NAMES: Final = tuple(VENUES)

DEFAULT_ASSETS: Final = ("BTCUSDT", "ETHUSDT")
DEFAULT_LOG_BYTES: Final = 64 * 1024 * 1024
MIN_LOG_BYTES: Final = 64 * 1024
"""Room for a few of the largest frames."""

STREAMS: Final = ("auto", "trade", "aggTrade")
"""What to take: single trades with aggregates to fall back to, or one of them only."""

MAX_CONNECTIONS: Final = 4


class TransportConfig(Protocol):
    """The configuration of any transport: a frozen struct whose fields are its options."""

    @property
    def claim(self) -> str:
        """What no second transport may have too, in words; empty if there is no such thing."""
        ...

    def warnings(self) -> list[str]:
        """What the operator should know before the start."""
        ...


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange is listened to.

    `stream` is one of `STREAMS`; `connections` run at once, and each is replaced when it is
    `rotate_after_s` old, before the exchange cuts it. A symbol without a trade within
    `first_trade_timeout_s` is told, and with `strict` the service ends. One that is `patient` waits
    at its start for a venue that limits or bans, and does not end. `proxy` is a URL; None
    leaves it to the environment. `api_key` lets trades be asked for by their ids.
    """

    stream: Annotated[
        str,
        Option(
            "trade, aggTrade, or auto: trades, and aggregates where those stay silent.",
            choices=STREAMS,
        ),
    ] = "auto"
    connections: Annotated[
        int, Option("Connections to the exchange at once; the first to bring a trade wins.")
    ] = 1
    rotate_after_s: Annotated[
        float,
        Option(
            "Seconds after which a connection is replaced, without a break; the exchange cuts it "
            "after 24 hours."
        ),
    ] = 23 * 3600.0
    first_trade_timeout_s: Annotated[
        float, Option("Seconds after which a symbol without a trade is called stale.")
    ] = 20.0
    strict: Annotated[bool, Option("End with exit code 69 if that happens.")] = False
    patient: Annotated[
        bool,
        Option("At the start, wait for an exchange that limits or bans; else that ends it, 75."),
    ] = False
    proxy: Annotated[
        str | None,
        Option(
            "Way to the exchange: http://HOST:PORT or socks5://HOST:PORT. "
            "\\[default: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY]",
            metavar="URL",
        ),
    ] = None
    api_key: Secret | None = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise UsageError(f"--stream {self.stream!r}: {', '.join(STREAMS)}")
        check_range("--connections", self.connections, 1, MAX_CONNECTIONS)
        check_range("--rotate-after", self.rotate_after_s, 60, 24 * 3600)
        check_range("--first-trade-timeout", self.first_trade_timeout_s, 1, 24 * 3600)
        check_proxy("--proxy", self.proxy)


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service answers questions about itself: metrics, health, status. Port 0 takes a
    free one."""

    port: Annotated[
        int,
        Option(
            "Answer /metrics, /healthz, /readyz and /status there; 0 takes a free port. "
            "\\[default: off]",
            flag="--http-port",
            default=None,
        ),
    ] = 0
    host: Annotated[str, Option("Address to answer on.", flag="--http-host")] = "127.0.0.1"

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise UsageError(f"--http-host {self.host!r}: no host; 127.0.0.1 is this machine only")


class SimConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The built-in simulator that `--venue sim` runs beside the service."""

    rate: float = 200.0
    seed: int = 0


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the service.

    `ws_url` and `rest_url` point the venue elsewhere; None leaves its own. `sim` is None unless
    the venue is the simulator inside the service. `http` None answers no questions.
    """

    assets: Annotated[
        tuple[str, ...],
        Option(
            "Symbols, up to ten, comma-separated or repeated.",
            metavar="SYMBOL,...",
            default=DEFAULT_ASSETS,
        ),
    ]
    transports: tuple[TransportConfig, ...]
    venue: Annotated[
        str, Option(f"Where trades come from: {', '.join(VENUE_NAMES)}.", choices=VENUE_NAMES)
    ] = "binance"
    ws_url: Annotated[str | None, Option("WebSocket base URL instead of the venue's.")] = None
    rest_url: Annotated[str | None, Option("REST base URL instead of the venue's.")] = None
    feed: FeedConfig = msgspec.field(default_factory=FeedConfig)
    log_bytes: Annotated[
        int,
        Option(
            "Memory for what slow clients have not read yet: bytes, or KiB, MiB, GiB.",
            flag="--log-bytes",
            kind=Kind.SIZE,
        ),
    ] = DEFAULT_LOG_BYTES
    sim: SimConfig | None = None
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        check_url("--ws-url", self.ws_url, ("ws", "wss"))
        check_url("--rest-url", self.rest_url, ("http", "https"))
        claims = [each.claim for each in self.transports if each.claim]
        for claim in claims:
            if claims.count(claim) > 1:
                raise UsageError(f"{claim} is asked for twice: one for each consumer")
        if self.log_bytes < MIN_LOG_BYTES:
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {MIN_LOG_BYTES:,}")
