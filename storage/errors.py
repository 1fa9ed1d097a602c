"""The one error of this package that is meant for people."""


class StorageError(Exception):
    """Something a person can act on. The text is one line and says what to do next."""
