"""MongoDB's errors, by whether trying again may help."""

from __future__ import annotations

import pytest
from pymongo import errors

from dispatcher.launchpad import database_errors
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
