"""The work behind `fanout paper`.

`files` is the journal of a run on the disk.
"""
