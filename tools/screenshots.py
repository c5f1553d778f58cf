"""Makes docs/images anew: ``python tools/screenshots.py``, in the checkout.

Runs the word count example in many parts (with the embedded broker and LaunchPad, and an executor
of four slots), watches it with the live monitor's own page, and takes the picture while it runs;
then runs the demo, and takes a picture of its report.
Needs the extras `dev` and `local`, Chromium and its driver.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tests, whose browser this is, are no installed package

from commands.launchpads import Source, open_files  # noqa: E402
from messaging.broker import Broker  # noqa: E402
from messaging.settings import PubSubSettings  # noqa: E402

if TYPE_CHECKING:
    from dispatcher.daemon import Dispatcher
    from events.dashboard.feed import Feed

_PICTURES = ROOT / "docs" / "images"
_PARTS = 60
#: The picture is taken when so many jobs have ended.
_ENDED = 30
_WIDTH, _HEIGHT = 1300, 1620
_REPORT_HEIGHT = 1110
_PATIENCE = 180.0


def main() -> int:
    """Take the pictures, and say where they are."""
    directory = ROOT / ".portfire" / "screenshots"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with Broker() as broker:
        settings = PubSubSettings(emulator_host=broker.address, prefix="wordcount")
        # Before anything else: FireWorks decides at import which database it uses.
        source = open_files(None, None, directory / "launchpad.json")
        from events.dashboard.session import following
        from tests.services import session

        session.open_session()
        try:
            with following(settings) as feed, _running(settings, source, directory):
                _take(feed)
            _take_report(directory)
        finally:
            session.close_session()
            source.close()
    print(_PICTURES)
    return 0


def _take_report(directory: Path) -> None:
    from tests.services.browser import open_browser
    from tests.waiting import wait_until

    demo = [sys.executable, "-m", "portfire", "demo", "--parts", str(_PARTS)]
    subprocess.run(demo, cwd=directory, check=True)
    with open_browser(_WIDTH, _REPORT_HEIGHT) as page:
        page.get((directory / ".portfire" / "demo" / "report.html").as_uri())
        idle = "return Boolean(window.Bokeh?.documents[0]?.is_idle)"
        wait_until(lambda: page.execute_script(idle), _PATIENCE, "the charts")
        page.save_screenshot(str(_PICTURES / "report.png"))


def _take(feed: Feed) -> None:
    from tests.events.dashboard.serving import served
    from tests.services.browser import open_browser
    from tests.waiting import wait_until

    with served(feed, place="examples/wordcount") as address, open_browser(_WIDTH, _HEIGHT) as page:
        page.get(address)
        wait_until(
            lambda: page.execute_script("return document.documentElement.dataset.ready"),
            timeout=_PATIENCE,
            what="the page",
        )
        page.execute_script("Bokeh.documents[0].get_model_by_name('window').value = '60'")
        wait_until(
            lambda: feed.state().counters.completed >= _ENDED,
            timeout=_PATIENCE,
            what=f"{_ENDED} jobs",
        )
        run = feed.timeline.runs()[0]
        page.execute_script(f"Bokeh.documents[0].get_model_by_name('chosen').value = {run.key!r}")
        shown = feed.state().counters.completed + 2
        wait_until(
            lambda: feed.state().counters.completed >= shown, timeout=_PATIENCE, what="the details"
        )
        page.save_screenshot(str(_PICTURES / "monitor.png"))


@contextmanager
def _running(settings: PubSubSettings, source: Source, directory: Path) -> Iterator[None]:
    """An executor and a dispatcher work at the example within the block."""
    dispatcher = _dispatcher(settings, source, directory)
    place = ["--emulator-host", settings.emulator_host, "--prefix", settings.prefix]
    executor = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "portfire",
            "executor",
            "--threads",
            "4",
            *place,
            "--storage",
            "nfs",
            "--workdir",
            str(directory / "work"),
        ]
    )
    thread = threading.Thread(target=dispatcher.run, name="dispatcher", daemon=True)
    thread.start()
    try:
        yield
    finally:
        dispatcher.stop()
        thread.join(timeout=_PATIENCE)
        executor.terminate()
        executor.wait(timeout=_PATIENCE)


def _dispatcher(settings: PubSubSettings, source: Source, directory: Path) -> Dispatcher:
    from dispatcher.daemon import Dispatcher
    from dispatcher.settings import DispatcherSettings
    from examples.wordcount.workflow import build, choose_image, prepare

    folder = directory / "demo"
    prepare(folder)
    image, reason = choose_image()
    print(reason)
    source.launchpad.add_wf(build(folder, _PARTS, image))
    return Dispatcher(
        DispatcherSettings(
            emulator_host=settings.emulator_host, prefix=settings.prefix, max_in_flight=32
        ),
        source.launchpad,
        source.fworker,
        settings.connect(),
    )


if __name__ == "__main__":
    sys.exit(main())
