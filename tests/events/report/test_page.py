"""The report's page in a real browser that reaches no other machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from events.report.critical_path import Node, Workflow
from events.report.page import html
from events.report.story import gather
from events.types import Event
from tests.events.timelines import T0, Story, crowd, executor_event
from tests.services.browser import console_errors
from tests.waiting import wait_until

#: Seconds within which 10,000 jobs are there; unloaded it is two.
_PATIENCE = 60.0
_EVIL = "</script><img src=x onerror=\"console.error('evil')\">"


def _opened(
    browser: WebDriver, folder: Path, events: Iterable[Event], workflows: Iterable[Workflow] = ()
) -> None:
    page = folder / "report.html"
    page.write_text(html(gather(events), f"Test {_EVIL}", list(workflows)), encoding="utf-8")
    browser.get(page.as_uri())
    idle = "return Boolean(window.Bokeh?.documents[0]?.is_idle)"
    wait_until(lambda: browser.execute_script(idle), _PATIENCE, "the charts")


def _bars(browser: WebDriver) -> dict[str, int]:
    """How many bars the timeline has of each kind."""
    found: dict[str, int] = browser.execute_script("""
        const plot = Bokeh.documents[0].get_model_by_name("timeline")
        return Object.fromEntries(
            plot.renderers.map((bars) => [bars.name, bars.data_source.get_length()]))
    """)
    return found


def _set(browser: WebDriver, name: str, field: str, value: str) -> None:
    browser.execute_script(
        "Bokeh.documents[0].get_model_by_name(arguments[0])[arguments[1]] = arguments[2]",
        name,
        field,
        value,
    )


def _shown(browser: WebDriver) -> list[str]:
    """The ids of the jobs that the table shows."""
    found: list[str] = browser.execute_script("""
        const table = Bokeh.documents[0].get_model_by_name("jobs")
        const kept = [...table.view.indices]
        return kept.map((place) => table.source.data.job[place])
    """)
    return found


def test_a_report_shows_phases_failures_and_what_was_lost(
    browser: WebDriver, tmp_path: Path
) -> None:
    evil = Story("evil", "b", name=_EVIL)
    dead = [executor_event("executor.ready", 0, "b", threads=1), *list(evil.run(0))[:4]]
    events = [
        executor_event("executor.ready", 0, threads=2, host="vm-1"),
        *Story("good").run(0),
        *Story("bad", thread=1).run(0, "FIZZLED", phase="execution", reason=f"exit 3: {_EVIL}"),
        *dead,
        executor_event("executor.stopped", 9, "b"),
    ]
    nodes = {n: Node(fw_id=n, name=f"step-{n}", started=T0, ended=T0 + n) for n in (1, 2)}
    workflow = Workflow(name="two steps", nodes=nodes, links={1: [2]})
    _opened(browser, tmp_path, events, [workflow])
    assert _bars(browser) == {
        "other": 3,
        "stage-in": 3,
        "execution": 3,
        "stage-out": 2,
        "failed": 1,
        "lost or given back": 1,
    }
    text = browser.find_element(By.TAG_NAME, "main").text
    assert f"align (bad) FIZZLED in execution: exit 3: {_EVIL}" in text
    assert "1 COMPLETED, 1 FIZZLED, 1 lost" in text
    assert "Critical path of two steps" in text
    assert "step-2" in text

    _set(browser, "filter", "value_input", "EXIT bad")
    wait_until(lambda: _shown(browser) == ["bad"], what="the text filter")
    _set(browser, "filter", "value_input", "")
    _set(browser, "state", "value", "lost")
    wait_until(lambda: _shown(browser) == ["evil"], what="the state filter")

    assert browser.find_elements(By.TAG_NAME, "img") == []
    assert console_errors(browser) == []


def test_a_report_of_nothing_but_an_executor_opens(browser: WebDriver, tmp_path: Path) -> None:
    _opened(browser, tmp_path, [executor_event("executor.ready", 0, threads=2)])
    assert console_errors(browser) == []


def test_ten_thousand_jobs_in_two_hundred_slots_open(browser: WebDriver, tmp_path: Path) -> None:
    began = time.monotonic()
    _opened(browser, tmp_path, crowd(10_000))
    assert time.monotonic() - began < 2 * _PATIENCE
    bars = _bars(browser)
    assert (bars["execution"], bars["failed"]) == (10_000, 104)
    _set(browser, "state", "value", "FIZZLED")
    wait_until(lambda: len(_shown(browser)) == 104, _PATIENCE, "the filtered table")
    assert console_errors(browser) == []
