"""Fixtures: an installation of real processes on real MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fireworks import LaunchPad

from tests.faults.site import Site


@pytest.fixture
def site(launchpad: LaunchPad, tmp_path: Path) -> Iterator[Site]:
    """An installation with a running broker, and nothing else yet."""
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        yield site


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the tasks write what they do."""
    return tmp_path / "log"
