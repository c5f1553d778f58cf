"""Finds out what an installation on Google Cloud lacks: all checks at once, bounded in time."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import google.auth.exceptions
import requests
from google.api_core import exceptions as google_errors

from fleet.account_checks import (
    check_account,
    check_apis,
    check_credentials,
    check_dead_letters,
    check_own_rights,
    check_roles,
)
from fleet.finding import Finding, problem
from fleet.google_rest import GoogleRest, explain
from fleet.patience import patiently
from fleet.place_checks import check_bucket, check_image, check_network, check_topics
from fleet.site import Site
from messaging.errors import PortfireError

log = logging.getLogger(__name__)

Check = Callable[[GoogleRest, Site], list[Finding]]

#: How long one check may take, in seconds.
CHECK_SECONDS = 30.0
#: By what they look at, in the order in which they are told.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("APIs", check_apis),
    ("your rights", check_own_rights),
    ("service account", check_account),
    ("roles", check_roles),
    ("topics", check_topics),
    ("dead letters", check_dead_letters),
    ("bucket", check_bucket),
    ("image", check_image),
    ("network", check_network),
)


def examine(google: GoogleRest, site: Site, seconds: float = CHECK_SECONDS) -> Iterator[Finding]:
    """Findings, as they come, in their order. Without usable credentials there is but that one."""
    first = list(_bounded("credentials", check_credentials, google, site, seconds))
    yield from first
    if any(finding.state == "problem" for finding in first):
        return
    running = [_start(subject, check, google, site) for subject, check in CHECKS]
    deadline = time.monotonic() + seconds
    for (subject, _), answer in zip(CHECKS, running, strict=True):
        yield from _wait(subject, answer, deadline - time.monotonic(), seconds)


Answer = queue.SimpleQueue[list[Finding]]


def _bounded(
    subject: str, check: Check, google: GoogleRest, site: Site, seconds: float
) -> list[Finding]:
    return _wait(subject, _start(subject, check, google, site), seconds, seconds)


def _start(subject: str, check: Check, google: GoogleRest, site: Site) -> Answer:
    answer: Answer = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(patiently(lambda: check(google, site)))
        except Exception as exc:  # noqa: BLE001 - each is a finding
            answer.put([_failed(subject, exc, site)])

    # A daemon thread: not every library's calls end in time.
    threading.Thread(target=run, name=f"check-{subject}", daemon=True).start()
    return answer


def _wait(subject: str, answer: Answer, left: float, seconds: float) -> list[Finding]:
    try:
        return answer.get(timeout=max(0.01, left))
    except queue.Empty:
        return [problem(subject, f"no answer from Google within {seconds:g} s: check the network")]


def _failed(subject: str, error: Exception, site: Site) -> Finding:
    if isinstance(error, PortfireError):
        return problem(subject, str(error))
    if isinstance(error, google_errors.Forbidden) and error.reason == "SERVICE_DISABLED":
        mend = f"gcloud services enable {_service_of(error)} --project {site.project}"
        return problem(subject, "cannot be checked, for an API is not enabled", mend)
    if isinstance(error, google_errors.Forbidden):
        return problem(
            subject,
            f"you may not look: {explain(error)}",
            f"gcloud projects add-iam-policy-binding {site.project} --member "
            "user:$(gcloud config get account) --role roles/iam.securityReviewer",
        )
    if isinstance(error, google_errors.NotFound):
        text = f"project {site.project} or a part of it is not there: {explain(error)}"
        return problem(subject, text, "gcloud projects list")
    known = (
        google_errors.GoogleAPICallError,
        google.auth.exceptions.GoogleAuthError,
        requests.RequestException,
    )
    if not isinstance(error, known):
        log.debug("check of %s failed", subject, exc_info=error)
    return problem(subject, f"cannot be checked: {explain(error)}")


def _service_of(error: google_errors.Forbidden) -> str:
    """The API that the error says is not enabled."""
    named = (error.metadata or {}).get("service")
    return str(named or "serviceusage.googleapis.com")
