"""Verify the server's TLS certificate, which omero-py does not do by default."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from omero_pixclf.errors import UsageError

__all__ = ["CA_FILE", "read_certificates", "tls_properties"]

CA_FILE = "OMERO_PIXCLF_CA_FILE"
"""Environment variable with the path of the file of trusted certificates."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_URL = re.compile(r"^(?P<scheme>wss|ssl)://(?P<host>\[[^]]+\]|[^/:]+)(?::(?P<port>\d+))?")
_DEFAULT_PORTS = {"wss": 443, "ssl": 4064}
_TIMEOUT_S = 10.0


def tls_properties(ca_file: Path | None, host: str, port: int | None) -> dict[str, str]:
    """Return the Ice properties with which a client verifies the server's certificate; none without a file.

    The server's certificate must be signed by one in the file, or be one of them. Its name must be that of the host,
    unless the certificate itself is in the file: self-signed certificates are often made for ``localhost``.

    Parameters
    ----------
    ca_file
        Certificates in PEM form: those of certificate authorities, or the server's own.
    host, port
        Host and port as in `omero_pixclf.connector.sessions.login.Credentials`.

    Raises
    ------
    UsageError
        The file cannot be read or contains no certificate, or the protocol is not encrypted.
    """
    if ca_file is None:
        return {}
    trusted = read_certificates(ca_file)
    if host.startswith(("ws://", "tcp://")):
        raise UsageError(f"{host}: the connection is not encrypted, so ca_file cannot be used; use wss:// or ssl://")
    known = _read_server_certificate(host, port) in trusted
    return {
        "IceSSL.CAs": str(ca_file.resolve()),
        "IceSSL.VerifyPeer": "2",
        "IceSSL.CheckCertName": "0" if known else "1",
    }


def read_certificates(path: Path) -> set[bytes]:
    """Return the certificates in a PEM file, as DER.

    Raises
    ------
    UsageError
        The file cannot be read or contains none.
    """
    try:
        found = {ssl.PEM_cert_to_DER_cert(part) for part in _PEM.findall(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a PEM file"
        raise UsageError(f"{path}: the trusted certificates cannot be read: {reason}") from error
    if not found:
        raise UsageError(f"{path}: contains no certificate; expected PEM (-----BEGIN CERTIFICATE-----)")
    return found


def _read_server_certificate(host: str, port: int | None) -> bytes:
    """Return the server's certificate as DER; empty if there is none, which connecting will then report."""
    url = _URL.match(host)
    name = (url["host"] if url else host).strip("[]")
    number = port or (int(url["port"] or _DEFAULT_PORTS[url["scheme"]]) if url else _DEFAULT_PORTS["ssl"])
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((name, number), timeout=_TIMEOUT_S))
    except (OSError, ValueError):
        return b""
