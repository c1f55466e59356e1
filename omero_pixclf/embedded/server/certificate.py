"""Self-signed certificate of the server's SSL endpoint, created once per data folder."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

__all__ = ["PASSWORD", "ensure_certificate"]

PASSWORD = "embedded"  # Ice requires one; the file's permissions protect the key

_YEARS = 20


def ensure_certificate(folder: Path) -> Path:
    """Return the path of the PKCS #12 file with certificate and key; create it, readable by its owner only."""
    path = folder / "server.p12"
    if not path.exists():
        secret = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        protection = serialization.BestAvailableEncryption(PASSWORD.encode())
        made = pkcs12.serialize_key_and_certificates(b"omero", secret, _self_signed(secret), None, protection)
        path.touch(mode=0o600)
        path.write_bytes(made)
    return path


def _self_signed(secret: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "embedded OMERO")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * _YEARS))
        .add_extension(names, critical=False)
        .sign(secret, hashes.SHA256())
    )
