"""The cost of the live page with 10,000 jobs and 200 slots: ``python -m benchmarks.monitor``.

Processor time, not time by the clock: it does not depend on what else the machine does. The
server's is that of one update of one browser; the browser's is that of its page's main thread per
update, everything included: reading the message, drawing three charts, the tables.
"""

from __future__ import annotations

import statistics
import sys
import time

from bokeh.document import Document

from events.dashboard.feed import Feed
from events.dashboard.page import UPDATE_MILLISECONDS, Page
from tests.events.dashboard.bag import bag, job_events, job_start
from tests.events.dashboard.serving import served
from tests.services import session
from tests.services.browser import devtools, open_browser
from tests.waiting import wait_until

_JOBS = 10_000
_SLOTS = 200
#: New jobs per update: 200 a second.
_ENDING = 100
_UPDATES = 30
_WATCHED_SECONDS = 15.0


def main() -> int:
    """Print the figures."""
    feed = Feed()
    events = list(bag(_JOBS, end=time.time() - 2))
    started = time.thread_time()
    feed.add(events)
    spent = time.thread_time() - started
    print(f"taking {len(events):,} events: {spent / len(events) * 1e6:.0f} us each")
    for slot in range(_SLOTS):
        feed.add(job_start(_JOBS + slot, executor=slot % 20, thread=slot // 20 + 1, at=time.time()))
    _measure_server(feed)
    session.open_session()
    try:
        _measure_browser(feed)
    finally:
        session.close_session()
    return 0


def _measure_server(feed: Feed) -> None:
    started = time.thread_time()
    page = Page(Document(), feed, "benchmark")
    print(f"server: a page for a new browser: {(time.thread_time() - started) * 1e3:.0f} ms")
    costs = []
    number = 2 * _JOBS
    for _ in range(_UPDATES):
        number = _more(feed, number)
        started = time.thread_time()
        page.update()
        costs.append((time.thread_time() - started) * 1e3)
    print(
        f"server: an update with {_ENDING} new jobs: median {statistics.median(costs):.1f} ms, "
        f"longest {max(costs):.1f} ms"
    )


def _measure_browser(feed: Feed) -> None:
    with served(feed) as address, open_browser() as browser:
        browser.get(address)
        wait_until(
            lambda: browser.execute_script("return document.documentElement.dataset.ready"),
            timeout=120.0,
            what="the page",
        )
        devtools(browser, "Performance.enable", timeDomain="threadTicks")
        before = _busy_seconds(browser)
        number = 4 * _JOBS
        end = time.monotonic() + _WATCHED_SECONDS
        updates = 0
        while time.monotonic() < end:
            number = _more(feed, number)
            updates += 1
            time.sleep(UPDATE_MILLISECONDS / 1e3)
        spent = (_busy_seconds(browser) - before) * 1e3
        print(f"browser: an update: {spent / updates:.0f} ms of its main thread")


def _busy_seconds(browser: object) -> float:
    metrics = devtools(browser, "Performance.getMetrics")["metrics"]  # type: ignore[arg-type]
    return float(next(item["value"] for item in metrics if item["name"] == "TaskDuration"))


def _more(feed: Feed, number: int) -> int:
    for index in range(_ENDING):
        executor, thread = index % 20, index // 20 + 1
        at = time.time() - 2
        feed.add(job_events(number + index, executor=executor, thread=thread, at=at, seconds=1.9))
    return number + _ENDING


if __name__ == "__main__":
    sys.exit(main())
