"""Google Cloud Storage, on gcp-storage-emulator, with directory placeholders and without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import requests

from storage_backends import StorageBackend, open_backend
from storage_backends.objects.backend import ObjectBackend
from tests.services.gcs_emulator import new_bucket, shared_emulator
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.kinds.kind import StoreKind

#: The emulator, unlike Cloud Storage, hangs up on such names.
_IMPOSSIBLE = frozenset({cases.PARENT, cases.BACKSLASH})


@contextmanager
def _opened(placeholders: bool, _: Path) -> Iterator[StorageBackend]:
    url = shared_emulator()
    options = {
        "bucket": new_bucket(url),
        "endpoint": url,
        "placeholders": placeholders,
        "nobody": "knows this option",
    }
    with open_backend("gcs", options) as backend:
        yield backend


def _plant(backend: StorageBackend, _: Path, objects: Mapping[str, bytes]) -> None:
    assert isinstance(backend, ObjectBackend)
    url, bucket = shared_emulator(), backend.url.removeprefix("gs://")
    for name, data in objects.items():
        requests.post(
            f"{url}/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "media", "name": name},
            data=data,
            timeout=30.0,
        ).raise_for_status()


KINDS = [
    StoreKind(
        name=name,
        opened=partial(_opened, placeholders),
        lacks=frozenset({behaviours.PERMISSIONS}),
        documented=documented,
        plant=_plant,
        cannot_hold=_IMPOSSIBLE,
    )
    for name, placeholders, documented in (
        ("gcs", True, "gcs"),
        ("gcs without placeholders", False, None),
    )
]
