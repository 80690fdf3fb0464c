"""The tables that cross the bridge, as frozen structs: MessagePack maps by field name.

Each mirrors a struct in Rust (named in its docstring) field by field; a field that is left out has the default there,
an unknown one is refused. Times are Unix milliseconds or milliseconds of length, sizes bytes, ids 26 characters.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

# --- policy: rust/engine/src/policy -------------------------------------------------------------------------------


ListenProfile = Literal["mx", "submission", "submissions", "relay", "lmtp"]
TlsUse = Literal["off", "offered", "required", "implicit"]
LoginUse = Literal["off", "offered", "required"]
SenderRule = Literal["any", "envelope", "header"]
Judges = Literal["off", "strangers", "all"]
Action = Literal["none", "tag", "quarantine", "defer", "reject"]


class Allowance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::Allowance: how much within `per` milliseconds (`sessions`: at once); 0 is no limit."""

    per: int = 60_000
    sessions: int = 0
    new_sessions: int = 0
    messages: int = 0
    recipients: int = 0
    bytes: int = 0
    errors: int = 0
    failed_logins: int = 0


class ListenerLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::ListenerLimits: by client address, by network (/24, /64), by login, by tenant."""

    address: Allowance = Allowance()
    network: Allowance = Allowance()
    login: Allowance = Allowance()
    tenant: Allowance = Allowance()


class Listener(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::Listener: one listening socket's face; None is what the profile's row says (rust: Profile::row)."""

    name: str = "mx"
    profile: ListenProfile = "mx"
    banner: str = ""
    max_size: int = 50 << 20
    max_recipients: int = 1_000
    max_line: int = 64 << 10
    bare_newline: Literal["reject", "normalise"] = "reject"
    max_errors: int = 20
    trusted: bool = False
    tls_demand: int = 0
    class_: int = field(default=2, name="class")
    tenant: str = ""
    tls: TlsUse | None = None
    tls_version: Literal["1.2", "1.3"] = "1.2"
    client_certificates: Literal["off", "ask", "require"] = "off"
    # Where clear text is as good as TLS: AUTH may be said and required TLS is not demanded.
    clear_networks: tuple[str, ...] = ()
    login: LoginUse | None = None
    # Empty: PLAIN, LOGIN, SCRAM-SHA-256 (-PLUS), XOAUTH2, OAUTHBEARER, EXTERNAL with client certificates.
    mechanisms: tuple[str, ...] = ()
    senders: SenderRule | None = None
    # Date and Message-ID are added when missing.
    complete: bool | None = None
    # Whose senders are judged: nobody's, those of clients that we do not know, everybody's.
    authenticate: Judges | None = None
    # Must begin with a PROXY header; nobody else may.
    proxy_networks: tuple[str, ...] = ()
    xclient_networks: tuple[str, ...] = ()
    greet_delay: int = 0
    tarpit: int = 0
    limits: ListenerLimits = ListenerLimits()
    # EHLO keywords that are not offered though the profile has them.
    without: tuple[str, ...] = ()
    # Offered only when named: PRDR, ETRN, VRFY, EXPN.
    with_: tuple[str, ...] = field(default=(), name="with")
    hold_at_most: int = 30 * 86_400_000
    deliver_by_least: int = 0
    # By "550" or "550 5.7.1"; {hostname}, {id} and {text} are filled in.
    replies: dict[str, str] = field(default_factory=dict)


class RouteTagRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::RouteTagRule"""

    sender: str = ""
    recipient: str = ""
    listener: str = ""
    tenant: str = ""
    tag: str = ""


class Limits(Struct, frozen=True, kw_only=True):
    """policy::Limits"""

    sessions: int
    sessions_per_address: int
    transactions_per_session: int
    bytes_in_flight: int
    inline_body: int
    max_received: int
    max_header: int
    entries: int


class Timeouts(Struct, frozen=True, kw_only=True):
    """policy::Timeouts"""

    command: int
    data_block: int
    data_total: int
    data_rate: int
    session: int
    handshake: int
    write: int
    connect: int
    greeting: int
    hello: int
    mail: int
    rcpt: int
    data: int
    block: int
    dot: int
    quit: int
    idle: int


class RetryTable(Struct, frozen=True, kw_only=True):
    """policy::RetryTable"""

    name: str
    greylist: tuple[int, ...]
    mailbox_full: tuple[int, ...]
    throttle: tuple[int, ...]
    tls: tuple[int, ...]
    dns: tuple[int, ...]
    uncertain: tuple[int, ...]
    other: tuple[int, ...]


class Expiry(Struct, frozen=True, kw_only=True):
    """policy::Expiry"""

    message: int
    report: int
    hold: int


class Reports(Struct, frozen=True, kw_only=True):
    """policy::Reports"""

    postmaster: str
    hostname: str
    full_limit: int
    collect: int
    delay_after: int


class Hook(Struct, frozen=True, kw_only=True):
    """policy::Hook"""

    deadline: int
    otherwise: Literal["accept", "defer"]


class Hooks(Struct, frozen=True, kw_only=True):
    """policy::Hooks"""

    connect: Hook | None = None
    mail: Hook | None = None
    rcpt: Hook | None = None
    message: Hook | None = None
    # Judges logins; without it AUTH is not offered.
    auth: Hook | None = None
    credits: int = 1_024


class Commit(Struct, frozen=True, kw_only=True):
    """policy::Commit"""

    group_records: int
    group_bytes: int
    journal_wait: int


class Logins(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::Logins: what the engine remembers of logins, and how failures slow down and ban."""

    remember: int = 300_000
    remember_refused: int = 10_000
    delay: int = 500
    slowest: int = 8_000
    failures_per_address: int = 20
    failures_per_account: int = 50
    window: int = 900_000
    ban: int = 900_000


class Journal(Struct, frozen=True, kw_only=True):
    """policy::Journal: milliseconds and bytes."""

    keep: int
    bytes: int
    required_bytes: int
    best_effort_bytes: int


class Brake(Struct, frozen=True, kw_only=True):
    """policy::Brake: failures of one reason in ten minutes (0: no brake), and times their usual share."""

    failures: int
    multiple: int


class Quota(Struct, frozen=True, kw_only=True):
    """policy::Quota: bytes of one tenant's open mail (0: no quota), and of free room below which it counts."""

    tenant: int
    below: int


class Dns(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::DnsPolicy: `192.0.2.1:53`, empty for the system's; milliseconds."""

    servers: tuple[str, ...] = ()
    timeout: int = 3_000
    lifetime: int = 12_000
    cache: int = 50_000
    min_ttl: int = 30_000
    max_ttl: int = 86_400_000
    hold_down: int = 30_000
    queries: int = 200


class Authentication(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """policy::Authentication: what is done about who sent a message."""

    # In Authentication-Results; empty: the hostname.
    id: str = ""
    honour_dmarc: bool = False
    # `method=result` to what is done.
    actions: dict[str, Action] = field(default_factory=dict)
    forwarder_networks: tuple[str, ...] = ()
    forwarder_domains: tuple[str, ...] = ()
    sealers: tuple[str, ...] = ()


class Policy(Struct, frozen=True, kw_only=True):
    """policy::Policy: everything that needs no judgement while mail flows, swapped whole."""

    hostname: str
    listeners: tuple[Listener, ...]
    trusted_networks: tuple[str, ...]
    local_domains: tuple[str, ...]
    local_recipients: tuple[str, ...]
    relay_domains: tuple[str, ...]
    accept_any: bool
    route_tags: tuple[RouteTagRule, ...]
    limits: Limits
    timeouts: Timeouts
    retry: tuple[RetryTable, ...]
    expiry: Expiry
    journal: Journal
    quota: Quota
    brake: Brake
    reports: Reports
    hooks: Hooks
    commit: Commit
    generation: int = 0
    logins: Logins = Logins()
    dns: Dns = Dns()
    authentication: Authentication = Authentication()


# --- verdicts, submissions, outcomes: rust/engine/src/tables.rs ----------------------------------------------------

Decision = Literal["accept", "reject", "defer", "hold", "discard"]
# (0 add the line in front | 1 remove all fields of the name, the line or the name)
Edit = tuple[int, bytes]


class ScramKeys(Struct, frozen=True, kw_only=True):
    """tables::ScramKeys: what is kept of a password (RFC 5802 5.1, SHA-256)."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class Identity(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Identity: a login as its source knows it; the answer to `Ask` phase auth."""

    # The account's name; empty: as it was said.
    login: str = ""
    # May send as: user@example.org, @example.org, @.example.org, *; empty: its login, if that is an address.
    addresses: tuple[str, ...] = ()
    tenant: str = ""
    class_: int | None = field(default=None, name="class")
    campaign: str = ""
    # Credentials of kind "keys".
    keys: ScramKeys | None = None
    # Credentials of kind "secret": the clear password.
    cram_secret: bytes | None = None


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Verdict: what a hook answers. The default accepts and changes nothing."""

    decision: Decision = "accept"
    code: int = 0
    enhanced: str = ""
    text: str = ""
    until: int = 0
    recipients: dict[int, Verdict] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    sender: str | None = None
    add_recipients: tuple[str, ...] = ()
    body: bytes | None = None
    tag: str | None = None
    class_: int | None = field(default=None, name="class")
    tenant: str | None = None
    campaign: str | None = None
    # auth only. Accept: the credentials are right (kinds keys and secret: the account is there and enabled, with its
    # keys). Reject: they are wrong, or the account is unknown or disabled. Defer: the source is down (454 4.7.0).
    identity: Identity | None = None


class Certificate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Certificate: PEM, the leaf first; `names` may begin with `*.`."""

    names: tuple[str, ...] = ()
    chain: bytes
    key: bytes


class Certificates(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Certificates: all of them, the default first; several of one name may differ in key type."""

    certificates: tuple[Certificate, ...] = ()
    client_ca: bytes = b""
    # Self-made ones for the challenge of ACME by ALPN, while it runs (RFC 8737).
    challenges: tuple[Certificate, ...] = ()


class Signer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::SignerRow: a key and what it signs; milliseconds, 0: no end."""

    domain: str
    selector: str
    # PEM.
    key: bytes
    # ARC instead of DKIM.
    seals: bool = False
    # Domains of From; empty: the domain.
    authors: tuple[str, ...] = ()
    tenant: str = ""
    stream: str = ""
    since: int = 0
    until: int = 0
    headers: tuple[str, ...] = ()
    identity: str | None = None
    # Seconds.
    lifetime: int | None = None
    simple_header: bool = False
    simple_body: bool = False
    # 8-bit content is made 7-bit first.
    converts: bool = False

    def __repr__(self) -> str:
        return f"Signer({self.selector} of {self.domain})"


class Signers(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Signers: all of them."""

    signers: tuple[Signer, ...] = ()


class SubmittedRecipient(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::SubmittedRecipient"""

    address: str
    original: str = ""
    notify: int = 0
    sender: str | None = None
    variant: int = 0
    tag: str = ""
    due: int = 0
    held: bool = False
    fields: tuple[tuple[str, str], ...] = ()


class SubmittedVariant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::SubmittedVariant"""

    sender: str = ""
    edits: tuple[Edit, ...] = ()
    substitutions: tuple[tuple[str, str], ...] = ()
    signing: str = ""


class Submission(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::Submission: the envelope of a message from code; the same stages as over SMTP."""

    sender: str = ""
    recipients: tuple[SubmittedRecipient, ...]
    protocol: str = ""
    peer: str = ""
    login: str = ""
    tenant: str = ""
    stream: str = ""
    campaign: str = ""
    class_: int | None = field(default=None, name="class")
    tls_demand: int = 0
    smtputf8: bool = False
    eight_bit: bool = False
    envid: str = ""
    ret: int = 0
    deadline: int | None = None
    idempotency: bytes | None = None
    may_report: bool = False
    complete: bool = False
    variants: tuple[SubmittedVariant, ...] = ()


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """tables::PythonOutcome: how a Python next hop ended with one entry."""

    outcome: Literal["delivered", "deferred", "failed"] = "deferred"
    reason: str = ""
    code: int = 0
    text: str = ""
    host: str = ""
    may_repeat: bool = False


# --- routes and plans: rust/ledger/src/route.rs -------------------------------------------------------------------


class Route(Struct, frozen=True, kw_only=True, tag_field="type", tag="route"):
    """route::Route: where a domain's mail goes; all but `hosts` makes the lane's key."""

    kind: Literal["smtp", "lmtp", "maildir", "python"]
    site: str
    port: int = 0
    pool: str = ""
    identity: str = ""
    tls: int = 0
    hosts: tuple[str, ...] = ()


class NoRoute(Struct, frozen=True, kw_only=True, tag_field="type", tag="none"):
    """route::NoRoute: entries fail now (`failed`), or wait and come again."""

    failed: bool
    code: int
    enhanced: str
    text: str
    reason: int


class Pin(Struct, frozen=True, kw_only=True):
    """route::Pin: a TLSA record that DNSSEC has secured (RFC 6698 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes


class PlanHost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """route::PlanHost"""

    name: str
    addresses: tuple[str, ...]
    port: int = 0
    tlsa: tuple[Pin, ...] = ()


# Each asks more than the one before.
TlsLevel = Literal["none", "opportunistic", "encrypt", "verify", "tlsa"]


class PlanLogin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """route::PlanLogin: how we log in at a smarthost; no mechanisms: what is safe with what the peer offers."""

    user: str
    secret: str = ""
    token: str = ""
    mechanisms: tuple[str, ...] = ()
    in_the_clear: bool = False

    def __repr__(self) -> str:
        return f"PlanLogin(user={self.user!r}, mechanisms={self.mechanisms!r})"


class ClientCertificate(Struct, frozen=True, kw_only=True):
    """route::ClientCertificate: PEM, shown to peers who ask for one."""

    chain: str
    key: str

    def __repr__(self) -> str:
        return "ClientCertificate(...)"


class Rate(Struct, frozen=True, kw_only=True):
    """route::Rate: a bucket of `messages`, refilled over `per` milliseconds."""

    messages: int
    per: int


class PlanLimiter(Struct, frozen=True, kw_only=True):
    """route::PlanLimiter: shared by every lane whose plan names it. `connections`: of all together, 0 for no limit."""

    key: str
    rate: Rate | None = None
    connections: int = 0
    suspended_until: int = 0


class Plan(Struct, frozen=True, kw_only=True):
    """route::Plan: what a lane does now."""

    hosts: tuple[PlanHost, ...] = ()
    port: int = 25
    source: str | None = None
    hello: str = ""
    hello_fallback: bool = True
    unix_path: str = ""
    tls: TlsLevel = "opportunistic"
    implicit_tls: bool = False
    server_name: str = ""
    roots: str = ""
    certificate: ClientCertificate | None = None
    login: PlanLogin | None = None
    signed_eight_bit: Literal["bounce", "send"] = "bounce"
    connections: int = 4
    messages_per_connection: int = 0
    recipients_per_transaction: int = 100
    rate: Rate | None = None
    limiters: tuple[PlanLimiter, ...] = ()
    retry_table: int = 0
    folder: str = ""
    handler: str = ""
    suspended_until: int = 0
