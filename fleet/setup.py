"""Makes an installation on Google Cloud: APIs, account, role, topics, subscriptions, bucket.

Each step leaves alone what is there, so all of it may be repeated, by several people at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import google.auth.exceptions
import requests
from google.api_core import exceptions as google_errors

from fleet.account_checks import project_number
from fleet.google_rest import GoogleRest, Resource, explain
from fleet.patience import patiently
from fleet.permissions import (
    AGENT_SUBSCRIPTION_ROLE,
    AGENT_TOPIC_ROLE,
    BUCKET_ROLE,
    DISPATCHER_ROLE,
    EXECUTOR_PERMISSIONS,
    EXECUTOR_ROLE,
    EXECUTOR_TITLE,
    SERVICES,
    pubsub_agent,
    roles_of,
)
from fleet.place_checks import pubsub_settings, storage_client
from fleet.policies import bind
from fleet.site import Site
from fleet.topics import topics_and_subscriptions
from messaging.errors import PortfireError, ServiceError, UsageError

#: How long enabling APIs may take, in seconds; one of Google's takes a minute at times.
_ENABLE_SECONDS = 300.0
_CALL_SECONDS = 30.0
_ACCOUNT_TITLE = "Portfire executors"


@dataclass(frozen=True)
class Done:
    """One step."""

    what: str
    #: False: it was there.
    made: bool

    def __str__(self) -> str:
        """One line."""
        return f"{'made' if self.made else 'there already'}: {self.what}"


def set_up(site: Site, rest: GoogleRest) -> Iterator[Done]:
    """Do step by step what is not done. Raises PortfireError at the first that fails."""
    for what, make in _steps(site, rest):
        try:
            made = patiently(make)
        except PortfireError:
            raise
        except google_errors.GoogleAPICallError as exc:
            refused = isinstance(exc, google_errors.ClientError)
            kind: type[PortfireError] = UsageError if refused else ServiceError
            raise kind(
                f"cannot make {what}: {explain(exc)}: mend that and run it again, or give "
                "`portfire gce setup --print gcloud` to somebody who may"
            ) from exc
        except (google.auth.exceptions.GoogleAuthError, requests.RequestException) as exc:
            raise ServiceError(f"cannot make {what}: {explain(exc)}: run it again") from exc
        yield Done(what, made)


Make = Callable[[], bool]


def _steps(site: Site, rest: GoogleRest) -> Iterator[tuple[str, Make]]:
    yield "access to APIs", lambda: _enable(site, rest)
    if site.owns_account:
        yield f"service account {site.service_account}", lambda: _account(site, rest)
    role = f"projects/{site.project}/roles/{EXECUTOR_ROLE}"
    project = f"v1/projects/{site.project}"
    yield f"role {EXECUTOR_ROLE}", lambda: _role(site, rest)
    yield (
        f"{EXECUTOR_ROLE} for {site.service_account}",
        lambda: bind(rest, "cloudresourcemanager", project, role, site.member),
    )
    if site.dispatcher_account:
        dispatcher = f"serviceAccount:{site.dispatcher_account}"
        yield (
            f"{DISPATCHER_ROLE} for {site.dispatcher_account}",
            lambda: bind(rest, "cloudresourcemanager", project, DISPATCHER_ROLE, dispatcher),
        )
    yield from _messaging(site)
    yield "right of Pub/Sub to move dead letters", lambda: _dead_letters(site, rest)
    if site.bucket:
        yield f"bucket gs://{site.bucket}", lambda: _bucket(site, rest)
        yield (
            f"{BUCKET_ROLE} on gs://{site.bucket} for {site.service_account}",
            lambda: _bucket_role(site, rest),
        )


def _enable(site: Site, rest: GoogleRest) -> bool:
    parent = f"v1/projects/{site.project}"
    names = [f"projects/{site.project}/services/{service}" for service in SERVICES]
    found = rest.call("serviceusage", "GET", f"{parent}/services:batchGet", names=names)
    on = {
        it["name"].rpartition("/")[2]
        for it in found.get("services", [])
        if it.get("state") == "ENABLED"
    }
    off = [service for service in SERVICES if service not in on]
    if not off:
        return False
    path = f"{parent}/services:batchEnable"
    operation = rest.call("serviceusage", "POST", path, {"serviceIds": off})
    deadline = time.monotonic() + _ENABLE_SECONDS
    pause = 0.1
    while not operation.get("done"):
        if time.monotonic() > deadline:
            raise ServiceError(f"enabling {', '.join(off)} does not end: run it again later")
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
        operation = rest.call("serviceusage", "GET", f"v1/{operation['name']}")
    if "error" in operation:
        raise UsageError(
            f"cannot enable {', '.join(off)}: {operation['error'].get('message', '')}: is billing "
            "enabled for the project?"
        )
    return True


def _account(site: Site, rest: GoogleRest) -> bool:
    account = {"displayName": _ACCOUNT_TITLE}
    body = {"accountId": site.account_id, "serviceAccount": account}
    return _create(rest, f"v1/projects/{site.project}/serviceAccounts", body)


def _role(site: Site, rest: GoogleRest) -> bool:
    parent = f"v1/projects/{site.project}/roles"
    path = f"{parent}/{EXECUTOR_ROLE}"
    wanted = sorted(EXECUTOR_PERMISSIONS)
    role = {"title": EXECUTOR_TITLE, "includedPermissions": wanted, "stage": "GA"}
    if _create(rest, parent, {"roleId": EXECUTOR_ROLE, "role": role}):
        return True
    there = rest.call("iam", "GET", path)
    if there.get("deleted"):
        rest.call("iam", "POST", f"{path}:undelete", {})
    has = set(there.get("includedPermissions", []))
    if has.issuperset(wanted):
        return bool(there.get("deleted"))
    # What somebody added to it stays.
    body = {"includedPermissions": sorted(has.union(wanted))}
    rest.call("iam", "PATCH", path, body, updateMask="includedPermissions")
    return True


def _create(rest: GoogleRest, path: str, body: Resource) -> bool:
    try:
        rest.call("iam", "POST", path, body)
    except google_errors.Conflict:
        return False
    return True


def _messaging(site: Site) -> Iterator[tuple[str, Make]]:
    topics, subscriptions = topics_and_subscriptions(site)
    with pubsub_settings(site).connect() as pubsub:
        for topic in topics:
            yield f"topic {topic}", lambda topic=topic: pubsub.create_topic(topic)  # type: ignore[misc]
        for each in subscriptions:
            yield (
                f"subscription {each.name}",
                lambda each=each: pubsub.create_subscription(  # type: ignore[misc]
                    each.name, each.topic, **each.options
                ),
            )


def _dead_letters(site: Site, rest: GoogleRest) -> bool:
    agent = pubsub_agent(project_number(rest, site))
    parent = f"v1/projects/{site.project}"
    topic = f"{parent}/topics/{site.names.dead_jobs}"
    made = bind(rest, "pubsub", topic, AGENT_TOPIC_ROLE, agent)
    for pool in site.pools:
        subscription = f"{parent}/subscriptions/{site.names.pool_jobs(pool)}"
        made |= bind(rest, "pubsub", subscription, AGENT_SUBSCRIPTION_ROLE, agent)
    return made


def _bucket(site: Site, rest: GoogleRest) -> bool:
    client = storage_client(rest, site)
    bucket = client.bucket(site.bucket)
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    try:
        client.create_bucket(
            bucket, location=site.region or None, timeout=_CALL_SECONDS, retry=None
        )
    except google_errors.Conflict as exc:
        # Names are the whole world's: it may be somebody else's.
        try:
            client.get_bucket(site.bucket, timeout=_CALL_SECONDS, retry=None)
        except google_errors.Forbidden:
            text = f"gs://{site.bucket} is somebody else's: choose another name"
            raise UsageError(text) from exc
        return False
    return True


def _bucket_role(site: Site, rest: GoogleRest) -> bool:
    bucket = storage_client(rest, site).bucket(site.bucket)
    policy = bucket.get_iam_policy(requested_policy_version=3, timeout=_CALL_SECONDS, retry=None)
    if BUCKET_ROLE in roles_of(policy.to_api_repr(), site.member):
        return False
    policy.version = 3
    policy.bindings.append({"role": BUCKET_ROLE, "members": {site.member}})
    bucket.set_iam_policy(policy, timeout=_CALL_SECONDS, retry=None)
    return True
