"""The live page in a real headless Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from events.dashboard.feed import Feed
from tests.events.dashboard.bag import bag, executor_events, failed_job, job_events, job_start
from tests.events.dashboard.serving import served
from tests.services.browser import console_errors, open_browser, prefer_scheme
from tests.waiting import wait_until

#: Seconds for a change to be seen: a loaded machine takes its time.
_PATIENCE = 120.0
_TEXTS = """
const collect = (node) => [...node.childNodes].map((child) =>
    (child.nodeType == 3 ? child.data : "") + (child.shadowRoot ? collect(child.shadowRoot) : "")
    + (["STYLE", "SCRIPT"].includes(child.nodeName) ? "" : collect(child))).join(" ")
return collect(document.body)
"""
_MODEL = "Bokeh.documents[0].get_model_by_name"


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def feed() -> Feed:
    """Two executors with two slots each."""
    feed = Feed()
    feed.add(executor_events(2, 2, time.time()))
    return feed


def test_it_follows_a_running_workflow(browser: WebDriver, feed: Feed) -> None:
    now = time.time()
    feed.add(job_start(1, at=now - 3))
    with _shown(browser, feed):
        _wait_for_text(browser, "vm-1 executor")
        assert _bars(browser, "growing") >= 2
        assert _bars(browser, "ended") == 0
        feed.add(job_events(1, at=now - 3)[-2:])
        feed.add(job_events(2, thread=2, at=now - 3))
        wait_until(lambda: _bars(browser, "ended") == 6, _PATIENCE, "the bars of both jobs")
        wait_until(lambda: _bars(browser, "growing") == 0, _PATIENCE, "no growing bar")
        assert console_errors(browser) == []


def test_a_failure_shows_its_reason_and_by_keyboard_all_of_it(
    browser: WebDriver, feed: Feed
) -> None:
    with _shown(browser, feed):
        feed.add(failed_job(7, at=time.time() - 3, reason="disk <b>full</b>"))
        _wait_for_text(browser, "disk <b>full</b>")
        assert _focus_job_button(browser)
        # More failures write the list anew, and the focus stays.
        feed.add(failed_job(8, thread=2, at=time.time() - 2))
        _wait_for_text(browser, "count-8")
        wait_until(lambda: _focused_job(browser) == "count-7", _PATIENCE, "the focus back")
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        _wait_for_text(browser, "exit code 3 ")
        _wait_for_text(browser, "executor-000-0c6ba8b4")
        assert console_errors(browser) == []


def test_a_job_is_found_by_its_name(browser: WebDriver, feed: Feed) -> None:
    feed.add(job_events(42, at=time.time() - 3))
    with _shown(browser, feed):
        browser.execute_script(f"{_MODEL}('search').value = 'count-42'")
        _wait_for_text(browser, "2 MB")
        browser.execute_script(f"{_MODEL}('search').value = '<i>nobody</i>'")
        _wait_for_text(browser, "no job has the id or name <i>nobody</i>")
        assert console_errors(browser) == []


def test_a_click_on_a_bar_shows_its_job(browser: WebDriver, feed: Feed) -> None:
    feed.add(job_events(9, at=time.time() - 3))
    with _shown(browser, feed):
        wait_until(lambda: _bars(browser, "ended") == 3, _PATIENCE, "the job's bars")
        browser.execute_script(f"{_source('ended')}.selected.indices = [1]")
        _wait_for_text(browser, "staged out 1 MB")


@pytest.mark.timeout(400)
def test_ten_thousand_jobs_and_two_hundred_slots(browser: WebDriver) -> None:
    feed = Feed()
    now = time.time()
    feed.add(bag(10_000, end=now - 3))
    with _shown(browser, feed):
        assert _bars(browser, "ended") == 30_000
        _wait_for_text(browser, "10,000")
        feed.add(job_events(20_000, at=now - 2, seconds=1.0))
        wait_until(lambda: _bars(browser, "ended") > 30_000, _PATIENCE, "one more")
        assert console_errors(browser) == []


def test_light_and_dark_as_the_system_wants_and_as_chosen(browser: WebDriver, feed: Feed) -> None:
    prefer_scheme(browser, "dark")
    with _shown(browser, feed) as address:
        try:
            dark = _colours(browser)
            browser.execute_script(
                "const choice = document.getElementById('scheme');"
                "choice.value = 'light'; choice.dispatchEvent(new Event('change'))"
            )
            light = _colours(browser)
            assert dark != light
            assert all(one != other for one, other in zip(dark, light, strict=True))
            _open(browser, address)
            assert _colours(browser) == light, "the choice is remembered"
        finally:
            prefer_scheme(browser, "")
        assert console_errors(browser) == []


def test_the_page_works_with_its_token_and_is_refused_without(
    browser: WebDriver, feed: Feed
) -> None:
    with _shown(browser, feed, token="right") as address:
        _wait_for_text(browser, "vm-0 executor")
        assert console_errors(browser) == []
        browser.get(address.replace("right", "wrong"))
        assert "The token is missing or wrong" in browser.execute_script(_TEXTS)
        assert any("403" in error for error in console_errors(browser))


@contextmanager
def _shown(browser: WebDriver, feed: Feed, token: str | None = None) -> Iterator[str]:
    """The page is open within the block; the value is its address."""
    with served(feed, token=token) as address:
        console_errors(browser)
        _open(browser, address)
        try:
            yield address
        finally:
            # Lest the page complain, in the next test's console, that its server has gone.
            browser.get("about:blank")


def _open(browser: WebDriver, address: str) -> None:
    browser.get(address)
    ready = "return document.documentElement.dataset.ready"
    wait_until(lambda: browser.execute_script(ready), _PATIENCE, "the page")


def _wait_for_text(browser: WebDriver, text: str) -> None:
    def seen() -> bool:
        return text in " ".join(browser.execute_script(_TEXTS).split()) + " "

    wait_until(seen, _PATIENCE, f"{text!r} on the page")


def _source(name: str) -> str:
    return f"{_MODEL}('{name}')"


def _bars(browser: WebDriver, source: str) -> int:
    return int(browser.execute_script(f"return {_source(source)}.get_length() ?? 0"))


def _focus_job_button(browser: WebDriver) -> bool:
    script = f"""
    const list = Bokeh.index.find_one({_MODEL}('failures'))
    list.shadow_el.querySelector("button.job").focus()
    return true
    """
    return bool(browser.execute_script(script))


def _focused_job(browser: WebDriver) -> str | None:
    script = "return document.activeElement?.shadowRoot?.activeElement?.textContent ?? null"
    found: str | None = browser.execute_script(script)
    return found


def _colours(browser: WebDriver) -> list[str]:
    script = f"""
    return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
            {_MODEL}('slots').below[0].major_label_text_color]
    """
    found: list[str] = browser.execute_script(script)
    return found
