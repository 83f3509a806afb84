"""The processes of the stage `memory`.

service    what is measured: feed, publisher, log and TCP transport
venue      what its feed is connected to
crowd      clients that come and go
dialogue   how the stage speaks with them
"""
