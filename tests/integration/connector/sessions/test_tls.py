"""The server's certificate: not looked at without a CA, and never let pass with the wrong one."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect
from omero_pixclf.embedded.server.certificate import PASSWORD
from omero_pixclf.errors import LoginError, UsageError
from tests.integration.conftest import ROOT_PASSWORD, EmbeddedProcess

pytestmark = pytest.mark.timeout(120)


def signed(name: str, key: rsa.RSAPrivateKey, issuer: str, by: rsa.RSAPrivateKey, *, ca: bool) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    subject, signer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer))
    return (
        x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(by, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[rsa.RSAPrivateKey, Path]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    certificate = signed("Facility CA", key, "Facility CA", key, ca=True)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key, path


def serve(folder: Path, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> Iterator[EmbeddedProcess]:
    folder.mkdir(mode=0o700)
    protection = serialization.BestAvailableEncryption(PASSWORD.encode())
    content = pkcs12.serialize_key_and_certificates(b"omero", key, certificate, None, protection)
    (folder / "server.p12").write_bytes(content)
    made = EmbeddedProcess(folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(
    authority: tuple[rsa.RSAPrivateKey, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedProcess]:
    """A server whose certificate the facility's authority has signed for ``localhost``."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = signed("localhost", key, "Facility CA", authority[0], ca=False)
    yield from serve(tmp_path_factory.mktemp("tls") / "data", key, leaf)


@pytest.fixture
def self_signed(tmp_path: Path) -> Iterator[EmbeddedProcess]:
    """A server whose certificate is its own and names another host, as omero-certificates makes it by default."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    yield from serve(tmp_path / "data", key, signed("omero.example", key, "omero.example", key, ca=True))


def log_in(server: EmbeddedProcess, ca_file: Path | None, host: str = "localhost", **environ: str) -> int:
    login = Login(host, port=server.port, user="root", ca_file=ca_file)
    with connect(login, environ={"OMERO_PASSWORD": ROOT_PASSWORD, **environ}, waits=()) as session:
        return session.user_id


def test_the_right_authority_lets_the_server_pass(server: EmbeddedProcess, authority: tuple[object, Path]) -> None:
    assert log_in(server, authority[1]) == 0
    assert log_in(server, None, OMERO_PIXCLF_CA_FILE=str(authority[1])) == 0
    assert log_in(server, None) == 0


def test_another_authority_does_not_and_the_message_says_why(server: EmbeddedProcess, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = tmp_path / "other.pem"
    other.write_bytes(signed("x", key, "x", key, ca=True).public_bytes(serialization.Encoding.PEM))
    for way in ({"ca_file": other}, {"ca_file": None, "OMERO_PIXCLF_CA_FILE": str(other)}):
        with pytest.raises(LoginError, match="certificate is not one that ca_file trusts"):
            log_in(server, **way)  # type: ignore[arg-type]


def test_a_signed_certificate_counts_for_its_own_name_only(
    server: EmbeddedProcess, authority: tuple[object, Path]
) -> None:
    with pytest.raises(LoginError, match="for this host"):
        log_in(server, authority[1], "127.0.0.1")


def test_a_servers_own_certificate_is_trusted_whatever_it_is_called(
    self_signed: EmbeddedProcess, authority: tuple[object, Path], tmp_path: Path
) -> None:
    own = tmp_path / "own.pem"
    own.write_text(ssl.get_server_certificate(("127.0.0.1", self_signed.port), timeout=10))
    assert log_in(self_signed, own) == 0
    with pytest.raises(LoginError):
        log_in(self_signed, authority[1])


@pytest.mark.parametrize("content", ["", "not a certificate", None])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with (
        pytest.raises(UsageError, match=r"ca\.pem"),
        connect(Login("localhost", port=1, user="root", ca_file=path), environ={"OMERO_PASSWORD": "x"}, waits=()),
    ):
        pass
