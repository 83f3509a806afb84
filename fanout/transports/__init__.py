"""The transports, and which there are."""

from fanout.config import ShmConfig, TcpConfig, TransportConfig
from fanout.transports.base import Transport
from fanout.transports.shm import ShmTransport
from fanout.transports.tcp import TcpTransport


def make_transport(config: TransportConfig) -> Transport:
    """The transport that a configuration asks for. A new one is a line here."""
    match config:
        case TcpConfig():
            return TcpTransport(config)
        case ShmConfig():
            return ShmTransport(config)


__all__ = ["Transport", "make_transport"]
