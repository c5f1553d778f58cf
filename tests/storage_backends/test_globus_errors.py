"""What Globus' programs and servers say, as errors: texts as they came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.gridftp.errors import error_from, one_line, says_exists, says_unknown

_ANSWER = "globus_ftp_client: the server responded with an error\n"
_OPEN = f"""
error: {_ANSWER}500 500-Command failed. : globus_l_gfs_file_open failed.
500-globus_xio: Unable to open file /x
500-globus_xio: System error in open: %s
500-globus_xio: A system call failed: %s
500 End.
"""
_STAT = (
    _ANSWER + "550 550-GlobusError: v=1 c=PATH_NOT_FOUND\r\n550-GridFTP-Errno: 2\r\n"
    "550-GridFTP-Reason: System error in stat\r\n"
    "550-GridFTP-Error-String: No such file or directory\r\n550 End.\r\n\n"
)
_REFUSED = (
    "globus_xio: Unable to connect to 127.0.0.1:1\nglobus_xio: System error in connect: Connection"
    " refused\nglobus_xio: A system call failed: Connection refused\n"
)
_GSS = """error: globus_ftp_control: gss_init_sec_context failed
GSS failure:
GSS Major Status: General failure
GSS Minor Status Error Chain:
globus_gsi_gssapi: Error with gss context
globus_credential: The proxy credential: /tmp/x509up with subject: /CN=me expired 5 minutes ago.
"""


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        (_OPEN.replace("%s", "No such file or directory"), StorageNotFoundError, "No such file"),
        (_OPEN.replace("%s", "Is a directory"), StorageNotFoundError, "Is a directory"),
        (_OPEN.replace("%s", "Permission denied"), StorageDeniedError, "Permission denied"),
        (_OPEN.replace("%s", "No space left on device"), StorageTransientError, "No space left"),
        (_OPEN.replace("%s", "Input/output error"), StorageTransientError, "output error"),
        (_STAT, StorageNotFoundError, "No such file"),
        (_REFUSED, StorageTransientError, "Connection refused"),
        (_GSS, StorageDeniedError, "expired 5 minutes ago.; is the proxy"),
        (_ANSWER + "530 Please login with USER and PASS.\n", StorageDeniedError, "proxy"),
        (_ANSWER + "421 Service busy: Connection limit exceeded.", StorageTransientError, "busy"),
        (_ANSWER + "501 Invalid command arguments.\r\n", StorageDeniedError, "Invalid command"),
        ("libglobus_common.so.0: cannot open shared object file", StorageDeniedError, "apt-get"),
        ("", StorageTransientError, "no reason"),
    ],
)
def test_each_text_has_its_kind(text: str, kind: type[StorageError], told: str) -> None:
    error = error_from(text)
    assert type(error) is kind
    assert told in str(error)


def test_a_name_that_speaks_of_certificates_is_no_question_of_trust() -> None:
    text = _OPEN.replace("%s", "No such file or directory").replace("/x", "/gsi/certificate.pem")
    assert type(error_from(text)) is StorageNotFoundError


def test_what_exists_or_is_unknown_is_told_from_other_refusals() -> None:
    exists = _STAT.replace("PATH_NOT_FOUND", "PATH_EXISTS")
    assert says_exists(exists)
    assert not says_exists(_STAT)
    assert says_unknown(_ANSWER + "500 Command not supported.\r\n")
    assert says_unknown(_ANSWER + "500 Unknown checksum algorithm requested.\r\n")
    assert not says_unknown(_OPEN.replace("%s", "Permission denied"))


@given(st.text(max_size=2000))
def test_any_text_becomes_one_line(text: str) -> None:
    line = one_line(text)
    assert line
    assert line.isprintable()
    assert len(line) <= 300
