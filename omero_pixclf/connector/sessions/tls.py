"""Verification of the server's TLS certificate, which omero-py leaves out unless it is told whom to trust."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from omero_pixclf.errors import UsageError

__all__ = ["CA_FILE", "tls_properties"]

CA_FILE = "OMERO_PIXCLF_CA_FILE"
"""The environment variable that names the file of trusted certificates."""

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_URL = re.compile(r"^(?P<scheme>wss|ssl)://(?P<host>\[[^]]+\]|[^/:]+)(?::(?P<port>\d+))?")
_DEFAULT_PORTS = {"wss": 443, "ssl": 4064}
_TIMEOUT_S = 10.0


def tls_properties(ca_file: Path | None, host: str, port: int | None) -> dict[str, str]:
    """Ice properties by which a client verifies the server's certificate; none where no file is given.

    The certificate must be signed by one of the file's, or be one of them. Its name must be the host's, unless it is
    in the file itself: then it is known already, and self-signed certificates are often made for ``localhost``.

    Parameters
    ----------
    ca_file
        Certificates in PEM form: those of authorities, or the server's own.
    host, port
        The server as `omero_pixclf.connector.sessions.login.Credentials` has it.

    Raises
    ------
    UsageError
        Where the file cannot be read or holds no certificate.
    """
    if ca_file is None:
        return {}
    trusted = read_certificates(ca_file)
    if host.startswith(("ws://", "tcp://")):
        raise UsageError(f"{host}: is not encrypted, so ca_file cannot be verified; use wss:// or ssl://")
    known = _read_server_certificate(host, port) in trusted
    return {
        "IceSSL.CAs": str(ca_file.resolve()),
        "IceSSL.VerifyPeer": "2",
        "IceSSL.CheckCertName": "0" if known else "1",
    }


def read_certificates(path: Path) -> set[bytes]:
    """The certificates in a PEM file, as DER.

    Raises
    ------
    UsageError
        Where it cannot be read or holds none.
    """
    try:
        found = {ssl.PEM_cert_to_DER_cert(part) for part in _PEM.findall(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a PEM file"
        raise UsageError(f"{path}: the trusted certificates cannot be read: {reason}") from error
    if not found:
        raise UsageError(f"{path}: holds no certificate; expected PEM (-----BEGIN CERTIFICATE-----)")
    return found


def _read_server_certificate(host: str, port: int | None) -> bytes:
    """The certificate that the server shows; empty where it shows none, which the connection itself will report."""
    url = _URL.match(host)
    name = (url["host"] if url else host).strip("[]")
    number = port or (int(url["port"] or _DEFAULT_PORTS[url["scheme"]]) if url else _DEFAULT_PORTS["ssl"])
    try:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((name, number), timeout=_TIMEOUT_S))
    except (OSError, ValueError):
        return b""
