"""Masks that go elsewhere and come from there: the Hub, Python, the command line."""
