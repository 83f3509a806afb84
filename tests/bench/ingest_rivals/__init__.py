"""Who takes part in the stage `ingest`: a sender for all, and a program for each contender."""
