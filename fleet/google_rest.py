"""Calls to Google's administrative APIs, which have no client library among ours: plain REST."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any

import google.auth.exceptions
import requests
from google.api_core import exceptions as google_errors
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request

from fleet.credentials import application_default
from messaging.errors import ServiceError, UsageError

#: Where each API is; `CLOUDSDK_API_ENDPOINT_OVERRIDES_<NAME>`, as for gcloud, names other servers.
APIS = ("cloudresourcemanager", "iam", "pubsub", "serviceusage", "storage")
_CALL_SECONDS = 10.0

Resource = dict[str, Any]


class GoogleRest:
    """The calls of one account, that of the application-default credentials. Thread-safe."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Raises UsageError when there are no credentials."""
        self._endpoints = {
            name: environ.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}", "").rstrip("/")
            for name in APIS
        }
        self.credentials, self.default_project = application_default()
        self._of_thread = threading.local()

    @property
    def account(self) -> str:
        """The email of the account, if the credentials say it; call `refresh` first."""
        for name in ("service_account_email", "signer_email", "account"):
            if value := getattr(self.credentials, name, ""):
                return str(value)
        return ""

    def refresh(self) -> None:
        """Get a token; raises UsageError when the credentials are of no use, else ServiceError."""
        try:
            self.credentials.refresh(_BoundedRequest())
        except google.auth.exceptions.TransportError as exc:
            raise ServiceError(f"no way to Google's tokens: {_one_line(exc)}") from exc
        except google.auth.exceptions.GoogleAuthError as exc:
            if exc.retryable:
                raise ServiceError(f"Google gives no token now: {_one_line(exc)}") from exc
            raise UsageError(
                "the Google Cloud credentials are expired or of no use: run "
                "`gcloud auth application-default login`"
            ) from exc

    def endpoint(self, api: str) -> str:
        """The server of an API, without a slash at its end."""
        return self._endpoints[api] or f"https://{api}.googleapis.com"

    def credentials_for(self, endpoint: str) -> Any:
        """Ours, but for a server without encryption, which gets none."""
        return AnonymousCredentials() if endpoint.startswith("http://") else self.credentials

    def call(
        self, api: str, verb: str, path: str, body: Resource | None = None, **query: Any
    ) -> Resource:
        """One call; its answer. Raises GoogleAPICallError, GoogleAuthError, RequestException."""
        endpoint = self.endpoint(api)
        response = self._session(endpoint).request(
            verb, f"{endpoint}/{path}", json=body, params=query or None, timeout=_CALL_SECONDS
        )
        if not response.ok:
            raise google_errors.from_http_response(response)
        answer = response.json()
        return answer if isinstance(answer, dict) else {}

    def _session(self, endpoint: str) -> requests.Session:
        sessions = self._of_thread.__dict__
        if endpoint not in sessions:
            plain = endpoint.startswith("http://")
            sessions[endpoint] = (
                requests.Session() if plain else AuthorizedSession(self.credentials)
            )
        session: requests.Session = sessions[endpoint]
        return session


class _BoundedRequest(Request):  # type: ignore[misc]
    """google.auth waits two minutes for a token by itself."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        options["timeout"] = _CALL_SECONDS
        return super().__call__(*args, **options)


def explain(error: Exception) -> str:
    """An error of `call` in one line."""
    if isinstance(error, google_errors.GoogleAPICallError):
        return _one_line(error.message).split(": ", 1)[-1] if error.message else str(error.code)
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return f"the credentials cannot be used: {_one_line(error)}"
    return f"no answer ({type(error).__name__})"


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")[:300]
