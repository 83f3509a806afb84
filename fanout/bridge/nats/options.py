"""What a bridge to NATS is told."""

from typing import Final

import msgspec

from fanout.clients.nats_client import NatsAddress, parse_address
from fanout.clients.outcomes import AddressError
from fanout.protocol.jetstream import prefix_fault

MAX_REPLICAS: Final = 5
"""What JetStream allows."""


class NatsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the streams are, and how they are to be. Times are in seconds."""

    url: str
    creds: str | None = None
    """File with the credentials of a NATS account."""
    tls_ca: str | None = None
    """Certificates to trust (PEM), instead of the system's."""
    prefix: str = "fanout"
    replicas: int = 1
    max_age_s: int = 86_400
    max_bytes: int = 10 * 1024**3
    by_symbol: bool = False
    """One message for each symbol of a block."""
    apply: bool = False
    """Change the settings of a stream that is there."""

    def __repr__(self) -> str:
        return f"<NatsOptions of {self.server}>"

    @property
    def address(self) -> NatsAddress:
        """The servers of `url`. Raises `AddressError`."""
        return parse_address(self.url)

    @property
    def server(self) -> str:
        """The servers as they may be shown: without a password."""
        return self.address.shown

    def fault(self) -> str | None:
        """What is wrong with them; None if nothing is."""
        try:
            address = self.address
        except AddressError as error:
            return f"--url: {error}"
        if address.channel:
            return f"--url {address.shown} names a channel: leave it out"
        if self.tls_ca is not None and not address.is_tls:
            return f"--tls-ca is for TLS, and --url {address.shown} is without: use nats+tls://"
        fault = prefix_fault(self.prefix)
        if fault:
            return f"--prefix {fault}"
        if not 1 <= self.replicas <= MAX_REPLICAS:
            return f"--replicas {self.replicas} is out of range: 1 to {MAX_REPLICAS}"
        return None
