"""The Rust face. Times are Unix milliseconds, sizes bytes, ids 26 characters.

"Table" means MessagePack of the struct of that name in `angarium.engine` (a map by field name; fields left out have
their defaults, unknown fields are refused). Calls never wait for disk or network: what takes time gives a ticket,
a positive int that comes back exactly once as `Done`. When no slot for a `Done` is free: `angarium.errors.Busy`.
"""

from collections.abc import Sequence
from typing import Literal, final

# --- engine (rust/python/src/engine.rs) ---------------------------------------------------------------------------

@final
class Body:
    """A message's bytes as a read-only buffer: `memoryview(body)`; in memory or a map of its file, never copied."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __bytes__(self) -> bytes: ...

@final
class Ask:
    """A hook must judge: answer with `Engine.answer(ask.ask, verdict)` before `deadline`, else the default holds."""

    @property
    def ask(self) -> int: ...
    @property
    def phase(self) -> Literal["connect", "mail", "rcpt", "message"]: ...
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
        """Empty: it worked. Else one word: not-found, refused, disk-full, fault, stopped, gap, lost, damaged, invalid."""
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

    def __init__(self, spool: str, node: int, *, segment_bytes: int = 67108864, workers: int = 0) -> None:
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

    def answer(self, ask: int, verdict: bytes = b"") -> bool:
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
    def faults(self) -> list[Fault]: ...
    def settle(self, results: Sequence[tuple[int, bytes]]) -> list[bool]:
        """(entry of a `Deliver`, table Outcome). False: the lease had expired."""

    def control(self, control: bytes) -> int:
        """Table Control. Ticket → {changed, too_late, rule: int}, when it is durable."""

    def find(self, where: bytes, *, after: bytes = b"", limit: int = 100) -> int:
        """Table Predicate. Ticket → {entries: [table Entry], after: bytes (empty: that was all)}."""

    def message(self, id: str) -> int:
        """Ticket → table MessageView (rust/ledger/src/predicate.rs): the envelope and all recipients with their states."""

    def content(self, id: str, *, recipient: int | None = None) -> int:
        """Ticket → the content head (MessagePack array, nouns::record::ContentHead), and `Done.body`.

        With `recipient` the bytes are those that go over the wire to it.
        """

    def read_journal(self, at: bytes, kinds: int, limit: int) -> int:
        """From a cursor (opaque bytes; empty: the oldest). `kinds`: bit N for facts of tag N; 0: all.

        Ticket → {records: [[lsn, fact: bytes, strings: [str]]], next: bytes, end: bool}. Error `gap`: {next} is where
        reading can go on.
        """

    def follow(self, name: str, at: bytes, *, claims: bool) -> int:
        """Writes down durably how far a follower is. Ticket → {}."""

    def followers(self) -> int:
        """Ticket → {followers: {name: cursor bytes}}."""

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

def scan_header(data: bytes, /) -> HeaderScan:
    """Scans the header at the front of `data`, which ends at the first empty line. Takes any bytes (a bytearray is
    copied), lines with CRLF or LF."""
