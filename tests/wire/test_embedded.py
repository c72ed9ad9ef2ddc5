"""The private server: quick, private, one per directory, and gone when it should be."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtctl.errors import ConfigError, QtctlError, RefusedError
from qtctl.settings.places import state_directory
from qtctl.wire.private_server import embedded, folder
from qtctl.wire.private_server.embedded import (
    Embedded,
    running,
    serve_embedded,
    temporary,
)
from tests.support.ports import free_port
from tests.support.processes import Process, alive, process, until

# Keeps a server like `serve --embedded` does, and leaves it behind when killed.
SERVE = """
import sys, time, pathlib
from qtctl.wire.private_server.embedded import serve_embedded
with serve_embedded(pathlib.Path(sys.argv[1])) as server:
    print("pid", server.pid, flush=True)
    time.sleep(60)
"""

TEMPORARY = """
import sys, time
from qtctl.wire.private_server.embedded import temporary
with temporary() as server:
    print("at", server.pid, server.directory, flush=True)
    if sys.argv[1] == "raise":
        raise SystemExit(7)
    time.sleep(60)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not tmp_path: a test's long name would not fit into a socket's path.
    with tempfile.TemporaryDirectory(prefix="qtctl-t-") as folder:
        yield Path(folder) / "state"


def command(server: Embedded | Path, *words: str) -> str:
    """The first line of the reply."""
    path = server if isinstance(server, Path) else server.directory
    request = f"*{len(words)}\r\n" + "".join(f"${len(w.encode())}\r\n{w}\r\n" for w in words)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path / "server.sock"))
        connection.sendall(request.encode())
        with connection.makefile("rb") as reply:
            line = reply.readline().decode().strip()
            return reply.readline().decode().strip() if line[0] == "$" != line[1:2] else line


def command_line(pid: int) -> bytes:
    seen = Path(f"/proc/{pid}/cmdline")
    if seen.exists():
        return seen.read_bytes()
    return subprocess.check_output(["ps", "-o", "args=", "-p", str(pid)])


def setting(server: Embedded, name: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(server.directory / "server.sock"))
        connection.sendall(f"CONFIG GET {name}\r\n".encode())
        return connection.recv(4096).decode().split("\r\n")[-2]


def test_a_server_is_there_when_start_returns_and_gone_after_stop(directory: Path) -> None:
    server = Embedded.start(directory)
    try:
        assert server.url == f"unix://{directory}/server.sock"
        assert running(directory) == server.url
        assert command(server, "PING") == "+PONG"
    finally:
        server.stop()
    assert running(directory) is None
    assert not alive(server.pid)
    server.stop()  # twice is as good as once


def test_the_server_never_evicts_snapshots_or_listens_on_tcp(directory: Path) -> None:
    with Embedded.start(directory) as server:
        assert setting(server, "maxmemory-policy") == "noeviction"
        assert setting(server, "save") == ""
        assert setting(server, "appendonly") == "yes"
        assert setting(server, "appendfsync") == "everysec"
        assert setting(server, "port") == "0"


def test_directory_socket_and_files_are_for_their_owner_alone(directory: Path) -> None:
    before = os.umask(0)
    try:
        with Embedded.start(directory) as server:
            command(server, "SET", "a", "b")
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((directory / "server.sock").stat().st_mode) == 0o600
            for path in directory.rglob("*"):
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(before)


def test_what_was_written_survives_stop_and_kill(directory: Path) -> None:
    with Embedded.start(directory) as server:
        command(server, "SET", "first", "1")
    server = Embedded.start(directory, extra={"appendfsync": "always"})
    command(server, "SET", "second", "2")
    server.kill()
    assert not alive(server.pid)
    with Embedded.start(directory) as server:
        assert command(server, "GET", "first") == "1"
        assert command(server, "GET", "second") == "2"


def test_a_tcp_port_is_on_the_loopback(directory: Path) -> None:
    port = free_port()
    with Embedded.start(directory, port=port) as server:
        assert server.port == port
        assert setting(server, "bind") == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"


def test_the_server_has_a_session_of_its_own_so_that_ctrl_c_passes_it_by() -> None:
    with temporary() as server:
        assert os.getsid(server.pid) == server.pid


def test_a_password_is_not_on_the_command_line_and_the_server_still_counts_as_there() -> None:
    with temporary(extra={"requirepass": "s3cret"}) as server:
        assert running(server.directory) == server.url
        assert command(server, "GET", "x").startswith("-NOAUTH")
        arguments = command_line(server.pid)
        assert b"valkey" in arguments
        assert b"s3cret" not in arguments


def test_an_option_that_does_not_exist_is_told_in_the_server_s_own_words(directory: Path) -> None:
    with pytest.raises(QtctlError, match="Bad directive or wrong number of arguments"):
        Embedded.start(directory, extra={"bogus": "1"})
    with Embedded.start(directory) as server:  # nothing of the failure is in the way
        assert command(server, "PING") == "+PONG"


@pytest.mark.parametrize("name", ["with blank", "quo\"te'", "uni 合约", "per%cent#?"])
def test_any_path_will_do(directory: Path, name: str) -> None:
    with Embedded.start(directory / name) as server:
        assert command(server, "PING") == "+PONG"
        assert running(directory / name) == server.url
        assert not set(server.url) & set(' "#?')


def test_a_path_too_long_for_a_socket_is_told_before_anything_is_made(directory: Path) -> None:
    long = directory / ("x" * 100)
    with pytest.raises(ConfigError, match=r"103.*STATE_DIRECTORY"):
        Embedded.start(long)
    assert not directory.exists()
    assert running(long) is None


def test_a_directory_that_others_may_write_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(RefusedError, match="others may write"):
        serve_embedded(directory)
    assert list(directory.iterdir()) == []


def test_a_directory_that_cannot_be_made_is_a_configuration_error(directory: Path) -> None:
    directory.write_text("a file")
    with pytest.raises(ConfigError, match=str(directory)):
        Embedded.start(directory / "below")


def test_a_second_server_over_the_same_files_is_refused(directory: Path) -> None:
    with Embedded.start(directory) as server:
        with pytest.raises(RefusedError, match=str(directory)):
            Embedded.start(directory)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RefusedError):  # also while it can't answer
                Embedded.start(directory)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert command(server, "PING") == "+PONG"


def test_a_server_that_hangs_is_ended_by_force(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SEC", 0.3)
    server = Embedded.start(directory)
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert not alive(server.pid)


def test_a_server_in_the_way_that_does_not_answer_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "STOP_SEC", 0.3)
    monkeypatch.setattr("qtctl.wire.private_server.process._ANSWER_SEC", 0.2)
    with Embedded.start(directory) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(RefusedError, match="does not answer"):
                serve_embedded(directory)
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_serve_starts_a_server_and_ends_it(directory: Path) -> None:
    with serve_embedded(directory) as server:
        assert running(directory) == server.url
        assert setting(server, "appendonly") == "yes"
    assert running(directory) is None
    with serve_embedded(directory) as server:  # and it can be had again
        assert command(server, "PING") == "+PONG"


def test_a_second_serve_is_refused_and_the_first_is_named(directory: Path) -> None:
    with (
        serve_embedded(directory) as server,
        pytest.raises(RefusedError, match=rf"pid {os.getpid()}\b"),
    ):
        serve_embedded(directory)
    assert not alive(server.pid)


def serve(directory: Path, child: Process) -> int:
    return int(child.wait_for_line("pid").split()[1])


def test_a_server_left_by_a_killed_serve_is_taken_over_with_its_data(directory: Path) -> None:
    with process([sys.executable, "-c", SERVE, str(directory)]) as child:
        pid = serve(directory, child)
        command(directory, "SET", "a", "kept")
        child.signal(signal.SIGKILL)
        child.wait()
    assert alive(pid)
    with serve_embedded(directory) as server:
        assert server.pid == pid
        assert command(server, "GET", "a") == "kept"
        with pytest.raises(RefusedError):
            serve_embedded(directory)
    until(lambda: not alive(pid))
    assert running(directory) is None
    with serve_embedded(directory) as server:
        assert command(server, "GET", "a") == "kept"


def test_a_taken_over_server_can_be_killed(directory: Path) -> None:
    with process([sys.executable, "-c", SERVE, str(directory)]) as child:
        pid = serve(directory, child)
        child.signal(signal.SIGKILL)
        child.wait()
    server = serve_embedded(directory)
    server.kill()
    until(lambda: not alive(pid))
    server.stop()


def test_of_two_that_start_at_once_one_gets_the_server(directory: Path) -> None:
    got: list[Embedded] = []
    refused: list[RefusedError] = []

    def try_it() -> None:
        try:
            got.append(serve_embedded(directory))
        except RefusedError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 3)
    got[0].stop()


def test_files_that_come_and_go_are_no_reason_to_refuse_a_folder(directory: Path) -> None:
    """A server that runs there rewrites its file by way of temporary ones."""
    directory.mkdir(mode=0o700, exist_ok=True)
    done = threading.Event()

    def rewrite() -> None:
        while not done.is_set():
            for number in range(20):
                (directory / f"temp-rewriteaof-{number}.aof").touch()
            for number in range(20):
                (directory / f"temp-rewriteaof-{number}.aof").unlink()

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        for _ in range(200):
            folder.prepare(directory)
    finally:
        done.set()
        thread.join()


def test_a_stale_socket_is_no_server(directory: Path) -> None:
    Embedded.start(directory).kill()
    assert (directory / "server.sock").exists()
    assert running(directory) is None
    with Embedded.start(directory) as server:
        assert command(server, "PING") == "+PONG"


def test_a_temporary_server_leaves_nothing_behind() -> None:
    with temporary() as server:
        assert command(server, "PING") == "+PONG"
        assert setting(server, "appendonly") == "no"
    assert not alive(server.pid)
    assert not server.directory.exists()


def test_a_temporary_server_leaves_nothing_behind_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), temporary() as server:
        raise ZeroDivisionError
    assert not alive(server.pid)
    assert not server.directory.exists()


def test_a_temporary_server_that_does_not_start_leaves_nothing_behind(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    with pytest.raises(QtctlError), temporary(extra={"bogus": "1"}):
        pass
    assert list(directory.iterdir()) == []


def test_a_temporary_folder_with_a_long_path_is_not_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = directory / ("x" * 80)
    long.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with temporary() as server:
        assert server.directory.parent == Path("/tmp")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_temporary_server_dies_with_the_process_that_had_it(number: int) -> None:
    with process([sys.executable, "-c", TEMPORARY, "sleep"]) as child:
        _, pid, directory = child.wait_for_line("at ").split()
        child.signal(number)
        child.wait()
        until(lambda: not alive(int(pid)), what="the server's end")
        until(lambda: not Path(directory).exists(), what="the directory's end")


def test_a_temporary_server_is_gone_before_the_process_that_had_it_exits() -> None:
    with process([sys.executable, "-c", TEMPORARY, "raise"]) as child:
        _, pid, directory = child.wait_for_line("at ").split()
        assert child.wait() == 7
        assert not alive(int(pid))
        assert not Path(directory).exists()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/qtctl", "XDG_STATE_HOME": "/x"}, "/var/lib/qtctl"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/qtctl"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/qtctl"),
        ({"HOME": "/h"}, "/h/.local/state/qtctl"),
        ({}, str(Path.home() / ".local/state/qtctl")),
    ],
)
def test_the_state_directory_follows_systemd_then_xdg(
    environ: dict[str, str], expected: str
) -> None:
    assert state_directory(environ) == Path(expected)


NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


def victim(directory: Path) -> Path:
    """A folder elsewhere with a file that a server must not touch."""
    elsewhere = directory.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("precious")
    return elsewhere


@pytest.mark.parametrize("owner", [pytest.param(NOBODY, marks=AS_ROOT), os.geteuid()])
@pytest.mark.parametrize(
    "name", ["server.sock", "server.lock", "serve.lock", "server.log", "appendonlydir"]
)
def test_a_link_planted_in_the_directory_is_not_followed(
    directory: Path, name: str, owner: int
) -> None:
    elsewhere = victim(directory)
    directory.mkdir(mode=0o700)
    target = elsewhere if name == "appendonlydir" else elsewhere / "precious"
    (directory / name).symlink_to(target)
    os.chown(directory / name, owner, -1, follow_symlinks=False)
    with pytest.raises(RefusedError, match=name):
        serve_embedded(directory)
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert (elsewhere / "precious").read_text() == "precious"


@pytest.mark.parametrize("name", ["dangling", "appendonlydir/appendonly.aof.1.incr.aof"])
def test_a_link_to_what_is_not_there_makes_nothing_there(directory: Path, name: str) -> None:
    (directory / "appendonlydir").mkdir(mode=0o700, parents=True)
    directory.chmod(0o700)
    name = "server.log" if name == "dangling" else name
    (directory / name).symlink_to(directory.parent / "made")
    with pytest.raises(RefusedError, match="is a link"):
        serve_embedded(directory)
    assert not (directory.parent / "made").exists()


def test_a_second_name_of_a_file_elsewhere_is_not_written_to(directory: Path) -> None:
    elsewhere = victim(directory)
    directory.mkdir(mode=0o700)
    (directory / "server.log").hardlink_to(elsewhere / "precious")
    with pytest.raises(RefusedError, match="a file with a second name"):
        serve_embedded(directory)
    assert (elsewhere / "precious").read_text() == "precious"


def test_a_pipe_planted_as_the_log_does_not_hang_the_start(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.mkfifo(directory / "server.log", 0o600)
    with pytest.raises(RefusedError, match="no regular file"):
        serve_embedded(directory)


@AS_ROOT
@pytest.mark.parametrize("what", ["directory", "link", "parent", "link to a parent", "lock"])
def test_what_belongs_to_another_user_is_refused(directory: Path, what: str) -> None:
    elsewhere = victim(directory)
    theirs = directory
    if what in ("directory", "lock"):
        directory.mkdir(mode=0o700)
    if what == "lock":
        theirs = directory / "server.lock"
        theirs.touch()
    elif what.startswith("link"):
        theirs.symlink_to(elsewhere)
    elif what == "parent":
        directory.mkdir(mode=0o755)
    os.chown(theirs, NOBODY, NOBODY, follow_symlinks=False)
    below = directory / "below" if "parent" in what else directory
    with pytest.raises(RefusedError, match=rf"{theirs} belongs to another user \(uid {NOBODY}\)"):
        serve_embedded(below)
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    if what == "directory":
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_parent_that_others_may_write_is_refused_unless_it_is_sticky(
    directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(RefusedError, match=f"others may write in {directory}, and could replace"):
        serve_embedded(directory / "below" / "state")
    assert list(directory.iterdir()) == []
    directory.chmod(mode | stat.S_ISVTX)
    with serve_embedded(directory / "below" / "state") as server:
        assert command(server, "PING") == "+PONG"


@AS_ROOT
def test_a_parent_that_a_strange_group_may_write_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o775)
    with serve_embedded(directory / "state"):
        pass
    os.chown(directory, -1, NOBODY)
    with pytest.raises(RefusedError, match="could replace"):
        serve_embedded(directory / "state")


def test_a_link_of_our_own_to_the_directory_is_followed(directory: Path) -> None:
    elsewhere = directory.parent / "real"
    elsewhere.mkdir(mode=0o700)
    directory.symlink_to("real")
    with serve_embedded(directory):
        assert (elsewhere / "server.sock").exists()


def test_links_that_go_round_in_a_circle_are_a_configuration_error(directory: Path) -> None:
    directory.symlink_to("state")
    with pytest.raises(ConfigError, match="Too many levels"):
        serve_embedded(directory)


def test_the_directory_becomes_private_and_one_with_other_files_is_left_alone(
    directory: Path,
) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    with serve_embedded(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    directory.chmod(0o755)  # as an older version left it
    with serve_embedded(directory):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    other = directory.parent / "other"
    other.mkdir()
    other.chmod(0o755)
    (other / "file").touch()
    with pytest.raises(RefusedError, match="is not a directory of the embedded server"):
        serve_embedded(other)
    assert stat.S_IMODE(other.stat().st_mode) == 0o755
