"""Portfire's errors: one root, and one class for each thing that the caller can do next.

``str(error)`` is always one line for people: what failed, on what, and what to do. A vendor's
exception is translated once, where it enters, with ``raise ... from exc``.
"""

from __future__ import annotations


class PortfireError(Exception):
    """Root of everything that Portfire raises on purpose."""


class UsageError(PortfireError):
    """A wrong setting, flag or file: the caller must change it; the command exits with 2."""


class ServiceError(PortfireError):
    """Infrastructure is away or slow (Pub/Sub, MongoDB, a store): the same call may work later."""


class NotFoundError(PortfireError):
    """A topic, subscription or other resource that the call names does not exist."""


class JobError(PortfireError):
    """The job's own fault: running it again as it is would fail again."""


class MessageError(JobError):
    """A message that is no valid job, update, control or event; says what is wrong with it."""


class MessageTooLargeError(JobError):
    """A message over Pub/Sub's limit of 10 MB."""


class JobInterrupted(BaseException):
    """The job was stopped from outside: cancelled, lease lost, executor stopping.

    Outside the root and outside ``Exception`` on purpose, so that a task's ``except Exception``
    does not swallow it.
    """
