"""The journal on disk: how segments are written, recovered and kept.

disk       the only module that calls the operating system
places     which frames of a segment its index names
segment    one segment that is being written
worker     the threads that write and sync
recorder   what the journal of one channel does next
store      a directory while a service has it: its lock, and all that follows
folder     which epochs and segments a channel has
recovery   what a start does to the files that the last one left
survey     reads a segment to its end: what is whole, what is missing
retention  removes the oldest segments
reading    old frames for the readers of a running service
"""
