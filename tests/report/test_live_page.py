"""The live page in a browser, where there is one."""

import re
import shutil
import time

import numpy as np
import pytest
from live_log import FELL_BACK, KEPT, SENT, decision, write
from PIL import Image

from hybridge.plan.log import DecisionLog
from hybridge.report.live import Known, LiveView
from hybridge.report.watch import Dashboard

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None,
    reason="no browser: needs chromium and chromedriver (Debian: chromium chromium-driver)",
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.jsonl"


@pytest.fixture
def page(browser, log, tmp_path):
    """The page, opened on a phone; what is called is asked until it comes true."""
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(images / "00000007.png")
    view = LiveView(log, Known(("cat", "dog", "<i>owl</i>"), 0.5))
    with Dashboard(view.state, images, every_s=0.05) as dashboard:
        resize(browser, 390, "light")
        browser.get(f"http://127.0.0.1:{dashboard.port}/")
        yield browser
        browser.get("about:blank")
    assert [each["message"] for each in browser.get_log("browser")] == []


def resize(browser, width, scheme):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(page, script, expected):
    """Wait until a piece of script returns what is expected."""
    ends = time.monotonic() + 15
    while (found := page.execute_script(f"return {script}")) != expected:
        assert time.monotonic() < ends, f"expected {expected!r}, got {found!r}"
        time.sleep(0.05)


def text(page, selector):
    return page.execute_script("return document.querySelector(arguments[0]).innerText", selector)


def tiles(page):
    values = page.execute_script(
        "return [...document.querySelectorAll('#tiles > div')].map(each => "
        "[each.querySelector('dt').innerText, each.querySelector('.value').innerText])"
    )
    return {name: value.replace("\xa0", " ") for name, value in values}


ROWS = "document.querySelectorAll('#rows tr').length"


def test_it_fills_as_the_log_does(page, log):
    until(page, "document.getElementById('status').innerText", "waiting")
    assert "Waiting for the first request" in text(page, "main")
    write(log, KEPT, KEPT, SENT, FELL_BACK, truth=0)
    until(page, ROWS, 4)
    assert tiles(page) == {
        "Coverage": "50 %",
        "Accuracy": "50 %",
        "Latency": "2 ms",
        "Link": "4 Mbit/s",
        "Threshold": "0.5",
        "Breaker": "open",
        "Requests": "4",
    }
    assert re.fullmatch(r"edge 2.ms\s+link 30.ms\s+cloud 10.ms", text(page, "#parts"))
    assert text(page, "#rows .chip.fell") == "fell back"
    with DecisionLog(log) as more:
        more.append(SENT, time.time(), 1)
    until(page, ROWS, 5)
    until(page, "document.getElementById('status').innerText", "live")
    assert text(page, "#rows tr .label") == "dog"


def test_every_chart_draws_what_came(page, log):
    write(log, KEPT, SENT, decision(score=float("nan"), threshold=float("inf")), FELL_BACK)
    until(page, ROWS, 4)
    count = "document.querySelectorAll('{}').length".format
    # Edge alone, edge with link and cloud, edge, edge.
    until(page, count("#latency rect"), 6)
    until(page, count("#scores circle"), 3)
    until(page, count("#link path"), 2)


def test_what_the_log_says_is_never_markup(page, log):
    write(log, KEPT, KEPT, FELL_BACK)
    until(page, ROWS, 3)
    assert text(page, "#rows .why") == "fell back: <b>refused</b>"
    assert text(page, "#rows .label") == "<i>owl</i>"
    until(page, "document.querySelectorAll('#rows b, #rows i').length", 0)


def test_images_are_shown_where_they_are_kept(page, log):
    write(log, KEPT, image="00000007.png")
    until(page, "document.querySelector('#pictures img')?.naturalWidth", 8)


def test_an_image_that_is_gone_leaves_no_hole(browser, page, log):
    write(log, KEPT, image="00000008.png")
    until(page, ROWS, 1)
    until(page, "document.querySelectorAll('#pictures img').length", 0)
    browser.get_log("browser")  # the browser says itself that it found none


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(page, log, width, scheme):
    write(log, *[KEPT, SENT] * 60)
    resize(page, width, scheme)
    until(page, ROWS, 40)
    until(page, "document.documentElement.scrollWidth <= innerWidth", True)
    ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(244, 246, 248)" if scheme == "light" else "rgb(14, 18, 23)")
