"""The tables of angarium.toml, as frozen structs: what a site may say, and what holds when it says nothing.

Field names are the keys of the file. The defaults are the safe first run: SMTP and control on loopback, every
recipient taken into one catch-all mailbox, nothing leaves the machine. `reading` fills in folders and names, so that
who gets a `Settings` finds nothing left to guess. Unknown keys are refused.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from .faces import Count, Listen, Positive, Profiles
from .hops import HopTls, Port, Provider, Route, Smarthost
from .kinds import (
    AddressPattern,
    DomainName,
    DomainPattern,
    Duration,
    ListenAddress,
    Mailbox,
    NameServer,
    Network,
    OptionalEndpoint,
    Rate,
    Size,
)

# What the first run calls the mailbox that takes everything.
CATCH_ALL = "catch-all"


def time(text: str) -> Duration:
    return Duration.parse(text)


def times(text: str) -> tuple[Duration, ...]:
    return tuple(Duration.parse(part) for part in text.split())


def size(text: str) -> Size:
    return Size.parse(text)


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[server]"""

    # In banners, EHLO and Received fields. Empty: this machine's full name, or localhost.
    hostname: str = ""
    # Other names of ours, and addresses of ours that this machine cannot see (behind a translation): never relayed to.
    names: tuple[DomainName, ...] = ()
    addresses: tuple[Network, ...] = ()
    # Everything we keep. Empty: $XDG_STATE_HOME/angarium.
    data: str = ""
    # Stands in message ids; differs on machines that share anything.
    node: Annotated[int, Meta(ge=0, le=65_535)] = 0
    # Threads of the engine; 0: one per core.
    workers: Annotated[int, Meta(ge=0, le=1_024)] = 0


class Relay(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[relay]: who may send on through us."""

    # Their clients may send to anybody.
    networks: tuple[Network, ...] = ()
    # Anybody may send to these.
    domains: tuple[DomainPattern, ...] = ()


class Local(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[local]: mail that ends here."""

    # Domain to mailbox.
    domains: dict[DomainPattern, Mailbox] = field(default_factory=dict)
    # Those that exist at these domains; empty: all.
    recipients: tuple[AddressPattern, ...] = ()
    # The mailbox for whatever has no other way; everybody may send to it, and nothing is sent out. Empty: none.
    catch_all: Mailbox = Mailbox("")
    # Where the Maildirs are. Empty: `mail` in the data folder.
    folder: str = ""

    def __post_init__(self) -> None:
        # msgspec takes the keys of a table as they stand.
        force_setattr(self, "domains", {DomainPattern.parse(key): box for key, box in self.domains.items()})


class Tag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[tag]]: marks recipients for a [[route]]; all that is given must match, the first row wins."""

    tag: str
    sender: AddressPattern = AddressPattern("")
    recipient: AddressPattern = AddressPattern("")
    listener: str = ""
    tenant: str = ""


class Certificate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[tls.certificate]]: PEM files, read again when they change. The first one is for whoever names no host."""

    # The certificate and those between it and the authority, in this order.
    chain: str
    # Empty: it lies in the same file.
    key: str = ""
    # Hosts that it is shown for; empty: those that stand in it.
    names: tuple[DomainPattern, ...] = ()


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[tls]: what we show to clients. Without a certificate one is made that we signed ourselves."""

    certificate: tuple[Certificate, ...] = ()
    # PEM file of the authorities whose client certificates we believe.
    client_ca: str = ""
    # How often the files are looked at.
    watch: Duration = time("10s")


class Logins(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[logins]: who may log in, and where that is known."""

    # sqlite, file: our own accounts (`angarium user`). hook: the function `auth` of the policy file.
    source: Literal["sqlite", "file", "dovecot", "http", "hook"] = "sqlite"
    # Of our own accounts; empty: accounts.db or accounts.jsonl in the data folder.
    file: str = ""
    # What a login without "@" sends as: itself at this domain. Empty: at our hostname.
    domain: str = ""
    # dovecot: its auth socket.
    socket: str = ""
    # http: gets each login as a POST, with the token of that file in Authorization.
    url: str = ""
    token_file: str = ""
    # Of one question; behind it the client hears 454.
    deadline: Duration = time("10s")
    # How long the engine remembers a success and a failure.
    remember: Duration = time("5m")
    remember_refused: Duration = time("10s")
    # Each failure in a row of an address or an account makes the next answer so much later, at most `slowest`.
    delay: Duration = time("500ms")
    slowest: Duration = time("8s")
    # So many failures within `window` ban an address (IPv6: its /64) for `ban`; of an account, only addresses that
    # logged in lately may then try it. 0: never.
    failures_per_address: Count = 20
    failures_per_account: Count = 50
    window: Duration = time("15m")
    ban: Duration = time("15m")


class Dns(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[dns]"""

    # Empty: those of this machine.
    servers: tuple[NameServer, ...] = ()
    # Of one server, and of a whole look-up.
    timeout: Duration = time("3s")
    lifetime: Duration = time("12s")
    # Answers kept, and for how long at least and at most, whatever their TTL says.
    cache: Annotated[int, Meta(ge=16, le=10_000_000)] = 50_000
    min_ttl: Duration = time("30s")
    max_ttl: Duration = time("1d")
    # A name whose servers fail is not asked for again so soon.
    hold_down: Duration = time("30s")
    # Look-ups at once.
    queries: Annotated[int, Meta(ge=1, le=10_000)] = 200
    # Believe DNSSEC answers of servers that are not on loopback.
    trust_ad: bool = False


class Forwarders(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[authentication.forwarders]: who hands on mail of others; SPF, DKIM and DMARC are not held against it."""

    networks: tuple[Network, ...] = ()
    # By the name of the client's address, its SPF or its DKIM, where that passed.
    domains: tuple[DomainPattern, ...] = ()


class Authentication(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[authentication]: what becomes of mail by who sent it."""

    # Our name in Authentication-Results (RFC 8601 2.5). Empty: our hostname.
    id: str = ""
    # Hold or refuse what fails DMARC when the domain of the author asks for it.
    honour_dmarc: bool = False
    # "method=result" to what is done about it, such as "spf=fail" or "finding=repeated-from". Unnamed: nothing, but
    # failures of DNS put the message off where they decide.
    actions: dict[str, Literal["none", "tag", "quarantine", "defer", "reject"]] = field(default_factory=dict)
    forwarders: Forwarders = Forwarders()
    # Domains whose ARC seals are believed: what passed DMARC there is not held to fail here.
    sealers: tuple[DomainPattern, ...] = ()


class Signing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[signing]]: a key that signs what our own clients send; every row that matches signs."""

    domain: DomainName
    # The key lies in DNS below this name of the domain.
    selector: str
    # PEM file, read again when it changes. Empty: keys/dkim/DOMAIN/SELECTOR.pem beside this file.
    key: str = ""
    # Or `async def signing_key(domain, selector)` of the policy file gives it.
    hook: bool = False
    # ARC instead of DKIM: seals mail of others that was judged here and goes on.
    seal: bool = False
    # Domains of From that it signs for. Empty: the domain alone.
    authors: tuple[DomainPattern, ...] = ()
    tenant: str = ""
    stream: str = ""
    # The first day, and the first day not any more (UTC).
    since: date | None = None
    until: date | None = None
    # What is signed if it is there. Empty: the usual fields; From and the like are protected against additions.
    headers: tuple[str, ...] = ()
    # i=, when it is more than the domain.
    identity: str = ""
    # How long a signature holds. None: without end.
    expire: Duration | None = None
    header: Literal["relaxed", "simple"] = "relaxed"
    body: Literal["relaxed", "simple"] = "relaxed"
    # Content that is not 7-bit: made so first, since a host on the way may have to; or left alone.
    eight_bit: Literal["convert", "keep"] = "convert"


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[delivery.retry]: the waits before each new try, by reason; the last one repeats."""

    greylist: tuple[Duration, ...] = times("5m 10m 20m 1h")
    mailbox_full: tuple[Duration, ...] = times("1h 2h 4h")
    throttle: tuple[Duration, ...] = times("5m 10m 20m 40m 1h")
    tls: tuple[Duration, ...] = times("10m 30m 1h 2h")
    dns: tuple[Duration, ...] = times("5m 10m 30m 1h")
    uncertain: tuple[Duration, ...] = times("15m 30m 1h 2h")
    # RFC 5321 4.5.4.1: soon a few times, then at longer intervals.
    other: tuple[Duration, ...] = times("5m 10m 20m 40m 1h 2h 3h")


class Brake(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[delivery.brake]: permanent failures of one reason at one provider far above their share wait instead."""

    # In ten minutes; 0: never.
    failures: Count = 500
    # Times their usual share.
    multiple: Annotated[int, Meta(ge=1, le=1_000)] = 10


class Delivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[delivery]: how mail leaves."""

    # Keep everything; nothing is delivered, not even into mailboxes.
    suspended: bool = False
    # Connections to one destination at once (Postfix uses 20).
    connections: Annotated[int, Meta(ge=1, le=10_000)] = 20
    messages_per_connection: Count = 1_000
    # RFC 5321 4.5.3.1.8 lets every server take 100.
    recipients_per_transaction: Annotated[int, Meta(ge=1, le=10_000)] = 100
    rate: Rate = Rate("")
    # The port of hosts found by MX.
    port: Port = 25
    # A local address to send from; empty: the system chooses.
    source: str = ""
    # The name for EHLO; empty: the server's.
    hello: str = ""
    # To hosts found by MX.
    tls: HopTls = "opportunistic"
    # Signed 8-bit mail to a host that takes only 7 bits: back to the sender, or sent as it is.
    signed_eight_bit: Literal["bounce", "send"] = "bounce"
    # RFC 5321 4.5.4.1: 4 to 5 days.
    expire: Duration = time("5d")
    expire_reports: Duration = time("2d")
    expire_holds: Duration = time("30d")
    retry: Retry = Retry()
    brake: Brake = Brake()


class Reports(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[reports]: mail that says what became of mail."""

    # In From; empty: postmaster at our hostname.
    postmaster: str = ""
    # Larger originals come back as their headers only (Postfix bounce_size_limit).
    full_limit: Size = size("50KiB")
    # How long reports to one address wait for company.
    collect: Duration = time("60s")
    # Who asked to hear of delay (NOTIFY=DELAY) does so after; "0s": never.
    delay_after: Duration = time("4h")


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[limits]"""

    sessions: Positive = 10_000
    # Trusted networks are exempt (Postfix smtpd_client_connection_count_limit).
    sessions_per_address: Positive = 50
    # 0: no limit.
    transactions_per_session: Count = 0
    # Bodies in memory, all sessions together.
    memory: Size = size("128MiB")
    # Larger bodies go to a file of their own while they arrive.
    inline_body: Size = size("1MiB")
    # RFC 5321 6.3 asks for 100 at least.
    max_received: Positive = 100
    # What the engine looks at; Exim (header_maxsize) stops there too.
    max_header: Size = size("1MiB")
    # Waiting recipients before new mail is put off; a million take about 80 MB.
    entries: Annotated[int, Meta(ge=1)] = 20_000_000


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[timeouts]: RFC 5321 4.5.3.2 where it gives a number."""

    command: Duration = time("5m")
    data_block: Duration = time("5m")
    data_total: Duration = time("1h")
    # Octets per second that a body must reach on average.
    data_rate: Count = 256
    session: Duration = time("1d")
    # Of TLS, from the first octet to the last.
    handshake: Duration = time("30s")
    write: Duration = time("5m")
    connect: Duration = time("30s")
    greeting: Duration = time("5m")
    hello: Duration = time("5m")
    mail: Duration = time("5m")
    rcpt: Duration = time("5m")
    data: Duration = time("2m")
    block: Duration = time("3m")
    dot: Duration = time("10m")
    quit: Duration = time("5s")
    # A connection without work waits so long for some.
    idle: Duration = time("2s")
    # From the first SIGTERM to cutting off what is still being sent.
    stop: Duration = time("30s")


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[hooks.connect], [hooks.mail], [hooks.rcpt], [hooks.message]: other patience than [hooks] says."""

    deadline: Duration | None = None
    otherwise: Literal["accept", "defer"] | None = None


class Hooks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[hooks]: the site's own policy file."""

    # Python with `async def connect`, `mail`, `rcpt` or `message`. Empty: none.
    file: str = ""
    deadline: Duration = time("10s")
    # When a hook fails or is late.
    otherwise: Literal["accept", "defer"] = "defer"
    # Questions open at once.
    at_once: Annotated[int, Meta(ge=1, le=65_536)] = 1_024
    connect: Hook = Hook()
    mail: Hook = Hook()
    rcpt: Hook = Hook()
    message: Hook = Hook()


class Control(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[control]: the API that `angarium queue` and others speak to."""

    # On loopback only. Empty: only the socket.
    address: OptionalEndpoint = OptionalEndpoint("127.0.0.1:8025")
    # Unix socket, mode 0600. Empty: `control.sock` in the data folder.
    socket: str = ""


class Spool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[spool]"""

    # Empty: `spool` in the data folder.
    folder: str = ""
    segment: Size = size("64MiB")
    # While less than `quota_below` is free, a tenant whose waiting mail takes more than this gets 452; 0: no quota.
    tenant_quota: Size = size("0")
    # The rest gets 452 when what the spool leaves to others (256 MiB) is reached.
    quota_below: Size = size("1GiB")
    # One group commit closes at so many records or bytes.
    group_records: Annotated[int, Meta(ge=1, le=4_096)] = 512
    group_size: Size = size("1MiB")
    # How long what happened waits for company before it is written.
    journal_wait: Duration = time("50ms")


class Journal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[journal]: how long what happened is kept, and what is kept of delivered mail for those who still want it."""

    # Facts go when they are older, or when so many bytes were written since; what readers claim stays.
    keep: Duration = time("30d")
    keep_size: Size = size("4GiB")
    # Delivered mail for required followers and legal holds. At the limit new mail gets 452.
    required: Size = size("16GiB")
    # Delivered mail for other followers and pins. At the limit the oldest goes, which the journal says.
    best_effort: Size = size("1GiB")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of angarium.toml. `reading.load` gives one in which nothing is left to guess."""

    server: Server = Server()
    listen: tuple[Listen, ...] = (Listen(address=ListenAddress("127.0.0.1:2525")),)
    profile: Profiles = Profiles()
    tls: Tls = Tls()
    logins: Logins = Logins()
    relay: Relay = Relay()
    local: Local = Local()
    route: tuple[Route, ...] = ()
    tag: tuple[Tag, ...] = ()
    smarthost: Smarthost | None = None
    provider: tuple[Provider, ...] = ()
    dns: Dns = Dns()
    authentication: Authentication = Authentication()
    signing: tuple[Signing, ...] = ()
    delivery: Delivery = Delivery()
    reports: Reports = Reports()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    hooks: Hooks = Hooks()
    control: Control = Control()
    spool: Spool = Spool()
    journal: Journal = Journal()

    @property
    def data_folder(self) -> Path:
        return Path(self.server.data)

    @property
    def spool_folder(self) -> Path:
        return Path(self.spool.folder)

    @property
    def mail_folder(self) -> Path:
        """Holds one Maildir per mailbox."""
        return Path(self.local.folder)

    @property
    def control_socket(self) -> Path:
        return Path(self.control.socket)

    @property
    def tls_folder(self) -> Path:
        """Holds the certificate that we made ourselves."""
        return self.data_folder / "tls"

    @property
    def accounts_file(self) -> Path:
        """Where our own accounts are, when they are anywhere."""
        return Path(self.logins.file)

    @property
    def token_file(self) -> Path:
        """Mode 0600; what the control API on TCP asks for."""
        return self.data_folder / "control.token"

    @property
    def hooks_file(self) -> Path | None:
        return Path(self.hooks.file) if self.hooks.file else None
