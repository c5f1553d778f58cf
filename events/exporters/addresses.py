"""Addresses as people type them: ``:9464``, ``9464``, ``host:9464``, ``[::1]:9464``."""

from __future__ import annotations

from messaging.errors import UsageError

LOOPBACK = "127.0.0.1"
_MAX_PORT = 65_535


def parse_address(text: str, flag: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port; without a host this machine only. Raises UsageError naming `flag`."""
    host, port = _split(text.strip())
    if not port and default_port is not None and host:
        return host, default_port
    if not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise UsageError(f"{flag} is {text!r}: expected HOST:PORT or :PORT, such as :9464")
    return host or LOOPBACK, int(port)


def format_address(host: str, port: int) -> str:
    """The form that stands in URLs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        return host, port.removeprefix(":")
    if text.isdigit():
        return "", text
    host, _, port = text.partition(":")
    return host, port
