"""What Compute Engine refuses, in words for people: the API's reason, and a remedy.

Operations end with codes in capitals (``QUOTA_EXCEEDED``), calls with reasons in camel case
(``quotaExceeded``); both are looked up here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import google.auth.exceptions
import requests
from google.api_core import exceptions as google_errors

from messaging.errors import NotFoundError, PortfireError, ServiceError, UsageError

_PERMISSION = (
    "give your account roles/compute.instanceAdmin.v1 on the project, and "
    "roles/iam.serviceAccountUser on the VMs' service account"
)
_LOG_IN = "run `gcloud auth application-default login`"
#: The first whose words the code holds; letters only, all small.
_REMEDIES = (
    (
        ("resourcepoolexhausted", "stockout", "resourceavailability"),
        "none of these machines is to be had there now: name more machine types, use --region "
        "instead of --zone, try without --spot, or later",
    ),
    # Before quotas, which are "limit exceeded" too.
    (("ratelimit", "toomanyrequests"), "ask for fewer VMs at a time, or try again in a minute"),
    (
        ("quota", "limitexceeded"),
        "ask for more quota (https://console.cloud.google.com/iam-admin/quotas), name another "
        "region or smaller machine types, or delete VMs",
    ),
    (("alreadyexists",), "choose another --base, or delete that VM first"),
    (
        ("accessnotconfigured", "servicedisabled"),
        "run `gcloud services enable compute.googleapis.com`, and try again in a minute",
    ),
    (("permission", "forbidden", "accessdenied", "required"), _PERMISSION),
    (("autherror", "unauthorized"), _LOG_IN),
    (("notfound",), "check its name, the project and the zone"),
    (("conditionnotmet",), "somebody else changes it at the same time: try again"),
    (("invalid", "badrequest"), "correct that option; --dry-run shows what is sent"),
    (("backenderror", "internal", "unavailable"), "try again in a few minutes"),
    (
        ("neverended", "noanswer"),
        "see `portfire gce list`; what should not be there, `portfire gce delete` removes",
    ),
)
#: Codes after which another machine type or place may do.
_CAPACITY = ("resourcepoolexhausted", "stockout", "resourceavailability", "quota")


class ComputeError(PortfireError):
    """Compute Engine did not do what was asked for, on some VM or all; says why and what to do."""

    def __init__(self, text: str, code: str = "", message: str = "") -> None:
        super().__init__(text)
        #: The API's error code or reason; "" if it has none.
        self.code = code
        #: The API's message.
        self.message = message or text


def remedy(code: str) -> str:
    """What to do after an error with this code or reason; "" when nothing better is known."""
    letters = _letters(code)
    for words, advice in _REMEDIES:
        if any(word in letters for word in words):
            return advice
    return ""


def is_capacity(code: str) -> bool:
    """Whether there is no room for such a VM there, so that another kind or place may do."""
    return any(word in _letters(code) for word in _CAPACITY)


def one_line(text: str) -> str:
    """An API's message on one line, without a full stop at its end."""
    return " ".join(text.split()).rstrip(".")


def reason_of(error: google_errors.GoogleAPICallError) -> tuple[str, str]:
    """The API's own reason (or the HTTP status) and message, without the URL before it."""
    for item in error.errors or ():
        if isinstance(item, dict) and item.get("reason"):
            return str(item["reason"]), one_line(str(item.get("message", error.message)))
    return str(error.reason or error.code or ""), one_line(str(error.message))


def is_passing(error: BaseException) -> bool:
    """Whether the same call may work in a moment: 429, 5xx, a lost connection, a slow answer."""
    if isinstance(error, google_errors.Forbidden):
        return "ratelimit" in _letters(reason_of(error)[0])
    return isinstance(
        error,
        (
            google_errors.TooManyRequests,
            google_errors.ServerError,
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            google.auth.exceptions.TransportError,
        ),
    )


@contextmanager
def translated(action: str, permission: str = "") -> Iterator[None]:
    """Turn the client library's errors into ours, naming what was tried.

    `permission` is the remedy for lacking it, where that is not the right to make VMs.
    """
    try:
        yield
    except google_errors.RetryError as exc:
        raise _translate(action, exc.cause or exc, permission) from exc
    except (
        google_errors.GoogleAPICallError,
        google.auth.exceptions.GoogleAuthError,
        requests.exceptions.RequestException,
    ) as exc:
        raise _translate(action, exc, permission) from exc


def _translate(action: str, error: BaseException, permission: str) -> PortfireError:
    if isinstance(error, google_errors.GoogleAPICallError):
        code, message = reason_of(error)
        advice = remedy(code) or remedy(type(error).__name__)
        if advice == _PERMISSION and permission:
            advice = permission
        text = f"cannot {action}: {message}" + (f": {advice}" if advice else "")
        kind: type[PortfireError] | None = None
        if isinstance(error, google_errors.NotFound):
            kind = NotFoundError
        elif isinstance(error, google_errors.Unauthorized):
            kind = UsageError
        elif is_passing(error):
            kind = ServiceError
        elif isinstance(error, (google_errors.Forbidden, google_errors.BadRequest)):
            kind = None if is_capacity(code) else UsageError
        return kind(text) if kind is not None else ComputeError(text, code, message)
    if isinstance(error, google.auth.exceptions.TransportError):
        return ServiceError(f"cannot {action}: no way to Google's tokens: {one_line(str(error))}")
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return UsageError(
            f"cannot {action}: the Google Cloud credentials are expired or of no use: {_LOG_IN}"
        )
    return ServiceError(
        f"cannot {action}: Compute Engine does not answer ({type(error).__name__}): check the "
        "network, then `portfire gce list`"
    )


def _letters(code: str) -> str:
    return "".join(letter for letter in code.lower() if letter.isalpha())
