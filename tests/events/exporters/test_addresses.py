"""Addresses as people type them."""

from __future__ import annotations

import pytest

from events.exporters.addresses import format_address, parse_address
from messaging.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":9464", ("127.0.0.1", 9464)),
        ("9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("statsd.example.org:8125", ("statsd.example.org", 8125)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_an_address_without_a_host_is_this_machine_s(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, "--prometheus") == expected


def test_a_port_may_be_left_out_where_there_is_a_usual_one() -> None:
    assert parse_address("localhost", "--statsd", 8125) == ("localhost", 8125)
    assert parse_address("[::1]", "--statsd", 8125) == ("::1", 8125)


@pytest.mark.parametrize("wrong", ["", ":", "localhost", "host:", ":70000", ":-1", "::1", "a:b"])
def test_a_wrong_one_is_said_with_the_flag(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"--prometheus is .*: expected HOST:PORT or :PORT"):
        parse_address(wrong, "--prometheus")


def test_ipv6_addresses_stand_in_brackets_in_urls() -> None:
    assert format_address("::1", 80) == "[::1]:80"
    assert format_address("host", 80) == "host:80"
