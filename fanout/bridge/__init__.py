"""Bridges to other engines. Each is a process of its own, and a consumer like any other."""
