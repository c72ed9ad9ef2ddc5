"""Programs of Debian packages that some tests need."""

import os
import shutil

import pytest


def needed(program: str) -> str:
    """Where a program is; where it is missing the test is skipped, and fails under CI."""
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
