"""A channel: one header, one numbering, one log, and its single writer."""
