"""What can't be read or written of a history."""

from qtctl.errors import QtctlError


class Damaged(QtctlError):  # noqa: N818 - a state of a file, named as one
    """A file, a block or a line is not what was written; the message says what is wrong with it."""


class CannotWrite(QtctlError):  # noqa: N818 - likewise
    """A day's file can't be written: a full disk, a broken file, a folder that became read-only."""
