import trio

from fanout.net.listeners import open_listeners


async def test_a_free_port_is_one_for_all_addresses_of_a_host(monkeypatch: object) -> None:
    listeners = await open_listeners("localhost", 0)
    try:
        assert len({each.socket.getsockname()[1] for each in listeners}) == 1
    finally:
        for each in listeners:
            await each.aclose()


async def test_where_each_address_gets_a_port_of_its_own_the_first_is_taken_for_all(
    monkeypatch: object,
) -> None:
    # As of a host with several addresses, on a machine that may have one only.
    asked: list[int] = []
    real = trio.open_tcp_listeners

    async def open_two(port: int, *, host: str) -> list[trio.SocketListener]:
        asked.append(port)
        one = await real(port, host="127.0.0.1")
        at = one[0].socket.getsockname()[1] if port else 0
        return [*one, *await real(at, host="127.0.0.2")]

    monkeypatch.setattr(trio, "open_tcp_listeners", open_two)  # type: ignore[attr-defined]
    listeners = await open_listeners("localhost", 0)
    ports = {each.socket.getsockname()[1] for each in listeners}
    for each in listeners:
        await each.aclose()
    assert len(ports) == 1
    assert ports == {asked[-1]} or len(asked) == 1
