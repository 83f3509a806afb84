"""What every exchange has between its market and a client: sockets, HTTP, WebSocket, queues.

It knows no market's rules and no venue's words. Those come from the dialect that a config names.
"""
