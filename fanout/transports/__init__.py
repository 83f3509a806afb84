"""The transports, and which there are."""

from typing import Final

from fanout.config import TcpConfig, TransportConfig
from fanout.transports.base import Broadcast, Transport
from fanout.transports.tcp import TcpTransport

TRANSPORTS: Final = {TcpConfig: TcpTransport}
"""By the type of their configuration."""


def make_transport(config: TransportConfig) -> Transport:
    """The transport that a configuration asks for."""
    return TRANSPORTS[type(config)](config)


__all__ = ["TRANSPORTS", "Broadcast", "Transport", "make_transport"]
