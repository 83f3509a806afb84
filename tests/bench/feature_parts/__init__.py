"""What the stage features measures, and beside what.

recorded  the recording as the records of a stream
passes    passes over these records, with the time that each kind of record takes; as a process too
arrays    a contender: the same columns from numpy arrays, anew at each update
many      thousands of books with features, in a process of their own
"""
