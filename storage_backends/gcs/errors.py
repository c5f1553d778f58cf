"""What Google Cloud Storage and the way to it say, as StorageErrors with a remedy in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
import urllib3
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)

_LOG_IN = (
    "attach a service account to the machine, set GOOGLE_APPLICATION_CREDENTIALS, or run "
    "'gcloud auth application-default login'"
)
#: HTTP says of these that the same request may work later.
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
_MISSING = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}


@contextmanager
def gcs_errors() -> Iterator[None]:
    """Translate what the client library, requests, urllib3 and google-auth raise."""
    try:
        yield
    except GoogleAPICallError as exc:
        raise from_status(exc.code or 0, exc.message) from exc
    except DefaultCredentialsError as exc:
        raise StorageDeniedError(f"no Google credentials here: {_LOG_IN}") from exc
    except GoogleAuthError as exc:
        if exc.retryable or isinstance(exc.__cause__, requests.ConnectionError):
            raise StorageTransientError(f"no access token now: {_line(exc)}") from exc
        reason = f"Google gives no access token for these credentials: {_line(exc)}; {_LOG_IN}"
        raise StorageDeniedError(reason) from exc
    except (requests.RequestException, urllib3.exceptions.HTTPError, RetryError) as exc:
        raise StorageTransientError(f"Cloud Storage does not answer: {_line(exc)}") from exc


def from_response(response: requests.Response) -> StorageError:
    """The error that an answer other than success means; reads the rest of it."""
    with gcs_errors():
        text = response.text
    try:
        message = str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = text
    if "ratelimitexceeded" in text.lower():
        return from_status(HTTPStatus.TOO_MANY_REQUESTS, message)
    return from_status(response.status_code, message)


def from_status(status: int, message: str) -> StorageError:
    """The error that an HTTP status of Cloud Storage means."""
    said = f"HTTP {status}: {_line(message)}" if message else f"HTTP {status}"
    if status in _MISSING:
        return StorageNotFoundError(f"there is no such object or bucket ({said})")
    if status == HTTPStatus.UNAUTHORIZED:
        return StorageDeniedError(
            f"Cloud Storage does not know these credentials: {_LOG_IN} ({said})"
        )
    if status == HTTPStatus.FORBIDDEN:
        remedy = "give the executor's account the role Storage Object User on the bucket"
        return StorageDeniedError(f"no permission: {remedy} ({said})")
    if status == HTTPStatus.PRECONDITION_FAILED:
        return StorageChangedError(f"somebody else has written it meanwhile ({said})")
    if status == HTTPStatus.BAD_REQUEST and "crc32c" in message.lower():
        return StorageCorruptError(f"other bytes arrived than were sent ({said})")
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StorageTransientError(f"Cloud Storage cannot do it now ({said})")
    return StorageDeniedError(f"Cloud Storage refuses ({said})")


def _line(said: object) -> str:
    """The first 200 characters, on one line."""
    text = " ".join(str(said).split()) or type(said).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
