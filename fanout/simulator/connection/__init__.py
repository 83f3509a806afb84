"""Sockets, HTTP, WebSocket and queues between the market and its clients.

Nothing here depends on a venue: the dialect supplies the venue's messages and rules.
"""
