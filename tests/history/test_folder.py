"""What lies in the folder of a history."""

import threading
from pathlib import Path

from qtctl.history.folder import file_size, size_of


def test_its_size_is_that_of_the_files_that_are_there(tmp_path: Path) -> None:
    """SQLite's files beside a day come and go with whoever reads it."""
    (tmp_path / "2026-01-28.sqlite").write_bytes(b"x" * 5)
    (tmp_path / "folder").mkdir()
    assert size_of(tmp_path) == 5
    assert file_size(tmp_path / "gone") == file_size(tmp_path / "folder") == 0
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for end in ("-wal", "-shm"):
                (tmp_path / f"2026-01-28.sqlite{end}").touch()
            for end in ("-wal", "-shm"):
                (tmp_path / f"2026-01-28.sqlite{end}").unlink()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        assert {size_of(tmp_path) for _ in range(500)} == {5}
    finally:
        done.set()
        thread.join()
