"""What a bridge to NATS is told."""

from typing import Final
from urllib.parse import urlsplit

import msgspec

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

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers of a cluster, any of which will do."""
        return tuple(filter(None, (each.strip() for each in self.url.split(","))))

    @property
    def server(self) -> str:
        """The servers as they may be shown: without a password."""
        parts = (each.partition("://") for each in self.urls)
        return ",".join(f"{scheme}{sep}{rest.rpartition('@')[2]}" for scheme, sep, rest in parts)

    @property
    def is_tls(self) -> bool:
        return any(each.startswith("tls://") for each in self.urls)

    def fault(self) -> str | None:
        """What is wrong with them; None if nothing is."""
        if not self.urls or not all(map(_is_address, self.urls)):
            return f"--url {self.server} is not an address: use nats://HOST:4222 or tls://HOST:4222"
        if self.tls_ca is not None and not self.is_tls:
            return f"--tls-ca is for TLS, and --url {self.server} is without: use tls://HOST:4222"
        fault = prefix_fault(self.prefix)
        if fault:
            return f"--prefix {fault}"
        if not 1 <= self.replicas <= MAX_REPLICAS:
            return f"--replicas {self.replicas} is out of range: 1 to {MAX_REPLICAS}"
        return None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
