"""Scanning whole messages and decoding attachments against the standard library, signing against dkimpy."""

from __future__ import annotations

import base64
import email
import email.policy

import pytest
from angarium.auth import DkimKey, DkimSigner, sign
from angarium.message import scan

from benches.test_headers import HEADER, MESSAGE

TYPE = b"Content-Type: text/plain; charset=utf-8\r\n"
PART = b"--=_b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def multipart(content: bytes) -> bytes:
    header = HEADER.replace(TYPE, b"Content-Type: multipart/mixed; boundary==_b\r\n")
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return header + b"--=_b\r\n\r\nhello\r\n" + PART + encoded + b"--=_b--\r\n"


LARGE = multipart(bytes(range(256)) * 280)
ATTACHED = multipart(bytes(range(256)) * 20480)


@pytest.mark.benchmark(group="message scan, 4 KiB text")
class TestText:
    def test_ours(self, benchmark):
        assert len(benchmark(scan, MESSAGE)) == 1

    def test_email(self, benchmark):
        benchmark.extra_info["wanted"] = 100
        assert not benchmark(email.message_from_bytes, MESSAGE).is_multipart()


@pytest.mark.benchmark(group="message scan, 100 KiB multipart")
class TestMultipart:
    def test_ours(self, benchmark):
        assert len(benchmark(scan, LARGE)) == 3

    def test_email(self, benchmark):
        benchmark.extra_info["wanted"] = 100
        assert len(benchmark(email.message_from_bytes, LARGE).get_payload()) == 2


@pytest.mark.benchmark(group="attachment of 5 MiB decoded from base64")
class TestDecode:
    def test_ours(self, benchmark):
        part = scan(ATTACHED).parts[2]
        assert len(benchmark(part.decode)) == 256 * 20480

    def test_binascii(self, benchmark):
        part = bytes(scan(ATTACHED).parts[2].body)
        assert len(benchmark(base64.b64decode, part)) == 256 * 20480


@pytest.mark.benchmark(group="DKIM rsa-2048 signature, 4 KiB, from Python")
class TestSign:
    PEM = DkimKey.generate("rsa-2048").encode()
    # dkimpy signs what is there of these, once each.
    NAMES = (b"from", b"to", b"subject", b"date", b"message-id", b"mime-version", b"content-type")

    def test_ours(self, benchmark):
        signer = DkimSigner(DkimKey(self.PEM), domain="example.org", selector="s1")
        assert benchmark(sign, MESSAGE, signer).startswith(b"DKIM-Signature:")

    def test_dkimpy(self, benchmark):
        dkim = pytest.importorskip("dkim")
        benchmark.extra_info["wanted"] = 9
        made = benchmark(
            dkim.sign,
            MESSAGE,
            b"s1",
            b"example.org",
            self.PEM,
            canonicalize=(b"relaxed", b"relaxed"),
            include_headers=self.NAMES,
        )
        assert made.startswith(b"DKIM-Signature:")
