"""Random workflows of real tasks: Portfire leaves the LaunchPad as `rlaunch rapidfire` does."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fireworks import Workflow

from tests.dispatcher.random_workflows import Outcomes, random_workflow
from tests.fidelity import tasks
from tests.fidelity.conftest import Pair
from tests.fidelity.normalise import differences

_WORKFLOWS = 20


class _Writer:
    """Writes tasks that end as random outcomes say, whatever else ends before."""

    def __init__(self, rng: Random) -> None:
        self._outcomes = Outcomes(rng, self._in_addition, order_matters=False)

    def tasks(self, name: str) -> Sequence[Any]:
        outcome = self._outcomes.outcome(name)
        if outcome.state == "FIZZLED":
            return [tasks.Fail(how="raise")]
        said = {field: value for field, value in outcome.told({}).items() if value}
        return [tasks.Act(**said), tasks.Remember(keys=["list", "count", "told"])]

    @staticmethod
    def _in_addition(name: str) -> Sequence[Any]:
        return [tasks.Act(update_spec={f"told by {name}": 1}), tasks.Remember(keys=["count"])]


@pytest.mark.timeout(400)
def test_random_workflows_end_as_with_rapidfire(pair: Pair) -> None:
    rng = Random(5)
    writer = _Writer(rng)
    for n in range(_WORKFLOWS):
        made = random_workflow(rng, f"w{n}", writer.tasks, duplicates=False).to_dict()

        def build(_: Path, made: dict[str, Any] = made) -> Workflow:
            return Workflow.from_dict(copy.deepcopy(made))

        pair.add(build)
    assert pair.rapidfire.run(timeout=150.0) == 0
    assert pair.portfire.run(threads=2, timeout=150.0) == 1  # some are meant to fail
    theirs, ours = pair.documents()
    found = differences(ours, theirs)
    assert not found, "\n".join(found)
    states = set(pair.states().values())
    assert {"COMPLETED", "FIZZLED", "DEFUSED", "WAITING"} <= states
