"""The TCP transport. `TcpTransport` is all that others need.

transport    listens, and hands each news to all clients
admission    who finds a place
greeting     TLS, and what a client asks for, before its data begins
connection   one client: its socket, and when it is given up
wire2        what a client is sent next: its place in the log, and what it is told of that
wire1        the same for the clients of perp_signal_hft
"""

from fanout.transports.tcp.transport import TcpTransport

__all__ = ["TcpTransport"]
