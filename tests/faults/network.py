"""A server across a network that can be cut: a network namespace and a pair of virtual links."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid

from tests.services import missing

#: Of the block for benchmarks of network devices (RFC 2544), which is in no network.
_NET = "198.18"


class Network:
    """A namespace of its own, reached over one link. A context manager; root on Linux only.

    Skips (or fails, see `missing`) where no namespace can be made. Not thread-safe.
    """

    def __init__(self) -> None:
        token = uuid.uuid4().hex[:8]
        self._namespace = f"portfire-{token}"
        self._link, self._far = f"pf{token}a", f"pf{token}b"
        # Several tests at once must not have the same four addresses.
        third, fourth = divmod(4 * (int(token, 16) % 2**14), 256)
        self._here = f"{_NET}.{third}.{fourth + 1}"
        #: The address of whatever runs in there.
        self.host = f"{_NET}.{third}.{fourth + 2}"

    @property
    def enter(self) -> list[str]:
        """What to put before a command so that it runs in there."""
        return ["ip", "netns", "exec", self._namespace]

    def cut(self) -> None:
        """Take the far end down: what is sent vanishes, and nobody is told."""
        self._inside("link", "set", self._far, "down")

    def mend(self) -> None:
        """Bring it up again."""
        self._inside("link", "set", self._far, "up")

    def __enter__(self) -> Network:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            missing("only root can make network namespaces, with `ip` of iproute2: no network")
        made = _ip("netns", "add", self._namespace)
        if made.returncode:
            missing(f"no network namespace can be made here: {made.stderr.strip()}")
        try:
            self._lay()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._link)
        _ip("netns", "delete", self._namespace)

    def _lay(self) -> None:
        far = ("peer", "name", self._far, "netns", self._namespace)
        _checked("link", "add", self._link, "type", "veth", *far)
        _checked("address", "add", f"{self._here}/30", "dev", self._link)
        _checked("link", "set", self._link, "up")
        self._inside("address", "add", f"{self.host}/30", "dev", self._far)
        self._inside("link", "set", "lo", "up")
        self.mend()

    def _inside(self, *arguments: str) -> None:
        _checked("-n", self._namespace, *arguments)


def _ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)


def _checked(*arguments: str) -> None:
    done = _ip(*arguments)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"
