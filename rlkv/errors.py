"""The one error that a person is meant to read."""


class UserError(Exception):
    """A mistake that the user can mend. The message is one line and says what to do next.

    The command line prints it and exits with 2, the app shows it as a message, a job stores
    it as the reason of its failure. Everything else is a defect and is logged with a trace.
    """
