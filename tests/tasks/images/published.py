"""An image of a test's own, published in a registry and not on the engine."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid

import docker
import requests

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


class PublishedImage:
    """An image of one layer, which no other image has. Used from one thread."""

    def __init__(self, client: docker.APIClient, registry: str, size: int = 300_000) -> None:
        #: Bytes in its layer, at the least.
        self.size = size
        self.client = client
        self._registry = registry
        self._path = f"images-{uuid.uuid4().hex[:12]}"
        #: Without a tag.
        self.repository = f"{registry}/{self._path}"
        self.name = self.at(registry)
        self.replace()

    def at(self, registry: str) -> str:
        """Its name in another registry that serves it too."""
        return f"{registry}/{self._path}:1"

    def replace(self) -> None:
        """Publish other content under the same name; what the engine has stays as it is."""
        self.client.import_image_from_data(_archive(self.size), self.repository, "next")
        for line in self.client.push(self.repository, tag="next", stream=True, decode=True):
            assert "error" not in line, line
        self.client.remove_image(f"{self.repository}:next")
        self._put("1", self._manifest("next").content, _MANIFEST)

    @property
    def id(self) -> str:
        """What the engine calls it, once it is pulled."""
        return str(self._manifest().json()["config"]["digest"])

    @property
    def layer(self) -> str:
        """Digest of its only layer."""
        return str(self._manifest().json()["layers"][0]["digest"])

    @property
    def digest(self) -> str:
        """Digest by which the registry knows it."""
        return self._manifest().headers["Docker-Content-Digest"]

    @property
    def platform(self) -> str:
        """``linux/amd64`` or the like: that of the engine."""
        version = self.client.version()
        return f"{version['Os']}/{version['Arch']}"

    def tag(self, tag: str) -> None:
        """Publish it under another tag too."""
        self._put(tag, self._manifest().content, _MANIFEST)

    def tag_list(self, tag: str) -> None:
        """Publish it as the only one of an image of several platforms."""
        system, _, architecture = self.platform.partition("/")
        entry = {
            "mediaType": _MANIFEST,
            "size": len(self._manifest().content),
            "digest": self.digest,
            "platform": {"os": system, "architecture": architecture},
        }
        body = {"schemaVersion": 2, "mediaType": _LIST, "manifests": [entry]}
        self._put(tag, json.dumps(body).encode(), _LIST)

    def remove(self) -> None:
        """Remove from the engine what was pulled."""
        for image in self.client.images():
            names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
            if any(f"/{self._path}" in name for name in names):
                self.client.remove_image(image["Id"], force=True)

    def _manifest(self, tag: str = "1") -> requests.Response:
        url = f"http://{self._registry}/v2/{self._path}/manifests/{tag}"
        found = requests.get(url, headers={"Accept": _MANIFEST}, timeout=10)
        found.raise_for_status()
        return found

    def _put(self, tag: str, body: bytes, kind: str) -> None:
        url = f"http://{self._registry}/v2/{self._path}/manifests/{tag}"
        headers = {"Content-Type": kind}
        requests.put(url, data=body, headers=headers, timeout=10).raise_for_status()


def _archive(size: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = size
        tar.addfile(entry, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()
