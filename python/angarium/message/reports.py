"""Reports of other hosts as frozen values, and our own written from the same values.

Delivery status (RFC 3464), feedback (RFC 5965), dispositions (RFC 8098), DMARC aggregates (RFC 9990) and TLS reports
(RFC 8460).

Readers take the message, or for the last two the bare document, perhaps in gzip or zip (unpacked up to 64 MiB). They
raise `ReportError` where there is no such report or it is damaged, with the byte where that was seen; what is merely
missing is an empty text. All words are as they stand, in lower case.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from angarium._core import (
    pack_aggregate,
    pack_tls_report,
    read_report,
    write_aggregate,
    write_feedback,
    write_tls_report,
)
from angarium.errors import AngariumError
from angarium.message.written import Attachment, build

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")


class ReportError(AngariumError, ValueError):
    """No such report is in these bytes, or it cannot be read; `offset` is the byte of the document where, if known."""

    def __init__(self, why: str, offset: int | None = None) -> None:
        super().__init__(why)
        self.offset = offset


class RecipientStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery report says of one recipient (RFC 3464 2.3)."""

    original_recipient: str = ""
    final_recipient: str = ""
    action: str = ""
    status: str = ""
    remote_mta: str = ""
    diagnostic_type: str = ""
    diagnostic: str = ""
    last_attempt: str = ""
    will_retry_until: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery report."""

    reporting_mta: str = ""
    envelope_id: str = ""
    arrival_date: str = ""
    recipients: tuple[RecipientStatus, ...] = ()
    original_message_id: str = ""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """A feedback report; `fields` has all (name, value) in order, those of authentication failures (RFC 6591) too."""

    feedback_type: str = ""
    user_agent: str = ""
    version: str = ""
    arrival_date: str = ""
    source_ip: str = ""
    original_mail_from: str = ""
    original_rcpt_to: tuple[str, ...] = ()
    original_envelope_id: str = ""
    reporting_mta: str = ""
    reported_domain: tuple[str, ...] = ()
    reported_uri: tuple[str, ...] = ()
    authentication_results: tuple[str, ...] = ()
    incidents: int = 1
    fields: tuple[tuple[str, str], ...] = ()
    original_message_id: str = ""

    def to_message(
        self,
        original: Buffer,
        *,
        from_: str,
        to: str,
        subject: str = "",
        text: str = "",
        whole: bool = True,
        message_id: str = "",
        date: datetime | None = None,
    ) -> bytes:
        """The report as mail about `original`, of which only the header goes along unless `whole`.

        `from_` and `to` are plain addresses; subject and text have sentences of our own when empty. Raises `ValueError`
        without `feedback_type`, and for "auth-failure" (RFC 6591, RFC 9991) without a field `auth-failure` in `fields`.
        Whatever a report must not tell is to be taken out of `original` before (RFC 6590).
        """
        at = datetime.now(UTC) if date is None else date
        return write_feedback(
            msgspec.json.encode(self).decode(),
            original,
            full=whole,
            sender=from_,
            to=to,
            subject=subject,
            text=text,
            message_id=message_id,
            date=max(0, int(at.timestamp() * 1000)),
            boundary=secrets.token_hex(12),
        )


class Disposition(msgspec.Struct, frozen=True, kw_only=True):
    """A message disposition notification (RFC 8098 3.2)."""

    reporting_ua: str = ""
    original_recipient: str = ""
    final_recipient: str = ""
    original_message_id: str = ""
    mode: str = ""
    disposition: str = ""
    modifiers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class PolicyReason(msgspec.Struct, frozen=True, kw_only=True):
    """Why a DMARC policy was not followed."""

    kind: str = ""
    comment: str = ""


class AuthResult(msgspec.Struct, frozen=True, kw_only=True):
    """One DKIM or SPF result in an aggregate."""

    domain: str = ""
    selector: str = ""
    scope: str = ""
    result: str = ""
    human_result: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen from one source."""

    source_ip: str = ""
    count: int = 0
    disposition: str = ""
    dkim: str = ""
    spf: str = ""
    reasons: tuple[PolicyReason, ...] = ()
    header_from: str = ""
    envelope_from: str = ""
    envelope_to: str = ""
    dkim_results: tuple[AuthResult, ...] = ()
    spf_results: tuple[AuthResult, ...] = ()


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """A DMARC aggregate report; `begin` and `end` are Unix seconds."""

    version: str = ""
    org_name: str = ""
    email: str = ""
    extra_contact_info: str = ""
    report_id: str = ""
    begin: int = 0
    end: int = 0
    errors: tuple[str, ...] = ()
    domain: str = ""
    adkim: str = ""
    aspf: str = ""
    p: str = ""
    sp: str = ""
    np: str = ""
    fo: str = ""
    testing: bool = False
    discovery_method: str = ""
    records: tuple[Record, ...] = ()

    def to_xml(self) -> str:
        """The report as XML (RFC 9990)."""
        return write_aggregate(msgspec.json.encode(self).decode())

    def to_gzip(self) -> bytes:
        """The XML in gzip, as it is mailed."""
        return pack_aggregate(msgspec.json.encode(self).decode())

    def file_name(self, receiver: str) -> str:
        """The name it is attached under: `receiver!domain!begin!end!id.xml.gz` (RFC 9990)."""
        named = "".join(char for char in self.report_id if char.isascii() and (char.isalnum() or char in "._-"))
        return (
            "!".join([receiver, self.domain, str(self.begin), str(self.end), *([named] if named else [])]) + ".xml.gz"
        )

    def to_message(
        self, *, from_: str, to: str, receiver: str, message_id: str = "", date: datetime | None = None
    ) -> bytes:
        """The report as mail; `receiver` is the domain that reports (RFC 9990)."""
        return build(
            from_=from_,
            to=to,
            subject=f"Report Domain: {self.domain} Submitter: {receiver} Report-ID: <{self.report_id}>",
            text=f"This is a DMARC aggregate report of {receiver} about {self.domain}.\n",
            attachments=[Attachment(self.to_gzip(), self.file_name(receiver), "application/gzip")],
            headers={"Auto-Submitted": "auto-generated"},
            message_id=message_id,
            date=date,
        )


class DateRange(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    start_datetime: str = ""
    end_datetime: str = ""


class TlsPolicyFound(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    policy_type: str = ""
    policy_string: tuple[str, ...] = ()
    policy_domain: str = ""
    mx_host: tuple[str, ...] = ()


class TlsSummary(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    total_successful_session_count: int = 0
    total_failure_session_count: int = 0


class TlsFailure(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Sessions that failed for one reason."""

    result_type: str = ""
    sending_mta_ip: str = ""
    receiving_mx_hostname: str = ""
    receiving_mx_helo: str = ""
    receiving_ip: str = ""
    failed_session_count: int = 0
    additional_information: str = ""
    failure_reason_code: str = ""


class TlsPolicy(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What happened under one policy."""

    policy: TlsPolicyFound = TlsPolicyFound()
    summary: TlsSummary = TlsSummary()
    failure_details: tuple[TlsFailure, ...] = ()


class TlsReport(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A TLS report; times are RFC 3339 texts."""

    organization_name: str = ""
    date_range: DateRange = DateRange()
    contact_info: str = ""
    report_id: str = ""
    policies: tuple[TlsPolicy, ...] = ()

    def to_json(self) -> str:
        """The report as RFC 8460 has it."""
        return write_tls_report(msgspec.json.encode(self).decode())

    def to_gzip(self) -> bytes:
        """The JSON in gzip, as it is mailed or posted (RFC 8460 5.2)."""
        return pack_tls_report(msgspec.json.encode(self).decode())


class Bounce(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient of a returned mail.

    `status` is an enhanced code (RFC 3463), `5.0.9nn` by reason where nobody gave one; `reply` the SMTP code or empty;
    `hard`: the address is of no use any more; `rule` the id of the rule that gave the reason.
    """

    recipient: str
    status: str
    reply: str
    reason: str
    hard: bool
    diagnostic: str
    message_id: str
    feedback_type: str
    rule: str


def _read(kind: str, data: Buffer, into: type[T]) -> T:
    try:
        return msgspec.json.decode(read_report(kind, data), type=into)
    except (LookupError, ValueError) as error:
        raise ReportError(*error.args) from None


def read_status(data: Buffer) -> Status:
    """The delivery report in this message."""
    return _read("status", data, Status)


def read_feedback(data: Buffer) -> Feedback:
    """The feedback report in this message: abuse (RFC 5965) or authentication failure (RFC 6591)."""
    return _read("feedback", data, Feedback)


def read_disposition(data: Buffer) -> Disposition:
    """The disposition notification in this message."""
    return _read("disposition", data, Disposition)


def read_aggregate(data: Buffer) -> Aggregate:
    """The DMARC aggregate report in this message or document."""
    return _read("aggregate", data, Aggregate)


def read_tls_report(data: Buffer) -> TlsReport:
    """The TLS report in this message or document."""
    return _read("tls", data, TlsReport)


def read_bounces(data: Buffer) -> tuple[Bounce, ...]:
    """What a returned mail, a complaint or an automatic answer says, for each recipient; empty for other mail."""
    return _read("bounces", data, tuple[Bounce, ...])
