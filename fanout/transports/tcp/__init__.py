"""The TCP transport. `TcpTransport` is all that others need.

transport    listens, and hands each news to all clients
admission    who finds a place
greeting     TLS, and what a client asks for, before its data begins
connection   one client: its socket, and when it is given up
delivery     what a client is sent next: its place in the log, and what it is told about that
"""

from fanout.transports.tcp.transport import TcpTransport

__all__ = ["TcpTransport"]
