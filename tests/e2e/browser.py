"""A headless Chromium, driven over its debugging pipe: no driver, no port, nothing to install beside the browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip


# The browser reads from file descriptor 3 and writes to 4. Copies first: either may be the other's number now.
_EXEC = """
import os, sys
ends = [os.dup(int(n)) for n in sys.argv[1:3]]
copies = [os.dup2(end, 100 + n) for n, end in enumerate(ends)]
os.dup2(100, 3), os.dup2(101, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@dataclass
class Tab:
    """One page of the browser."""

    to_browser: BinaryIO
    from_browser: BinaryIO
    session: str = ""
    loaded: list[str] = field(default_factory=list)
    _number: int = 0

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of Chromium's protocol, and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to_browser.write(json.dumps(message).encode() + b"\0")
        self.to_browser.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("method") == "Network.requestWillBeSent":
                self.loaded.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> bytes:
        text = bytearray()
        while (sign := self.from_browser.read(1)) != b"\0":
            assert sign, "the browser has ended"
            text += sign
        return bytes(text)

    def run(self, script: str) -> Any:
        """What an expression gives in the page."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url: str) -> None:
        """Go to an address and wait until it is loaded."""
        self.ask("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href !== 'about:blank' /* {len(url)} */")

    def until(self, condition: str, *, seconds: float = 20) -> None:
        """Wait until an expression is true in the page, whichever page that is by then."""
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < deadline, f"{condition} did not come to be"
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Click an element, and wait until the page that this leads to is loaded."""
        self.run("window.before = true")
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.until("!window.before && document.readyState === 'complete'")

    def width(self, pixels: int) -> None:
        """Give the page so many CSS pixels, as a phone or a screen does."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=844, deviceScaleFactor=1, mobile=pixels < 600
        )

    def picture(self, path: Path) -> None:
        """Keep the whole page as a PNG."""
        shown = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shown["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """A browser with one empty page, its profile in a folder."""
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _EXEC, str(their_in), str(their_out), str(BROWSER), *FLAGS,
         f"--user-data-dir={folder / 'profile'}"],
        pass_fds=(their_in, their_out), env={**os.environ, "HOME": str(folder)}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    with os.fdopen(our_out, "wb") as to_browser, os.fdopen(our_in, "rb") as from_browser:
        tab = Tab(to_browser, from_browser)
        try:
            target = tab.ask("Target.createTarget", url="about:blank")["targetId"]
            tab.session = tab.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            tab.ask("Page.enable")
            tab.ask("Network.enable")
            yield tab
        finally:
            process.terminate()
            process.wait(20)
