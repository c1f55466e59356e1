"""The status page in a browser: what it shows, on a phone too, and what its buttons do."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from PIL import Image
from starlette.requests import Request

from omero_pixclf.config import ClassifierSettings, Recipe
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, RunFinished, RunPlanned
from omero_pixclf.watch.auth import CSRF_FIELD, Authenticator
from omero_pixclf.watch.lease_guard import StopRequest
from omero_pixclf.watch.loop import create_service
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, RefusedTarget, WatchTarget
from omero_pixclf.watch.settings import ServiceSettings, StatusPageSettings
from omero_pixclf.watch.state import open_state
from omero_pixclf.watch.status import ContainerStatus, PassResult
from omero_pixclf.watch.watcher import Watcher
from omero_pixclf.watch.web import StatusSite, serve
from tests.e2e.browser import BROWSER, Tab, browser

needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium, which is not installed here")
RECIPE = Recipe(name="nuclei", classifier=ClassifierSettings(project="n.ilp"))
LONG = "a_name_without_any_place_to_break_it_" * 5


def container(number: int, standing: int, total: int, name: str) -> ContainerImages:
    images = tuple(CandidateImage(f"Image:{number}{n}", f"field {n}", "v", n < standing) for n in range(total))
    return ContainerImages(f"Dataset:{number}", name, "hash", images)


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    """A watcher with a past: two containers, a run that is done with its sheet, one under way, failures, a problem."""
    engine = open_state(f"sqlite:///{tmp_path}/watch.sqlite")
    made = create_service(None, engine, ServiceSettings(), StopRequest(), now=lambda: 1_795_000_000.0).watcher  # type: ignore[arg-type]
    target = WatchTarget("Project:1", RECIPE, "watch 'screens'")
    one, two = container(1, 9, 12, "Plate of the day"), container(2, 40, 40, LONG)
    made.status.record_pass(
        PassResult(
            (ContainerStatus(target, one, 9, ("Image:19",), 1, 1, 0), ContainerStatus(target, two, 40, (), 0, 0, 0)),
            (RefusedTarget("Dataset:5", "opt-in 31 of ada", "Dataset:5: no .ilp is attached to it"),),
        )
    )
    failures = made.state.failures
    for n, (kind, reason) in enumerate((("refused", "trained on 2 channels"), ("failed", "<b>bad</b> " + LONG))):
        for _ in range(3):
            failures.record_failure(one, one.images[n + 9], "nuclei", kind, reason)  # type: ignore[arg-type]
    Image.new("RGB", (900, 500), (30, 60, 90)).save(tmp_path / "contact_sheet.png")
    runs = made.state.runs
    runs.record_plan(target, two, RunPlanned("20261121T053012-ab12cd", tmp_path, ()))
    runs.record_container(
        "20261121T053012-ab12cd", ContainerOutcome("Dataset:2", "", (), (tmp_path / "contact_sheet.png",))
    )
    runs.record_end("20261121T053012-ab12cd", RunFinished("20261121T053012-ab12cd", (), ()))
    runs.record_plan(target, one, RunPlanned("20261121T060000-cd34ef", tmp_path, ()))
    info = ImageInfo("Image:10", "", (1, 1, 1, 1, 1), "uint8", ())
    runs.record_image("20261121T060000-cd34ef", ImageOutcome(info, "done"))
    asked = [WatchTarget(f"Image:{n}", RECIPE, f"request {n} of ada", n) for n in (51, 52)]
    made.status.set_requests(asked)
    made.status.set_request_status(asked[0], "processing 1 image in Dataset:1")
    made.status.report_progress("Image:19 in Dataset:1")
    yield made
    engine.dispose()


@pytest.fixture
def site(watcher: Watcher) -> Iterator[Callable[..., str]]:
    """Serves the watcher's page; ``site(token="…")``."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(token: str = "", **page: object) -> str:
            auth = Authenticator(StatusPageSettings(port=0, **page), token)  # type: ignore[arg-type]
            return stack.enter_context(serve(StatusSite(watcher, auth, lambda: 1_795_000_000.0)))

        yield start


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


SEEN = """({
  inner: innerWidth, scroll: document.documentElement.scrollWidth,
  overflowing: [...document.querySelectorAll("h1, h2, p, li, td, figure, button")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80)),
  small: [...document.querySelectorAll("p, td, td small, figcaption")]
    .filter(e => parseFloat(getComputedStyle(e).fontSize) < 13).length,
  low: [...document.querySelectorAll("button")].filter(e => e.getBoundingClientRect().height < 32).length,
  pictures: [...document.images].map(i => i.naturalWidth),
})"""


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_screen_and_loads_nothing_from_elsewhere(
    tab: Tab, site: Callable[..., str], width: int, tmp_path: Path
) -> None:
    address = site()
    tab.loaded.clear()
    tab.width(width)
    tab.open(address)
    tab.until("[...document.images].every(i => { i.loading = 'eager'; return i.complete; })")
    view = tab.run(SEEN)
    tab.picture(tmp_path / f"page-{width}.png")
    assert view["inner"] == width and view["scroll"] <= width and view["overflowing"] == []
    assert view["small"] == 0 and view["low"] == 0 and view["pictures"] == [900]
    hosts = {urlsplit(url).netloc for url in tab.loaded} - {""}
    assert hosts == {urlsplit(address).netloc}


@needs_browser
def test_the_page_shows_what_is_watched_what_failed_and_why(tab: Tab, site: Callable[..., str]) -> None:
    tab.width(1280)
    tab.open(site())
    text = tab.run("document.body.innerText")
    for words in ("9 of 12", "1 due", "trained on 2 channels", "<b>bad</b>", "set aside", "opt-in 31 of ada"):
        assert words in text
    assert "Image:19 in Dataset:1" in text and "running" in text and "20261121T053012-ab12cd" in text
    assert tab.run("document.querySelector('#health').className") == "healthy"
    queue = tab.run("[...document.querySelectorAll('#requests tbody tr')].map(r => r.innerText)")
    assert ["processing 1 image" in queue[0], "queued" in queue[1]] == [True, True]
    assert "request 51 of ada" in queue[0] and "Image:52" in queue[1]


@needs_browser
def test_buttons_retry_an_image_and_pause_a_container(tab: Tab, site: Callable[..., str], watcher: Watcher) -> None:
    tab.width(390)
    tab.open(site())
    tab.click("#failures tr.aside button")
    assert [f.kind for f in watcher.state.failures.list_all()] == ["refused"]
    tab.click("#containers tbody button")
    assert watcher.state.pauses.list_all() == {"Dataset:1"}
    assert tab.run("document.querySelector('#containers tbody button').textContent") == "Resume"
    tab.click("#containers tbody button")
    tab.click("header button")
    assert watcher.state.pauses.list_all() == {"*"}
    assert "All containers are paused" in tab.run("document.body.innerText") or "Processing" in tab.run(
        "document.body.innerText"
    )


def ask(
    address: str, method: str, path: str, form: dict[str, str] | None = None, **headers: str
) -> tuple[int, str, str]:
    """Status, body and cookies of a plain request."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    try:
        connection.request(method, path, urlencode(form or {}), headers)
        answer = connection.getresponse()
        cookies = "; ".join(c.partition(";")[0] for c in answer.headers.get_all("set-cookie") or ())
        return answer.status, answer.read().decode("utf-8", "replace"), cookies
    finally:
        connection.close()


PAUSE = {"container": "*", "wanted": "yes"}


def test_a_form_from_another_site_counts_for_nothing(site: Callable[..., str], watcher: Watcher) -> None:
    address = site()
    _, page, cookie = ask(address, "GET", "/")
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    _, _, other = ask(address, "GET", "/")
    assert ask(address, "POST", "/pause", PAUSE)[0] == 403
    assert ask(address, "POST", "/pause", PAUSE | {CSRF_FIELD: token})[0] == 403
    assert ask(address, "POST", "/pause", PAUSE | {CSRF_FIELD: token}, Cookie=other)[0] == 403
    assert (
        ask(address, "POST", "/pause", PAUSE | {CSRF_FIELD: token}, Cookie=cookie, Origin="http://evil.example")[0]
        == 403
    )
    assert watcher.state.pauses.list_all() == frozenset()
    assert ask(address, "POST", "/pause", PAUSE | {CSRF_FIELD: token}, Cookie=cookie)[0] == 303
    assert watcher.state.pauses.list_all() == {"*"}


def test_the_page_answers_to_its_own_names_only(site: Callable[..., str]) -> None:
    assert ask(site(), "GET", "/", Host="rebound.example")[0] == 421
    assert ask(site(names=("pixclf.example",)), "GET", "/", Host="pixclf.example")[0] == 200


@pytest.mark.parametrize("host", ["[", "[::1", "]", "[x]", "localhost:[", "", "."])
def test_an_address_that_is_none_is_refused_without_a_traceback(
    site: Callable[..., str], host: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = site()
    assert ask(address, "GET", "/", Host=host)[0] in (400, 421)
    assert ask(site(host="0.0.0.0", token="t", token_file="t"), "GET", "/", Host=host)[0] in (400, 401)
    _, page, cookie = ask(address, "GET", "/")
    form = PAUSE | {CSRF_FIELD: page.partition('name="csrf_token" value="')[2].partition('"')[0]}
    assert ask(address, "POST", "/pause", form, Cookie=cookie, Origin=f"http://{host}")[0] == 403
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "LOCALHOST.:80", "127.0.0.1", "[::1]:80", "Pixclf.Example."]
)
def test_a_name_is_the_same_in_capitals_with_a_port_and_with_a_final_dot(site: Callable[..., str], host: str) -> None:
    assert ask(site(names=("PIXCLF.example",)), "GET", "/", Host=host)[0] == 200


@pytest.mark.parametrize(
    ("proxies", "peer", "counts"),
    [
        (("127.0.0.1",), "::ffff:127.0.0.1", True),
        (("::ffff:127.0.0.1",), "127.0.0.1", True),
        (("10.0.0.0/24",), "::ffff:10.0.0.9", True),
        (("10.0.0.0/24",), "10.0.1.9", False),
        (("0:0:0:0:0:0:0:1",), "::1", True),
        (("fd00::/8",), "fd12::1", True),
        (("127.0.0.1", "::1"), "::ffff:10.0.0.1", False),
        (("127.0.0.1",), "", False),
        (("127.0.0.1",), "testclient", False),
    ],
)
def test_proxies_are_compared_as_addresses_not_as_texts(proxies: tuple[str, ...], peer: str, counts: bool) -> None:
    auth = Authenticator(StatusPageSettings(proxies=proxies))
    assert auth.is_from_proxy(Request({"type": "http", "client": (peer, 1), "headers": []})) is counts


def test_with_a_token_nothing_but_health_is_seen_without_it(site: Callable[..., str]) -> None:
    address = site(token="s3cret-token")
    for path in ("/", "/metrics", "/sheets/20261121T053012-ab12cd.png"):
        status, body, _ = ask(address, "GET", path)
        assert status == 401 and "Plate of the day" not in body
    assert ask(address, "GET", "/healthz")[:2] == (200, '{"healthy":true}')
    assert ask(address, "POST", "/login", {"token": "wrong"})[0] == 403
    status, _, cookie = ask(address, "POST", "/login", {"token": "s3cret-token"})
    assert status == 303 and "Plate of the day" in ask(address, "GET", "/", Cookie=cookie)[1]
    assert ask(address, "GET", "/metrics", Authorization="Bearer s3cret-token")[0] == 200


def test_a_proxys_header_counts_only_from_the_proxy(site: Callable[..., str]) -> None:
    trusted, foreign = site(proxy_header="X-Remote-User"), site(proxy_header="X-Remote-User", proxies=("10.0.0.1",))
    named = {"X-Remote-User": "ada"}
    assert [ask(trusted, "GET", "/")[0], ask(trusted, "GET", "/", **named)[0]] == [401, 200]
    assert ask(foreign, "GET", "/", **named)[0] == 401


def test_forwarded_addresses_neither_lock_out_a_proxys_users_nor_pass_for_the_proxy(site: Callable[..., str]) -> None:
    trusted, foreign = site(proxy_header="X-Remote-User"), site(proxy_header="X-Remote-User", proxies=("10.0.0.5",))
    named = {"X-Remote-User": "ada"}
    assert ask(trusted, "GET", "/", **named, **{"X-Forwarded-For": "192.0.2.7"})[0] == 200
    for claimed in ("10.0.0.5", "192.0.2.7, 10.0.0.5", "10.0.0.5, 127.0.0.1"):
        headers = {"X-Forwarded-For": claimed, "Forwarded": f"for={claimed}", "X-Real-IP": claimed}
        assert ask(foreign, "GET", "/", **named, **headers)[0] == 401


def test_cookies_are_for_https_only_where_the_proxy_says_that_the_browser_speaks_it(site: Callable[..., str]) -> None:
    for proxies, proto, secure in ((("127.0.0.1",), "https", True), (("127.0.0.1",), "http", False),
                                   (("10.0.0.5",), "https", False)):  # fmt: skip
        address = site(token="s3cret-token", proxy_header="X-Remote-User", proxies=proxies)
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
        connection.request("POST", "/login", urlencode({"token": "s3cret-token"}), {"X-Forwarded-Proto": proto})
        cookie = connection.getresponse().headers["set-cookie"]
        connection.close()
        assert ("secure" in cookie.lower()) is secure, (proxies, proto)


def test_metrics_and_health_say_how_the_watcher_is(site: Callable[..., str], watcher: Watcher) -> None:
    address = site()
    watcher.metrics.record_pass(watcher.status.last_pass, 1.5)  # type: ignore[arg-type]
    text = ask(address, "GET", "/metrics")[1]
    assert 'omero_pixclf_watched_images{state="standing"} 49.0' in text and "omero_pixclf_healthy 1.0" in text
    watcher.status.record_pass(PassResult(error="no connection"))
    status, body, _ = ask(address, "GET", "/healthz")
    assert status == 503 and "no connection" in body


def test_sheets_are_those_of_known_runs_only(site: Callable[..., str]) -> None:
    address = site()
    assert ask(address, "GET", "/sheets/20261121T053012-ab12cd.png")[0] == 200
    assert ask(address, "GET", "/sheets/..%2F..%2Fetc%2Fpasswd.png")[0] == 404
