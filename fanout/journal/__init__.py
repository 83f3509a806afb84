"""The journal on disk: how segments are written, recovered and kept.

disk    the only module that calls the operating system
"""
