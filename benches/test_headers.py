"""Finding the fields of a header: the scan against what a person would write with the standard library."""

from __future__ import annotations

import email.parser
import email.policy

import pytest
from angarium.message import scan_header

HOPS = "".join(
    f"Received: from mx{hop}.example.net (mx{hop}.example.net [192.0.2.{hop}])\r\n"
    f"\tby mx{hop + 1}.example.net (Postfix) with ESMTPS id 4cG{hop}XY1Zz0z9\r\n"
    f"\tfor <someone@example.org>; Wed, 25 Nov 2026 08:00:0{hop} +0000 (UTC)\r\n"
    for hop in range(4)
)
HEADER = (
    HOPS + "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;\r\n"
    "\th=from:to:subject:date:message-id; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n"
    "\tb=" + "A" * 344 + "\r\n"
    "Date: Wed, 25 Nov 2026 08:00:00 +0000\r\n"
    "From: A Sender <sender@example.net>\r\n"
    "To: A Recipient <someone@example.org>\r\n"
    "Subject: A subject of the usual length for a message\r\n"
    "Message-ID: <20261125080000.12345@example.net>\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
    "List-Unsubscribe: <https://example.net/u/12345>\r\n"
    "X-Mailer: something 1.0\r\n"
    "\r\n"
).encode()
MESSAGE = HEADER + b"A line of the body, repeated.\r\n" * ((4096 - len(HEADER)) // 31)


@pytest.mark.benchmark(group="header scan, 4 KiB message: Received counted, Message-ID looked up")
class TestHeaderScan:
    def test_ours(self, benchmark):
        def ours() -> tuple[int, bytes | None]:
            scan = scan_header(MESSAGE)
            return scan.received_count, scan.value("Message-ID")

        assert benchmark(ours) == (4, b" <20261125080000.12345@example.net>")

    def test_email_parser(self, benchmark):
        parser = email.parser.BytesHeaderParser(policy=email.policy.compat32)

        def theirs() -> tuple[int, str]:
            message = parser.parsebytes(MESSAGE)
            return len(message.get_all("Received", [])), message["Message-ID"]

        assert benchmark(theirs) == (4, "<20261125080000.12345@example.net>")
