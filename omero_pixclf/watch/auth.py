"""Who may see the status page, and whose clicks count.

Without a token or a proxy only this machine reaches the page; its address must then be one of its own names, so that
no foreign site can be resolved to it. A form counts only with a mark made from a cookie that other sites cannot send.
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

from omero_pixclf.watch.settings import StatusPage

__all__ = ["VISIT", "Gate"]

ENTRY, VISIT = "pixclf_entry", "pixclf_visit"


@dataclass(frozen=True)
class Gate:
    """The page's guard; ``token`` empty: none is asked for."""

    page: StatusPage
    token: str = field(default="", repr=False)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def known_name(self, request: Request) -> bool:
        """Whether the page was asked for under one of its own names."""
        if not self.page.names and not self.page.loopback:
            return True  # names are not known; token or proxy guard the page
        own = (*self.page.names, self.page.host, "localhost", "127.0.0.1", "::1")
        return _host_name(request.headers.get("host", "")) in {_plain(name) for name in own}

    def admits(self, request: Request) -> bool:
        """Whether this request may see the page."""
        header = self.page.proxy_header
        if header and self.is_from_proxy(request) and request.headers.get(header):
            return True
        if not self.token:
            return not header
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        return self.opens(bearer) or self._same(request.cookies.get(ENTRY, ""), self._sign("entry"))

    def is_from_proxy(self, request: Request) -> bool:
        """Whether the connection comes from one of the proxies: by its peer's address, never by what a header says."""
        try:
            peer = ipaddress.ip_address(request.client.host if request.client else "")
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)  # how a socket that takes both kinds shows IPv4's
        return any((mapped or peer) in network for network in self.page.proxy_networks)

    def is_secure(self, request: Request) -> bool:
        """Whether the browser speaks HTTPS, with this page or with the proxy in front of it."""
        proto = request.headers.get("x-forwarded-proto", "") if self.is_from_proxy(request) else ""
        return request.scope["scheme"] == "https" or proto.strip().lower() == "https"

    def opens(self, token: str) -> bool:
        """Whether this is the token."""
        return bool(self.token) and self._same(token, self.token)

    def enter(self, response: Response, *, secure: bool) -> None:
        """Let a browser in from now on."""
        _set(response, ENTRY, self._sign("entry"), secure=secure)

    def visit(self, request: Request, response: Response, *, secure: bool) -> None:
        """Give a browser its visit's cookie, if it has none."""
        if VISIT not in request.cookies:
            _set(response, VISIT, getattr(request.state, "visit", secrets.token_urlsafe(16)), secure=secure)

    def mark(self, request: Request) -> str:
        """What a form on the page must carry."""
        visit = request.cookies.get(VISIT)
        if visit is None:
            visit = request.state.visit = secrets.token_urlsafe(16)
        return self._sign(f"visit {visit}")

    def counts(self, request: Request, form: Mapping[str, str]) -> bool:
        """Whether a form comes from the page that this browser was given."""
        origin = request.headers.get("origin")
        if origin and _site(origin) != request.headers.get("host", ""):
            return False
        visit = request.cookies.get(VISIT)
        return visit is not None and self._same(form.get("mark", ""), self._sign(f"visit {visit}"))

    def _sign(self, text: str) -> str:
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    @staticmethod
    def _same(one: str, other: str) -> bool:
        return hmac.compare_digest(one.encode(), other.encode())


def _split(address: str) -> SplitResult | None:
    """The parts of an address that anybody may have sent; None where it is none, such as ``http://[``."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """The name in a ``Host`` header, without port; ``""`` where there is none."""
    parts = _split(f"//{host}")
    return _plain(parts.hostname or "") if parts else ""


def _site(origin: str) -> str | None:
    """Host and port of an ``Origin`` header; None where it names none."""
    parts = _split(origin)
    return (parts.netloc or None) if parts else None


def _plain(name: str) -> str:
    """A host's name as it is compared: ``Localhost.`` is ``localhost``."""
    return name.lower().removesuffix(".")


def _set(response: Response, name: str, value: str, *, secure: bool) -> None:
    response.set_cookie(name, value, httponly=True, samesite="strict", secure=secure, path="/")
