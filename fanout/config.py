"""The configuration of a run: frozen values, checked before anything opens."""

import hmac
import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from fanout.errors import BindError, UsageError
from protocol.constants import MAX_SYMBOL_BYTES, WIRE_VERSION
from protocol.errors import LimitExceededError
from protocol.ring_file import DIRECTORY, name_fault
from protocol.ring_page import check_capacity

MAX_ASSETS: Final = 10
"""Symbols that one service subscribes to."""

DEFAULT_ASSETS: Final = ("BTCUSDT", "ETHUSDT")
DEFAULT_LOG_BYTES: Final = 64 * 1024 * 1024
MIN_LOG_BYTES: Final = 64 * 1024
"""Room for a few of the largest frames."""

STREAMS: Final = ("auto", "trade", "aggTrade")
"""What to take: single trades with aggregates to fall back to, or one of them only."""

MAX_CONNECTIONS: Final = 4
PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")

MAX_TOKEN_BYTES: Final = 1_024
"""A token travels in a request of at most 4 KiB."""


class Secret:
    """Words that are shown nowhere: neither printed nor logged nor in a traceback."""

    def __init__(self, text: str) -> None:
        """Raises `UsageError` for what cannot be a token."""
        if not text or len(text.encode(errors="replace")) > MAX_TOKEN_BYTES:
            raise UsageError(
                f"a token of {len(text)} characters: 1 to {MAX_TOKEN_BYTES} are needed"
            )
        if not all("!" <= each <= "~" for each in text):
            raise UsageError("a token is letters, digits and signs of ASCII, without blanks")
        self._text = text

    def matches(self, given: str) -> bool:
        """Whether they are the same words, in a time that does not tell where they differ."""
        return hmac.compare_digest(self._text.encode(), given.encode(errors="replace"))

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"


class TcpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the TCP transport listens, whom it serves, and how.

    Port 0 takes a free one. `max_per_address` 0 sets no limit. `accept_rate` is in connections a
    second, `max_lag_s` the age beyond which a lapped reader is not sent what is kept but goes on
    live, `stall_timeout_s` how long a reader may take nothing, or a dead connection stay unnoticed.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    wire: int = WIRE_VERSION
    max_clients: int = 500
    max_per_address: int = 0
    accept_rate: float = 500.0
    stall_timeout_s: float = 30.0
    max_lag_s: float = 60.0
    token: Secret | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise BindError(
                f"cannot listen on {self.host!r}: no host; 127.0.0.1 is this machine only"
            )
        if self.wire not in (1, WIRE_VERSION):
            raise UsageError(f"--wire {self.wire}: 1, or {WIRE_VERSION}")
        _check_range("--max-clients", self.max_clients, 1, 1_000_000)
        _check_range("--max-per-address", self.max_per_address, 0, 1_000_000)
        _check_range("--accept-rate", self.accept_rate, 1, 1_000_000)
        _check_range("--stall-timeout", self.stall_timeout_s, 0.1, 86_400)
        _check_range("--max-lag", self.max_lag_s, 0, 86_400)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together: the certificate and its key")
        if self.wire == 1 and self.token is not None:
            raise UsageError(
                "--wire 1 has no place for a token (--token-file, FANOUT_TOKEN): take --wire 2"
            )

    @property
    def is_open(self) -> bool:
        """Whether anybody who reaches it over a network is served."""
        return not (is_loopback(self.host) or self.token)

    @property
    def is_overheard(self) -> bool:
        """Whether its token passes over a network as it is."""
        return bool(self.token) and not (is_loopback(self.host) or self.tls_cert)


def _check_range(flag: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # NaN included
        raise UsageError(f"{flag} {value:g}: {low:g} to {high:,.0f}")


class ShmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A queue in shared memory. `keep` leaves its file when the service ends."""

    name: str
    capacity_bytes: int = 1024 * 1024
    keep: bool = False
    directory: str = DIRECTORY

    def __post_init__(self) -> None:
        fault = name_fault(self.name)
        if fault:
            raise UsageError(f"--name {self.name[:40]!r}: {fault}")
        try:
            check_capacity(self.capacity_bytes)
        except LimitExceededError as error:
            raise UsageError(f"--capacity: {error}") from error


TransportConfig = TcpConfig | ShmConfig


class FeedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange is listened to.

    `stream` is one of `STREAMS`; `connections` run at once, and each is replaced when it is
    `rotate_after_s` old, before the exchange cuts it. A symbol without a trade within
    `first_trade_timeout_s` is told, and with `strict` the service ends. One that is `patient` waits
    at its start for a venue that limits or bans, and does not end. `proxy` is a URL; None
    leaves it to the environment. `api_key` lets trades be asked for by their ids.
    """

    stream: str = "auto"
    connections: int = 1
    rotate_after_s: float = 23 * 3600.0
    first_trade_timeout_s: float = 20.0
    strict: bool = False
    patient: bool = False
    proxy: str | None = None
    api_key: Secret | None = None

    def __post_init__(self) -> None:
        if self.stream not in STREAMS:
            raise UsageError(f"--stream {self.stream!r}: {', '.join(STREAMS)}")
        _check_range("--connections", self.connections, 1, MAX_CONNECTIONS)
        _check_range("--rotate-after", self.rotate_after_s, 60, 24 * 3600)
        _check_range("--first-trade-timeout", self.first_trade_timeout_s, 1, 24 * 3600)
        check_proxy("--proxy", self.proxy)


class HttpConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the service answers questions about itself: metrics, health, status. Port 0 takes a
    free one."""

    host: str = "127.0.0.1"
    port: int = 0

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

    assets: tuple[str, ...]
    transports: tuple[TransportConfig, ...]
    venue: str = "binance"
    ws_url: str | None = None
    rest_url: str | None = None
    log_bytes: int = DEFAULT_LOG_BYTES
    feed: FeedConfig = msgspec.field(default_factory=FeedConfig)
    sim: SimConfig | None = None
    http: HttpConfig | None = None

    def __post_init__(self) -> None:
        check_url("--ws-url", self.ws_url, ("ws", "wss"))
        check_url("--rest-url", self.rest_url, ("http", "https"))
        names = [each.name for each in self.transports if isinstance(each, ShmConfig)]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"queue {name} is asked for twice: one for each consumer")
        if self.log_bytes < MIN_LOG_BYTES:
            raise UsageError(f"--log-bytes {self.log_bytes:,}: at least {MIN_LOG_BYTES:,}")


def parse_assets(values: Iterable[str]) -> tuple[str, ...]:
    """The symbols of a service, from words as `split_symbols` takes them.

    Raises `UsageError` for none, one twice, one that cannot be a symbol, and more than
    `MAX_ASSETS`.
    """
    assets = split_symbols(values)
    for asset in assets:
        _check_asset(asset)
        if assets.count(asset) > 1:
            raise UsageError(f"{asset} is asked for twice: name each symbol once")
    if not assets:
        raise UsageError("no symbol: --assets BTCUSDT,ETHUSDT")
    if len(assets) > MAX_ASSETS:
        raise UsageError(
            f"{len(assets)} symbols: one service takes up to {MAX_ASSETS}, a second one the rest"
        )
    return assets


def split_symbols(values: Iterable[str]) -> tuple[str, ...]:
    """Symbols in upper case from words that may each hold several, with commas or blanks between
    them, as a shell, an environment variable or a file happen to have them."""
    return tuple(" ".join(values).replace(",", " ").upper().split())


def _check_asset(asset: str) -> None:
    if not asset.replace("_", "").isalnum() or len(asset.encode()) > MAX_SYMBOL_BYTES:
        raise UsageError(f"{asset[:40]!r} cannot be a symbol: letters and digits, like BTCUSDT")


def check_port(port: int) -> None:
    """Raises `UsageError` for what is not a TCP port."""
    if not 0 <= port <= 65_535:
        raise UsageError(f"port {port}: 0 to 65535, where 0 takes a free one")


def check_url(
    flag: str, url: str | None, schemes: tuple[str, ...], *, has_login: bool = False
) -> None:
    """Raises `UsageError` unless `url` is None or an absolute URL of one of `schemes`, without a
    name and password, which logs would show, unless it `has_login`."""
    if url is None:
        return
    if "@" in url and not has_login:
        raise UsageError(f"{flag}: a URL with a name or password in it: leave them out")
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in schemes
            and is_host(parts.hostname or "")
            and parts.port != 0
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{flag} {url!r}: {' or '.join(schemes)}://HOST[:PORT] is needed")


def check_proxy(source: str, url: str | None) -> None:
    """The same for a proxy's URL, which has a port, and maybe a password not to be shown."""
    try:
        check_url(source, url, PROXY_SCHEMES, has_login=True)
        is_whole = url is None or urlsplit(url).port is not None
    except UsageError:
        is_whole = False
    if not is_whole:
        schemes = " or ".join(f"{each}://" for each in PROXY_SCHEMES)
        raise UsageError(f"{source} cannot be used: {schemes}HOST:PORT is needed")


def shown_proxy(url: str) -> str:
    """A proxy's URL without the password that may be in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_host(text: str) -> bool:
    """Whether text can be a host's name or address at all."""
    try:
        return bool(text.encode("idna"))
    except UnicodeError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_UNITS: Final = {"": 1, "B": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}


def parse_size(text: str) -> int:
    """Bytes from `1048576`, `64KiB`, `1MiB` or `2GiB`. Raises `UsageError` for anything else."""
    digits = text.strip().rstrip("BbGgIiKkMm ")
    unit = text.strip()[len(digits) :].strip().upper()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15) or unit not in _UNITS:
        raise UsageError(f"{text!r} is not a size: bytes, or a number with KiB, MiB or GiB")
    return int(digits) * _UNITS[unit]
