"""An interrupt while a process is started leaves none that nobody knows of."""

import os
import signal
import subprocess
import sys

import pytest

from qtctl.wire.private_server.serving import uninterrupted


def test_an_interrupt_comes_after_the_block_and_not_within() -> None:
    done = False

    def start() -> None:
        nonlocal done
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            done = True

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done, "the process that was started is known"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_child_started_in_the_block_can_be_interrupted() -> None:
    with uninterrupted():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    child.send_signal(signal.SIGTERM)
    assert child.wait(30) == -signal.SIGTERM
