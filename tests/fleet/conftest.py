"""A fake Compute Engine for each test, engines that talk to it, and the command in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import portfire
from fleet.api import Patience
from fleet.compute_engine import ComputeEngine
from fleet.template import VmTemplate
from tests.commands.programs import Ended
from tests.services.gce import FakeGce, serving_gce

PROJECT, ZONE, REGION = "my-project", "europe-west4-a", "europe-west4"
#: An image that starts executors itself, as one for Borealis did.
TEMPLATE = VmTemplate(image_family="fireworker")


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """Fails the test at its end if a request was none that the API has."""
    with serving_gce() as server:
        yield server


Engines = Callable[..., ComputeEngine]


@pytest.fixture
def engines(gce: FakeGce) -> Engines:
    """Makes engines for the fake; they give up after seconds."""

    def engine(prefix: str = "sim", **options: Any) -> ComputeEngine:
        if "region" not in options:
            options.setdefault("zone", ZONE)
        options.setdefault("template", TEMPLATE)
        options.setdefault("patience", Patience(operation=30.0, retry=5.0))
        return ComputeEngine(prefix, project=PROJECT, endpoint=gce.address, **options)

    return engine


Command = Callable[..., Ended]


@pytest.fixture
def command(
    gce: FakeGce, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """`portfire gce …` in this process, in a terminal's environment that knows the fake."""
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", f"{gce.address}/compute/v1/")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
    for name in ("CLOUDSDK_COMPUTE_ZONE", "CLOUDSDK_COMPUTE_REGION"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Ended:
        capsys.readouterr()
        try:
            code = portfire.main(["gce", *arguments])
        except SystemExit as exc:  # argparse
            code = int(exc.code or 0)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture(autouse=True)
def _signals_and_logs() -> Iterator[None]:
    """What the command does to this process is undone."""
    import signal

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    root.handlers[:] = handlers
    root.setLevel(level)
