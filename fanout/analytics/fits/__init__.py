"""Fits of models to a journal, and the files of fits."""
