"""The account in whose name requests are sent: Google's application-default credentials."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth
import google.auth.exceptions

from messaging.errors import UsageError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"


def application_default() -> tuple[Any, str]:
    """The credentials, and the project that comes with them or ""; raises UsageError if none."""
    try:
        with _quietly():
            credentials, project = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.GoogleAuthError as exc:
        if file := os.environ.get(_FILE):
            raise UsageError(
                f"{_FILE} is {file!r}, and there are no credentials of use in it: correct it, or "
                "unset it and run `gcloud auth application-default login`"
            ) from exc
        raise UsageError(
            "no Google Cloud credentials found: run `gcloud auth application-default login`"
        ) from exc
    return credentials, project or ""


@contextmanager
def _quietly() -> Iterator[None]:
    """That there is no metadata server is no news on a laptop, and our own line says the rest."""
    logger = logging.getLogger("google.auth._default")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
