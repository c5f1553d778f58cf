"""A certificate authority of the tests' own, with a host and a user whose proxy it knows."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services import missing

_AUTHORITY = "/O=Portfire/CN=Tests"
_USER = "/O=Portfire/CN=User"
_POLICY = f"""access_id_CA X509 '{_AUTHORITY}'
pos_rights globus CA:sign
cond_subjects globus '"/O=Portfire/*"'
"""
_USAGE = "keyUsage=critical,digitalSignature,keyEncipherment\n"


@dataclass(frozen=True)
class GridCertificates:
    """Certificates in a directory; `make` makes them."""

    directory: Path

    @property
    def proxy(self) -> Path:
        """The user's proxy certificate, as grid-proxy-init would leave it."""
        return self.directory / "x509up"

    @property
    def authorities(self) -> Path:
        """What X509_CERT_DIR is for both sides."""
        return self.directory / "authorities"

    def server_environment(self, account: str) -> dict[str, str]:
        """For a server at ``localhost``; the user becomes the local `account`."""
        gridmap = self.directory / "gridmap"
        gridmap.write_text(f'"{_USER}" {account}\n')
        return {
            "X509_CERT_DIR": str(self.authorities),
            "X509_USER_CERT": str(self.directory / "host.pem"),
            "X509_USER_KEY": str(self.directory / "host.key"),
            "GRIDMAP": str(gridmap),
        }

    def client_environment(self) -> dict[str, str]:
        """For a client with the user's proxy."""
        return {"X509_CERT_DIR": str(self.authorities), "X509_USER_PROXY": str(self.proxy)}

    def make(self) -> None:
        """Make all of them, good for a day; skips or fails where there is no openssl."""
        if shutil.which("openssl") is None:
            missing("no openssl here, which makes the certificates: apt-get install openssl")
        authority = ["-x509", "-keyout", "ca.key", "-out", "ca.pem", "-days", "1"]
        for extension in ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"):
            authority += ["-addext", extension]
        self._openssl("req", *_new_key(_AUTHORITY), *authority)
        name = self._openssl("x509", "-in", "ca.pem", "-noout", "-subject_hash").strip()
        self.authorities.mkdir()
        shutil.copy(self.directory / "ca.pem", self.authorities / f"{name}.0")
        (self.authorities / f"{name}.signing_policy").write_text(_POLICY)
        self._sign("host", "/O=Portfire/CN=localhost", "ca", "subjectAltName=DNS:localhost\n")
        self._sign("user", _USER, "ca", "")
        information = "proxyCertInfo=critical,language:id-ppl-inheritAll\n"
        self._sign("proxy", f"{_USER}/CN=1", "user", information)
        parts = [self.directory / part for part in ("proxy.pem", "proxy.key", "user.pem")]
        self.proxy.write_text("".join(part.read_text() for part in parts))
        self.proxy.chmod(0o600)

    def _sign(self, name: str, subject: str, by: str, extensions: str) -> None:
        request = ["-keyout", f"{name}.key", "-out", f"{name}.csr"]
        self._openssl("req", *_new_key(subject), *request)
        (self.directory / f"{name}.ext").write_text(_USAGE + extensions)
        signer = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-days", "1"]
        answer = ["-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext"]
        self._openssl("x509", "-req", *signer, *answer)
        (self.directory / f"{name}.key").chmod(0o600)

    def _openssl(self, *arguments: str) -> str:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _new_key(subject: str) -> list[str]:
    return ["-newkey", "rsa:2048", "-nodes", "-subj", subject]
