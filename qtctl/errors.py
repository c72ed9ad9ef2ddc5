"""Every error that qtctl raises on purpose, and the exit code that each ends with."""


class QtctlError(Exception):
    """Base of all errors with a message for the operator: one line, what is wrong, what to do."""

    exit_code = 1


class NotFoundError(QtctlError):
    """What was asked for is not there."""


class UsageError(QtctlError):
    """An argument or option makes no sense; the message names it and the allowed range."""

    exit_code = 2


class RedisUnreachable(QtctlError):  # noqa: N818 - a state of the world, named as one
    """No server, or no answer in time. The URL in the message has no password."""

    exit_code = 3


class ReplyTooLarge(RedisUnreachable):
    """A reply holds more than may be kept in memory, and was cut off, its connection with it."""


class RefusedError(QtctlError):
    """Refused for safety; the message says what is in the way and how to override it."""

    exit_code = 4


class ConfigError(QtctlError):
    """A setting is unknown, of a wrong type or impossible: key, file or variable, and value."""

    exit_code = 5


class WireError(QtctlError):
    """Redis answered with an error, or with something that the contract does not allow."""


class WrongTypeError(WireError):
    """A key holds another type than the contract says."""


class NoPermissionError(WireError):
    """The ACL user may not run this command or touch this key."""


class ServerRefusedError(WireError):
    """The server can't do it now: out of memory, a read-only replica, still loading, …"""
