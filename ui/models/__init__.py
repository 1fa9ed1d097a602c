"""Picking a model in place: what it needs, whether it fits, loading and unloading it."""
