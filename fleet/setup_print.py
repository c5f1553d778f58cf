"""What `portfire gce setup` would do, for other tools: gcloud commands, or Terraform."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from fleet.permissions import (
    AGENT_SUBSCRIPTION_ROLE,
    AGENT_TOPIC_ROLE,
    BUCKET_ROLE,
    DISPATCHER_ROLE,
    EXECUTOR_PERMISSIONS,
    EXECUTOR_ROLE,
    EXECUTOR_TITLE,
    SERVICES,
)
from fleet.site import Site
from fleet.topics import Subscription, topics_and_subscriptions

_AGENT = "serviceAccount:service-{}@gcp-sa-pubsub.iam.gserviceaccount.com"


def gcloud(site: Site) -> str:
    """A shell script. It stops at what is there already, as gcloud does."""
    topics, subscriptions = topics_and_subscriptions(site)
    lines = ["set -e", f"gcloud config set project {site.project}"]
    lines.append(f"gcloud services enable {' '.join(SERVICES)}")
    if site.owns_account:
        lines.append(f"gcloud iam service-accounts create {site.account_id}")
    permissions = ",".join(sorted(EXECUTOR_PERMISSIONS))
    lines.append(
        f"gcloud iam roles create {EXECUTOR_ROLE} --project {site.project} "
        f"--title {shlex.quote(EXECUTOR_TITLE)} --permissions {permissions}"
    )
    role = f"projects/{site.project}/roles/{EXECUTOR_ROLE}"
    lines.append(_project_binding(site, site.member, role))
    if site.dispatcher_account:
        member = f"serviceAccount:{site.dispatcher_account}"
        lines.append(_project_binding(site, member, DISPATCHER_ROLE))
    lines.append(f"gcloud pubsub topics create {' '.join(topics)}")
    lines += [_gcloud_subscription(each) for each in subscriptions]
    lines += _gcloud_agent(site)
    if site.bucket:
        location = f" --location {site.region}" if site.region else ""
        bucket = f"gs://{site.bucket}"
        lines.append(
            f"gcloud storage buckets create {bucket}{location} --uniform-bucket-level-access"
        )
        lines.append(
            f"gcloud storage buckets add-iam-policy-binding {bucket} --member {site.member} "
            f"--role {BUCKET_ROLE}"
        )
    return "\n".join(lines) + "\n"


def _project_binding(site: Site, member: str, role: str) -> str:
    return (
        f"gcloud projects add-iam-policy-binding {site.project} --member {member} "
        f"--role {role} --condition None"
    )


def _gcloud_subscription(each: Subscription) -> str:
    options = each.options
    words = [
        f"gcloud pubsub subscriptions create {each.name} --topic {each.topic}",
        f"--message-filter {shlex.quote(options['filter'])}",
        f"--ack-deadline {int(options['ack_deadline'])} --expiration-period never",
        f"--min-retry-delay {options['min_backoff']:g}s",
        f"--max-retry-delay {options['max_backoff']:g}s",
    ]
    if dead := options.get("dead_letter_topic"):
        attempts = options["max_delivery_attempts"]
        words.append(f"--dead-letter-topic {dead} --max-delivery-attempts {attempts}")
    return " ".join(words)


def _gcloud_agent(site: Site) -> list[str]:
    number = f"number=$(gcloud projects describe {site.project} --format 'value(projectNumber)')"
    member = f'--member "{_AGENT.format("$number")}"'
    topic = f"gcloud pubsub topics add-iam-policy-binding {site.names.dead_jobs}"
    lines = [number, f"{topic} {member} --role {AGENT_TOPIC_ROLE}"]
    for pool in site.pools:
        name = site.names.pool_jobs(pool)
        command = f"gcloud pubsub subscriptions add-iam-policy-binding {name}"
        lines.append(f"{command} {member} --role {AGENT_SUBSCRIPTION_ROLE}")
    return lines


def terraform(site: Site) -> str:
    """A file of Terraform's language, for the provider ``hashicorp/google``."""
    topics, subscriptions = topics_and_subscriptions(site)
    account = site.member
    blocks = [
        _block("provider", ["google"], {"project": site.project}),
        _block("data", ["google_project", "this"], {"project_id": site.project}),
    ]
    blocks += [
        _block(
            "resource",
            ["google_project_service", _id(service)],
            {"service": service, "disable_on_destroy": False},
        )
        for service in SERVICES
    ]
    if site.owns_account:
        blocks.append(
            _block(
                "resource",
                ["google_service_account", "executor"],
                {"account_id": site.account_id, "depends_on": _after("iam")},
            )
        )
        account = _Raw("google_service_account.executor.member")
    blocks += _terraform_roles(site, account)
    blocks += [
        _block(
            "resource",
            ["google_pubsub_topic", _id(topic)],
            {"name": topic, "depends_on": _after("pubsub")},
        )
        for topic in topics
    ]
    blocks += [_terraform_subscription(each) for each in subscriptions]
    blocks += _terraform_agent(site)
    if site.bucket:
        blocks += _terraform_bucket(site, account)
    return "\n".join(blocks)


def _terraform_roles(site: Site, account: str) -> list[str]:
    role = {
        "role_id": EXECUTOR_ROLE,
        "title": EXECUTOR_TITLE,
        "permissions": sorted(EXECUTOR_PERMISSIONS),
        "depends_on": _after("iam"),
    }
    binding = {
        "project": site.project,
        "role": _Raw("google_project_iam_custom_role.executor.id"),
        "member": account,
    }
    blocks = [
        _block("resource", ["google_project_iam_custom_role", "executor"], role),
        _block("resource", ["google_project_iam_member", "executor"], binding),
    ]
    if site.dispatcher_account:
        member = f"serviceAccount:{site.dispatcher_account}"
        fields = {"project": site.project, "role": DISPATCHER_ROLE, "member": member}
        blocks.append(_block("resource", ["google_project_iam_member", "dispatcher"], fields))
    return blocks


def _terraform_subscription(each: Subscription) -> str:
    options = each.options
    fields: dict[str, Any] = {
        "name": each.name,
        "topic": _Raw(f"google_pubsub_topic.{_id(each.topic)}.id"),
        "filter": options["filter"],
        "ack_deadline_seconds": int(options["ack_deadline"]),
        # An empty ttl is never.
        "expiration_policy": {"ttl": ""},
        "retry_policy": {
            "minimum_backoff": f"{options['min_backoff']:g}s",
            "maximum_backoff": f"{options['max_backoff']:g}s",
        },
    }
    if dead := options.get("dead_letter_topic"):
        fields["dead_letter_policy"] = {
            "dead_letter_topic": _Raw(f"google_pubsub_topic.{_id(dead)}.id"),
            "max_delivery_attempts": options["max_delivery_attempts"],
        }
    return _block("resource", ["google_pubsub_subscription", _id(each.name)], fields)


def _terraform_agent(site: Site) -> list[str]:
    agent = _AGENT.format("${data.google_project.this.number}")
    topic = {
        "topic": _Raw(f"google_pubsub_topic.{_id(site.names.dead_jobs)}.name"),
        "role": AGENT_TOPIC_ROLE,
        "member": agent,
    }
    blocks = [_block("resource", ["google_pubsub_topic_iam_member", "dead_letters"], topic)]
    for pool in site.pools:
        name = _id(site.names.pool_jobs(pool))
        fields = {
            "subscription": _Raw(f"google_pubsub_subscription.{name}.name"),
            "role": AGENT_SUBSCRIPTION_ROLE,
            "member": agent,
        }
        blocks.append(_block("resource", ["google_pubsub_subscription_iam_member", name], fields))
    return blocks


def _terraform_bucket(site: Site, account: str) -> list[str]:
    bucket = {
        "name": site.bucket,
        "location": site.region or "US",
        "uniform_bucket_level_access": True,
        "depends_on": _after("storage"),
    }
    member = {
        "bucket": _Raw("google_storage_bucket.files.name"),
        "role": BUCKET_ROLE,
        "member": account,
    }
    return [
        _block("resource", ["google_storage_bucket", "files"], bucket),
        _block("resource", ["google_storage_bucket_iam_member", "executor"], member),
    ]


class _Raw(str):
    """An expression of Terraform's, not a text."""

    __slots__ = ()


def _block(kind: str, labels: list[str], fields: dict[str, Any]) -> str:
    head = " ".join([kind, *(f'"{label}"' for label in labels)])
    return f"{head} {{\n{_fields(fields, '  ')}}}\n"


def _fields(fields: dict[str, Any], indent: str) -> str:
    text = ""
    for name, value in fields.items():
        if isinstance(value, dict):
            text += f"{indent}{name} {{\n{_fields(value, indent + '  ')}{indent}}}\n"
        else:
            text += f"{indent}{name} = {_value(value)}\n"
    return text


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return value if isinstance(value, _Raw) else json.dumps(value)


def _after(api: str) -> list[_Raw]:
    """What cannot be made before that API is enabled."""
    return [_Raw(f"google_project_service.{_id(f'{api}.googleapis.com')}")]


def _id(name: str) -> str:
    """A name that Terraform allows for its own."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
