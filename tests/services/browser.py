"""A real headless Chromium, driven by selenium through Debian's chromedriver.

It reaches this machine only: every other host name is unknown to it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.chrome.remote_connection import ChromeRemoteConnection
from selenium.webdriver.remote.command import Command
from selenium.webdriver.remote.webdriver import WebDriver

from tests.services import guard, missing, session
from tests.services.mongodb import free_port
from tests.waiting import wait_until

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
#: Seconds for one page or script: a loaded machine of two cores draws 10,000 bars in these.
_PATIENCE = 90.0


@contextmanager
def open_browser(
    width: int = 1400, height: int = 1000, *, dark: bool = False
) -> Iterator[WebDriver]:
    """A window with a fresh profile, closed at the end. Skips or fails where Chromium is missing.

    `dark` is the colour scheme that pages are told to prefer.
    """
    address = _driver_address()
    profile = tempfile.mkdtemp(prefix="chromium-", dir=session.directory())
    options = ChromeOptions()
    options.binary_location = _program("chromium")
    for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Remote(ChromeRemoteConnection(address), options=options)
    try:
        driver.set_page_load_timeout(_PATIENCE)
        driver.set_script_timeout(_PATIENCE)
        if dark:
            prefer_scheme(driver, "dark")
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def prefer_scheme(driver: WebDriver, scheme: str) -> None:
    """Have pages told that the user prefers this colour scheme: ``light`` or ``dark``."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    devtools(driver, "Emulation.setEmulatedMedia", features=features)


def devtools(driver: WebDriver, command: str, **parameters: Any) -> Any:
    """The answer to a command of Chromium's DevTools protocol."""
    return driver.execute("executeCdpCommand", {"cmd": command, "params": parameters})["value"]


def console_errors(driver: WebDriver) -> list[str]:
    """What the console got as errors since the last call; browsers' own wish for an icon aside."""
    entries = driver.execute(Command.GET_LOG, {"type": "browser"})["value"]
    return [
        entry["message"]
        for entry in entries
        if entry["level"] == "SEVERE" and "favicon.ico" not in entry["message"]
    ]


def _driver_address() -> str:
    """The URL of the session's chromedriver, started by whoever needs it first."""
    return str(session.shared("chromedriver", _start_driver)["url"])


def _start_driver() -> dict[str, Any]:
    driver, port = _program("chromedriver"), free_port()
    _program("chromium")
    log = session.directory() / "chromedriver.log"
    url = f"http://127.0.0.1:{port}"
    process = guard.guarded([driver, f"--port={port}"], owner=session.owner(), log=log)

    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"chromedriver ended at once:\n{log.read_text()[-2000:]}")
        try:
            return requests.get(f"{url}/status", timeout=2).status_code == 200
        except requests.RequestException:
            return False

    wait_until(answers, timeout=60.0, what="chromedriver")
    session.keep("chromedriver", process.pid)
    return {"url": url}


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/lib/chromium")
    if path is None:
        missing(f"no {name} here: install it (Debian: apt-get install chromium chromium-driver)")
    return path
