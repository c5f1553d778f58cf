"""What an installation on Google Cloud is: its project, pools, account, bucket and network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from messaging.errors import UsageError
from messaging.names import Names
from messaging.settings import PubSubSettings, load

#: Name of the executors' service account, unless another one is named.
EXECUTOR_ACCOUNT = "portfire-executor"
_ACCOUNT_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_POOL = re.compile(r"[A-Za-z0-9_-]{1,60}")
_PROJECT = re.compile(r"([a-z][a-z0-9.-]*:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d+")


@dataclass(frozen=True, kw_only=True)
class Site:
    """One installation. Raises UsageError for what is no such name."""

    project: str
    #: ``PORTFIRE_PREFIX``.
    prefix: str = "portfire"
    pools: tuple[str, ...] = ("default",)
    #: Email of the account that VMs act as; a name alone is one of the project's.
    service_account: str = EXECUTOR_ACCOUNT
    #: Without ``gs://``; none: there is none, or it is not our business.
    bucket: str = ""
    #: Where VMs and the bucket are to be; none: not known.
    region: str = ""
    #: Of the region, in this project.
    subnet: str = "default"
    #: Disk image family, and its project.
    image: tuple[str, str] = ("debian-12", "debian-cloud")
    #: VMs have no external address.
    no_address: bool = False
    #: Account of the dispatcher; none: it is not our business.
    dispatcher_account: str = ""
    #: Of the executors, in seconds.
    lease_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Complete the accounts' names, and refuse what cannot be a name."""
        for field in ("service_account", "dispatcher_account"):
            account = getattr(self, field)
            if account and "@" not in account:
                flag = f"--{field.replace('_', '-')}"
                _require(
                    _ACCOUNT_ID, flag, account, "an email, or a name such as portfire-executor"
                )
                account = f"{account}@{self.project}.iam.gserviceaccount.com"
                object.__setattr__(self, field, account)
        object.__setattr__(self, "bucket", self.bucket.removeprefix("gs://").split("/")[0])
        _require(_PROJECT, "--project", self.project, "a project's id, such as my-project")
        load(PubSubSettings, flags={"prefix": self.prefix})
        for pool in self.pools:
            _require(_POOL, "--pool", pool, "letters, digits, - and _")
        if self.bucket:
            _require(_BUCKET, "--bucket", self.bucket, "a bucket's name, such as my-bucket")
        if self.region:
            _require(_REGION, "--region", self.region, "a region, such as europe-west4")

    @property
    def names(self) -> Names:
        """Names of the topics and subscriptions."""
        return Names(self.prefix)

    @property
    def member(self) -> str:
        """The executors' account, as policies write it."""
        return f"serviceAccount:{self.service_account}"

    @property
    def account_id(self) -> str:
        """The part of the account's email before the @."""
        return self.service_account.partition("@")[0]

    @property
    def owns_account(self) -> bool:
        """Whether the account is one that this project's owner can make."""
        return self.service_account.endswith(f"@{self.project}.iam.gserviceaccount.com")


def _require(pattern: re.Pattern[str], what: str, value: str, wanted: str) -> None:
    if not pattern.fullmatch(value):
        raise UsageError(f"{what} is {value[:80]!r}: it must be {wanted}")
