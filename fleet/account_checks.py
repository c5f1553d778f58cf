"""Checks of who may do what: the project, its APIs, your own rights, those of the VMs' account.

Each returns findings, or raises what `GoogleRest.call` raises; the doctor makes a finding of that.
"""

from __future__ import annotations

from functools import cache

from google.api_core import exceptions as google_errors

from fleet.finding import Finding, ok, problem
from fleet.google_rest import GoogleRest, Resource
from fleet.permissions import (
    AGENT_SUBSCRIPTION_ROLE,
    AGENT_TOPIC_ROLE,
    EXECUTOR_PERMISSIONS,
    OWN_PERMISSIONS,
    SERVICES,
    missing_permissions,
    pubsub_agent,
    roles_of,
)
from fleet.policies import read_policy
from fleet.site import Site


def check_credentials(google: GoogleRest, _site: Site) -> list[Finding]:
    """Whether they give a token. Raises UsageError, ServiceError."""
    google.refresh()
    return [ok("credentials", google.account or "a user's, by gcloud")]


def check_apis(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether the project is there, with all APIs enabled."""
    parent = f"projects/{site.project}"
    names = [f"{parent}/services/{service}" for service in SERVICES]
    answer = google.call("serviceusage", "GET", f"v1/{parent}/services:batchGet", names=names)
    off = sorted(
        service["name"].rpartition("/")[2]
        for service in answer.get("services", [])
        if service.get("state") != "ENABLED"
    )
    if not off:
        return [ok("APIs", "enabled")]
    mend = f"gcloud services enable {' '.join(off)} --project {site.project}"
    return [problem("APIs", f"{', '.join(off)} not enabled", mend)]


def check_own_rights(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether whoever asks may use `portfire gce`."""
    body = {"permissions": list(OWN_PERMISSIONS)}
    path = f"v1/projects/{site.project}:testIamPermissions"
    granted = google.call("cloudresourcemanager", "POST", path, body).get("permissions", [])
    missing = sorted(set(OWN_PERMISSIONS) - set(granted))
    if not missing:
        return [ok("your rights", "you may make and delete VMs")]
    mend = _project_binding(site, _you(google), "roles/compute.instanceAdmin.v1")
    return [problem("your rights", f"you lack {', '.join(missing)}", mend)]


def check_account(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether the VMs' service account is there, and VMs that you make may act as it."""
    email, what = site.service_account, "service account"
    path = f"v1/projects/-/serviceAccounts/{email}"
    try:
        account = google.call("iam", "GET", path)
    except google_errors.NotFound:
        mend = f"gcloud iam service-accounts create {site.account_id} --project {site.project}"
        return [problem(what, f"there is no {email}", mend if site.owns_account else "")]
    if account.get("disabled"):
        return [
            problem(what, f"{email} is disabled", f"gcloud iam service-accounts enable {email}")
        ]
    act = "iam.serviceAccounts.actAs"
    granted = google.call("iam", "POST", f"{path}:testIamPermissions", {"permissions": [act]})
    if act not in granted.get("permissions", []):
        mend = (
            f"gcloud iam service-accounts add-iam-policy-binding {email} --member {_you(google)} "
            "--role roles/iam.serviceAccountUser"
        )
        return [problem(what, f"you may not make VMs that act as {email}", mend)]
    return [ok(what, email)]


def check_roles(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether the VMs' account has what executors do: Pub/Sub, Logging, the end of their VM."""
    policy = read_policy(google, "cloudresourcemanager", f"v1/projects/{site.project}")
    permissions_of = cache(lambda role: permissions_of_role(google, role))
    missing = missing_permissions(
        EXECUTOR_PERMISSIONS, roles_of(policy, site.member), permissions_of
    )
    if not missing:
        return [ok("roles", f"{site.service_account} may do what executors do")]
    text = (
        f"{site.service_account} lacks {', '.join(missing)} (as far as the project's policy says)"
    )
    return [problem("roles", text, setup_command(site))]


def check_dead_letters(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether Pub/Sub itself may move messages that no executor can take."""
    agent = pubsub_agent(project_number(google, site))
    parent = f"v1/projects/{site.project}"
    wanted = [(f"{parent}/topics/{site.names.dead_jobs}", AGENT_TOPIC_ROLE)]
    wanted += [
        (f"{parent}/subscriptions/{site.names.pool_jobs(pool)}", AGENT_SUBSCRIPTION_ROLE)
        for pool in site.pools
    ]
    project_roles: list[str] | None = None
    for resource, role in wanted:
        try:
            policy = read_policy(google, "pubsub", resource)
        except google_errors.NotFound:
            return [problem("dead letters", f"there is no {resource[3:]}", setup_command(site))]
        if role in roles_of(policy, agent):
            continue
        if project_roles is None:
            whole = read_policy(google, "cloudresourcemanager", parent)
            project_roles = roles_of(whole, agent)
        if role not in project_roles:
            text = f"Pub/Sub's own account lacks {role} on {resource.rpartition('/')[2]}"
            return [problem("dead letters", text, setup_command(site))]
    return [ok("dead letters", "Pub/Sub may move what no executor can take")]


def project_number(google: GoogleRest, site: Site) -> str:
    """The project's number, by which Google's own accounts are called."""
    project = google.call("cloudresourcemanager", "GET", f"v1/projects/{site.project}")
    return str(project["projectNumber"])


def setup_command(site: Site) -> str:
    """`portfire gce setup` as it makes this installation."""
    words = ["portfire gce setup", f"--project {site.project}"]
    if site.prefix != "portfire":
        words.append(f"--prefix {site.prefix}")
    words += [f"--pool {pool}" for pool in site.pools if site.pools != ("default",)]
    if not (site.owns_account and site.account_id == "portfire-executor"):
        words.append(f"--service-account {site.service_account}")
    if site.bucket:
        words.append(f"--bucket {site.bucket}")
    if site.region:
        words.append(f"--region {site.region}")
    return " ".join(words)


def permissions_of_role(google: GoogleRest, role: str) -> list[str]:
    """What a role holds; nothing if there is none such any more."""
    try:
        answer: Resource = google.call("iam", "GET", f"v1/{role}")
    except google_errors.NotFound:
        return []  # a custom role that was deleted
    return [] if answer.get("deleted") else list(answer.get("includedPermissions", []))


def _project_binding(site: Site, member: str, role: str) -> str:
    return f"gcloud projects add-iam-policy-binding {site.project} --member {member} --role {role}"


def _you(google: GoogleRest) -> str:
    if not google.account:
        return "user:$(gcloud config get account)"
    is_service = google.account.endswith(".gserviceaccount.com")
    return f"{'serviceAccount' if is_service else 'user'}:{google.account}"
