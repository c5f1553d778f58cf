"""Channels to Pub/Sub, and its client library's errors turned into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import google.auth
import google.auth.exceptions
import grpc
from google.api_core import exceptions as google_errors

from messaging.errors import NotFoundError, ServiceError, UsageError

_CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    # A broker that comes back is found again within seconds; gRPC's own default waits up to 120 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Channels to the same server must not share a connection: `cancel_pulls` closes one of them.
    ("grpc.use_local_subchannel_pool", 1),
]
_USAGE_ERRORS = (
    google_errors.InvalidArgument,
    google_errors.FailedPrecondition,
    google_errors.Forbidden,
    google_errors.Unauthenticated,
    google_errors.MethodNotImplemented,
)


def open_channel(transport: Any, emulator_host: str | None) -> Any:
    """A gRPC channel for a transport class; connects when first used.

    To an emulator or the embedded broker at ``HOST:PORT`` without credentials, else to Google with
    application-default ones. Raises UsageError when there are none.
    """
    if emulator_host:
        return grpc.insecure_channel(emulator_host, options=_CHANNEL_OPTIONS)
    try:
        credentials, _ = google.auth.default(scopes=transport.AUTH_SCOPES)
    except google.auth.exceptions.DefaultCredentialsError as exc:
        raise UsageError(
            "no Google Cloud credentials found: run `gcloud auth application-default login`, "
            "or set PUBSUB_EMULATOR_HOST to use a broker on this machine"
        ) from exc
    return transport.create_channel(credentials=credentials, options=_CHANNEL_OPTIONS)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn the client library's errors into ours, naming what was tried."""
    try:
        yield
    except google_errors.NotFound as exc:
        raise NotFoundError(f"cannot {action}: {exc.message}") from exc
    except _USAGE_ERRORS as exc:
        raise UsageError(f"Pub/Sub refuses to {action}: {exc.message}") from exc
    except google_errors.GoogleAPICallError as exc:
        raise ServiceError(f"cannot {action} now: {exc.message}") from exc
    except google.auth.exceptions.GoogleAuthError as exc:
        raise ServiceError(f"cannot {action}: credentials could not be used: {exc}") from exc
