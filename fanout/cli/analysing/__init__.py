"""`fanout analytics run`: the part that reads, writes and answers.

    inputs -> merger -> features -> rows -> outputs
              '--- fanout.analytics: pure ---'

`engine` moves records from the inputs to the outputs, `stdout`, `parquet`, `channel` and `nats` are
the outputs, `figures` counts, and `monitor` answers over HTTP. `wishes` puts the options of the
command line in the place of those of the file.
"""
