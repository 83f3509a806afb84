"""The bridge to NATS JetStream.

    a service --> client --> ChannelBridge --> Publisher --> a stream of JetStream

`channel` passes one channel on, `publisher` sees to it that each message stands in the stream once
and in order, `stream` makes and checks streams, `standby` lets one of several bridges publish.
"""
