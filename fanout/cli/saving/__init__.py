"""`fanout save`: writes records into a file that appears under its name only once it is complete.

aside        the hidden temporary file
recordings   writers for each format
tally        counts of missing records
progress     the progress line on the terminal
signals      handling of Ctrl-C and SIGTERM
run          a recording from start to end
"""
