"""The report on a run, from its journal."""
