"""The work behind `fanout analytics`.

    inputs -> merger -> features -> rows -> outputs
              '--- fanout.analytics: pure ---'

`run` is the command that does this. `engine` moves records from the inputs to the outputs,
`stdout`, `parquet`, `channel` and `nats` are the outputs, `figures` counts, and `monitor` answers
over HTTP.
`wishes` puts the options of the command line in the place of those of the file.

`fit` has the commands that fit: `reading` gives the records of a journal, `fitting` makes the fit,
and `fit_view` shows it. The folder `nbbo` has the command for best prices.

`passing` tells what time it is at the services.
"""
