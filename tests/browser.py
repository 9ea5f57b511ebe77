"""A real browser for tests: Chromium without a window, where there is one."""

import contextlib
import os
import shutil
import time

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs a browser's driver: pip install playwright"
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def path_of_chromium():
    """Where Chromium is: `DEEPGEN_CHROMIUM`, else that of the system; skip where there is none."""
    path = os.environ.get("DEEPGEN_CHROMIUM")
    path = path or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium, or DEEPGEN_CHROMIUM=/path/to/it")
    return path


@contextlib.contextmanager
def chromium():
    """A browser; its pages are made by :func:`page_of`."""
    path = path_of_chromium()
    # root, as in containers, has no sandbox; the only page is our own
    flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@contextlib.contextmanager
def page_of(browser, address, *, width=1280, height=900, scheme="light", touch=False):
    """A page at an address; at the end it must have asked no other host, and have no complaint."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch,
        is_mobile=touch,
    )  # fmt: skip
    page, complaints, requests = context.new_page(), [], []
    page.on(
        "console",
        lambda message: complaints.append(message.text)
        if message.type in ("error", "warning") else None,
    )  # fmt: skip
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url))
    page.goto(address)
    page.complaints = complaints
    yield page
    host = address.split("//")[1].split("/")[0]
    assert requests
    assert all(url.split("//")[1].split("/")[0] == host for url in requests), requests
    assert complaints == []
    context.close()


def until(condition, seconds=30):
    """Wait until something is so: the page's policy forbids the driver's own way to wait."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.03)


def until_answered(page):
    """Wait until the page has the answer to its last question: what it shows changes no more."""
    until(lambda: page.get_attribute("body", "data-asked") == "")


def drag(page, selector, points):
    """Draw a line with the mouse through points (x, y) in [0, 1] of an element."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    first, *others = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points
    ]
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=10)
    page.mouse.up()
