"""What can't be read of a history."""


class Damaged(Exception):  # noqa: N818 - a state of a file, named as one
    """A block or a page is not what was written; the message says what is wrong with it."""
