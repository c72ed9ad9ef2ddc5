"""`rediss://` against a server that wants a client's certificate, by a CA made for the run."""

import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from qtctl.wire.allocation.symbols import Symbols
from qtctl.wire.client.connect import Access
from qtctl.wire.client.store import Store
from qtctl.wire.schema.keys import TARGET, Keys
from tests.security.certificates import CA_EXTENSIONS, Authority
from tests.security.servers import redis_server
from tests.support.cli import NO_FILE, Cli, Said
from tests.support.debian import needed
from tests.support.ports import free_port
from tests.support.processes import qtctl


class Tls(NamedTuple):
    """A server with TLS only; certificates by our CA and by another one."""

    port: int
    ours: Authority
    other: Authority
    client: tuple[Path, Path]
    stranger: tuple[Path, Path]
    directory: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    needed("redis-server")
    directory = tmp_path_factory.mktemp("certificates")
    ours, other = Authority(directory, "our"), Authority(directory, "other")
    certificate, key = ours.signs("server", "DNS:localhost", "IP:127.0.0.1")
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(ours.certificate),
        "tls-auth-clients": "yes",
    }
    with redis_server(options, port):
        client, stranger = ours.signs("client"), other.signs("stranger")
        yield Tls(port, ours, other, client, stranger, directory)


@pytest.fixture
def run(tls: Tls, capsys: pytest.CaptureFixture[str]) -> "Run":
    return Run(tls, capsys)


class Run:
    """`qtctl plan list -o json` with these [redis] settings."""

    def __init__(self, tls: Tls, capsys: pytest.CaptureFixture[str]) -> None:
        self._tls, self._capsys = tls, capsys

    def __call__(
        self,
        *,
        host: str = "127.0.0.1",
        scheme: str = "rediss",
        ca: Path | str | None = None,
        client: tuple[Path | str, Path | str] | None = None,
        environ: dict[str, str] | None = None,
        check_hostname: bool = True,
    ) -> Said:
        cert, key = client or self._tls.client
        ca = self._tls.ours.certificate if ca is None else ca
        variables = {
            "QTCTL_REDIS_TLS_CA_FILE": str(ca),
            "QTCTL_REDIS_TLS_CERT_FILE": str(cert),
            "QTCTL_REDIS_TLS_KEY_FILE": str(key),
            "QTCTL_REDIS_TLS_CHECK_HOSTNAME": str(check_hostname).lower(),
        }
        cli = Cli(f"{scheme}://{host}:{self._tls.port}", self._capsys)
        said = cli("plan", "list", "-o", "json", environ=variables | (environ or {}))
        assert "Traceback" not in said.err
        return said


def refused(said: Said, code: int, *parts: str) -> None:
    """It ended with this code, and with one line that has all the parts."""
    assert said.code == code, said
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert all(part in line for part in parts), line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_with_the_right_ca_and_a_certificate_it_works(run: Run, host: str) -> None:
    said = run(host=host)
    assert (said.code, json.loads(said.out), said.err) == (0, [], "")


def test_a_key_may_lie_in_the_file_of_its_certificate(run: Run, tls: Tls) -> None:
    both = tls.directory / "both.pem"
    both.write_text("".join(path.read_text() for path in tls.client))
    assert run(client=(both, "")).code == 0


def test_a_server_of_another_ca_is_refused(run: Run, tls: Tls) -> None:
    refused(run(ca=tls.other.certificate), 3, "certificate verify failed", "[redis] tls_ca_file")


def test_only_the_ca_that_is_named_is_trusted_and_not_the_systems_beside_it(
    run: Run, tls: Tls
) -> None:
    """The system trusts the CA of this server; the settings name another one."""
    environ = {"SSL_CERT_FILE": str(tls.ours.certificate)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(tls.ours.certificate))
        refused(run(ca=tls.other.certificate, environ=environ), 3, "certificate verify failed")
        assert run(ca="", environ=environ).code == 0


def test_without_a_ca_of_its_own_the_systems_count(run: Run) -> None:
    refused(run(ca=""), 3, "certificate verify failed", "tls_ca_file")


def test_without_a_clients_certificate_it_is_refused(run: Run) -> None:
    refused(run(client=("", "")), 3, "tls_cert_file")


def test_a_clients_certificate_of_another_ca_is_refused(run: Run, tls: Tls) -> None:
    refused(run(client=tls.stranger), 3, "tls_cert_file")


def test_a_server_under_another_name_is_refused_unless_names_are_not_checked(
    run: Run, tls: Tls
) -> None:
    refused(run(host="127.0.0.2"), 3, "127.0.0.2")
    nameless = run(host="127.0.0.1", check_hostname=False)
    assert nameless.code == 0


def test_without_tls_nobody_is_let_in(run: Run) -> None:
    said = run(scheme="redis")
    assert said.code == 3
    assert "is not encrypted" in said.err.splitlines()[0]


@pytest.mark.parametrize("name", ["tls_ca_file", "tls_cert_file", "tls_key_file"])
@pytest.mark.parametrize("content", [None, "", "no PEM", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_file_that_is_no_certificate_is_a_configuration_error_that_names_it(
    run: Run, tls: Tls, tmp_path: Path, name: str, content: str | None
) -> None:
    bad = tmp_path / "bad.pem"
    if content is not None:
        bad.write_text(content)
    cert, key = tls.client
    said = {
        "tls_ca_file": lambda: run(ca=bad),
        "tls_cert_file": lambda: run(client=(bad, key)),
        "tls_key_file": lambda: run(client=(cert, bad)),
    }[name]()
    refused(said, 5, f"[redis] {name}" if name == "tls_ca_file" else name, str(bad))


def test_a_key_that_asks_for_its_passphrase_is_refused_and_asks_nothing(
    run: Run, tls: Tls, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    subprocess.run(
        [needed("openssl"), "ec", "-aes256", "-passout", "pass:hush", "-in", str(tls.client[1]),
         "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    refused(run(client=(tls.client[0], locked)), 5, "encrypted", str(locked))


def test_a_key_without_a_certificate_is_a_configuration_error(run: Run, tls: Tls) -> None:
    refused(run(client=("", tls.client[1])), 5, "redis.tls_key_file", "needs redis.tls_cert_file")


def test_tls_options_in_the_url_are_refused_since_they_could_turn_checks_off(
    tls: Tls, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("ssl_cert_reqs=none", "ssl%5fcheck_hostname=false"):
        cli = Cli(f"rediss://127.0.0.1:{tls.port}/0?{option}", capsys)
        refused(cli("plan", "list"), 5, "redis.url", "ssl_", "tls_ca_file")


def test_a_service_keeps_waiting_where_the_certificate_is_wrong(tls: Tls) -> None:
    cert, key = tls.client
    files = f"redis.tls_cert_file={cert}", f"redis.tls_key_file={key}"
    sets = [part for each in files for part in ("--set", each)]
    url = f"rediss://127.0.0.1:{tls.port}"
    options = ("--redis-url", url, *sets, "--set", "allocation.metrics_port=0")
    ca = "--set", f"redis.tls_ca_file={tls.ours.certificate}"
    wrong = "--set", f"redis.tls_ca_file={tls.other.certificate}"
    with qtctl("serve", "allocation", "--once", *options, *ca, env=NO_FILE) as right:
        assert right.wait() == 0, str(right)
    with qtctl("serve", "allocation", *options, *wrong, env=NO_FILE) as waiting:
        waiting.wait_for_line("Redis is unreachable, waiting for it")
        assert "certificate verify failed" in waiting.stderr
        assert waiting.code is None


def test_new_targets_are_reported_over_tls(tls: Tls) -> None:
    """Far more than one TLS record between two looks, and nothing is left in the TLS layer."""
    cert, key = (str(path) for path in tls.client)
    access = Access(ca_file=str(tls.ours.certificate), cert_file=cert, key_file=key)
    upstream, own = (
        Store(f"rediss://127.0.0.1:{tls.port}", Keys(), access=access) for _ in range(2)
    )
    symbols = Symbols(own)
    assert symbols.look()[0] == []
    for start in range(0, 5_000, 2_500):
        keys = [upstream.keys.at(TARGET, f"S{number}") for number in range(start, start + 2_500)]
        upstream.batch([("HSET", key, "target_usd", 1) for key in keys])
        assert len(symbols.look()[0]) == start + 2_500
        assert symbols.tracking.problem is None
        assert symbols.tracking.gap is None
    symbols.forget()
    upstream.run("FLUSHALL")
    own.close()
    upstream.close()


DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("missing", "complaint", "hint"),
    [
        ("keyUsage", "does not include key usage", "keyUsage=critical,keyCertSign,cRLSign"),
        ("basicConstraints", "invalid CA certificate", "basicConstraints=critical,CA:TRUE"),
        ("critical", "not marked critical", "basicConstraints=critical,CA:TRUE"),
        ("subjectKeyIdentifier", "Missing Authority Key", "CA's subjectKeyIdentifier=hash"),
        ("issuer", "Missing Authority Key", "authorityKeyIdentifier=keyid"),
    ],
)
def test_what_a_certificate_lacks_for_the_strict_checks_of_python_3_13_is_named(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    missing: str,
    complaint: str,
    hint: str,
) -> None:
    needed("redis-server")
    extensions = {name: value for name, value in CA_EXTENSIONS.items() if name != missing}
    if missing == "critical":
        extensions["basicConstraints"] = "CA:TRUE"
    issuer = "none" if missing == "issuer" else "keyid"
    if missing == "subjectKeyIdentifier":
        extensions[missing] = "none"  # OpenSSL 3 would add one.
        issuer = "issuer:always"
    authority = Authority(tmp_path, "poor", extensions)
    certificate, key = authority.signs("server", "IP:127.0.0.1", issuer=issuer)
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(authority.certificate),
        "tls-auth-clients": "no",
    }
    create = ssl.create_default_context

    def strict(*, cafile: str | None = None) -> ssl.SSLContext:
        context = create(cafile=cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    with redis_server(options, port):
        cli = Cli(f"rediss://127.0.0.1:{port}", capsys)
        environ = {"QTCTL_REDIS_TLS_CA_FILE": str(authority.certificate)}
        refused(cli("plan", "list", "-o", "json", environ=environ), 3, complaint, hint)


def test_certificates_made_as_the_docs_say_pass_the_strict_checks(tmp_path: Path) -> None:
    openssl = needed("openssl")
    page = (DOCS / "deploying.md").read_text()
    (recipe,) = re.findall(r"```sh\n(cat > tls\.cnf .*?)```", page, re.DOTALL)
    subprocess.run(["sh", "-euc", recipe], cwd=tmp_path, check=True, capture_output=True)
    verify = [openssl, "verify", "-x509_strict", "-CAfile", "ca.crt", "redis.crt", "client.crt"]
    done = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "redis.crt: OK\nclient.crt: OK\n"), done.stderr
