"""Input and output that knows no venue: WebSocket, REST, proxies, listeners, descriptors."""
