"""Messages as ranges in their bytes: read them, judge them, take them apart.

`scan(data)` finds the parts of a message in one pass and decodes nothing; each `Part` answers from the bytes when it is
asked. `parse(data)` is the same message as a person sees it: subject, people, date, text, attachments. Both take any
buffer (bytes, bytearray, memoryview, mmap) without a copy, and never raise on content; what is wrong with it comes as
names (`Part.flaws`, `Scan.bounds`, `Scan.findings`), and `readings(data)` gives all that some reader sees. `build` and
`rewrite` make and change messages; `automatic` knows those of programs. `scan_header(data)` looks at the header alone.
The `read_…` functions read reports and returned mail of other hosts, and raise `ReportError` where there is none.

    >>> message = parse(b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\\r\\nFrom: A <a@b.example>\\r\\n\\r\\nhello")
    >>> message.subject, message.from_[0].address, message.text
    ('grüße', 'a@b.example', 'hello')
"""

from __future__ import annotations

from angarium._core import HeaderScan, scan_header, seven_bit
from angarium._core import MessagePart as Part
from angarium._core import MessageScan as Scan
from angarium._core import message_text as decode_words
from angarium._core import scan_message as scan
from angarium.message.address import Address, AddressError, Group, Mailbox, parse_addresses
from angarium.message.parsed import Message, parse, parse_date
from angarium.message.readings import Readings, automatic, readings
from angarium.message.reports import (
    Aggregate,
    Bounce,
    Disposition,
    Feedback,
    ReportError,
    Status,
    TlsReport,
    read_aggregate,
    read_bounces,
    read_disposition,
    read_feedback,
    read_status,
    read_tls_report,
)
from angarium.message.written import Attachment, build, rewrite

__all__ = [
    "Address",
    "AddressError",
    "Aggregate",
    "Attachment",
    "Bounce",
    "Disposition",
    "Feedback",
    "Group",
    "HeaderScan",
    "Mailbox",
    "Message",
    "Part",
    "Readings",
    "ReportError",
    "Scan",
    "Status",
    "TlsReport",
    "automatic",
    "build",
    "decode_words",
    "parse",
    "parse_addresses",
    "parse_date",
    "read_aggregate",
    "read_bounces",
    "read_disposition",
    "read_feedback",
    "read_status",
    "read_tls_report",
    "readings",
    "rewrite",
    "scan",
    "scan_header",
    "seven_bit",
]
