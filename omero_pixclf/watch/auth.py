"""Authentication for the status page, and protection of its forms.

Without a token or a proxy, only this machine can reach the page. A request must then use one of the page's own host
names, so that no other site can resolve its name to this address (DNS rebinding). A form is accepted only with a
token derived from a cookie that other sites cannot send (CSRF protection).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from omero_pixclf.watch.settings import StatusPageSettings

__all__ = ["CSRF_FIELD", "Authenticator"]

CSRF_FIELD = "csrf_token"
_LOGIN_COOKIE, _CSRF_COOKIE = "pixclf_login", "pixclf_csrf"


@dataclass(frozen=True)
class Authenticator:
    """Decides which requests are accepted.

    Attributes
    ----------
    token
        The token that users log in with; empty if none is required.
    secret
        Key of the signatures in cookies and forms; new with each start.
    """

    page: StatusPageSettings
    token: str = field(default="", repr=False)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def is_known_host(self, request: Request) -> bool:
        """Whether the request uses one of the page's host names."""
        if not self.page.names and not self.page.loopback:
            return True  # the names are not known; token or proxy protect the page
        own = (*self.page.names, self.page.host, "localhost", "127.0.0.1", "::1")
        return _host_name(request.headers.get("host", "")) in {_normalize(name) for name in own}

    def is_authenticated(self, request: Request) -> bool:
        """Whether the request may see the page: by proxy login, bearer token or login cookie, or as none is needed."""
        header = self.page.proxy_header
        if header and self.is_from_proxy(request) and request.headers.get(header):
            return True
        if not self.token:
            return not header
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.is_token(bearer) or self._equals(request.cookies.get(_LOGIN_COOKIE, ""), self._sign("login"))

    def is_from_proxy(self, request: Request) -> bool:
        """Whether the connection comes from one of the proxies, by its peer's address; headers are not considered."""
        try:
            peer = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)  # how a dual-stack socket shows an IPv4 address
        return any((mapped or peer) in network for network in self.page.proxy_networks)

    def is_secure(self, request: Request) -> bool:
        """Whether the browser uses HTTPS, with this page or with the proxy in front of it."""
        proto = request.headers.get("x-forwarded-proto", "") if self.is_from_proxy(request) else ""
        return request.scope["scheme"] == "https" or proto.strip().lower() == "https"

    def is_token(self, text: str) -> bool:
        """Whether a text is the token."""
        return bool(self.token) and self._equals(text, self.token)

    def set_login_cookie(self, response: Response, *, secure: bool) -> None:
        """Log the browser in."""
        _set_cookie(response, _LOGIN_COOKIE, self._sign("login"), secure=secure)

    def set_csrf_cookie(self, request: Request, response: Response, *, secure: bool) -> None:
        """Give the browser the cookie that its forms belong to, if it has none."""
        if _CSRF_COOKIE not in request.cookies:
            value = getattr(request.state, "csrf", secrets.token_urlsafe(16))
            _set_cookie(response, _CSRF_COOKIE, value, secure=secure)

    def csrf_token(self, request: Request) -> str:
        """Return the token that the forms of this browser must send in `CSRF_FIELD`."""
        value = request.cookies.get(_CSRF_COOKIE)
        if value is None:
            value = request.state.csrf = secrets.token_urlsafe(16)
        return self._sign(f"csrf {value}")

    def is_form_valid(self, request: Request, form: Mapping[str, str]) -> bool:
        """Whether a form was sent from a page that this browser got from here."""
        origin = request.headers.get("origin")
        if origin and _origin_host(origin) != request.headers.get("host", ""):
            return False
        value = request.cookies.get(_CSRF_COOKIE)
        return value is not None and self._equals(form.get(CSRF_FIELD, ""), self._sign(f"csrf {value}"))

    def _sign(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _equals(one: str, other: str) -> bool:
        return hmac.compare_digest(one.encode(), other.encode())


def _split(address: str) -> SplitResult | None:
    """Split an address; None if it is invalid, such as ``http://[``."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """Return the name in a ``Host`` header without port; ``""`` if there is none."""
    parts = _split(f"//{host}")
    return _normalize(parts.hostname or "") if parts else ""


def _origin_host(origin: str) -> str | None:
    """Return host and port of an ``Origin`` header; None if it has no host."""
    parts = _split(origin)
    return (parts.netloc or None) if parts else None


def _normalize(name: str) -> str:
    """Return a host name for comparisons: ``Localhost.`` becomes ``localhost``."""
    return name.lower().removesuffix(".")


def _set_cookie(response: Response, name: str, value: str, *, secure: bool) -> None:
    response.set_cookie(name, value, httponly=True, samesite="strict", secure=secure, path="/")
