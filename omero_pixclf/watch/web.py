"""The web server of the watcher: status page, ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from omero_pixclf.errors import UsageError
from omero_pixclf.watch.auth import Authenticator
from omero_pixclf.watch.status_page import STYLE, render, render_login
from omero_pixclf.watch.watcher import Watcher

__all__ = ["StatusSite", "create_app", "serve"]

_log = logging.getLogger(__name__)
_MAX_FORM_BYTES = 10_000
_WRONG_TOKEN_DELAY_S = 1.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class StatusSite:
    """The answers of the web server to requests; ``now`` returns seconds since 1970."""

    watcher: Watcher
    auth: Authenticator
    now: Callable[[], float]

    def page(self, request: Request) -> Response:
        """Return the status page."""
        watcher, csrf_token = self.watcher, self.auth.csrf_token(request)
        html = render(watcher.state, watcher.status, now=self.now(), csrf_token=csrf_token)
        response = HTMLResponse(html)
        self.auth.set_csrf_cookie(request, response, secure=self.auth.is_secure(request))
        return response

    def style(self, request: Request) -> Response:
        """Return the style sheet."""
        return FileResponse(STYLE, media_type="text/css")

    def sheet(self, request: Request) -> Response:
        """Return the contact sheet of a run; its path comes from the state database, never from the request."""
        run = self.watcher.state.runs.get(request.path_params["run"])
        if run is None or not run.sheet or not Path(run.sheet).is_file():
            return PlainTextResponse("No contact sheet of this run.", 404)
        return FileResponse(run.sheet, media_type="image/png")

    def health(self, request: Request) -> Response:
        """Return 200 if the watcher is healthy, otherwise 503."""
        healthy, message = self.watcher.status.health
        public = {"healthy": healthy}  # the message may contain names that only authenticated users may see
        shown = {**public, "message": message} if self.auth.is_authenticated(request) else public
        return JSONResponse(shown, 200 if healthy else 503)

    def metrics(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        return Response(self.watcher.metrics.to_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def login(self, request: Request) -> Response:
        """Accept the token, once per browser."""
        form = await _read_form(request)
        if not self.auth.is_token(form.get("token", "")):
            await asyncio.sleep(_WRONG_TOKEN_DELAY_S)
            return HTMLResponse(render_login("Wrong token."), 403)
        response = RedirectResponse("/", 303)
        self.auth.set_login_cookie(response, secure=self.auth.is_secure(request))
        return response

    async def retry(self, request: Request) -> Response:
        """Forget the failures of an image, so that the next pass tries it again."""
        return await self._submit(request, lambda f: self._retry(f["container"], f["image"], f["recipe"]))

    async def pause(self, request: Request) -> Response:
        """Pause a container (``*``: all), or end its pause."""
        return await self._submit(request, lambda f: self._pause(f["container"], f["wanted"] == "yes"))

    def _retry(self, container: str, image: str, recipe: str) -> None:
        self.watcher.state.failures.forget(container, image, recipe)
        _log.info("%s in %s will be tried again", image, container)

    def _pause(self, container: str, wanted: bool) -> None:
        self.watcher.state.pauses.set_paused(container, wanted)
        _log.info("%s %s", container, "paused" if wanted else "resumed")

    async def _submit(self, request: Request, action: Callable[[dict[str, str]], None]) -> Response:
        form = await _read_form(request)
        if not self.auth.is_form_valid(request, form):
            return PlainTextResponse("This form is out of date. Reload the page.", 403)
        try:
            await run_in_threadpool(action, form)
        except KeyError as missing:
            return PlainTextResponse(f"The form has no field {missing}.", 400)
        return RedirectResponse("/", 303)


async def _read_form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def create_app(site: StatusSite) -> Starlette:
    """Return the site as an ASGI application."""
    routes = [
        Route("/", site.page),
        Route("/page.css", site.style),
        Route("/sheets/{run}.png", site.sheet),
        Route("/healthz", site.health),
        Route("/metrics", site.metrics),
        Route("/login", site.login, methods=["POST"]),
        Route("/retry", site.retry, methods=["POST"]),
        Route("/pause", site.pause, methods=["POST"]),
    ]

    async def dispatch(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = _refuse(site.auth, request)
        response = await answer(request) if refusal is None else refusal
        response.headers.update(_HEADERS)
        return response

    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])


def _refuse(auth: Authenticator, request: Request) -> Response | None:
    """Return the answer to a request that is not accepted; None if it is."""
    if not auth.is_known_host(request):
        return PlainTextResponse("Unknown host name. Add it to `names` under [status].", 421)
    if request.scope["path"] in ("/healthz", "/login", "/page.css") or auth.is_authenticated(request):
        return None
    if auth.token and request.scope["path"] == "/":
        return HTMLResponse(render_login(""), 401)
    return PlainTextResponse("Authentication required: token or proxy login.", 401)


@contextmanager
def serve(site: StatusSite) -> Iterator[str]:
    """Serve the site from a thread until the context ends; yields its URL.

    Raises
    ------
    UsageError
        If the server cannot listen on the address.
    """
    page = site.auth.page
    family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((page.host, page.port))
            listening.listen(64)  # connections wait until the thread runs
        except OSError as error:
            advice = "Set `port` under [status] to another port (8787 is also the default of Dask's dashboard)"
            raise UsageError(f"status page: {page.host}:{page.port}: {error.strerror}. {advice}") from error
        config = uvicorn.Config(
            create_app(site),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # the proxy is identified by the peer's address; anyone can send X-Forwarded-For
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="status", daemon=True)
        thread.start()
        try:
            yield f"http://{page.host}:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)
