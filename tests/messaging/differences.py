"""Where Google's emulator is known to differ from production, each named once.

`differs` marks a case as a strict expected failure on the emulator: if a newer emulator learns to
do it, the suite fails, and the line here goes.
"""

from __future__ import annotations

import pytest
from google.api_core.exceptions import GoogleAPICallError

DIFFERENCES = {
    "filters": "the emulator stores filters and ignores them, wrong ones too",
    "flow-control": "the emulator ignores max_outstanding_messages and max_outstanding_bytes",
    "delay": "the emulator delivers to a waiting client after about 45 ms",
    "lower-ack-deadline": "the emulator accepts ack deadlines under 10 s",
    "upper-extension": "the emulator accepts extensions over 600 s",
    "attempts-code": "the emulator answers OUT_OF_RANGE for max_delivery_attempts under 5",
    "cancelled-pull": "the emulator hands messages to pulls whose client has gone away",
    "publish-limits": "the emulator accepts requests over 10 MB and oversized attributes",
    "update-topic": "the emulator cannot update a topic's labels",
    "retry-policy": "the emulator stores retry policies and delivers again at once",
}


def differs(name: str) -> pytest.MarkDecorator:
    """Run the case on both servers, expecting the emulator to fail for the reason of that name."""
    failures = (AssertionError, GoogleAPICallError, pytest.fail.Exception)
    mark = pytest.mark.xfail(strict=True, raises=failures, reason=DIFFERENCES[name])
    return pytest.mark.parametrize(
        "server", ["embedded", pytest.param("emulator", marks=mark)], indirect=True
    )
