"""Reports written by us and read again, by us and by others; automatic mail known; packed reports bounded."""

from __future__ import annotations

import email
import email.policy
import gzip
import io
import zipfile
from datetime import UTC, datetime

import msgspec
import pytest
from angarium.message import (
    Aggregate,
    Feedback,
    ReportError,
    TlsReport,
    automatic,
    build,
    parse,
    read_aggregate,
    read_disposition,
    read_feedback,
    read_tls_report,
)
from angarium.message.reports import AuthResult, DateRange, PolicyReason, Record, TlsFailure, TlsPolicy, TlsSummary

ORIGINAL = build(from_="Ann <ann@there.example>", to="bob@here.example", subject="buy", text="now", message_id="1@x")
WHEN = datetime(2026, 11, 25, 8, 16, 40, tzinfo=UTC)
ABUSE = Feedback(
    feedback_type="abuse",
    user_agent="Ours/1",
    version="1",
    source_ip="192.0.2.1",
    original_mail_from="<ann@there.example>",
    original_rcpt_to=("<bob@here.example>",),
    reported_domain=("there.example",),
    incidents=2,
)
AGGREGATE = Aggregate(
    version="1.0",
    org_name="Here & <Co>",
    email="dmarc@here.example",
    report_id="20261125.1",
    begin=1_795_500_000,
    end=1_795_586_400,
    domain="there.example",
    adkim="r",
    aspf="r",
    p="reject",
    sp="quarantine",
    np="reject",
    fo="1",
    discovery_method="treewalk",
    records=(
        Record(
            source_ip="192.0.2.1",
            count=3,
            disposition="reject",
            dkim="fail",
            spf="fail",
            reasons=(PolicyReason(kind="local_policy", comment="a ]]> b"),),
            header_from="there.example",
            dkim_results=(AuthResult(domain="x.example", selector="s", result="pass"),),
            spf_results=(AuthResult(domain="y.example", scope="mfrom", result="softfail"),),
        ),
    ),
)


def fields_of(feedback: Feedback) -> Feedback:
    return msgspec.structs.replace(feedback, fields=(), original_message_id="")


@pytest.mark.parametrize("whole", [True, False])
def test_an_abuse_report_is_read_again_by_us_and_by_others(whole: bool) -> None:
    mail = ABUSE.to_message(ORIGINAL, from_="fbl@here.example", to="abuse@there.example", whole=whole, date=WHEN)
    read = read_feedback(mail)
    assert fields_of(read) == ABUSE and read.original_message_id == "1@x"
    theirs = email.message_from_bytes(mail, policy=email.policy.default)
    assert theirs.get_content_type() == "multipart/report"
    assert theirs["Content-Type"].params["report-type"] == "feedback-report"
    _, fields, original = theirs.iter_parts()
    assert fields.get_content_type() == "message/feedback-report"
    assert original.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")
    assert (b"\r\nnow" in mail) is whole
    assert parse(mail).date == WHEN and automatic(mail) == "auto-submitted"


def test_a_failure_report_says_what_failed() -> None:
    failure = msgspec.structs.replace(ABUSE, feedback_type="auth-failure", incidents=1)
    with pytest.raises(ValueError, match="Auth-Failure"):
        failure.to_message(ORIGINAL, from_="a@b.example", to="c@d.example")
    fields = (("auth-failure", "dmarc"), ("delivery-result", "reject"), ("identity-alignment", "dkim, spf"))
    failure = msgspec.structs.replace(failure, fields=fields)
    read = read_feedback(failure.to_message(ORIGINAL, from_="a@b.example", to="c@d.example", whole=False))
    assert read.feedback_type == "auth-failure" and set(fields) <= set(read.fields)
    with pytest.raises(ValueError, match="type"):
        Feedback().to_message(ORIGINAL, from_="a@b.example", to="c@d.example")


def test_an_aggregate_is_read_again_as_xml_gzip_and_mail() -> None:
    mail = AGGREGATE.to_message(from_="dmarc@here.example", to="rua@there.example", receiver="here.example")
    for document in (AGGREGATE.to_xml().encode(), AGGREGATE.to_gzip(), mail):
        assert read_aggregate(document) == AGGREGATE
    message = parse(mail)
    assert message.subject == "Report Domain: there.example Submitter: here.example Report-ID: <20261125.1>"
    (attached,) = message.attachments
    assert attached.content_type == "application/gzip"
    assert attached.file_name == "here.example!there.example!1795500000!1795586400!20261125.1.xml.gz"
    assert gzip.decompress(attached.decode()) == AGGREGATE.to_xml().encode()


def test_a_tls_report_is_read_again() -> None:
    report = TlsReport(
        organization_name="Here",
        date_range=DateRange(start_datetime="2026-11-24T00:00:00Z", end_datetime="2026-11-24T23:59:59Z"),
        contact_info="tls@here.example",
        report_id="1",
        policies=(
            TlsPolicy(
                summary=TlsSummary(total_successful_session_count=5, total_failure_session_count=1),
                failure_details=(TlsFailure(result_type="certificate-expired", failed_session_count=1),),
            ),
        ),
    )
    assert read_tls_report(report.to_json().encode()) == read_tls_report(report.to_gzip()) == report


def test_dispositions_are_read() -> None:
    mail = (
        b"Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\nread\r\n"
        b"--b\r\nContent-Type: message/disposition-notification\r\n\r\nReporting-UA: pc.example; App 1\r\n"
        b"Original-Recipient: rfc822;bob@here.example\r\nFinal-Recipient: rfc822;bob@here.example\r\n"
        b"Original-Message-ID: <1@x>\r\nDisposition: manual-action/MDN-sent-manually; displayed/error\r\n"
        b"Error: odd\r\n--b--\r\n"
    )
    read = read_disposition(mail)
    assert (read.reporting_ua, read.final_recipient, read.original_message_id) == (
        "pc.example; App 1",
        "bob@here.example",
        "1@x",
    )
    assert (read.mode, read.disposition, read.modifiers, read.errors) == (
        "manual-action/mdn-sent-manually",
        "displayed",
        ("error",),
        ("odd",),
    )


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r.xml", content)
    return file.getvalue()


def test_zip_is_read_and_bombs_are_not() -> None:
    assert read_aggregate(zipped(AGGREGATE.to_xml().encode())) == AGGREGATE
    bomb = b"<" + b" " * (65 << 20)
    for packed in (gzip.compress(bomb, 1), zipped(bomb)):
        with pytest.raises(ReportError, match="grows beyond"):
            read_aggregate(packed)


def test_a_damaged_report_says_where() -> None:
    with pytest.raises(ReportError, match=r"at byte \d+") as caught:
        read_aggregate(b"<feedback>\n<report_metadata")
    assert caught.value.offset is not None and caught.value.offset >= 11
    with pytest.raises(ReportError, match="at byte 15") as caught:
        read_tls_report(b'{"policies": [1]}')
    assert caught.value.offset == 15
    with pytest.raises(ReportError, match="no part"):
        read_feedback(ORIGINAL)


def test_people_may_be_answered_and_programs_not() -> None:
    assert automatic(ORIGINAL) is None
    assert automatic(b"From: a@b.example\r\nAuto-Submitted: auto-replied\r\n\r\n") == "auto-submitted"
