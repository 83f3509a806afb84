"""The TCP transport. `TcpTransport` is all that others need.

transport    listens; one broadcaster for each channel
admission    limits on clients
acceptor     from an accepted connection to a client that is served, or refused
greeting     TLS, and the client's request
broadcaster  sends a channel's new frames to all of its clients
connection   one client: its socket, and when to give it up
wire2        a channel's frames as they are
wire1        the same trades for the clients of perp_signal_hft
"""

from fanout.transports.tcp.transport import TcpTransport

__all__ = ["TcpTransport"]
