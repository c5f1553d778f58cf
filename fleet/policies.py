"""Policies of projects, topics and subscriptions: read, and changed beside others who do."""

from __future__ import annotations

import time
from collections.abc import Callable

from google.api_core import exceptions as google_errors

from fleet.google_rest import GoogleRest, Resource
from fleet.permissions import with_binding

#: Between two attempts, seconds: after a conflict, or while a new account is not known everywhere.
_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)


def read_policy(google: GoogleRest, api: str, resource: str) -> Resource:
    """The policy of ``v1/projects/P`` or the like, with its conditions."""
    path = f"{resource}:getIamPolicy"
    if api == "pubsub":
        query: Resource = {"options.requestedPolicyVersion": 3}
        return google.call(api, "GET", path, None, **query)
    return google.call(api, "POST", path, {"options": {"requestedPolicyVersion": 3}})


def bind(
    google: GoogleRest,
    api: str,
    resource: str,
    role: str,
    member: str,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Give a role to a member; False when it has it already. Raises as `GoogleRest.call`."""
    for seconds in (*_PAUSES, None):
        try:
            changed = with_binding(read_policy(google, api, resource), role, member)
            if changed is None:
                return False
            google.call(api, "POST", f"{resource}:setIamPolicy", {"policy": changed})
        except (google_errors.Conflict, google_errors.BadRequest) as exc:
            # Somebody else wrote (409), or the account was made a moment ago (400).
            known = isinstance(exc, google_errors.Conflict) or "does not exist" in str(exc)
            if seconds is None or not known:
                raise
            pause(seconds)
        else:
            return True
    raise AssertionError("unreachable")
