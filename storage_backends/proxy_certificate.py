"""The user's proxy certificate: a PEM file with certificate and key, made by grid-proxy-init."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from messaging.errors import UsageError

_VARIABLE = "X509_USER_PROXY"
_REMEDY = f"make one with grid-proxy-init and name its file in {_VARIABLE}"


def proxy_file(environ: Mapping[str, str]) -> Path:
    """The file of the proxy certificate: X509_USER_PROXY, else Globus' usual place for it.

    Raises UsageError where there is none, or none that can be read.
    """
    path = Path(environ.get(_VARIABLE) or f"/tmp/x509up_u{os.geteuid()}")
    read_proxy(path)
    return path


def read_proxy(path: Path) -> str:
    """The content of the file, read anew each time: proxies live for hours and are renewed."""
    try:
        content = path.read_text("ascii")
    except FileNotFoundError as exc:
        raise UsageError(f"no proxy certificate {str(path)!r}: {_REMEDY}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "no PEM file"
        raise UsageError(f"proxy certificate {str(path)!r}: {reason}: {_REMEDY}") from exc
    if "-----BEGIN CERTIFICATE-----" not in content or "PRIVATE KEY-----" not in content:
        raise UsageError(
            f"proxy certificate {str(path)!r} does not hold a certificate and a key: {_REMEDY}"
        )
    return content
