"""From one to many: the programs of the stages fan-out and latency, and what drives them.

children        programs on a core of their own; none outlives its use
brokers         nats-server and redis-server: how they are set up, and what is said to them
blocks          fan-out: blocks of recorded trades, and what they look like to whom
contenders      fan-out: who is given them, and how
drain           fan-out: the receiving side
fanout_server   fan-out: the TCP transport, given blocks
task_server     fan-out: a trio server with a task for each client, given the same
recording       latency: recorded trades, and when each was received
services        latency: who stands between the venue and clients
replay          latency: the venue and the clients, and what they tell
market          latency: what services know before the first trade
fanout_service  latency: the service, whole
task_service    latency: a plain reader of the venue in front of the trio server
nats_bridge     latency: a plain reader of the venue in front of nats-server
"""
