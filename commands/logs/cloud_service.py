"""The one call to Cloud Logging that the daemons make, with errors that say what to do next."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import google.auth
import google.auth.exceptions
import grpc
from google.api_core import exceptions as google_errors
from google.cloud.logging_v2.services.logging_service_v2 import LoggingServiceV2Client
from google.cloud.logging_v2.services.logging_service_v2.transports import (
    LoggingServiceV2GrpcTransport,
)
from google.cloud.logging_v2.types import WriteLogEntriesPartialErrors, WriteLogEntriesRequest

from commands.logs.backlog import Entry
from messaging.errors import ServiceError, UsageError

#: The log's name in the project.
LOG = "portfire"
_REFUSALS = (
    google_errors.Forbidden,
    google_errors.Unauthenticated,
    google_errors.NotFound,
    google_errors.MethodNotImplemented,
    google_errors.FailedPrecondition,
)
#: The type of the error detail that says which of a request's entries are not taken.
_PARTIAL = "google.logging.v2.WriteLogEntriesPartialErrors"

#: The monitored resource: its type, and its labels.
Resource = tuple[str, Mapping[str, str]]


class CloudLogging:
    """Writes entries to one project's log. For one thread; connects when first used."""

    def __init__(
        self, project: str, endpoint: str = "", resource: Callable[[], Resource] | None = None
    ) -> None:
        """`resource` says, when first asked, what logs; `endpoint` is another server than Google's:
        one at ``http://`` gets no credentials.
        """
        self.project = project
        self._endpoint = endpoint
        self._find_resource = resource or (lambda: ("global", {"project_id": project}))
        self._resource: Resource | None = None
        self._client: Any = None
        self._channel: Any = None
        self._process = uuid.uuid4().hex[:12]

    def write(self, entries: Sequence[Entry], labels: Mapping[str, str], timeout: float) -> int:
        """Send entries, `labels` with each; how many of them the service does not want.

        Raises UsageError when it refuses us, ServiceError when it is away or slow.
        """
        try:
            client = self._connected()
            client.write_log_entries(
                request=self._request(entries, labels), retry=None, timeout=timeout
            )
        except google_errors.InvalidArgument as exc:
            return _unwanted(exc, len(entries))
        except _REFUSALS as exc:
            raise UsageError(
                f"Cloud Logging refuses log entries: {_one_line(exc)}: `portfire gce doctor` says "
                "what is missing; `--log-format text` does without"
            ) from exc
        except google.auth.exceptions.DefaultCredentialsError as exc:
            raise UsageError(
                "no credentials for Cloud Logging: give the VM a service account with "
                "roles/logging.logWriter, or use --log-format text"
            ) from exc
        except (google_errors.GoogleAPICallError, google.auth.exceptions.GoogleAuthError) as exc:
            raise ServiceError(
                f"Cloud Logging does not take log entries: {_one_line(exc)}"
            ) from exc
        return 0

    def close(self) -> None:
        """End a call that goes on, and the connection. From any thread; idempotent."""
        channel = self._channel
        if channel is not None:
            channel.close()

    def _connected(self) -> Any:
        if self._client is None:
            if self._endpoint.startswith("http://"):
                address = self._endpoint.removeprefix("http://").split("/")[0]
                self._channel = grpc.insecure_channel(address)
            else:
                scopes = LoggingServiceV2GrpcTransport.AUTH_SCOPES
                credentials, _ = google.auth.default(scopes=scopes)
                address = self._endpoint.removeprefix("https://").split("/")[0]
                host = address or LoggingServiceV2GrpcTransport.DEFAULT_HOST
                self._channel = LoggingServiceV2GrpcTransport.create_channel(
                    host, credentials=credentials
                )
            transport = LoggingServiceV2GrpcTransport(channel=self._channel)
            self._client = LoggingServiceV2Client(transport=transport)
        return self._client

    def _request(self, entries: Sequence[Entry], labels: Mapping[str, str]) -> Any:
        if self._resource is None:
            self._resource = self._find_resource()
        kind, resource_labels = self._resource
        request = WriteLogEntriesRequest.pb()(
            log_name=f"projects/{self.project}/logs/{LOG}",
            resource={"type": kind, "labels": dict(resource_labels)},
            labels=dict(labels),
            partial_success=True,
        )
        for entry in entries:
            written = request.entries.add(
                text_payload=entry.text,
                severity=entry.severity,
                labels=dict(entry.labels),
                insert_id=f"{self._process}-{entry.number:012d}",
            )
            written.timestamp.FromNanoseconds(int(entry.timestamp * 1e9))
        return WriteLogEntriesRequest.wrap(request)


def _unwanted(error: google_errors.InvalidArgument, sent: int) -> int:
    """How many of the entries that were sent are wrong; the others are stored."""
    for detail in error.details or ():
        if str(getattr(detail, "type_url", "")).endswith(f"/{_PARTIAL}"):
            wrong = WriteLogEntriesPartialErrors.deserialize(detail.value).log_entry_errors
            return min(len(wrong), sent)
    return sent


def _one_line(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")[:300]
