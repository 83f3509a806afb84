"""The parts of the paper exchange: books of own orders, queues, and what a trade fills."""
