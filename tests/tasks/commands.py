"""Runs CommandTasks, in the context that the test has set up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fireworks import FWAction

from executor.command_task import CommandTask
from executor.failures import PhaseError


def run(command: object, **parameters: Any) -> FWAction:
    return CommandTask(command=command, **parameters).run_task({})


def failure(command: object, **parameters: Any) -> PhaseError:
    with pytest.raises(PhaseError) as caught:
        run(command, **parameters)
    assert "\n" not in str(caught.value)
    json.dumps(caught.value.to_dict())
    return caught.value
