"""What goes wrong with a sweep before anything is played."""


class SweepError(Exception):
    """A sweep that cannot be made: one sentence that says why and what to write instead."""
