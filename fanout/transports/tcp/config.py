"""The configuration of the TCP transport, and its options."""

from typing import Annotated

from fanout.config import TransportConfig
from fanout.config.options import Kind, Option
from fanout.config.ranges import check_range
from fanout.config.secret import Secret
from fanout.errors import BindError, UsageError
from fanout.net.addresses import check_port, is_host, serves_loopback
from fanout.protocol.constants import WIRE_VERSION


class TcpConfig(TransportConfig, frozen=True, kw_only=True):
    """Where the TCP transport listens, whom it serves, and how.

    `accept_rate` is in connections a second. A lapped reader goes on live if what the log still
    has is older than `max_lag_s`. `stall_timeout_s` limits how long a reader may take nothing, and
    how long a dead connection may stay unnoticed.
    """

    port: Annotated[
        int, Option("Port to listen on; 0 takes a free one.", env="FANOUT_TCP_PORT")
    ] = 9000
    host: Annotated[
        str,
        Option("Address to listen on; 0.0.0.0 opens it to the network.", env="FANOUT_TCP_HOST"),
    ] = "127.0.0.1"
    token: Annotated[
        Secret | None,
        Option(
            "File with the token that clients have to know; or set FANOUT_TOKEN.",
            flag="--token-file",
            env="FANOUT_TOKEN_FILE",
            metavar="FILE",
            kind=Kind.TOKEN,
        ),
    ] = None
    tls_cert: Annotated[
        str | None,
        Option("Speak TLS, with this certificate (PEM).", env="FANOUT_TLS_CERT", metavar="FILE"),
    ] = None
    tls_key: Annotated[
        str | None, Option("Its key (PEM).", env="FANOUT_TLS_KEY", metavar="FILE")
    ] = None
    max_clients: Annotated[int, Option("Clients served at once.", env="FANOUT_MAX_CLIENTS")] = 500
    max_per_address: Annotated[
        int,
        Option("Clients of one address at once; 0 sets no limit.", env="FANOUT_MAX_PER_ADDRESS"),
    ] = 0
    accept_rate: Annotated[float, Option("New connections a second.", env="FANOUT_ACCEPT_RATE")] = (
        500.0
    )
    stall_timeout_s: Annotated[
        float,
        Option(
            "Seconds after which a client that takes nothing, or is gone, is closed.",
            env="FANOUT_STALL_TIMEOUT",
        ),
    ] = 30.0
    max_lag_s: Annotated[
        float,
        Option(
            "A client that fell off the log goes on at its oldest block, or live if that is older "
            "than so many seconds.",
            env="FANOUT_MAX_LAG",
        ),
    ] = 60.0
    wire: Annotated[
        int, Option("2, or 1 for the clients of perp_signal_hft.", env="FANOUT_WIRE")
    ] = WIRE_VERSION

    def __post_init__(self) -> None:
        check_port(self.port)
        if not is_host(self.host):
            raise BindError(
                f"cannot listen on {self.host!r}: no host; 127.0.0.1 is this machine only"
            )
        if self.wire not in (1, WIRE_VERSION):
            raise UsageError(f"--wire {self.wire}: 1, or {WIRE_VERSION}")
        check_range("--max-clients", self.max_clients, 1, 1_000_000)
        check_range("--max-per-address", self.max_per_address, 0, 1_000_000)
        check_range("--accept-rate", self.accept_rate, 1, 1_000_000)
        check_range("--stall-timeout", self.stall_timeout_s, 0.1, 86_400)
        check_range("--max-lag", self.max_lag_s, 0, 86_400)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise UsageError("--tls-cert and --tls-key go together: the certificate and its key")
        if self.wire == 1 and self.token is not None:
            raise UsageError(
                "--wire 1 has no place for a token (--token-file, FANOUT_TOKEN): take --wire 2"
            )

    @property
    def is_open(self) -> bool:
        """Whether the service serves anybody who reaches it over a network."""
        return not (serves_loopback(self.host) or self.token)

    @property
    def is_overheard(self) -> bool:
        """Whether clients send the token over a network in clear text."""
        return bool(self.token) and not (serves_loopback(self.host) or self.tls_cert)

    def warnings(self) -> list[str]:
        """See `TransportConfig.warnings`."""
        words = []
        if self.is_open:
            words.append(
                f"{self.host} is open to the network: whoever reaches it gets the trades; "
                "--token-file would close it, and --tls-cert keep the token secret"
            )
        if self.is_overheard:
            words.append(
                f"{self.host} is open to the network, and the token is sent in clear text: "
                "--tls-cert would hide it"
            )
        return words
