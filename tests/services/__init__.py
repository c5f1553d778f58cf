"""The real parts that tests run against: one module each, started by the fixtures in conftest.

Every server listens on loopback only, is ready when its `start` returns, and ends with the test
session, however that ends (see `guard`).
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skip the test because a real part cannot be had here; fail it where all parts must be had.

    `reason` is one line: which part, and what would bring it. PORTFIRE_REQUIRE_SERVICES=1 (set by
    .ci/run) makes a missing part a failure.
    """
    if os.environ.get("PORTFIRE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason} (PORTFIRE_REQUIRE_SERVICES=1)", pytrace=False)
    pytest.skip(reason)
