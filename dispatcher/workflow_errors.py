"""What can go wrong with a stored workflow, by what the caller does next."""

from __future__ import annotations

from messaging.errors import JobError, PortfireError


class WorkflowBusyError(PortfireError):
    """Somebody else holds the workflow's lock, or took ours: do the same again later."""


class WorkflowMissingError(PortfireError):
    """A Firework belongs to no workflow (deleted meanwhile, or half of an interrupted add)."""


class ActionError(JobError):
    """FireWorks cannot apply what a task returned; the text is the stack trace."""
