"""Order books of many symbols through the whole service: what the stages ingest-depth, joiners and
pure-client share.

market    the recordings, dealt to many symbols
service   feed, channel, log and TCP transport, with books
ages      what a client received, held against what was sent
client    a client in plain Python
pacing    a service's bytes, sent again as they came
"""
