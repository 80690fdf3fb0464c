"""The Rust face. Times are Unix milliseconds, sizes bytes, ids 26 characters.

"Table" means MessagePack of the struct of that name in `angarium.engine` (a map by field name; fields left out have
their defaults, unknown fields are refused). Calls never wait for disk or network: what takes time gives a ticket,
a positive int that comes back exactly once as `Done`. When no slot for a `Done` is free: `angarium.errors.Busy`.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, Self, TypeAlias, final

from typing_extensions import Buffer, disjoint_base

__all__ = [
    "Ask",
    "AuthJudge",
    "BloomFilter",
    "Body",
    "Credentials",
    "Deliver",
    "DkimKey",
    "DkimSigner",
    "Done",
    "Engine",
    "Fault",
    "Flag",
    "HeaderScan",
    "LaneWanted",
    "Later",
    "Leased",
    "MessagePart",
    "MessageScan",
    "PlanReport",
    "QueueIndex",
    "RotatingBloomFilter",
    "RouteWanted",
    "SmtpAuth",
    "SmtpAuthCancelled",
    "SmtpAuthResponse",
    "SmtpBody",
    "SmtpBroken",
    "SmtpCapabilities",
    "SmtpChunk",
    "SmtpClient",
    "SmtpData",
    "SmtpEarly",
    "SmtpEnd",
    "SmtpEtrn",
    "SmtpExpn",
    "SmtpGarbage",
    "SmtpHangup",
    "SmtpHello",
    "SmtpMail",
    "SmtpQuit",
    "SmtpRcpt",
    "SmtpReply",
    "SmtpReset",
    "SmtpServer",
    "SmtpStartTls",
    "SmtpVrfy",
    "SmtpXclient",
    "SmtpXforward",
    "Taken",
    "build_message",
    "diagnose_address",
    "forged_results",
    "merged_results",
    "message_addresses",
    "message_automatic",
    "message_readings",
    "message_text",
    "pack_aggregate",
    "pack_tls_report",
    "parse_date",
    "parse_results",
    "read_report",
    "rewrite_message",
    "scan_header",
    "scan_message",
    "seven_bit",
    "sign_dkim2",
    "verdict_words",
    "verify_dkim2",
    "write_aggregate",
    "write_feedback",
    "write_mailbox",
    "write_tls_report",
]

# --- auth (rust/python/src/auth.rs) ----------------------------------------------------------------

@final
class DkimKey:
    """A private key: PEM (PKCS#8 or PKCS#1), or base64 of DER or of an Ed25519 seed. Raises `AuthError`."""

    def __new__(cls, text: bytes, /) -> Self: ...
    @staticmethod
    def generate(kind: Literal["rsa-2048", "rsa-3072", "rsa-4096", "ed25519"], /) -> str:
        """A new key as PEM (PKCS#8)."""
    @property
    def algorithm(self) -> str:
        """ "rsa-sha256" or "ed25519-sha256"."""
    @property
    def bits(self) -> int: ...
    @property
    def record(self) -> str:
        """The TXT record that publishes the public half."""

@final
class DkimSigner:
    """Signs for a domain. `header` and `body` are "simple" or "relaxed", `lifetime` seconds until `x=`; `signed` and
    `oversigned` are names of fields, else the tables of `rust/auth/src/dkim/sign.rs`."""

    def __new__(
        cls,
        key: DkimKey,
        *,
        domain: str,
        selector: str,
        identity: str | None = None,
        header: str = "relaxed",
        body: str = "relaxed",
        lifetime: int | None = None,
        signed: Sequence[str] | None = None,
        oversigned: Sequence[str] | None = None,
    ) -> Self: ...
    def sign(self, message: bytes, now: int) -> bytes:
        """The DKIM-Signature field with its CRLF, to be put in front. Raises `AuthError` without a From."""

@final
class AuthJudge:
    """The checks of one message: `step`, answer what it asks, and again, until it gives None."""

    def __new__(cls, message: bytes, *, ip: str | None, helo: str, sender: str, receiver: str, now: int) -> Self: ...
    def step(self) -> list[tuple[str, str]] | None:
        """(type, name) of every question of this round; None when the report is there."""
    def answer(self, at: int, status: str, records: Sequence[bytes], /) -> None:
        """The answer to the question at this place of the last `step`: "found", "none", "nxdomain", "failed"."""
    def report(self) -> bytes:
        """`angarium.auth.Report` as MessagePack."""
    def results(self, authserv_id: str, /) -> bytes:
        """Our Authentication-Results field with its CRLF."""
    def seal(
        self, key: DkimKey, *, domain: str, selector: str, results: str, fields: Sequence[str] | None = None
    ) -> bytes | None:
        """The three ARC fields to put in front; None where the chain may not be continued."""

def parse_results(value: bytes, /) -> tuple[str, list[tuple[str, str, str | None, list[tuple[str, str]]]]]:
    """(authserv-id, [(method, result, reason, [(property, value)])]) of a field's value. Raises `AuthError`."""

def sign_dkim2(
    message: bytes,
    key: DkimKey,
    *,
    domain: str,
    selector: str,
    sender: str,
    recipients: list[str],
    before: bytes | None,
    now: int,
) -> bytes:
    """The DKIM2 fields to put in front; `now` in Unix milliseconds. Raises `AuthError`."""

def verify_dkim2(
    message: bytes,
    *,
    sender: str,
    recipients: Sequence[str],
    now: int,
    strict: bool,
    answers: Sequence[tuple[str, str, Sequence[bytes]]],
) -> tuple[list[str], tuple[str, str, str | None, int] | None]:
    """Names of keys to ask TXT records of, or (outcome, domain, problem, hops). `answers`: (name, status, records)."""

def forged_results(message: bytes, ids: Sequence[str], /) -> list[tuple[int, int]]:
    """Ranges of Authentication-Results fields that claim to be from one of `ids` or below, or cannot be read."""

def merged_results(message: bytes, id: str, /) -> str | None:
    """What the Authentication-Results fields of `id` say together, for a seal; None if there are none."""

# --- engine (rust/python/src/engine) --------------------------------------------------------------------------------

@final
class Body(Buffer):
    """A message's bytes as a read-only buffer: `memoryview(body)`; in memory or a map of its file, never copied."""

    def __len__(self) -> int: ...
    def __bytes__(self) -> bytes: ...

@final
class Credentials:
    """What a client wants to prove its login with; its repr does not show the secret."""

    @property
    def mechanism(self) -> str:
        """PLAIN, LOGIN, SCRAM-SHA-256, ..."""
    @property
    def kind(self) -> Literal["password", "token", "external", "keys", "secret"]:
        """keys: give `Identity.keys` (SCRAM). secret: give `Identity.cram_secret` (CRAM-MD5)."""
    @property
    def login(self) -> str: ...
    @property
    def authzid(self) -> str:
        """Whom it wants to act as; empty: itself."""
    @property
    def secret(self) -> bytes:
        """The password or token; empty for the other kinds."""
    @property
    def certificate(self) -> bytes:
        """external: the client certificate, DER; it was checked against the client CA."""

def verdict_words() -> dict[str, list[str]]:
    """Every method of judging with its results: what a row of `policy::Authentication` may name."""

@final
class Ask:
    """A hook must judge: answer with `Engine.answer(ask.ask, verdict)` before `deadline`, else the default holds."""

    @property
    def ask(self) -> int: ...
    @property
    def phase(self) -> Literal["connect", "mail", "rcpt", "message", "auth"]: ...
    @property
    def deadline(self) -> int: ...
    @property
    def session(self) -> int: ...
    @property
    def listener(self) -> int: ...
    @property
    def peer(self) -> tuple[str, int]:
        """Address and port."""
    @property
    def trusted(self) -> bool: ...
    @property
    def hello(self) -> str:
        """Empty before EHLO."""
    @property
    def login(self) -> str: ...
    @property
    def tls(self) -> str:
        """Version and cipher, empty without TLS."""
    @property
    def id(self) -> str:
        """The message id reserved at MAIL; empty at connect."""
    @property
    def sender(self) -> str:
        """Envelope sender, empty for the null path (and at connect)."""
    @property
    def recipients(self) -> list[str]:
        """rcpt: the accepted ones and, last, the one to judge. message: all, by number."""
    @property
    def size(self) -> int:
        """mail: SIZE as declared (0 if not). message: octets of the body, trace not counted."""
    @property
    def body(self) -> Body | None:
        """message only: the content as received (before our trace is added)."""
    @property
    def verdicts(self) -> bytes:
        """message: nouns::Verdicts, MessagePack; empty: the sender was not judged."""
    @property
    def credentials(self) -> Credentials | None:
        """auth only."""

@final
class Deliver:
    """Entries of one message leased to a Python next hop; answer each with `Engine.settle` before `deadline`."""

    @property
    def lane(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def entries(self) -> list[tuple[int, int, str]]:
        """(entry for `settle`, recipient number, address)."""
    @property
    def size(self) -> int: ...
    @property
    def deadline(self) -> int: ...

@final
class Done:
    """A ticket's end. Results by the call that issued the ticket; see there."""

    @property
    def ticket(self) -> int: ...
    @property
    def error(self) -> str:
        """Empty: it worked. Else a word: not-found, refused, disk-full, fault, stopped, gap, lost, damaged, invalid."""
    @property
    def text(self) -> str:
        """The error for people; empty if it worked."""
    @property
    def result(self) -> bytes:
        """MessagePack."""
    @property
    def body(self) -> Body | None:
        """content() only."""

@final
class Flag:
    """Something waits to be pulled; level-triggered: at most one of a kind is in the queue."""

    @property
    def kind(self) -> Literal["route_wanted", "plan_wanted", "plan_report", "journal_grew", "fault"]: ...

@final
class RouteWanted:
    """A destination without a valid route."""

    @property
    def key(self) -> int: ...
    @property
    def domain(self) -> str:
        """Lower case, A-labels; or `[192.0.2.1]`."""
    @property
    def tag(self) -> str: ...
    @property
    def tls(self) -> int: ...
    @property
    def waiting(self) -> int:
        """Entries behind it."""
    @property
    def oldest(self) -> int:
        """When the oldest of them was received."""

@final
class LaneWanted:
    """A lane without a valid plan; the fields are those of the `Route` that made it."""

    @property
    def lane(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def site(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def pool(self) -> str: ...
    @property
    def identity(self) -> str: ...
    @property
    def tls(self) -> int: ...
    @property
    def hosts(self) -> list[str]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def oldest(self) -> int: ...

@final
class PlanReport:
    """What happened on a lane since the last report, summed."""

    @property
    def lane(self) -> int: ...
    @property
    def host(self) -> str:
        """`name[address]:port`."""
    @property
    def delivered(self) -> int: ...
    @property
    def deferred(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def reason(self) -> str:
        """Reason class of the last that was not delivered, empty if none (nouns::Reason::name)."""
    @property
    def code(self) -> int:
        """Reply code of it, 0 if there was none."""
    @property
    def text(self) -> str: ...
    @property
    def sleeps_until(self) -> int:
        """0: it does not sleep."""

@final
class Fault:
    """Something an operator must see; stays until it is gone or, for S5, until a restart."""

    @property
    def kind(self) -> str:
        """disk-full, content-log, journal, lost, brake, damage, clock."""
    @property
    def since(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def stops_intake(self) -> bool: ...

@final
class Engine:
    """The data plane of one spool.

    Opening takes the spool's lock (`SpoolHeld`, `SpoolNewer`, `SpoolUnreadable`: `angarium.errors`). Nothing runs
    before `recover`. `close` joins every thread (call it in a thread); dropping only signals.
    """

    def __new__(cls, spool: str, node: int, *, segment_bytes: int = 67108864, workers: int = 0) -> Self:
        """`node` 0–65535 stands in message ids. `workers` 0: one thread per core."""

    @property
    def eventfd(self) -> int:
        """Readable while events wait. Only wait on it: `drain` reads it."""

    def recover(self, policy: bytes) -> int:
        """Table Policy. Ticket → {entries, messages, lost, copied, recovered: int, damage: [str], took: int}.

        Then intake may begin. The error word is `newer`, `unreadable` or `damaged` when the spool stops the start.
        """

    def drain(self, limit: int) -> list[Ask | Deliver | Done | Flag]:
        """Events. Exactly `limit` of them: yield, then drain again without waiting for the eventfd."""

    def adopt(self, listener: int, socks: Sequence[tuple[int, str, int]]) -> list[tuple[int, bytes]]:
        """Takes over detached, connected, close-on-exec descriptors: (fd, peer address, peer port).

        Those refused come back as (fd, reply to write before closing); they are the caller's again. Over limits it
        is a 421.
        """

    def set_policy(self, tables: bytes) -> int:
        """Table Policy, swapped whole; gives its generation. `PolicyError(path, why)`: nothing changed."""

    def set_certificates(self, table: bytes) -> None:
        """Table Certificates, swapped whole; before `recover` too. `PolicyError(path, why)`: nothing changed."""

    def set_signers(self, table: bytes) -> None:
        """Swaps all keys that mail is signed with (MessagePack of `engine.Signers`). Raises `PolicyError`."""
    def forget_logins(self) -> None:
        """An account was changed or disabled: no login is taken from the engine's memory any more."""

    def answer(self, ask: int, verdict: bytes | None = None) -> bool:
        """Table Verdict; empty: accept. False: too late, the default was taken. `ValueError`: no verdict."""

    def answer_many(self, answers: Sequence[tuple[int, bytes]]) -> list[bool]:
        """The same for a batch, with one crossing."""

    def submit(self, batch: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """(Table Submission, body with CRLF lines). Tickets → {id: str}, error `refused` with {code, enhanced, text}.

        Durable when Done comes. The bodies are held, not copied, and must not change.
        """

    def wanted_routes(self, limit: int) -> list[RouteWanted]:
        """Destinations that need a route, urgent class and oldest first. Each is given once until answered or aged."""

    def set_route(self, key: int, route: bytes, *, valid: int, stale: int) -> bool:
        """Table Route or NoRoute (tag field `type`: "route" or "none"). Times at which it ends being valid, and usable.

        False: nobody wants this key any more.
        """

    def wanted_plans(self, limit: int) -> list[LaneWanted]: ...
    def set_plan(self, lane: int, plan: bytes, *, valid: int) -> bool:
        """Table Plan. False: the lane is gone."""

    def plan_reports(self, limit: int) -> list[PlanReport]: ...
    def limits_met(self) -> list[tuple[str, int, str, int, int]]:
        """(limit, listener, who, times, last session) of limits that were met since the last call."""

    def faults(self) -> list[Fault]: ...
    def settle(self, results: Sequence[tuple[int, bytes]]) -> list[bool]:
        """(entry of a `Deliver`, table Outcome). False: the lease had expired."""

    def control(self, control: bytes) -> int:
        """Table Control. Ticket → {changed, too_late, rule: int}, when it is durable."""

    def find(self, where: bytes, *, after: bytes | None = None, limit: int = 100) -> int:
        """Table Predicate. Ticket → {entries: [table Entry], after: bytes (empty: that was all)}."""

    def message(self, id: str) -> int:
        """Ticket → table MessageView (rust/ledger/src/predicate.rs): the envelope, all recipients with their states."""

    def content(self, id: str, *, recipient: int | None = None) -> int:
        """Ticket → the content head (MessagePack array, nouns::record::ContentHead), and `Done.body`.

        With `recipient` the bytes are those that go over the wire to it.
        """

    def read_journal(self, at: bytes, kinds: int, limit: int) -> int:
        """From a cursor (opaque bytes; empty: the oldest). `kinds`: bit N for facts of tag N; 0: all.

        Ticket → {records: [[lsn, fact: bytes, strings: [str]]], next: bytes, end: bool}. Error `gap`: {next} is where
        reading can go on.
        """

    def follow(self, name: str, at: bytes, *, claims: str) -> int:
        """Writes down durably how far a follower is. Ticket → {}. Error `not-found`, `invalid`.

        `claims` says what becomes of content that it has not passed: "none", "best-effort" (kept up to a limit, then
        the oldest goes), "required" (kept; at the limit new mail gets 452); "gone": it is forgotten.
        """

    def followers(self) -> int:
        """Ticket → {followers: [{name, cursor: bytes, lsn, claims, skipped: LSN up to which content was lost}]}."""

    def rules(self) -> int:
        """Ticket → {rules: [table Rule]}: every order that stands."""

    def counters(self) -> bytes:
        """MessagePack map; keys in rust/engine/src/counters.rs. Figures since the start, histograms cumulative."""

    def stop(self, deadline: int) -> int:
        """No new transactions (421), no new deliveries, replies to final dots awaited until `deadline`; flush and
        checkpoint. Ticket → {sessions, deliveries: int} (cut off). A second call with a passed deadline skips to flush.
        """

    def close(self) -> None: ...

# --- message (rust/python/src/message.rs) -------------------------------------------------------------------------

@final
class HeaderScan:
    """The fields of a header, in order, as ranges in the bytes that were scanned; made by `scan_header`.

    Names are compared without case. Values are what stands behind the colon: folds inside, the leading space too,
    no line end at their end. A line that is no field (no colon, or a name that RFC 5322 3.6.8 does not allow) stays
    in place with an empty name; its value is the line.
    """

    def __len__(self) -> int: ...
    def __contains__(self, name: str, /) -> bool: ...
    def value(self, name: str) -> bytes | None:
        """The first field of this name."""
    def values(self, name: str) -> list[bytes]:
        """All fields of this name, from the top."""
    def items(self) -> list[tuple[bytes, bytes]]:
        """(name, value) of every field."""
    @property
    def ranges(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """((start, end) of the name, (start, end) of the value) of every field."""
    @property
    def received_count(self) -> int:
        """How many hops have stamped the message (RFC 5321 6.3)."""
    @property
    def malformed_count(self) -> int: ...
    @property
    def header_end(self) -> int:
        """Behind the last field's line end."""
    @property
    def body_start(self) -> int:
        """Behind the empty line."""
    @property
    def overflow(self) -> str | None:
        """The bound at which the scan stopped, in words."""

def scan_header(data: Buffer, /) -> HeaderScan:
    """Scans the header at the front of `data`, which ends at the first empty line. Takes any buffer
    and any bytes, lines with CRLF or LF."""

@final
class MessageScan:
    """The parts of a message as ranges in its bytes, which are lent by any buffer; made by `scan_message`.

    `str()` draws the tree, a line for each part.
    """

    @property
    def root(self) -> MessagePart:
        """The message itself."""
    @property
    def parts(self) -> list[MessagePart]:
        """All parts, outer before inner, in the order of the bytes."""
    @property
    def bounds(self) -> list[str]:
        """Where the scan went no further: message, header, fields, depth, parts, boundary; usually nowhere."""
    @property
    def findings(self) -> list[tuple[str, int, int]]:
        """(name, part, offset) of everything that two honest readers take differently, such as `repeated-boundary`."""
    def __len__(self) -> int: ...

@final
class MessagePart:
    """One part of a scanned message. Answers are read from the bytes when asked for; ranges are (start, end)."""

    @property
    def number(self) -> int:
        """Its place among all parts; the message itself is 0."""
    @property
    def depth(self) -> int: ...
    @property
    def kind(self) -> Literal["leaf", "multipart", "message"]: ...
    @property
    def parent(self) -> MessagePart | None: ...
    @property
    def children(self) -> list[MessagePart]: ...
    @property
    def range(self) -> tuple[int, int]:
        """Header and body."""
    @property
    def header_range(self) -> tuple[int, int]:
        """The header with the empty line behind it."""
    @property
    def body_range(self) -> tuple[int, int]: ...
    @property
    def is_closed(self) -> bool:
        """A multipart ended with its own closing delimiter."""
    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """(name, value) of every field as it stands."""
    @property
    def field_ranges(self) -> list[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
        """Ranges of the whole field, its name and its value."""
    def value(self, name: str) -> bytes | None:
        """The first field of this name as it stands."""
    def values(self, name: str) -> list[bytes]: ...
    def header(self, name: str) -> str | None:
        """The first field of this name as text: unfolded, encoded words decoded (RFC 2047)."""
    def addresses(self, name: str) -> list[tuple[str, str]]:
        """(name, address) of all mailboxes in the fields of this name."""
    @property
    def content_type(self) -> str:
        """In lower case; `text/plain` where nothing is said."""
    def parameter(self, name: str) -> str | None:
        """A parameter of the Content-Type as text (RFC 2231, RFC 2047)."""
    @property
    def parameters(self) -> list[tuple[str, str]]: ...
    @property
    def charset(self) -> str | None: ...
    @property
    def encoding(self) -> str:
        """7bit, 8bit, binary, base64, quoted-printable, uuencode or unknown."""
    @property
    def disposition(self) -> str | None: ...
    @property
    def file_name(self) -> str | None:
        """As the sender wrote it; never a path to be trusted."""
    @property
    def file_names(self) -> list[str]:
        """Every file name that some reader takes, each once."""
    def readings(self) -> list[bytes]:
        """The content as each of its encoding fields would have it, each once: for a filter."""
    @property
    def content_id(self) -> str | None: ...
    @property
    def boundary(self) -> bytes | None: ...
    @property
    def is_attachment(self) -> bool: ...
    @property
    def raw(self) -> memoryview:
        """Header and body as a view of the given bytes."""
    @property
    def body(self) -> memoryview:
        """The body as it stands, encoded, as a view of the given bytes."""
    def decode(self) -> bytes:
        """The body without its transfer encoding."""
    def text(self) -> str:
        """The body in its charset."""
    @property
    def flaws(self) -> list[str]:
        """What was wrong with encoding and charset, by name, such as `base64-junk`."""

def scan_message(data: Buffer, /) -> MessageScan:
    """Finds the parts of a message in one pass; decodes and copies nothing, takes any bytes."""

def message_text(value: Buffer) -> str:
    """Unstructured text of a field: unfolded, encoded words decoded."""

def message_addresses(
    value: Buffer,
) -> list[tuple[None, str, str] | tuple[str, list[tuple[str, str]], None]]:
    """(None, name, address) for a mailbox, (name, members, None) for a group."""

def diagnose_address(address: Buffer, records: str = "unknown") -> tuple[str, str, int]:
    """Name and class of the worst finding, and the byte where it was made."""

def write_mailbox(name: str, address: str, *, utf8: bool = False) -> str:
    """A mailbox as a field has it; the name quoted or encoded where it must be."""

def parse_date(value: Buffer) -> tuple[int, int, int, int, int, int, int] | None:
    """Year, month, day, hour, minute, second and minutes east of Greenwich."""

def build_message(
    *,
    sender: list[tuple[str, str]],
    to: list[tuple[str, str]],
    cc: list[tuple[str, str]],
    subject: str,
    message_id: str,
    date: int,
    fields: list[tuple[str, str]],
    text: str | None,
    html: str | None,
    attachments: list[tuple[str, str, bytes, str]],
    boundary: str,
    utf8: bool,
) -> bytes:
    """A message; attachments are (file name, content type, content, content id); see `angarium.message.build`."""

def rewrite_message(
    data: Buffer,
    *,
    add: list[bytes],
    replace: list[tuple[str, bytes]],
    remove: list[str],
    footer_text: str,
    footer_html: str,
    link: Callable[[str], str | None] | None,
) -> bytes:
    """The message with changes; see `angarium.message.rewrite`."""

def message_readings(data: Buffer) -> tuple[list[str], list[str], list[bytes], bool]:
    """(file names, types, contents, cut) of everything that some reader sees; see `angarium.message.readings`."""

def message_automatic(data: Buffer) -> str | None:
    """Why a program must not answer (RFC 3834 2); see `angarium.message.automatic`."""

def seven_bit(data: Buffer) -> bytes | None:
    """The message fit for 7 bits, None if it is that already; ValueError where a signature or a header forbids it."""

# --- reports (rust/python/src/reports.rs) --------------------------------------------------------------------------

def read_report(kind: str, data: Buffer) -> str:
    """A report as JSON; kind: status, feedback, disposition, aggregate, tls or bounces.

    LookupError where there is none, ValueError where it cannot be read.
    """

def write_aggregate(report: str) -> str:
    """A DMARC aggregate report, given as JSON, as XML."""

def pack_aggregate(report: str) -> bytes:
    """The same in gzip."""

def write_tls_report(report: str) -> str:
    """A TLS report, given as JSON, as RFC 8460 has it."""

def pack_tls_report(report: str) -> bytes:
    """The same in gzip."""

def write_feedback(
    report: str,
    original: Buffer,
    *,
    full: bool,
    sender: str,
    to: str,
    subject: str,
    text: str,
    message_id: str,
    date: int,
    boundary: str,
) -> bytes:
    """A feedback report, given as JSON, as a message; ValueError where it lacks what makes it one."""

# --- smtp (rust/python/src/smtp.rs; see angarium.smtp) --------------------------------------------------------------

@final
class SmtpEarly:
    """The client spoke before the greeting and nothing was read: `greet` or `refuse`, then go on."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpHello:
    """EHLO (`extended`) or HELO; a transaction that was open is gone. Waits for an answer."""

    __match_args__: tuple[Literal["name"], Literal["extended"]]
    @property
    def name(self) -> str:
        """One word of printable ASCII; not always a valid host name."""
    @property
    def extended(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpMail:
    """MAIL. Waits for an answer."""

    __match_args__: tuple[Literal["sender"], Literal["size"], Literal["body"], Literal["smtputf8"]]
    @property
    def sender(self) -> str | None:
        """None is the null path `<>`."""
    @property
    def size(self) -> int | None:
        """Octets as declared (RFC 1870); never above `max_size`."""
    @property
    def body(self) -> Literal["7BIT", "8BITMIME", "BINARYMIME"]: ...
    @property
    def smtputf8(self) -> bool: ...
    @property
    def ret(self) -> Literal["FULL", "HDRS"] | None:
        """RET (RFC 3461 4.3)."""
    @property
    def envid(self) -> str | None:
        """ENVID, decoded: printable ASCII (RFC 3461 4.4)."""
    @property
    def auth(self) -> str | None:
        """AUTH: the first submitter as the client says, `<>` for unknown (RFC 4954 5)."""
    @property
    def by(self) -> tuple[int, Literal["return", "notify"], bool] | None:
        """BY: seconds from now, what becomes of a late message, whether relays report (RFC 2852)."""
    @property
    def hold_for(self) -> int | None:
        """HOLDFOR: seconds (RFC 4865)."""
    @property
    def hold_until(self) -> int | None:
        """HOLDUNTIL: seconds since 1970 (RFC 4865)."""
    @property
    def priority(self) -> int | None:
        """MT-PRIORITY: -9 to 9 (RFC 6710)."""
    @property
    def require_tls(self) -> bool:
        """REQUIRETLS (RFC 8689)."""
    @property
    def prdr(self) -> bool:
        """A reply for each recipient is wanted (`reply_each`)."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpRcpt:
    """RCPT. Waits for an answer."""

    __match_args__: tuple[Literal["recipient"], Literal["bare_postmaster"]]
    @property
    def recipient(self) -> str: ...
    @property
    def bare_postmaster(self) -> bool:
        """It was `<postmaster>` (RFC 5321 4.5.1), made postmaster at our own name."""
    @property
    def notify(self) -> list[Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]]:
        """NOTIFY; empty when it was not given (RFC 3461 4.1)."""
    @property
    def orcpt(self) -> str | None:
        """ORCPT as `rfc822;address`, decoded (RFC 3461 4.2)."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpData:
    """DATA. Waits for an answer; `accept` says 354 and content follows."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpChunk:
    """BDAT (RFC 3030): `size` octets of content follow. Waits for an answer; accepted, they come as `Body`; refused,
    they are dropped and the refusal is said behind them."""

    __match_args__: tuple[Literal["size"], Literal["last"]]
    @property
    def size(self) -> int:
        """Octets."""
    @property
    def last(self) -> bool:
        """Behind it comes `End`."""
    @property
    def first(self) -> bool:
        """No chunk of this message came before."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpBody:
    """A piece of the content as it is to be kept: dots unstuffed, lines ended by CRLF."""

    __match_args__: tuple[Literal["data"]]
    @property
    def data(self) -> bytes: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpEnd:
    """The final dot, or the end of the last chunk. Waits for an answer (`reply_each` in LMTP and PRDR); whatever it is,
    the transaction is over."""

    __match_args__: tuple[Literal["size"], Literal["body"]]
    @property
    def size(self) -> int:
        """Octets of all `Body` pieces."""
    @property
    def body(self) -> Literal["7BIT", "8BITMIME", "BINARYMIME"]:
        """What the content is, if that is more than was declared."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpBroken:
    """The content may not be kept (bare CR or LF, NUL, a line or all of it too long): drop it. The server reads to the
    final dot and answers there by itself."""

    __match_args__: tuple[Literal["code"], Literal["text"]]
    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpReset:
    """RSET, answered; a transaction that was open is gone."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpVrfy:
    """VRFY. Waits for an answer; `accept` says 252."""

    __match_args__: tuple[Literal["text"]]
    @property
    def text(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpExpn:
    """EXPN. Waits for an answer; `accept` says 550."""

    __match_args__: tuple[Literal["text"]]
    @property
    def text(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpAuth:
    """AUTH (RFC 4954). Waits for `challenge` or a reply (235, 535)."""

    __match_args__: tuple[Literal["mechanism"], Literal["initial"]]
    @property
    def mechanism(self) -> str:
        """One of those offered."""
    @property
    def initial(self) -> bytes | None:
        """The initial response, decoded."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpAuthResponse:
    """The answer to a challenge, decoded. Waits like `Auth`."""

    __match_args__: tuple[Literal["data"]]
    @property
    def data(self) -> bytes: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpAuthCancelled:
    """The client gave the login up, or answered nonsense; it was answered."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpStartTls:
    """STARTTLS (RFC 3207). Waits for an answer. Accepted: take events once more (octets sent behind it end the
    session), write `data_to_send()`, do the handshake, call `secured()`."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpEtrn:
    """ETRN (RFC 1985). Waits for an answer."""

    __match_args__: tuple[Literal["name"]]
    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> Literal["domain", "subdomains", "queue"]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpXclient:
    """XCLIENT. Waits for an answer; `accept` says the banner, and the session begins anew."""

    __match_args__: tuple[Literal["attributes"]]
    @property
    def attributes(self) -> list[tuple[str, str | None]]:
        """Names in capitals and decoded values; None: unavailable."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpXforward:
    """XFORWARD. Waits for an answer."""

    __match_args__: tuple[Literal["attributes"]]
    @property
    def attributes(self) -> list[tuple[str, str | None]]:
        """Names in capitals and decoded values; None: unavailable."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpQuit:
    """QUIT, answered: write `data_to_send()` and close."""

    __match_args__: tuple[()]
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpHangup:
    """The server ends the session with this reply (too many errors, another protocol): write and close."""

    __match_args__: tuple[Literal["code"], Literal["text"]]
    @property
    def code(self) -> int: ...
    @property
    def text(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpReply:
    """A reply of the peer."""

    __match_args__: tuple[Literal["command"], Literal["code"], Literal["enhanced"], Literal["text"]]
    @property
    def command(self) -> str:
        """The verb that it answers; `greeting`, `.` for the end of content, `recipient` for that of one recipient
        (LMTP, PRDR), empty for a 421 that answers nothing."""
    @property
    def code(self) -> int: ...
    @property
    def enhanced(self) -> str | None:
        """Like 5.1.1 (RFC 3463)."""
    @property
    def text(self) -> str:
        """Lines joined by \\n, without codes."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpGarbage:
    """The peer sent what is no reply, or not one to what was asked: close. What was not answered is open."""

    __match_args__: tuple[Literal["why"]]
    @property
    def why(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpCapabilities:
    """What the peer offered in its answer to EHLO."""

    __match_args__: tuple[Literal["hostname"], Literal["extensions"], Literal["size"], Literal["lines"]]
    @property
    def hostname(self) -> str: ...
    @property
    def extensions(self) -> list[str]:
        """Those that this library knows."""
    @property
    def size(self) -> int | None:
        """The largest content in octets; None: it named no limit (RFC 1870 4)."""
    @property
    def lines(self) -> list[str]:
        """All lines behind the first, as they came."""
    @property
    def mechanisms(self) -> list[str]:
        """Mechanisms of AUTH that this library knows, the strong ones first."""
    @property
    def limits(self) -> list[tuple[Literal["MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"], int]]:
        """What LIMITS names (RFC 9422)."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class SmtpServer:
    """The server's side of one connection, without the connection (RFC 5321).

    Hand in what was read (`receive_data`), take events until there is none, answer those that wait (`accept`, `reply`),
    write `data_to_send()`. While an answer is owed nothing more is read, so pipelined commands are worked off in order.
    Mistakes of the peer are answered by the server itself; after `max_errors` it hangs up. Not for several threads.
    """

    def __new__(
        cls,
        hostname: str,
        *,
        banner: str | None = None,
        help: str | None = None,
        extensions: Sequence[str] | None = None,
        max_size: int | None = None,
        max_recipients: int | None = None,
        max_line: int | None = None,
        max_errors: int | None = None,
        bare_newline: Literal["reject", "normalise"] = "reject",
        lmtp: bool = False,
        mechanisms: Sequence[str] | None = None,
        tls_required: bool = False,
        login_required: bool = False,
        limits: Sequence[tuple[str, int]] | None = None,
        deliver_by_minimum: int = 0,
        hold_maximum: int | None = None,
    ) -> SmtpServer:
        """`extensions`: EHLO keywords; PIPELINING, SIZE, 8BITMIME, ENHANCEDSTATUSCODES, SMTPUTF8 unless given. There
        are also STARTTLS, AUTH, CHUNKING, BINARYMIME, DSN, DELIVERBY, FUTURERELEASE, MT-PRIORITY, REQUIRETLS, LIMITS,
        ETRN, PRDR, XCLIENT, XFORWARD, EXPN. AUTH is offered while there are mechanisms, FUTURERELEASE once `set_now`
        was called, STARTTLS until `secured`.

        `lmtp`: LHLO instead of EHLO, a reply for each recipient (RFC 2033). `mechanisms`: of AUTH, by name.
        `tls_required`: 530 to what comes before STARTTLS; `login_required`: 530 to mail before AUTH. `limits`: what
        LIMITS says, of MAILMAX, RCPTMAX, RCPTDOMAINMAX. `deliver_by_minimum`: seconds. `hold_maximum`: seconds (30
        days).

        `max_size`: octets of a content, 0 for no limit (50 MiB). `max_recipients`: of a transaction (1,000).
        `max_line`: octets of a text line with its CRLF, at least 1,000 (65,536). `max_errors`: 20.
        `bare_newline`: what becomes of a CR or LF outside CRLF in content. ValueError for what cannot be.
        """
    @property
    def state(
        self,
    ) -> Literal[
        "banner",
        "refused",
        "fresh",
        "ready",
        "mail",
        "recipients",
        "content",
        "chunk",
        "chunks",
        "authenticating",
        "securing",
        "closed",
    ]: ...
    @property
    def awaits(self) -> str | None:
        """The verb that waits for an answer (`.` for the final dot)."""
    @property
    def is_closed(self) -> bool:
        """Nothing is read any more: write `data_to_send()` and close."""
    @property
    def is_idle(self) -> bool:
        """No transaction, no answer owed, no half of a line: the session may be ended without harm."""
    @property
    def recipients(self) -> int:
        """Accepted in this transaction."""
    @property
    def errors(self) -> int:
        """Mistakes of the peer so far."""
    @property
    def is_in_content(self) -> bool:
        """Content is being sent: behind 354, in a chunk, between two."""
    @property
    def is_secure(self) -> bool:
        """`secured` was called."""
    @property
    def is_logged_in(self) -> bool: ...
    @property
    def offered(self) -> list[str]:
        """The keywords that EHLO answers with now."""
    def offer(self, keywords: Sequence[str]) -> None:
        """Offers these extensions too from now on."""
    def withdraw(self, keywords: Sequence[str]) -> None:
        """Refuses these extensions from now on."""
    def offer_mechanisms(self, names: Sequence[str]) -> None:
        """The mechanisms of AUTH from now on; empty: AUTH is not offered."""
    def set_now(self, seconds: int) -> None:
        """Says what o'clock it is, in seconds since 1970: FUTURERELEASE needs it."""
    def set_logged_in(self) -> None:
        """The caller knows who it is without AUTH."""
    def secured(self) -> None:
        """The handshake is done: behind STARTTLS all that was said is forgotten; before the banner it is only noted.
        SmtpError elsewhere."""
    def greet(self) -> None:
        """Says the banner, first of all. SmtpError when it was said."""
    def refuse(self, code: int, text: str, *, enhanced: str | None = None) -> None:
        """Says this instead of the banner; after a 5xx the client may say QUIT (RFC 5321 3.1)."""
    def receive_data(self, data: bytes | bytearray) -> None:
        """Takes what was read."""
    def next_event(
        self,
    ) -> (
        SmtpEarly
        | SmtpHello
        | SmtpMail
        | SmtpRcpt
        | SmtpData
        | SmtpChunk
        | SmtpBody
        | SmtpEnd
        | SmtpBroken
        | SmtpReset
        | SmtpVrfy
        | SmtpExpn
        | SmtpAuth
        | SmtpAuthResponse
        | SmtpAuthCancelled
        | SmtpStartTls
        | SmtpEtrn
        | SmtpXclient
        | SmtpXforward
        | SmtpQuit
        | SmtpHangup
        | None
    ):
        """What happened next; None when more must be read (or an answer is owed)."""
    def accept(self) -> None:
        """Answers what waits positively, in the usual words. SmtpError when nothing waits."""
    def reply(self, code: int, text: str, *, enhanced: str | None = None) -> None:
        """Answers what waits. Lines of `text` are split at \\n; `enhanced` is like 5.1.1 and of the code's class.

        A 421 ends the session. SmtpError when nothing waits, ValueError for what is no reply.
        """
    def reply_each(self, replies: Sequence[tuple[int, str, str | None]]) -> None:
        """Answers `End` for each accepted recipient: (code, text, enhanced). SmtpError when their number is another."""
    def challenge(self, data: bytes | bytearray) -> None:
        """Answers `Auth` or `AuthResponse` with a challenge (334). SmtpError when neither waits."""
    def refuse_content(self, code: int, text: str, *, enhanced: str | None = None) -> None:
        """From within the content: the rest is dropped and this said at the final dot. SmtpError elsewhere."""
    def close(self, code: int, text: str, *, enhanced: str | None = None) -> None:
        """Says this (a 421) whatever goes on, and ends the session."""
    def count_error(self) -> bool:
        """Counts a mistake that the caller saw. True: too many, close."""
    def eof(self) -> Literal["nothing", "command", "transaction", "content"]:
        """The client closed its side: what that cut off. Content without its final dot must not be delivered."""
    def data_to_send(self) -> bytes:
        """What is to be written now; each byte is given once."""

@final
class SmtpClient:
    """The client's side of one connection, without the connection (RFC 5321). It begins with the greeting awaited.

    Commands may be pipelined where the peer offers it (`may_send`); every reply comes with the command it answers.
    Not for several threads.
    """

    def __new__(cls) -> SmtpClient: ...
    @property
    def capabilities(self) -> SmtpCapabilities:
        """Of the last answer to EHLO; empty before it and after HELO."""
    @property
    def outstanding(self) -> int:
        """Replies that are still to come."""
    @property
    def awaits(self) -> str | None:
        """The verb whose reply comes next (`greeting`, `.` for the final dot)."""
    @property
    def may_send(self) -> bool:
        """Whether a command may go out before more replies have come (RFC 2920)."""
    @property
    def is_in_content(self) -> bool:
        """354 has come: `body` and `end_body` are next."""
    def send(
        self,
        verb: str,
        argument: str = "",
        *,
        size: int | None = None,
        eight_bit: bool = False,
        binary: bool = False,
        smtputf8: bool = False,
        ret: Literal["FULL", "HDRS"] | None = None,
        envid: str | None = None,
        auth: str | None = None,
        by: tuple[int, Literal["return", "notify"], bool] | None = None,
        hold_for: int | None = None,
        hold_until: int | None = None,
        priority: int | None = None,
        require_tls: bool = False,
        prdr: bool = False,
        notify: Sequence[Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]] | None = None,
        orcpt: str | None = None,
    ) -> None:
        """Sends EHLO, HELO, LHLO, MAIL (argument: the sender, empty for the null path), RCPT, DATA, RSET, NOOP, VRFY,
        EXPN, STARTTLS, ETRN or QUIT.

        Parameters of MAIL and RCPT are named as in the events `Mail` and `Rcpt`. `size` (octets), `ret`, `envid`,
        `auth` (empty for `<>`), `prdr`, `notify` and `orcpt` go along when the peer offers their extension. SmtpError
        when it is not the time, when the peer lacks another extension that is asked for, or when an argument would
        break its line; then nothing is sent.
        """
    @property
    def chunk_left(self) -> int:
        """Octets of the chunk begun that are still to be given to `chunk`."""
    @property
    def is_in_exchange(self) -> bool:
        """334 has come: `auth_response` or `auth_cancel` is next. Its text is the challenge in base64."""
    @property
    def is_securing(self) -> bool:
        """220 to STARTTLS has come: do the handshake, call `secured`. What the peer sends before it is `Garbage`."""
    @property
    def is_secure(self) -> bool: ...
    def secured(self) -> None:
        """The handshake is done: what the peer said before is forgotten, EHLO must be sent again."""
    def bdat(self, size: int, *, last: bool = False) -> None:
        """Sends BDAT: `size` octets follow by `chunk`; behind the last the message is answered as behind a dot."""
    def chunk(self, data: bytes | bytearray) -> None:
        """Sends octets of the chunk as they are. SmtpError for more than was said, and (but with `binary`) for a NUL
        or a CR or LF outside CRLF: then the connection is of no more use."""
    def auth(self, mechanism: str, initial: bytes | bytearray | None = None) -> None:
        """Sends AUTH, with an initial response that is not encoded yet."""
    def auth_response(self, data: bytes | bytearray) -> None:
        """Answers a challenge."""
    def auth_cancel(self) -> None:
        """Ends the login."""
    def xclient(self, attributes: Sequence[tuple[str, str]]) -> None:
        """Sends XCLIENT; an empty value is said to be unavailable. Success is a banner: EHLO must be sent again."""
    def xforward(self, attributes: Sequence[tuple[str, str]]) -> None:
        """Sends XFORWARD; an empty value is said to be unavailable."""
    def body(self, data: bytes | bytearray) -> None:
        """Sends a piece of the content, cut anywhere, dots not stuffed. SmtpError for a NUL or a CR or LF outside CRLF:
        nothing of the piece is sent, and the connection is of no more use."""
    def end_body(self) -> None:
        """Sends the final dot (and the last CRLF if it is missing). Commands may follow at once."""
    def receive_data(self, data: bytes | bytearray) -> None:
        """Takes what was read."""
    def next_event(self) -> SmtpReply | SmtpGarbage | None:
        """The next reply; None when more must be read."""
    def data_to_send(self) -> bytes:
        """What is to be written now; each byte is given once."""

# --- queue (rust/python/src/queue) ----------------------------------------------------------------------------------

_Priority: TypeAlias = Literal["urgent", "high", "normal", "bulk"]
_State: TypeAlias = Literal["waiting", "held", "leased", "owing"]
_Outcome: TypeAlias = Literal["delivered", "failed", "deferred"]
_ViewTuple: TypeAlias = tuple[int, int, int, str, str, str, str | None, _Priority, _State, int, int, int]

@final
class Leased:
    """One entry that a delivery has got. It comes back by `settle` or `give_back`."""

    @property
    def entry(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def domain(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def step(self) -> int:
        """Deferrals since it came or was released."""
    @property
    def expires(self) -> int:
        """Milliseconds; 0 for none."""

@final
class Taken:
    """One message and those of its entries that go out together."""

    @property
    def message(self) -> int: ...
    @property
    def entries(self) -> tuple[Leased, ...]: ...

@final
class Later:
    """The lane sleeps or waits for a limiter until about `at` (milliseconds); then `lanes_to_run` gives it again."""

    def __new__(cls, at: int) -> Later: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    @property
    def at(self) -> int: ...

@disjoint_base
class QueueIndex:
    """The index below `angarium.queue.Queue`. Entries are handles; a stale one is a KeyError.

    `lane_of` is asked for the lane of each domain pushed; without it the domain is the lane. It locks itself.
    """

    def __new__(cls, *, lane_of: Callable[[str], str] | None = None) -> Self: ...
    def push(
        self,
        message: int,
        domains: Sequence[str],
        *,
        now: int,
        tenant: str = "",
        campaign: str = "",
        priority: _Priority = "normal",
        due: int | None = None,
        expires: int | None = None,
    ) -> None:
        """Adds a message with one entry for each domain; its number is its place. Due at once unless `due` says when.

        ValueError for an id that is in the queue already, no domains, or an unknown priority: nothing is added.
        """
    def push_many(
        self,
        messages: Sequence[tuple[int, str]],
        *,
        now: int,
        tenant: str = "",
        campaign: str = "",
        priority: _Priority = "normal",
        due: int | None = None,
        expires: int | None = None,
    ) -> None:
        """Messages to one recipient each, (id, domain). A ValueError leaves those before it in the queue."""
    def set_limiter(
        self,
        name: str,
        *,
        now: int,
        tokens: int = 0,
        period: int = 1000,
        burst: int = 1,
        connections: int | None = None,
    ) -> None:
        """A limit that lanes share: `tokens` messages per `period` milliseconds, at most `burst` saved up, and so many
        connections at once. 0 tokens: no rate. Lanes behind one that is exhausted are served in fair order."""
    def set_lane(self, lane: str, *, now: int, connections: int = 20, limiters: Sequence[str] | None = None) -> None:
        """Bounds a lane; it then stays when it is empty. At most 4 limiters; an unknown one is a KeyError."""
    def advance(self, *, now: int, limit: int = 10_000) -> bool:
        """Brings what has become due into turn, at most `limit` things; True: there is more, call again."""
    def next_due(self) -> int | None:
        """No later than the next time at which `advance` has something to do; None: never."""
    def lanes_to_run(self, *, now: int, limit: int) -> list[tuple[str, int, int, bool]]:
        """(lane, connections, wake, probe)"""
    def connection_opened(self, lane: str) -> bool:
        """Counts a connection that is about to be made; False: there is no room for it, do not make it."""
    def connection_closed(self, lane: str, *, now: int) -> None: ...
    def lane_failed(self, lane: str, *, now: int) -> int:
        """The lane as a whole does not work: it sleeps, a minute at first and up to an hour, and wakes with one probe.
        Gives until when."""
    def lane_worked(self, lane: str) -> None:
        """A connection got through: the next failure is a first one again."""
    def take(self, lane: str, *, now: int, limit: int = 100) -> Taken | Later | None:
        """The lane's next message with up to `limit` of its entries, leased; None when nothing is due."""
    def take_many(self, lane: str, *, now: int, messages: int, limit: int = 100) -> list[Taken]:
        """Up to so many messages; fewer when nothing more is due or the lane has to wait."""
    def settle(self, entry: int, outcome: _Outcome, *, now: int, due: int | None = None) -> int | None:
        """What became of an entry. Delivered and failed close it: the message's id if it was its last, else None.
        Deferred needs `due`, and counts an attempt."""
    def settle_many(self, entries: Sequence[int], outcome: _Outcome, *, now: int, due: int | None = None) -> list[int]:
        """The same for all of these that are open; gives the messages that are done with."""
    def give_back(self, entry: int) -> None:
        """A leased entry waits again in front, with no attempt counted."""
    def hold(self, entry: int, *, until: int | None = None) -> bool:
        """Held until then, or until released. False: it is in flight, and held when it comes back."""
    def release(self, entry: int, *, now: int) -> bool:
        """A held entry is due now, its retry steps begin anew. False: it was not held."""
    def retry(self, entry: int, *, now: int) -> bool:
        """A waiting entry is due now. False: it does not wait for a time."""
    def cancel(self, entry: int) -> bool:
        """Closes an entry. False: it is in flight; `is_stopped` tells its delivery, and when it comes back undelivered
        `cancelled` names it."""
    def cancel_all(
        self,
        *,
        tenant: str | None = None,
        campaign: str | None = None,
        domain: str | None = None,
        lane: str | None = None,
        priority: _Priority | None = None,
        state: _State | None = None,
    ) -> int:
        """Cancels every entry that agrees with all that is given; gives how many were not in flight and are closed."""
    def is_stopped(self, entry: int) -> bool:
        """Whether a delivery should give this up, since it was cancelled or held in flight."""
    def cancelled(self) -> list[int]:
        """Entries that were cancelled in flight and came back: they stand still until they are settled. Given once."""
    def handle(self, message: int, number: int) -> int | None: ...
    def view(self, entry: int) -> _ViewTuple | None:
        """(entry, message, number, domain, tenant, campaign, lane, priority, state, due, expires, attempts)"""
    def find_views(
        self,
        *,
        message: int | None,
        tenant: str | None,
        campaign: str | None,
        domain: str | None,
        lane: str | None,
        priority: str | None,
        state: str | None,
        after: int,
        limit: int,
    ) -> tuple[list[_ViewTuple], int | None]: ...
    def expired_after(self, *, now: int, after: int, steps: int) -> tuple[list[int], int | None]: ...
    def counts(self) -> tuple[int, int, int, list[list[int]], list[int], list[int | None]]:
        """(messages, nodes, lanes, entries by priority and state, due by priority, oldest by priority)"""
    def nbytes(self) -> int:
        """Memory of the index, without its names."""

# --- reputation (rust/python/src/reputation.rs) -------------------------------------------------------------------

@final
class BloomFilter:
    """A blocked bloom filter for `expected` keys with at most so many false positives when it holds that many.

    `angarium.errors.FilterError` (a ValueError) for sizes without sense, damaged files, filters that do not fit each
    other, and changes of a mapped filter.
    """

    def __new__(cls, expected: int, *, false_positives: float = 0.01, seed: int = 0) -> BloomFilter: ...
    @staticmethod
    def with_layout(*, blocks: int, hashes: int, seed: int = 0) -> BloomFilter:
        """An empty filter of exactly `blocks` * 64 bytes."""
    @staticmethod
    def load(path: str | os.PathLike[str]) -> BloomFilter:
        """Reads a file in, checksums checked."""
    @staticmethod
    def map(path: str | os.PathLike[str], *, verify: bool = False) -> BloomFilter:
        """A read-only filter over the file itself; `verify` reads it once for its checksum. Do not cut the file short
        while it is mapped; `save` replaces files as a whole and so may write over it."""
    @staticmethod
    def from_bytes(image: bytes | bytearray | memoryview) -> BloomFilter: ...
    def to_bytes(self) -> bytes:
        """What `save` writes."""
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes beside, syncs, then takes the place of `path`."""
    def copy(self) -> BloomFilter:
        """In memory and changeable."""
    def add(self, key: str | bytes | bytearray | memoryview) -> bool:
        """True: the key was certainly not in it."""
    def add_many(self, keys: Iterable[str | bytes | bytearray | memoryview]) -> int:
        """How many were certainly new."""
    def contains(self, key: str | bytes | bytearray | memoryview) -> bool:
        """False: certainly not."""
    def __contains__(self, key: str | bytes | bytearray | memoryview, /) -> bool: ...
    def contains_many(self, keys: Iterable[str | bytes | bytearray | memoryview]) -> list[bool]: ...
    def union(self, other: BloomFilter) -> None:
        """Takes in all that the other holds; both have the same blocks, hashes and seed."""
    def clear(self) -> None: ...
    def rate(self, items: int) -> float:
        """Share of false positives with so many keys in it."""
    def fill(self) -> float:
        """Share of bits that are set; reads them all."""
    @property
    def blocks(self) -> int: ...
    @property
    def hashes(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def added(self) -> int:
        """Keys that were new when they were added; after a union an upper bound."""
    @property
    def nbytes(self) -> int: ...
    @property
    def read_only(self) -> bool: ...

@final
class RotatingBloomFilter:
    """Two generations of `capacity` keys: a key is remembered for at least one generation and at most two."""

    def __new__(cls, capacity: int, *, false_positives: float = 0.01, seed: int = 0) -> RotatingBloomFilter: ...
    @staticmethod
    def load(path: str | os.PathLike[str], *, capacity: int) -> RotatingBloomFilter: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...
    def add(self, key: str | bytes | bytearray | memoryview) -> bool:
        """True: the key was certainly in neither generation. Rotates when the younger one is full."""
    def add_many(self, keys: Iterable[str | bytes | bytearray | memoryview]) -> int: ...
    def contains(self, key: str | bytes | bytearray | memoryview) -> bool: ...
    def __contains__(self, key: str | bytes | bytearray | memoryview, /) -> bool: ...
    def contains_many(self, keys: Iterable[str | bytes | bytearray | memoryview]) -> list[bool]: ...
    def rotate(self) -> None:
        """The younger generation becomes the older one, an empty one takes its place."""
    @property
    def added(self) -> tuple[int, int]:
        """Keys in the younger and in the older generation."""
    @property
    def capacity(self) -> int: ...
