"""The other end: clients for a fanout. Standard library and `protocol` only.

`clients.tcp` blocks and needs no event loop; `clients.tcp_asyncio` and `clients.tcp_trio` are the
same with `await`. `clients.shm`, `clients.shm_asyncio` and `clients.shm_trio` read a queue in
shared memory instead. Import the one you want; this package imports none of them.
"""
