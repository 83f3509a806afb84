"""What `fanout save` does: records into a file that is there only once it is whole.

`aside` is the file until then, `recordings` how each format gets into it, `tally` and `progress`
what is said of it, and `run` the time between the start and the end.
"""
