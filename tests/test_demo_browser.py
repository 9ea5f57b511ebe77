"""The page of the demo in a real browser: drawn on by mouse, finger and keys, wide and narrow."""

import base64
import contextlib
import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs a driver: pip install playwright")

import numpy as np
from browser import chromium, drag, page_of, path_of_chromium, until, until_answered
from conftest import with_slow
from demo_models import quick_models
from served import served

from deepgen.demo.page import page_routes
from deepgen.demo.sessions import Parlour
from deepgen.demo.strokes import picture_of_strokes
from deepgen.serving.server import make_server, open_socket
from deepgen.serving.service import Service

SEVEN = [(0.3, 0.22), (0.72, 0.2), (0.45, 0.85)]
# To look at what the page has become: a folder for screenshots.
SHOTS = os.environ.get("DEEPGEN_SHOTS")


@pytest.fixture(scope="module")
def parlour(tmp_path_factory):
    """Models and threads of the page."""
    path_of_chromium()  # not after seconds of training
    parlour = Parlour(quick_models(tmp_path_factory.mktemp("page")), 2)
    yield parlour
    parlour.close()


@pytest.fixture(scope="module")
def address(parlour):
    """The page on a free port."""
    routes = page_routes(parlour)
    with served(parlour.models.dbm, without=["score"], further=routes) as client:
        yield str(client.base_url).rstrip("/") + "/"


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    with chromium() as browser:
        yield browser


def top_class(page):
    """The digit with the largest bar, as text; empty where there is none."""
    top = page.locator("#bars li.top span").first
    return top.text_content() if top.count() else ""


def ink_of(page, selector):
    """The darkest and the brightest grey of a canvas, from 0 to 255."""
    return page.evaluate(
        """(selector) => {
            const canvas = document.querySelector(selector);
            const {width, height} = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const greys = Array.from({length: data.length / 4}, (_, i) => data[4 * i + 1]);
            return [Math.min(...greys), Math.max(...greys)];
        }""",
        selector,
    )


def is_drawn(page, selector):
    """Tell whether a canvas shows more than one grey."""
    low, high = ink_of(page, selector)
    return high - low > 100


SCREENS = [(width, scheme) for width in (1280, 820, 390) for scheme in ("light", "dark")]


@pytest.mark.parametrize("screen", with_slow(SCREENS, SCREENS[1:]), ids=str)
def test_a_seven_is_seen_completed_and_dreamt_of(browser, address, screen):
    """Would catch a page on which a person cannot do what it promises: draw a 7 by mouse and read
    7, erase its lower half and see completions, watch the dream of a class; one that asks another
    host, complains in the console, or is wider than its screen."""
    width, scheme = screen
    touch = width < 500
    with page_of(browser, address, width=width, scheme=scheme, touch=touch) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        drag(page, "#drawing", SEVEN)
        until_answered(page)
        assert top_class(page) == "7"
        assert "7" in page.text_content("#verdict")
        for selector in ("#seen", "#layer1", "#layer2", "#meant"):
            assert is_drawn(page, selector), selector
        assert page.get_attribute("#sweep", "max") != "0"
        assert "of mean field" in page.text_content('label[for="sweep"]')

        page.click("#erase-lower")
        until(lambda: page.get_attribute("#completions", "data-shown") == "yes")
        for number in range(1, 7):
            assert is_drawn(page, f"#completions figure:nth-child({number}) canvas")

        page.get_by_role("button", name="Dream of a 3").click()
        until(lambda: int(page.get_attribute("#dreams", "data-sweeps") or 0) > 10)
        assert page.get_by_role("button", name="Dream of a 3").get_attribute("aria-pressed")
        for number in range(1, 7):
            assert ink_of(page, f"#dreams figure:nth-child({number}) canvas")
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels on a screen of {width}"
        if SHOTS:
            page.evaluate("() => scrollTo(0, 0)")
            page.screenshot(path=Path(SHOTS) / f"page_{width}_{scheme}.png", full_page=True)
        page.get_by_role("button", name="Dream of a 3").click()
        assert "Awake" in page.text_content("#dream-text")


@pytest.mark.slow
def test_the_page_sends_what_was_drawn(browser, address, parlour):
    """Would catch points that are mirrored, shifted or lost on their way: what the machine sees is
    the picture of the strokes in Python, but for the pixels between which a mouse cannot choose."""
    expected = picture_of_strokes([SEVEN])
    with page_of(browser, address) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        drag(page, "#drawing", SEVEN)
        until_answered(page)
        assert top_class(page) == "7"
        greys = page.evaluate(
            """() => {
                const data = document.querySelector("#seen").getContext("2d")
                    .getImageData(0, 0, 28, 28).data;
                return Array.from({length: 784}, (_, i) => data[4 * i]);
            }"""
        )
    seen = (255 - np.array(greys)) / (255 - 0x16)  # from paper #ffffff to ink #16202a
    assert np.abs(seen - expected).mean() < 0.02
    assert np.corrcoef(seen, expected)[0, 1] > 0.98


@pytest.mark.slow
def test_keys_alone_are_enough(browser, address):
    """Would catch what only a mouse can do: draw, undo, erase, move the sweeps, dream."""
    with page_of(browser, address) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        page.focus("#drawing")
        keys = page.keyboard
        for _ in range(5):
            keys.press("ArrowLeft")
        keys.press(" ")
        for _ in range(10):
            keys.press("ArrowRight")
        for _ in range(6):
            keys.press("ArrowDown")
            keys.press("ArrowDown")
            keys.press("ArrowLeft")
        keys.press(" ")
        until_answered(page)  # a late answer would show its last sweep
        assert top_class(page) == "7"
        page.focus("#sweep")
        keys.press("Home")
        assert page.get_attribute("#sweep", "aria-valuetext").startswith("sweep 0 of")
        assert "has not spoken" in page.text_content("#labels")
        keys.press("ArrowRight")
        assert page.get_attribute("#sweep", "aria-valuetext").startswith("sweep 1 of")
        page.focus("#seen")
        keys.press(" ")
        for _ in range(4):
            keys.press("ArrowDown")
        until(lambda: page.get_attribute("#completions", "data-shown") == "yes")
        page.focus("#restore")
        keys.press("Enter")
        until(lambda: page.get_attribute("#completions", "data-shown") is None)
        page.get_by_role("button", name="Dream of any digit").focus()
        keys.press("Enter")
        until(lambda: int(page.get_attribute("#dreams", "data-sweeps") or 0) > 2)
        page.focus("#drawing")
        keys.press("Delete")
        until(lambda: top_class(page) == "")
        assert page.is_disabled("#play")


@pytest.mark.slow
def test_a_finger_draws_and_the_page_stays(browser, address):
    """Would catch a touch that scrolls the page away under the finger."""
    with page_of(browser, address, width=390, height=844, touch=True) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        page.locator("#drawing").scroll_into_view_if_needed()
        box = page.locator("#drawing").bounding_box()
        before = page.evaluate("() => scrollY")
        session = page.context.new_cdp_session(page)

        def touch(kind, place):
            points = [] if place is None else [
                {"x": box["x"] + place[0] * box["width"], "y": box["y"] + place[1] * box["height"]}
            ]  # fmt: skip
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", SEVEN[0])
        for one, other in pairwise(SEVEN):
            for t in np.linspace(0.1, 1.0, 10):
                place = [a + t * (b - a) for a, b in zip(one, other, strict=True)]
                touch("touchMove", place)
        touch("touchEnd", None)
        until_answered(page)
        assert top_class(page) == "7"
        assert page.evaluate("() => scrollY") == before


@pytest.mark.slow
def test_everything_has_a_name(browser, address):
    """Would catch a control or a picture that a screen reader calls "button" or "image"."""
    with page_of(browser, address) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll("button, input, canvas, section")].filter(e => {
                const by = e.getAttribute("aria-labelledby");
                const label = e.id && document.querySelector(`label[for="${e.id}"]`);
                const text = e.tagName === "BUTTON" && e.textContent.trim();
                return !(e.getAttribute("aria-label") || label || text ||
                    (by && document.getElementById(by)));
            }).map((e) => e.outerHTML)"""
        )
        assert nameless == []
        assert page.get_attribute("html", "lang") == "en"
        assert page.locator("[role=status]").count() >= 3


@contextlib.contextmanager
def started(parlour, port):
    """The page on a port, 0 for any, until its server is killed; yields its address."""
    service = Service(parlour.models.dbm, without=["score"])
    running = make_server(service, further=page_routes(parlour))
    listening, address = open_socket("127.0.0.1", port)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield address
    finally:
        running.should_exit = running.force_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive()


@pytest.mark.slow
def test_a_lost_connection_comes_back(browser, parlour):
    """Would catch a page that stays dead after the server was started again, or does not say that
    it has lost it; and one that forgets the drawing."""
    context = browser.new_context()
    page = context.new_page()

    def n_seen():
        return int(page.get_attribute("body", "data-seen") or 0)

    with started(parlour, 0) as address:
        page.goto(address)
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        drag(page, "#drawing", SEVEN)
        until(lambda: top_class(page) == "7")
    until(lambda: page.get_attribute("#connection", "data-state") == "lost")
    assert "trying again" in page.text_content("#connection")
    before = n_seen()
    with started(parlour, int(address.rpartition(":")[2])):
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        until(lambda: n_seen() > before)
        assert top_class(page) == "7"
        context.close()


@pytest.mark.slow
def test_an_example_stands_in_for_a_drawing(browser, address):
    """Would catch "Show me one" that shows nothing, or a drawing on top of it."""
    with page_of(browser, address) as page:
        until(lambda: page.get_attribute("#connection", "data-state") == "here")
        page.click("#example")
        until(lambda: top_class(page) != "")
        seen = page.evaluate("() => document.querySelector('#seen').toDataURL()")
        assert len(base64.b64decode(seen.partition(",")[2])) > 200
        drag(page, "#drawing", SEVEN)
        until(lambda: top_class(page) == "7")
        page.click("#undo")
        until(lambda: top_class(page) == "")
