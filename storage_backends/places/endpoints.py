"""To which servers a job's options would send its executor's credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from messaging.errors import UsageError
from storage_backends.places.locations import Kind

#: Kinds whose credentials are the machine's and go out whole: a token, a certificate with its key.
_BEARERS: tuple[Kind, ...] = ("gcs", "plgdata")
#: By these s3fs, and botocore below it, is told where to send requests.
_WAYS = ("endpoint_url", "proxies")


def named_endpoints(options: object) -> Iterator[object]:
    """The servers in S3 `options`, also in those that s3fs hands on (``client_kwargs``, ...)."""
    if isinstance(options, Mapping):
        for name, value in options.items():
            if name in _WAYS:
                yield value
            else:
                yield from named_endpoints(value)


def require_no_other_endpoint(
    kind: Kind, job: Mapping[str, Any], executor: Mapping[str, Any]
) -> None:
    """Raise UsageError if `job` names another endpoint than `executor` for the machine's secrets.

    Both are options; the executor's are those for a store of that kind.
    """
    if kind in _BEARERS and "endpoint" in job and job["endpoint"] != executor.get("endpoint"):
        raise UsageError(
            f"a job cannot name the endpoint of {kind}, which is sent its executor's credentials: "
            f"set endpoint in storage_options of the executor, with storage: {kind}"
        )
