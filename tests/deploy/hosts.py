"""A host to deploy to: a staging folder, or a live one in a folder with a systemctl of our own."""

import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from qtctl.cli.main import run
from qtctl.deploy import packaged, planning, systemctl
from tests.support.cli import NO_FILE, Said

ETC = Path(__file__).parents[2] / "etc"
UNITS = Path(__file__).parents[2] / "units"
KEPT = "var/lib/qtctl-deployments"

Tree = dict[str, tuple[str, int, bytes]]


def tree(root: Path) -> Tree:
    """Kind, mode and content of all below a folder, but for what is kept of deployments."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith((KEPT, "var")):
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = ("link", 0, os.fsencode(path.readlink()))
        elif path.is_dir():
            found[name] = ("folder", mode, b"")
        else:
            found[name] = ("file", mode, path.read_bytes())
    return found


class Staging:
    """`qtctl deploy` and `rollback` on a folder."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def options(self) -> Sequence[str]:
        return ["--root", str(self.root)]

    def environ(self) -> Mapping[str, str]:
        return NO_FILE

    def __call__(self, command: str, *args: str) -> Said:
        """Run it, with --yes unless it shall not be answered."""
        self._capsys.readouterr()
        asking = {"--no-input", "--dry-run", "--list"} & set(args)
        code = run(
            [command, *self.options(), *([] if asking else ["--yes"]), *args], self.environ()
        )
        return Said(code, *self._capsys.readouterr())

    def ok(self, command: str, *args: str) -> Said:
        said = self(command, *args)
        assert said.code == 0, said
        return said

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def put(self, path: str, text: str | bytes, mode: int = 0o644) -> Path:
        """A file that is there before."""
        place = self.file(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        place.chmod(mode)
        return place

    def names(self, path: str) -> list[str]:
        """What is in a folder."""
        return sorted(each.name for each in self.file(path).iterdir())

    def ids(self) -> list[str]:
        """What was done, the oldest first."""
        return sorted(path.name for path in (self.root / KEPT).glob("2*"))


_SYSTEMCTL = """\
#!/bin/sh
# Keeps the state of each unit in a file; what to answer is in files, too.
cd "{state}" || exit 9
echo "$*" >> calls
verb=$1; shift
for word; do unit=$word; done
if [ -e "fail-$verb" ]; then cat "fail-$verb" >&2; exit 1; fi
case $verb in
show)
  [ -e "$unit" ] || echo inactive > "$unit"
  read -r active < "$unit"
  load=loaded; [ -e "masked-$unit" ] && load=masked
  number=0; [ -e "starts-$unit" ] && number=$(wc -l < "starts-$unit")
  restarts=0
  if [ "$active" = flapping ]; then
    echo x >> flaps; restarts=$(wc -l < flaps); active=activating
  fi
  printf 'LoadState=%s\\nActiveState=%s\\nSubState=sub\\nResult=success\\n' $load $active
  printf 'StatusText=working\\nNRestarts=%s\\nInvocationID=%s\\n' $restarts $number ;;
stop) echo inactive > "$unit" ;;
restart)
  echo x >> "starts-$unit"
  if [ -e "becomes-$unit" ]; then cat "becomes-$unit" > "$unit"; else echo active > "$unit"; fi ;;
esac
"""


class Live(Staging):
    """The same as root on a host with systemd, which a script plays."""

    def __init__(
        self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(root / "host", capsys)
        self.root.mkdir()
        self.state = root / "systemd"
        self.state.mkdir()
        self._bin = root / "bin"
        self._bin.mkdir()
        script = self._bin / "systemctl"
        script.write_text(_SYSTEMCTL.format(state=self.state))
        script.chmod(0o755)
        monkeypatch.setattr("qtctl.cli.views.deployments.LIVE", self.root)
        monkeypatch.setattr(systemctl, "BOOTED", self.state)
        monkeypatch.setattr(systemctl, "_POLL_SEC", 0.01)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        # These tests may themselves run from there.
        monkeypatch.setattr(packaged, "HIDDEN", ())
        monkeypatch.setattr(planning, "USER", pwd.getpwuid(os.getuid()).pw_name)

    def options(self) -> Sequence[str]:
        return []

    def environ(self) -> Mapping[str, str]:
        return {**NO_FILE, "PATH": f"{self._bin}:/usr/bin:/bin"}

    @property
    def calls(self) -> list[str]:
        """What systemctl was told to do; questions left out."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if not line.startswith(("show", "reset-failed"))]

    def forget(self) -> None:
        (self.state / "calls").unlink(missing_ok=True)

    def is_(self, unit: str, active: str) -> None:
        (self.state / unit).write_text(f"{active}\n")

    def becomes(self, unit: str, active: str) -> None:
        """What it is after the next start."""
        (self.state / f"becomes-{unit}").write_text(f"{active}\n")

    def active(self) -> list[str]:
        found = self.state.glob("q*.service")
        return sorted(path.name for path in found if path.read_text() == "active\n")
