"""Counters and measurements of the service, and frozen snapshots of them."""
