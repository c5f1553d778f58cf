"""What S3, botocore and s3fs say, as Portfire's errors."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name for it
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.protocols.errors import from_fsspec, from_status, one_line

#: All that a call to S3 raises.
FAULTS = (
    OSError,
    BotoCoreError,
    ClientError,
    ResponseParserError,
    UnicodeError,
    TypeError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
)
_AWAY = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    ResponseParserError,
    aiohttp.ClientError,
)
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
_REMEDY = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE, or the VM's role), "
    "or give the storage option 'fsspec' {'anon': true} for a public bucket"
)
_BUSY = {"InternalError", "OperationAborted", "RequestTimeout", "SlowDown", "NoSuchUpload"}
_BAD_CREDENTIALS = {
    "ExpiredToken": "the session token has expired: get a new one",
    "ExpiredTokenException": "the session token has expired: get a new one",
    "InvalidAccessKeyId": "check the access key and the endpoint",
    "InvalidToken": "check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": "check the secret key",
}
_ARRIVED_WRONG = {
    "BadDigest",
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}


def from_s3(exc: BaseException, bucket: str) -> StorageError:
    """The typed error for `exc`, one of FAULTS, raised for something in `bucket`."""
    # s3fs makes an OSError of S3's answer, which is its cause.
    cause = exc.__cause__ if isinstance(exc.__cause__, ClientError) else exc
    if isinstance(cause, ClientError):
        return _from_answer(cause.response, bucket)
    if isinstance(cause, _NO_CREDENTIALS):
        return StorageDeniedError(f"{one_line(cause)}: {_REMEDY}")
    if isinstance(cause, FlexibleChecksumError):
        return StorageCorruptError(one_line(cause))
    if isinstance(cause, asyncio.TimeoutError | TimeoutError):
        return StorageTransientError("S3 did not answer in time")
    if isinstance(cause, _AWAY):
        return StorageTransientError(one_line(cause))
    if isinstance(cause, OSError | TypeError):
        return from_fsspec(cause)
    # What is left of botocore's are wrong names and settings: the same again would fail again.
    return StorageDeniedError(one_line(cause))


def _from_answer(response: Any, bucket: str) -> StorageError:
    error = response.get("Error", {})
    code = str(error.get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    said = f"{code}: {one_line(error.get('Message', ''))}"
    if code == "NoSuchBucket":
        return StorageNotFoundError(f"there is no bucket {bucket!r} at this endpoint")
    if code == "NoSuchKey":
        return StorageNotFoundError("there is no such object")
    if code == "PreconditionFailed":
        return StorageChangedError("the object was changed meanwhile")
    if code in _ARRIVED_WRONG:
        return StorageCorruptError(said)
    if code in _BAD_CREDENTIALS:
        return StorageDeniedError(f"{said}; {_BAD_CREDENTIALS[code]}")
    if code in _BUSY or code.startswith("Throttl"):
        return StorageTransientError(said)
    reason = error.get("Message", "")
    named = reason if code.isdigit() or not code else f"{code}: {reason}"
    return from_status(status or 400, named)
