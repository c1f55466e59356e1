"""A user in OMERO.web, in headless Chromium: logs in, runs the script, queues a request, sees what came of both.

Run by the Python that omero-web and Playwright are installed in; the arguments come as JSON, what was seen goes out
as JSON. Pictures of each step are put into a folder.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Locator, Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
SIZE = {"width": 1300, "height": 820}
WAIT_MS, SCRIPT_S = 120_000, 300
DONE = re.compile(r"images? done|Nothing was done|Queued for|ailed")


class User:
    """Who sits before the browser, and what they have seen so far."""

    def __init__(self, context: BrowserContext, told: dict[str, Any]) -> None:
        self.context, self.told = context, told
        self.seen: dict[str, Any] = {"wrong": []}
        self.page = self.watched(context.new_page())

    def watched(self, page: Page) -> Page:
        """Errors of pages and answers of the server that say so are noted."""
        page.set_default_timeout(WAIT_MS)
        wrong = self.seen["wrong"]
        page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("pageerror", lambda e: wrong.append(str(e)))
        return page

    def picture(self, name: str, page: Page | None = None) -> None:
        (page or self.page).screenshot(path=str(Path(self.told["pictures"]) / f"{name}.png"))

    def go(self, path: str) -> None:
        self.page.goto(self.told["url"] + path)

    def log_in(self) -> None:
        self.go("/webclient/login/")
        self.page.fill("#id_username", self.told["user"])
        self.page.fill("#id_password", self.told["password"])
        self.page.click("input[type=submit]")
        self.page.get_by_text("Dose response").wait_for()
        self.seen["tree"] = self.page.eval_on_selector_all(".jstree-anchor", "e => e.map(a => a.textContent.trim())")

    def look_at_plate(self) -> None:
        self.go(f"/webclient/?show=plate-{self.told['plate']}")
        self.page.wait_for_function("n => document.querySelectorAll('#spw td.well img').length >= n", arg=6)
        self.page.wait_for_function("[...document.querySelectorAll('#spw td.well img')].every(i => i.naturalWidth > 0)")
        sizes = "e => e.map(i => i.naturalWidth)"
        self.seen["thumbnails"] = self.page.eval_on_selector_all("#spw td.well img", sizes)
        self.page.get_by_text("Plate ID:").wait_for()
        self.picture("1-plate")

    def choose_stacks(self) -> None:
        """Select the images of the dataset of stacks by clicks in the middle, as people do."""
        self.go(f"/webclient/?show=dataset-{self.told['stacks']}")
        icons = self.page.locator("#dataIcons li.row:has(img)")
        icons.nth(1).wait_for()
        icons.nth(0).click()
        icons.nth(1).click(modifiers=["Control"])
        self.page.locator("#batch_ann_title, #batch_general_tab, #general_tab").first.wait_for()
        self.page.wait_for_function("document.querySelectorAll('#dataIcons li.ui-selected').length === 2")
        self.picture("7-chosen")

    def run_script(self, name: str, classifier: str, changes: dict[str, str]) -> str:
        """Open the script's form from the menu, fill it in, run it; returns its message."""
        self.page.click("#scriptButton")
        entry = self.page.locator("#scriptList a", has_text="Pixel Classification")
        entry.wait_for(state="attached")
        with self.context.expect_page() as opened:
            entry.evaluate("a => a.click()")
        form = self.watched(opened.value)
        form.set_viewport_size({"width": 720, "height": 980})
        form.wait_for_selector("#script_form")
        self.seen[name] = {key: form.input_value(f"[name={key}]") for key in ("Data_Type", "IDs", "Threshold")}
        listed = "e => e.map(o => o.value)"
        self.seen[name]["classifiers"] = form.eval_on_selector_all("[name=Classifier] option", listed)
        chosen = next(c for c in self.seen[name]["classifiers"] if c.startswith(classifier))
        form.select_option("[name=Classifier]", chosen)
        for key, value in changes.items():
            (form.select_option if key == "Run" else form.fill)(f"[name={key}]", value)
        self.picture(f"2-form-{name}", form)
        form.evaluate("document.querySelector('#submit').click()")
        return self._message(name)

    def _message(self, name: str) -> str:
        end = time.monotonic() + SCRIPT_S
        while time.monotonic() < end:
            told = self.page.eval_on_selector_all("span.message", "e => e.map(m => m.textContent)")
            if told and DONE.search(told[0]):
                self.seen[name]["message"] = told[0]
                buttons = "e => e.map(b => b.title)"
                self.seen[name]["buttons"] = self.page.eval_on_selector_all("ul.menu_btns a", buttons)
                self.picture(f"3-message-{name}")
                self._clear_activities()
                return str(told[0])
            time.sleep(0.5)
        self.picture(f"3-message-{name}-missing")
        raise AssertionError(f"{name}: no message after {SCRIPT_S} s")

    def _clear_activities(self) -> None:
        """Empty the list of what was run, here and in the server, so that the next message is the next script's."""
        with self.page.expect_response(lambda r: "activities_update" in r.url and r.request.method == "POST"):
            self.page.evaluate("document.querySelector('#clear_activities').click()")
        self.page.wait_for_function("document.querySelectorAll('span.message').length === 0")

    def look_at_results(self, image: int, name: str, pictures: tuple[str, str]) -> None:
        """An image's right panel: ROI count, key-values, and its row of the summary table."""
        panel = self._panel(image)
        panel.locator("h1", has_text="Tables").first.click()
        panel.get_by_text("Run ID").first.wait_for()
        self.page.wait_for_timeout(1000)  # panels slide open
        self.seen[name]["details"] = panel.inner_text()
        self.picture(pictures[0])
        # The only table of the container is opened at once; of several, one would have to be chosen.
        row = self.page.locator("#bulk_annotations_list table", has_text="Count_Nucleus")
        row.wait_for()
        self.seen[name]["tables"] = self.page.locator("#bulk_annotations_list li a.tooltip").all_inner_texts()
        row.scroll_into_view_if_needed()
        self.seen[name]["table"] = row.inner_text()
        self.picture(pictures[1])

    def _panel(self, image: int) -> Locator:
        """An image's right panel with its key-values open."""
        self.page.set_viewport_size({"width": 1300, "height": 1000})
        self.go(f"/webclient/?show=image-{image}")
        panel = self.page.locator("#general_tab")
        panel.get_by_text("ROI Count:").wait_for()
        panel.locator("h1", has_text="Key-Value Pairs").first.click()
        return panel

    def wait_for_answer(self, image: int) -> None:
        """Look at a queued image now and then, until the watcher's answer stands in its key-values."""
        end = time.monotonic() + SCRIPT_S
        while time.monotonic() < end:
            panel = self._panel(image)
            panel.get_by_text("Requested by").first.wait_for()
            self.page.wait_for_timeout(1000)
            text = panel.inner_text()
            if re.search(r"State\s+(done|failed)", text):
                self.seen["queue"]["answer"] = text
                self.picture("9-answer")
                return
        self.picture("9-answer-missing")
        raise AssertionError(f"Image:{image}: not answered after {SCRIPT_S} s")

    def look_at_watcher(self, moment: str) -> None:
        """The watcher's status page, on a screen and on a phone."""
        page = self.watched(self.context.new_page())
        for width, height in ((1280, 900), (390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            page.goto(self.told["status"])
            page.locator("#runs").wait_for()
            page.screenshot(path=str(Path(self.told["pictures"]) / f"8-watcher-{moment}-{width}.png"), full_page=True)
        self.seen[f"watcher {moment}"] = page.locator("body").inner_text()
        page.close()

    def look_at_viewer(self) -> None:
        """OMERO.web's own viewer, with the ROIs drawn over the image."""
        self.go(f"/webclient/img_detail/{self.told['image']}/")
        # Grey and without effect until the image is loaded.
        self.page.locator("#show-rois-a:not([style*=gray])", has_text="Show ROIs").click()
        self.page.locator("svg path").first.wait_for(state="attached")
        self.page.wait_for_timeout(1500)
        shapes = "e => e.map(s => [s.tagName, Number(s.getAttribute('fill-opacity') ?? 1)])"
        self.seen["shapes"] = self.page.eval_on_selector_all("svg path[stroke], svg image", shapes)
        self.picture("6-viewer")


def main() -> None:
    told = json.loads(sys.argv[1])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=told["browser"], args=FLAGS)
        user = User(browser.new_context(viewport=SIZE), told)
        try:
            user.log_in()
            user.look_at_plate()
            user.run_script("run", "plate.ilp", {"Min_Size": "40"})
            user.look_at_results(told["image"], "run", ("4-image", "5-table"))
            user.look_at_viewer()
            user.choose_stacks()
            user.run_script("queue", "stack.ilp", {"Min_Size": "60", "Run": "Queue for the service"})
            user.look_at_watcher("asked")
            for image in reversed(told["queued"]):
                user.wait_for_answer(image)
            user.look_at_results(told["queued"][0], "queue", ("10-served", "11-served-table"))
            user.look_at_watcher("answered")
        finally:
            print(json.dumps(user.seen))
            browser.close()


if __name__ == "__main__":
    main()
