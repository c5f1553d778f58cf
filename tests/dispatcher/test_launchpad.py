"""MongoDB's errors, by whether trying again may help; and how soon its absence is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fireworks import LaunchPad
from pymongo import errors

from dispatcher.launchpad import database_errors, open_launchpad
from messaging.errors import ServiceError, UsageError

PASSING: list[errors.PyMongoError] = [
    errors.AutoReconnect("connection closed"),
    errors.CursorNotFound("cursor id 1 not found", 43),
    errors.ExecutionTimeout("operation exceeded time limit", 50),
    errors.WTimeoutError("waiting for replication timed out", 64),
    errors.WriteConcernError("not enough nodes", 100),
    *(errors.OperationFailure("passing", code) for code in (91, 112, 189, 11600, 14031)),
]
FOR_GOOD: list[errors.PyMongoError] = [
    errors.ConfigurationError("no such option"),
    *(errors.OperationFailure("not allowed", code) for code in (13, 18, 8000)),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_passes_is_tried_again(error: errors.PyMongoError) -> None:
    with pytest.raises(ServiceError), database_errors("work"):
        raise error


@pytest.mark.parametrize("error", FOR_GOOD, ids=repr)
def test_what_a_person_must_change_is_not(error: errors.PyMongoError) -> None:
    with pytest.raises(UsageError, match="work"), database_errors("work"):
        raise error


@pytest.mark.parametrize("way", ["not at all", "in kwargs", "in the uri"])
def test_a_launchpad_file_may_say_how_soon_an_absence_is_noticed(
    launchpad: LaunchPad, tmp_path: Path, way: str
) -> None:
    uri = f"mongodb://{launchpad.host}:{launchpad.port}/?connecttimeoutms=9000"
    ways: dict[str, dict[str, Any]] = {
        "not at all": {},
        "in kwargs": {"mongoclient_kwargs": {"connectTimeoutMS": 9000}},
        "in the uri": {"host": uri, "port": None, "uri_mode": True},
    }
    file = tmp_path / "my_launchpad.yaml"
    file.write_text(yaml.safe_dump({**launchpad.to_dict(), **ways[way]}))
    opened = open_launchpad(file)
    options = opened.connection.options
    assert opened.name == launchpad.name
    assert options.pool_options.connect_timeout == (4.0 if way == "not at all" else 9.0)
    assert options.server_selection_timeout == 3.0
    opened.connection.close()
