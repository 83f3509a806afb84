"""Processes of the stage nats, and what a stream has in the end."""
