"""A DNS resolver that never answers."""

import trio


class DeafResolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *query: object) -> list[object]:  # type: ignore[override]
        return await trio.sleep_forever()

    async def getnameinfo(self, *query: object) -> tuple[str, str]:
        raise AssertionError("nobody asks for names")
