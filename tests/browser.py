"""A real browser for tests of pages: Debian's Chromium, driven by Playwright; and the pages served in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from shutil import which
from typing import Any

import pytest
import uvicorn

from ray_jobs.browse import Catalogue
from ray_jobs.serve import application, quick_import


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if (path := which("chromium")) is None:
        pytest.skip("no chromium: apt-get install --no-install-recommends chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(catalogue: Catalogue) -> Iterator[str]:
    """The address at which the catalogue's page is served."""
    with quick_import():
        from ray_jobs.browser_page import build
    with answered(application(build(catalogue))) as address:
        yield address


@contextmanager
def answered(page: Any) -> Iterator[str]:
    """The address at which an application is served."""
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        config = uvicorn.Config(page, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


@dataclass
class Visit:
    """A page that is open. asked: addresses that it asked for. said: errors in its console. page: Playwright's."""

    page: Any
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """What is to be read in the elements, as a person sees it."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def refuse(self, dialog: Any) -> None:
        """Notes that the page opened a dialog, and closes it: an open one would hold the page still."""
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def reads(self, selector: str, text: str) -> None:
        """Waits until the text is to be read in the first such element. Says what was there instead."""
        from playwright.sync_api import TimeoutError

        try:
            self.page.wait_for_function(
                "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
                arg=[selector, text],
            )
        except TimeoutError as error:
            there = [*self.texts(selector), *self.texts(".toast-body"), *self.said]
            raise AssertionError(f"{selector} does not read {text!r} but {there}") from error

    def pictures(self, selector: str, what: str = "image.naturalWidth") -> None:
        """Waits until there are pictures, all are loaded, and what the JavaScript says of each `image` is true."""
        self.page.wait_for_function(
            f"(selector) => {{ const found = [...document.querySelectorAll(selector + ' img')];"
            f" return found.length && found.every((image) => image.complete && image.naturalWidth && ({what})) }}",
            arg=selector,
        )

    def until(self, script: str) -> None:
        """Waits until the JavaScript expression is true."""
        self.page.wait_for_function(script, timeout=120_000)


@contextmanager
def visit(browser: Any, address: str, width: int = 1300, dark: bool = False) -> Iterator[Visit]:
    """The page at the address, in a window of `width` pixels."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": 1000}, color_scheme=scheme)
    context.set_default_timeout(120_000)
    page = context.new_page()
    found = Visit(page)
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("console", lambda message: found.said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("dialog", found.refuse)
    try:
        page.goto(address)
        yield found
    finally:
        context.close()
