"""Pages in a real browser. Importing this skips the module where there is none; each module has its own browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from time_limits import seconds, wait_until

BROWSER = os.environ.get("IVREID_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
expect = sync_api.expect
expect.set_options(timeout=1000 * seconds(60))  # guards against hanging, no verdict on speed
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium here; install it, or set IVREID_CHROMIUM"),
    # playwright's connection is closed by its own process at the end
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser, closed at the end."""
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def visits(browser: Any, *, heeded: tuple[str, ...] | None = None, **defaults: Any) -> Iterator[Any]:
    """`go(address)` opens a page; what it complains about, or asks of elsewhere, fails the test at its end.

    Args:
        browser: Of `browsing`.
        heeded: Kinds of console messages that are complaints; None: every one.
        defaults: Options of each page's context.
    """
    complaints: list[str] = []
    contexts: list[Any] = []

    def go(address: str, **options: Any) -> Any:
        context = browser.new_context(**{**defaults, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "console", lambda said: (heeded is None or said.type in heeded) and complaints.append(said.text)
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        own = ("data:", "blob:", "file:" if address.startswith("file:") else address)
        page.on("request", lambda asked: asked.url.startswith(own) or complaints.append(asked.url))
        page.goto(address)
        return page

    go.complaints = complaints  # type: ignore[attr-defined]
    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def eventually(page: Any, expression: str) -> None:
    """Asked from here until it holds: a page's policy may forbid evaluating what waits inside it."""
    wait_until(lambda: page.evaluate(expression))
