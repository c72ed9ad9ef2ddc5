"""What the `qtctl` binary runs, as `python -m qtctl` does.

All else is imported within: Ctrl-C meanwhile ends the process as it ends any program, and not with
the traceback of an import.
"""

import signal


def main() -> None:
    """Run the command line of this process, and end it."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from qtctl.cli import main as command_line

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line.main()


if __name__ == "__main__":
    main()
