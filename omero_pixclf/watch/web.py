"""The status page, ``/healthz`` and ``/metrics``, served by the watcher itself."""

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
from omero_pixclf.watch.auth import Gate
from omero_pixclf.watch.status_page import STYLE, render, render_login
from omero_pixclf.watch.watcher import Watcher

__all__ = ["StatusSite", "application", "served"]

_log = logging.getLogger(__name__)
MOST_FORM_BYTES = 10_000
WRONG_TOKEN_S = 1.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class StatusSite:
    """What the page's answers are made from."""

    watcher: Watcher
    gate: Gate
    now: Callable[[], float]

    def page(self, request: Request) -> Response:
        """The page itself."""
        watcher, mark = self.watcher, self.gate.mark(request)
        response = HTMLResponse(render(watcher.memory, watcher.board, now=self.now(), mark=mark))
        self.gate.visit(request, response, secure=self.gate.is_secure(request))
        return response

    def style(self, request: Request) -> Response:
        """The page's style sheet."""
        return FileResponse(STYLE, media_type="text/css")

    def sheet(self, request: Request) -> Response:
        """A run's contact sheet; the path is the state database's, never the request's."""
        run = self.watcher.memory.runs.one(request.path_params["run"])
        if run is None or not run.sheet or not Path(run.sheet).is_file():
            return PlainTextResponse("no such picture", 404)
        return FileResponse(run.sheet, media_type="image/png")

    def health(self, request: Request) -> Response:
        """200 where all is well, 503 where not."""
        healthy, message = self.watcher.board.health
        open_to_all = {"healthy": healthy}  # the message may name what only those let in may see
        shown = {**open_to_all, "message": message} if self.gate.admits(request) else open_to_all
        return JSONResponse(shown, 200 if healthy else 503)

    def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self.watcher.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def login(self, request: Request) -> Response:
        """Take the token, once per browser."""
        form = await _form(request)
        if not self.gate.opens(form.get("token", "")):
            await asyncio.sleep(WRONG_TOKEN_S)
            return HTMLResponse(render_login("That is not the token."), 403)
        response = RedirectResponse("/", 303)
        self.gate.enter(response, secure=self.gate.is_secure(request))
        return response

    async def retry(self, request: Request) -> Response:
        """Forget an image's failures, so that the next pass tries it."""
        return await self._done(request, lambda f: self._forget(f["container"], f["image"], f["recipe"]))

    async def pause(self, request: Request) -> Response:
        """Pause a container (``*``: all), or let it go on."""
        return await self._done(request, lambda f: self._pause(f["container"], f["wanted"] == "yes"))

    def _forget(self, container: str, image: str, recipe: str) -> None:
        self.watcher.memory.failures.forget(container, image, recipe)
        _log.info("%s in %s is to be tried again", image, container)

    def _pause(self, container: str, wanted: bool) -> None:
        self.watcher.memory.pauses.set(container, wanted)
        _log.info("%s %s", container, "is paused" if wanted else "goes on")

    async def _done(self, request: Request, act: Callable[[dict[str, str]], None]) -> Response:
        form = await _form(request)
        if not self.gate.counts(request, form):
            return PlainTextResponse("This form is not from the page as it is now: load the page anew.", 403)
        try:
            await run_in_threadpool(act, form)
        except KeyError as missing:
            return PlainTextResponse(f"the form lacks {missing}", 400)
        return RedirectResponse("/", 303)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def application(site: StatusSite) -> Starlette:
    """The site as an ASGI application."""
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

    async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request) if (refused := _refused(site.gate, request)) is None else refused
        response.headers.update(HEADERS)
        return response

    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)])


def _refused(gate: Gate, request: Request) -> Response | None:
    if not gate.known_name(request):
        return PlainTextResponse("this is not one of the page's names; add it to names under [status]", 421)
    if request.scope["path"] in ("/healthz", "/login", "/page.css") or gate.admits(request):
        return None
    if gate.token and request.scope["path"] == "/":
        return HTMLResponse(render_login(""), 401)
    return PlainTextResponse("not without a token, or through the proxy", 401)


@contextmanager
def served(site: StatusSite) -> Iterator[str]:
    """Serve the site from a thread of its own while the context lasts; yields its address.

    Raises
    ------
    UsageError
        Where the address cannot be listened on.
    """
    page = site.gate.page
    family = socket.AF_INET6 if ":" in page.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((page.host, page.port))
            listening.listen(64)  # whoever asks before the thread is up waits
        except OSError as error:
            advice = "name another port under [status] (8787 is also that of dask's own page)"
            raise UsageError(f"status page: {page.host}:{page.port}: {error.strerror}; {advice}") from error
        config = uvicorn.Config(
            application(site),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,  # the peer's own address decides who is the proxy; X-Forwarded-For is anybody's word
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="status", daemon=True)
        thread.start()
        try:
            yield f"http://{page.host}:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)
