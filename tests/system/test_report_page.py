"""The HTML report in a real browser: Debian's Chromium, headless, by its DevTools protocol."""

import base64
import contextlib
import linecache
import os
import threading
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import gencore
from gencore._overview import make_overview
from gencore.bundle import BundleReader
from gencore.html_report import render

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\x1b[2J\u202e"
SHOWN = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
PLACE = {"function": "Orders.wait", "file": f"/srv/{'orders/' * 30}app.py", "line": 12}
ANSWER = {
    "threads": {
        "groups": [
            {
                "tids": list(range(1000)),
                "own": True,
                "place": PLACE,
                "doing": [["in futex", 2], ["running", 1]],
                "frames": [PLACE] * 5,
            }
        ],
        "gil": [{"tid": 7, "place": PLACE, "doing": "running", "frames": [PLACE]}],
        "waiting_for_gil": 3,
        "blocked_loops": [{"tid": 7, "place": PLACE, "doing": "in poll", "frames": [PLACE]}],
    },
    "requests": [
        {"protocol": "WSGI", "method": "GET", "target": "/x" * 90, "tid": 7, "place": PLACE}
    ],
    "heap": {
        "types": [
            {"name": f"{module}{name}", "count": 7, "size": size << 20}
            for module in ("", "shop.")
            for name, size in (("Order", 90), ("Item", 50), ("T" * 90, 20), ("Part", 1))
        ],
        "largest": [{"type_name": "Order", "address": 1 << 40, "size": 300 << 20}],
        "all": {"count": 56, "size": 322 << 20},
        "memory": {"objects_in_pools": 6 << 20, "other": 2 << 20, "files": 1 << 20},
    },
    "packages": {"django": "5.2", HOSTILE: HOSTILE},
    "missing": {"tasks": HOSTILE},
}
"""What was read of a core, as wide as it can be."""
DESKTOP, PHONE = (1280, 900), (360, 740)


@pytest.fixture(scope="module")
def browser():
    """Start Chromium, without its sandbox: that refuses root, and the page is our own."""
    find = {name: _path_of(name) for name in ("chromium", "chromedriver")}
    options = webdriver.ChromeOptions()
    options.binary_location = find["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(find["chromedriver"]))
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})  # as on a phone
    yield driver
    driver.quit()


def _path_of(name):
    paths = (Path(directory) / name for directory in os.environ["PATH"].split(os.pathsep))
    return next((str(p) for p in paths if p.exists()), None) or pytest.skip(f"no {name} here")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Dump this process with threads of telling and of hostile names; return the manifest."""
    release = threading.Event()
    names = ("express orders", "parcel orders", HOSTILE)
    threads = [threading.Thread(target=release.wait, name=name) for name in names]
    for thread in threads:
        thread.start()
    try:
        bundle = gencore.collect_core(
            directory=tmp_path_factory.mktemp("bundle"),
            content="private",
            annotations={HOSTILE: HOSTILE},
        )
    finally:
        release.set()
        for thread in threads:
            thread.join()
    with BundleReader(bundle) as reader:  # its table leads there; tar would unpack all the core
        return reader.manifest()


@pytest.fixture(scope="module")
def address(manifest, tmp_path_factory):
    """Write the report of it; return the page's address."""
    page = tmp_path_factory.mktemp("report") / "report.html"
    frames = [f for row in manifest["threads"] for f in (row["python"] or {}).get("frames", ())]
    lines = {(f["file"], f["line"]): linecache.getline(f["file"], f["line"]) for f in frames}
    shown = next(frame for frame in frames if "gencore/" not in frame["file"])
    lines[shown["file"], shown["line"]] = f"answer = ask({HOSTILE!r})  # {HOSTILE}"
    overview = make_overview(manifest, ANSWER, lambda *_: HOSTILE, "BUNDLE")
    page.write_text(render(manifest, lines, overview), encoding="utf-8")
    return page.as_uri()


@contextlib.contextmanager
def looking(browser, address, size=DESKTOP, scheme="light"):
    """Open the page on a screen of that size, in a light or dark scheme."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")  # what an earlier page said
    browser.get(address)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def page(browser, address):
    """Open the page on a desktop."""
    with looking(browser, address) as opened:
        yield opened


def shown_threads(page):
    """Return the names of the threads that can be seen."""
    rows = page.find_elements(By.CSS_SELECTOR, ".thread")
    return [
        row.find_element(By.CSS_SELECTOR, ".thread-name").text
        for row in rows
        if row.is_displayed()
    ]


def search(page, text):
    box = page.find_element(By.ID, "thread-search")
    box.clear()
    box.send_keys(text)


def count_shown(page):
    return page.find_element(By.ID, "thread-count").text


def test_page_opens_without_any_complaint(page):
    """Neither the console nor the page's own policy has something to say."""
    assert page.get_log("browser") == []
    assert page.find_element(By.TAG_NAME, "h1").is_displayed()


def test_policy_refuses_what_is_not_the_pages_own(page):
    """A script, a style or a picture that got into the page would do nothing."""
    page.execute_script("""
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        document.querySelector("h1").setAttribute("style", "display: none");
        const picture = document.createElement("img");
        picture.src = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
        document.body.append(picture);
    """)
    refused = [
        row for row in page.get_log("browser") if "Content Security Policy" in row["message"]
    ]

    assert page.execute_script("return window.ran") is None
    assert page.find_element(By.TAG_NAME, "h1").is_displayed()
    assert len(refused) == 3


def test_search_filters_threads_while_typing(page, manifest):
    """Each letter narrows the list, the count follows, and Escape brings all back."""
    total = len(manifest["threads"])
    assert count_shown(page) == f"{total} threads"
    assert len(shown_threads(page)) == total

    search(page, "ORDERS")
    assert sorted(shown_threads(page)) == ["express orders", "parcel orders"]
    assert count_shown(page) == f"2 of {total} threads"

    search(page, "orders par")
    assert shown_threads(page) == ["parcel orders"]

    page.find_element(By.ID, "thread-search").send_keys(Keys.ESCAPE)
    assert len(shown_threads(page)) == total


def test_search_that_finds_nothing_says_so(page, manifest):
    """An empty list would look like a dump without threads."""
    search(page, "nonesuch")

    assert shown_threads(page) == []
    assert page.find_element(By.ID, "thread-none").is_displayed()
    assert count_shown(page) == f"0 of {len(manifest['threads'])} threads"


def test_match_in_a_stack_is_opened_and_closed_again(page):
    """What was found can be seen; what the search opened, it closes."""

    def is_open():
        selector = "//li[.//span[text()='parcel orders']]/details"
        return page.find_element(By.XPATH, selector).get_attribute("open") is not None

    before = is_open()
    search(page, "parcel event.wait")
    during = is_open()
    page.find_element(By.ID, "thread-search").send_keys(Keys.ESCAPE)

    assert (before, during, is_open()) == (False, True, False)


def test_page_can_be_used_with_the_keyboard(page):
    """The first stop skips to the content, a slash leads to the search, Enter opens a stack."""
    page.switch_to.active_element.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the report"

    page.switch_to.active_element.send_keys("/")
    assert page.switch_to.active_element.get_attribute("id") == "thread-search"

    page.switch_to.active_element.send_keys("parcel", Keys.TAB, Keys.TAB)
    row = page.switch_to.active_element
    style = row.value_of_css_property
    assert "parcel orders" in row.text
    assert (style("outline-style"), style("outline-width")) == ("solid", "2px")
    row.send_keys(Keys.ENTER)
    assert page.find_element(By.CSS_SELECTOR, ".thread:not([hidden]) .stack").is_displayed()


def test_hostile_names_are_shown_as_text(page):
    """Markup stays text, and control characters are escapes that a reader can see."""
    names = shown_threads(page)
    terms = [term.text for term in page.find_elements(By.CSS_SELECTOR, ".facts dt")]

    assert SHOWN in names
    assert SHOWN in terms
    assert any(SHOWN in text.text for text in page.find_elements(By.CLASS_NAME, "source"))
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert len(page.find_elements(By.TAG_NAME, "script")) == 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_page_never_scrolls_sideways(browser, address, size):
    """Everything open, the page is as wide as the screen."""
    with looking(browser, address, size) as page:
        page.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
        overflowing = page.execute_script("""
            const edge = document.documentElement.clientWidth + 0.5;
            return [...document.querySelectorAll("body *:not(.skip)")]
                .filter(e => e.getBoundingClientRect().right > edge)
                .map(e => e.outerHTML.slice(0, 120))
        """)
        html = page.find_element(By.TAG_NAME, "html")
        widths = [html.get_property(name) for name in ("scrollWidth", "clientWidth")]

    assert overflowing == []
    assert widths == [size[0]] * 2


def test_one_treemap_of_each_is_shown_and_its_labels_can_be_read(browser, address):
    """The phone has drawings of its own: letters of the desktop's would shrink."""
    for size in (DESKTOP, PHONE):
        with looking(browser, address, size) as page:
            drawings = [
                d for d in page.find_elements(By.CLASS_NAME, "treemap") if d.is_displayed()
            ]
            heights = [
                text.rect["height"]
                for drawing in drawings
                for text in drawing.find_elements(By.TAG_NAME, "text")
            ]
        assert len(drawings) == 2
        assert len(heights) > 5
        assert min(heights) > 9


def test_page_works_without_script(browser, address, manifest):
    """There is no search then, and everything else is there."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        with looking(browser, address) as page:
            assert not page.find_element(By.ID, "thread-search").is_displayed()
            assert len(shown_threads(page)) == len(manifest["threads"])
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
function luminance(...layers) {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of layers) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ratio(ground, ink) {
    const [a, b] = [luminance(...ground), luminance(...ground, ink)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
function grounds(element) {
    const own = [getComputedStyle(element).backgroundColor];
    return element.parentElement ? [...grounds(element.parentElement), ...own] : own;
}
const isSeen = e => e.getClientRects().length > 0;
const found = [];
for (const e of document.querySelectorAll("body *:not(svg *):not(script)")) {
    if (isSeen(e) && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
        found.push([ratio(grounds(e), getComputedStyle(e).color), e.textContent]);
}
for (const e of document.querySelectorAll(".treemap .cell:has(text)")) {
    const [rect, text] = ["rect", "text"].map(name => getComputedStyle(e.querySelector(name)));
    if (isSeen(e)) found.push([ratio([rect.fill], text.fill), e.textContent]);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(browser, address, scheme):
    """At least 4.5 to 1 in both schemes, as WCAG 2.2 AA asks."""
    with looking(browser, address, scheme=scheme) as page:
        found = page.execute_script(CONTRASTS)

    assert len(found) > 100
    assert [row for row in found if row[0] < 4.5] == []


def test_both_schemes_differ(browser, address):
    """A dark screen gets a dark page."""
    grounds = []
    for scheme in ("light", "dark"):
        with looking(browser, address, scheme=scheme) as page:
            body = page.find_element(By.TAG_NAME, "body")
            grounds.append(body.value_of_css_property("background-color"))

    assert grounds[0] != grounds[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_screenshots(browser, address, tmp_path, size, scheme):
    """Pictures of the whole page; GENCORE_SCREENSHOTS names a directory that keeps them."""
    directory = Path(os.environ.get("GENCORE_SCREENSHOTS", tmp_path))
    picture = directory / f"report-{'phone' if size == PHONE else 'desktop'}-{scheme}.png"
    with looking(browser, address, size, scheme) as page:
        shot = page.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    picture.write_bytes(base64.b64decode(shot["data"]))

    assert picture.read_bytes().startswith(b"\x89PNG")
