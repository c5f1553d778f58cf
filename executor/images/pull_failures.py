"""Why an image was not pulled: whose fault it is, whether to try again, and what to do.

A Docker Engine wraps what a registry said in a 500, or reports it in the stream of an answer that
began well, and other engines use other words: so the words decide, in the order of one table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from executor.images.reference import ImageReference
from messaging.errors import JobError, ServiceError


class Fault(Enum):
    """Whose fault a failed pull is, and what follows."""

    #: The job's: the same pull would fail everywhere.
    JOB = "job"
    #: This executor's: another one may be able to.
    EXECUTOR = "executor"
    #: Passing: the same pull may work in a while.
    PASSING = "passing"


class PullRefusedError(JobError):
    """The image cannot be had by anybody who asks as this job does."""


class PullOutageError(ServiceError):
    """The image could not be pulled here and now."""

    def __init__(self, text: str, *, again: bool = True, wait: float | None = None) -> None:
        super().__init__(text)
        #: Whether trying again here makes sense.
        self.again = again
        #: Seconds to wait before that, if the registry said so.
        self.wait = wait


@dataclass(frozen=True, slots=True)
class _Diagnosis:
    words: re.Pattern[str]
    fault: Fault
    remedy: str


def _diagnosis(words: str, fault: Fault, remedy: str) -> _Diagnosis:
    return _Diagnosis(re.compile(words, re.IGNORECASE), fault, remedy)


_RATE_LIMIT = _diagnosis(
    r"toomanyrequests|too many requests|rate limit|quota exceeded|status(?: code)?:? 429",
    Fault.PASSING,
    "the registry limits pulls: log in to it, or use a mirror or Artifact Registry",
)
_NO_SUCH_IMAGE = _diagnosis(
    r"manifest unknown|name unknown|repository (?:name )?not (?:known|found)|not found",
    Fault.JOB,
    "there is no such image: check its name and tag",
)
_INVALID = _diagnosis(
    r"invalid reference|invalid tag|invalid argument|unknown operating system",
    Fault.JOB,
    "expected an image as name:tag or name@sha256:..., a platform as linux/amd64",
)
_OTHERWISE = _diagnosis("", Fault.PASSING, "check the registry, and the way from this executor")

#: The first whose words occur counts.
_TABLE = (
    _RATE_LIMIT,
    _diagnosis(
        r"status(?: code)?:? 5\d\d|service unavailable|bad gateway|gateway time-?out"
        r"|internal server error",
        Fault.PASSING,
        "the registry is out of order",
    ),
    _diagnosis(
        r"no space left on device|disk quota exceeded",
        Fault.EXECUTOR,
        "free space where this executor's engine keeps its images (docker system prune)",
    ),
    _diagnosis(
        r"x509:|server gave HTTP response to HTTPS client",
        Fault.EXECUTOR,
        "let this executor's engine trust the registry's certificate",
    ),
    _diagnosis(
        r"no matching manifest|no match for platform|does not match the specified platform"
        r"|no image found in (?:manifest list|image index)",
        Fault.JOB,
        "it was not built for this platform: push such a build, or name another platform",
    ),
    _diagnosis(
        # Not "permission denied", which is the engine's own trouble with a file or socket.
        r"access denied|(?:^|[ :])denied: |access to the resource is denied|unauthorized"
        r"|no basic auth credentials|authentication required|authorization failed"
        r"|incorrect username or password|403 forbidden|insufficient_scope",
        Fault.JOB,
        "it does not exist, or this executor may not read it: give it a login "
        "(docker login), or its service account the right to read (Artifact Registry Reader)",
    ),
    # A name server's words, before those of a registry.
    _diagnosis(r"lookup \S+|dial tcp", Fault.PASSING, _OTHERWISE.remedy),
    _diagnosis(r"unknown blob|blob unknown", Fault.PASSING, "the registry lost a part of it"),
    _NO_SUCH_IMAGE,
    _INVALID,
)
#: What is meant by an engine's status when its words are not known.
_BY_STATUS = {400: _INVALID, 404: _NO_SUCH_IMAGE, 429: _RATE_LIMIT}

_QUERY = re.compile(r"\?[^\s\"']+")
_USER_IN_URL = re.compile(r"//[^/@\s\"']+@")
_WAIT = re.compile(r"retry[- ]after:?\s*(\d+(?:\.\d+)?)\s*(µs|us|ms|s|m)?\b", re.IGNORECASE)
_UNITS = {"µs": 1e-6, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def pull_failure(
    reference: ImageReference, said: str, *, status: int | None = None, wait: float | None = None
) -> PullRefusedError | PullOutageError:
    """The error for what the engine `said` of a pull, with the HTTP `status` if it had one.

    `wait` is the answer's Retry-After in seconds.
    """
    found = _diagnose(reference, said, status)
    text = f"pulling image '{reference}': {presentable(said)}: {found.remedy}"
    if found.fault is Fault.JOB:
        return PullRefusedError(text)
    return PullOutageError(
        text, again=found.fault is Fault.PASSING, wait=wait if wait is not None else _wait(said)
    )


def presentable(said: str) -> str:
    """`said` on one line of at most 300 characters, without what may be secret in its URLs.

    Registries hand out signed addresses, and a proxy's may have a password in it.
    """
    line = _USER_IN_URL.sub("//...@", _QUERY.sub("?...", " ".join(said.split())))
    return line if len(line) <= 300 else line[:297] + "..."


def _diagnose(reference: ImageReference, said: str, status: int | None) -> _Diagnosis:
    # The image's own name is no symptom; one without a slash may be a word of the message.
    words = said.replace(reference.repository, "") if "/" in reference.repository else said
    path = reference.repository.partition("/")[2]
    words = words.replace(path, "") if "/" in path else words
    for diagnosis in _TABLE:
        if diagnosis.words.search(words):
            return diagnosis
    return _BY_STATUS.get(status or 500, _OTHERWISE)


def _wait(said: str) -> float | None:
    found = _WAIT.search(said)
    return float(found[1]) * _UNITS[(found[2] or "s").lower()] if found else None
