"""How often a Firework runs again after it failed: as its spec says, else as the pool has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from messaging.errors import JobError
from messaging.retries import Retries
from messaging.wire import describe

#: The message of a job carries each failure: there must be an end.
MOST_RETRIES = 1000


class _Wanted(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    infrastructure: int | None = Field(default=None, ge=0, le=MOST_RETRIES)
    crash: int | None = Field(default=None, ge=0, le=MOST_RETRIES)
    error: int | None = Field(default=None, ge=0, le=MOST_RETRIES)


def retries_of(spec: Mapping[str, Any], max_attempts: int, retries: Retries) -> tuple[int, Retries]:
    """The `max_attempts` and `retries` of a job, where those given are the pool's.

    Raises JobError saying what is wrong with the spec.
    """
    try:
        wanted = _Wanted.model_validate(spec.get("_retries", {}))
    except ValidationError as exc:
        raise JobError(
            f"_retries of the spec is not valid: {describe(exc)}; it has whole numbers from 0 to "
            f"{MOST_RETRIES} for infrastructure, crash and error"
        ) from exc
    own = wanted.model_dump(include=set(Retries.model_fields), exclude_none=True)
    if wanted.crash is not None:
        max_attempts = wanted.crash + 1
    return max_attempts, retries.model_copy(update=own)
