"""How often a Firework may run again: the pool's word, its own, and words that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from fireworks import LaunchPad

from dispatcher.retries import MOST_RETRIES, retries_of
from messaging.errors import JobError
from messaging.retries import DEFAULT_RETRIES, Retries
from tests.dispatcher.workbench import Running, firework
from tests.waiting import wait_until

Start = Callable[..., Running]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, (5, Retries(infrastructure=7, error=1))),
        ({}, (5, Retries(infrastructure=7, error=1))),
        ({"error": 2}, (5, Retries(infrastructure=7, error=2))),
        ({"crash": 0, "infrastructure": 0}, (1, Retries(infrastructure=0, error=1))),
        ({"crash": MOST_RETRIES}, (MOST_RETRIES + 1, Retries(infrastructure=7, error=1))),
    ],
)
def test_a_firework_changes_what_it_names(
    wanted: dict[str, int] | None, expected: tuple[int, Retries]
) -> None:
    spec = {} if wanted is None else {"_retries": wanted}
    assert retries_of(spec, 5, Retries(infrastructure=7, error=1)) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"error": -1}, "error is -1"),
        ({"error": "many"}, "error is 'many'"),
        ({"error": 1.5}, "error is 1.5"),
        ({"error": True}, "error is True"),
        ({"crash": MOST_RETRIES + 1}, "crash is 1001"),
        ({"memory": 1}, "memory is 1"),
        (3, "value is 3"),
        ([], "value is []"),
        (None, "value is None"),
    ],
)
def test_what_is_no_number_of_retries_is_refused(wanted: Any, said: str) -> None:
    with pytest.raises(JobError, match=f"_retries of the spec is not valid: {re.escape(said)}"):
        retries_of({"_retries": wanted}, 5, DEFAULT_RETRIES)


def test_the_message_says_how_often_and_a_wrong_firework_stops_nothing(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(firework("wrong", _retries={"error": "many"}, _priority=9))
    launchpad.add_wf(firework("right", _retries={"error": 2}))
    running = start_dispatcher(infrastructure_retries=3, max_attempts=7)
    [job] = running.pull()
    assert (job.name, job.max_attempts) == ("right", 7)
    assert job.retries == Retries(infrastructure=3, error=2)

    def wrong() -> Any:
        return launchpad.fireworks.find_one({"name": "wrong", "state": "FIZZLED"})

    fw_id = wait_until(wrong, what="its end")["fw_id"]
    [launch] = launchpad.launches.find({"fw_id": fw_id})
    told = launch["action"]["stored_data"]["_message"]
    assert told.startswith(f"Firework {fw_id}: _retries of the spec is not valid: error is 'many'")
    assert running.is_alive
