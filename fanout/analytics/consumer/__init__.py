"""The consumer that `fanout analytics run` is: its configuration, and streams in, rows out."""
