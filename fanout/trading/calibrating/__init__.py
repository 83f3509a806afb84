"""Fits of A, k and sigma to a journal."""
