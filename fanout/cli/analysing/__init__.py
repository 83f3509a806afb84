"""The commands of `fanout analytics`."""
