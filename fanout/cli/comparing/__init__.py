"""`fanout compare`: reads two streams, and prints and keeps what `fanout.compare` finds.

sources   streams by their addresses
run       reads both until the end, and lets late trades find their partners
record    CSV and JSON in a directory
view      the table and the verdict for people
"""
