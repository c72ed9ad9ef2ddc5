"""Certificates, made anew by each run: none lies in the repository."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.debian import needed

_DAYS = "2"
CA_EXTENSIONS = {
    "basicConstraints": "critical,CA:TRUE",
    "keyUsage": "critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier": "hash",
}
"""What Python 3.13 asks of a CA, as in docs/deploying.md."""


class Authority:
    """A CA in a folder of its own, and what it signs."""

    def __init__(
        self, directory: Path, name: str, extensions: Mapping[str, str] = CA_EXTENSIONS
    ) -> None:
        self._directory = directory
        # The system's openssl.cnf would add extensions of its own.
        self._config = directory / f"{name}-ca.cnf"
        lines = [f"{extension} = {value}" for extension, value in extensions.items()]
        self._config.write_text(
            "\n".join(["[req]", "distinguished_name = name", "[name]", "[ca]", *lines, ""])
        )
        self.certificate, self._key = directory / f"{name}-ca.crt", directory / f"{name}-ca.key"
        self._name = name
        self._run(
            "req", "-x509", *_new_key(self._key), "-out", self.certificate, "-days", _DAYS,
            "-subj", f"/CN={name} CA", "-config", self._config, "-extensions", "ca",
        )  # fmt: skip

    def signs(self, name: str, *hosts: str, issuer: str = "keyid") -> tuple[Path, Path]:
        """A certificate and its key; hosts: `DNS:localhost`, `IP:127.0.0.1`.

        issuer: how it names the key that signed it (`none`: not), as Python 3.13 asks for.
        """
        stem = self._directory / f"{self._name}-{name}"
        certificate, key, request = (stem.with_suffix(f".{kind}") for kind in ("crt", "key", "csr"))
        extensions = stem.with_suffix(".ext")
        names = [f"subjectAltName={','.join(hosts)}"] if hosts else []
        extensions.write_text("\n".join([*names, f"authorityKeyIdentifier={issuer}", ""]))
        self._run(
            "req", *_new_key(key), "-out", request, "-subj", f"/CN={name}", "-config", self._config
        )
        self._run(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
            "-CAcreateserial", "-out", certificate, "-days", _DAYS, "-extfile", extensions,
        )  # fmt: skip
        return certificate, key

    @staticmethod
    def _run(*arguments: str | Path) -> None:
        command = [needed("openssl"), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=30)


def _new_key(path: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(path)]  # fmt: skip
