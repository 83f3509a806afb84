"""The journal on disk: how segments are written, recovered and kept.

disk      the only module that calls the operating system
places    which frames of a segment its index names
segment   one segment that is being written
worker    the threads that write and sync
recorder  what the journal of one channel does next
"""
