"""Clients for a fanout service. They need the standard library, msgspec and `fanout.protocol` only.

`fanout.clients.tcp` blocks and needs no event loop; `tcp_asyncio` and `tcp_trio` beside it are the
same with `await`. `shm`, `shm_asyncio` and `shm_trio` read a queue in shared memory instead. Import
the one you want; this package imports none of them. `books` keeps the order books of any of them,
and `columns` turns records into arrays and tables.
"""
