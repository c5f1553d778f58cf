"""Checks of what executors use: topics, bucket, image, network.

Each returns findings, or raises what the client libraries raise or a PortfireError; the doctor
makes a finding of that.
"""

from __future__ import annotations

import os
from typing import Any

from google.api_core import exceptions as google_errors
from google.cloud import compute_v1, storage

from fleet.account_checks import permissions_of_role, setup_command
from fleet.api import Api
from fleet.finding import Finding, ok, problem, skipped
from fleet.google_rest import GoogleRest
from fleet.permissions import BUCKET_PERMISSIONS, BUCKET_ROLE, missing_permissions, roles_of
from fleet.policies import read_policy
from fleet.site import Site
from messaging.errors import UsageError
from messaging.settings import PubSubSettings
from messaging.topology import missing_parts

_CALL_SECONDS = 10.0


def check_topics(_google: GoogleRest, site: Site) -> list[Finding]:
    """Whether all topics are there, and the subscriptions of each pool."""
    with pubsub_settings(site).connect() as pubsub:
        missing = {
            part.what: part
            for pool in site.pools
            for part in missing_parts(pubsub, site.names, pool)
        }
    if not missing:
        return [ok("topics", f"all of prefix {site.prefix}, pools {', '.join(site.pools)}")]
    return [problem("topics", f"there is no {', '.join(missing)}", setup_command(site))]


def pubsub_settings(site: Site) -> PubSubSettings:
    """Where the installation's Pub/Sub is."""
    emulator = os.environ.get("PUBSUB_EMULATOR_HOST", "")
    return PubSubSettings(project=site.project, prefix=site.prefix, emulator_host=emulator)


def storage_client(google: GoogleRest, site: Site) -> Any:
    """Google's client for Cloud Storage, or for an emulator of it."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "").rstrip("/")
    endpoint = emulator or google.endpoint("storage")
    return storage.Client(
        project=site.project,
        credentials=google.credentials_for(endpoint),
        client_options={"api_endpoint": endpoint},
    )


def check_bucket(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether the bucket is there, near the VMs, and their account may use it."""
    if not site.bucket:
        return [skipped("bucket", "none named: --bucket NAME, if executors use one")]
    client, name = storage_client(google, site), f"gs://{site.bucket}"
    try:
        bucket = client.get_bucket(site.bucket, timeout=_CALL_SECONDS, retry=None)
    except google_errors.NotFound:
        mend = f"gcloud storage buckets create {name} --project {site.project}"
        mend += f" --location {site.region or 'REGION'} --uniform-bucket-level-access"
        return [problem("bucket", f"there is no {name}", mend)]
    found = [_near(bucket.location, site)] if site.region else []
    mend = (
        f"gcloud storage buckets add-iam-policy-binding {name} --member {site.member} "
        f"--role {BUCKET_ROLE}"
    )
    if not _may_use(google, bucket, site):
        return [*found, problem("bucket", f"{site.service_account} may not use {name}", mend)]
    return [*found, ok("bucket", f"{site.service_account} may use {name}")]


def _near(location: str, site: Site) -> Finding:
    where = (location or "").lower()
    if where in (site.region, site.region.split("-")[0]):
        return ok("bucket's place", where)
    text = f"gs://{site.bucket} is in {where}, the VMs are to be in {site.region}: that is slow, "
    return problem("bucket's place", text + "and each byte between them is billed")


def _may_use(google: GoogleRest, bucket: Any, site: Site) -> bool:
    policy = bucket.get_iam_policy(
        requested_policy_version=3, timeout=_CALL_SECONDS, retry=None
    ).to_api_repr()
    roles = roles_of(policy, site.member)
    if BUCKET_ROLE in roles:
        return True
    whole = read_policy(google, "cloudresourcemanager", f"v1/projects/{site.project}")
    roles += roles_of(whole, site.member)
    return not missing_permissions(
        BUCKET_PERMISSIONS, roles, lambda role: permissions_of_role(google, role)
    )


def check_image(_google: GoogleRest, site: Site) -> list[Finding]:
    """Whether the disk image family is there."""
    family, project = site.image
    home = project or site.project
    try:
        _api(site).check_image(home, family)
    except UsageError as exc:
        mend = f"gcloud compute images list --project {home} --format 'value(family)'"
        return [problem("image", str(exc), mend)]
    return [ok("image", f"{home}/{family}")]


def check_network(google: GoogleRest, site: Site) -> list[Finding]:
    """Whether VMs have a way to Google, and without an external address one to elsewhere."""
    if not site.region:
        return [skipped("network", "no region named: --region REGION")]
    where = f"subnet {site.subnet} in {site.region}"
    try:
        subnet = _compute(google, compute_v1.SubnetworksClient).get(
            project=site.project,
            region=site.region,
            subnetwork=site.subnet,
            timeout=_CALL_SECONDS,
            retry=None,
        )
    except google_errors.NotFound:
        mend = f"gcloud compute networks create {site.subnet} --project {site.project}"
        return [problem("network", f"there is no {where}", f"{mend} --subnet-mode auto")]
    if not site.no_address:
        return [ok("network", f"{where}; VMs have external addresses")]
    return [_private_access(subnet, site, where), _nat(google, subnet, site)]


def _private_access(subnet: Any, site: Site, where: str) -> Finding:
    if subnet.private_ip_google_access:
        return ok("network", f"{where} has Private Google Access")
    mend = (
        f"gcloud compute networks subnets update {site.subnet} --project {site.project} "
        f"--region {site.region} --enable-private-ip-google-access"
    )
    return problem("network", f"{where} has no Private Google Access", mend)


def _nat(google: GoogleRest, subnet: Any, site: Site) -> Finding:
    routers = _compute(google, compute_v1.RoutersClient).list(
        project=site.project, region=site.region, timeout=_CALL_SECONDS, retry=None
    )
    network = subnet.network.rpartition("/")[2]
    for router in routers:
        if router.nats and router.network.rpartition("/")[2] == network:
            return ok("NAT", f"router {router.name}")
    place = f"--project {site.project} --region {site.region}"
    mend = (
        f"gcloud compute routers create portfire --network {network} {place} && "
        f"gcloud compute routers nats create portfire --router portfire {place} "
        "--auto-allocate-nat-external-ips --nat-all-subnet-ip-ranges"
    )
    text = "VMs reach nothing but Google, so a startup script can install nothing"
    return problem("NAT", f"none in {site.region}: {text}", mend)


def _endpoint() -> str:
    return os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "")


def _api(site: Site) -> Api:
    return Api(site.project, _endpoint())


def _compute(google: GoogleRest, client: Any) -> Any:
    endpoint = _endpoint().rstrip("/").removesuffix("/compute/v1")
    options = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
    return client(credentials=google.credentials_for(endpoint), **options)
