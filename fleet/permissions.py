"""Who needs which rights, and what Google's policies say of them. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

#: A policy, or a role, in the API's JSON.
Resource = dict[str, Any]

#: The APIs that an installation uses.
SERVICES = (
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "pubsub.googleapis.com",
    "storage.googleapis.com",
)
#: The custom role of executors.
EXECUTOR_ROLE = "portfireExecutor"
EXECUTOR_TITLE = "Portfire executor"
#: What executors do in the project: pull and publish, hear of cancels by a subscription of their
#: own, log, and delete their own VM.
EXECUTOR_PERMISSIONS = (
    "compute.instances.delete",
    "logging.logEntries.create",
    "pubsub.subscriptions.consume",
    "pubsub.subscriptions.create",
    "pubsub.subscriptions.delete",
    "pubsub.subscriptions.get",
    "pubsub.topics.attachSubscription",
    "pubsub.topics.publish",
)
#: The role of executors on the bucket, and what they need of it.
BUCKET_ROLE = "roles/storage.objectUser"
BUCKET_PERMISSIONS = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)
#: The role of a dispatcher that makes what is missing.
DISPATCHER_ROLE = "roles/pubsub.editor"
#: What one does oneself, with `portfire gce`.
OWN_PERMISSIONS = (
    "compute.disks.create",
    "compute.instances.create",
    "compute.instances.delete",
    "compute.instances.list",
    "compute.instances.setLabels",
    "compute.instances.setMetadata",
    "compute.instances.setServiceAccount",
    "compute.subnetworks.use",
)
#: What Pub/Sub's service agent needs, to move messages that nobody can take.
AGENT_TOPIC_ROLE = "roles/pubsub.publisher"
AGENT_SUBSCRIPTION_ROLE = "roles/pubsub.subscriber"


def pubsub_agent(project_number: str) -> str:
    """Pub/Sub's own account in a project, as policies write it."""
    return f"serviceAccount:service-{project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"


def roles_of(policy: Resource, member: str) -> list[str]:
    """The roles that the policy gives to a member without a condition."""
    return [
        binding["role"]
        for binding in policy.get("bindings", [])
        if member in binding.get("members", []) and not binding.get("condition")
    ]


def missing_permissions(
    needed: Iterable[str], roles: Iterable[str], permissions_of: Callable[[str], Iterable[str]]
) -> list[str]:
    """Those of the permissions that are in none of the roles; asks after as few as it can."""
    missing = set(needed)
    for role in roles:
        if missing:
            missing -= set(permissions_of(role))
    return sorted(missing)


def with_binding(policy: Resource, role: str, member: str) -> Resource | None:
    """The policy with this role given to the member; None when it is already."""
    if role in roles_of(policy, member):
        return None
    changed = copy.deepcopy(policy)
    bindings = changed.setdefault("bindings", [])
    for binding in bindings:
        if binding["role"] == role and not binding.get("condition"):
            binding.setdefault("members", []).append(member)
            return changed
    bindings.append({"role": role, "members": [member]})
    return changed
