"""What is wrong between keys of angarium.toml that are each right: contradictions, missing partners, absent files.

Each check yields findings: the key, what is wrong, what would be right. None of them looks further than the file
system; what is inside certificates is for the room `tls`.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from .. import _core
from .faces import Listen
from .hops import Hop
from .kinds import LONGEST_SOCKET, Mailbox
from .tables import Settings

# Key, what is wrong, what would be right.
Finding = tuple[str, str, str]

MODE = re.compile(r"0?[0-7]{3}")
# A reply code, perhaps with the enhanced one that it stands for (RFC 3463 2).
REPLY_KEY = re.compile(r"[245][0-5][0-9]( [245]\.[0-9]{1,3}\.[0-9]{1,3})?")
# RFC 8601 2.5: what every site writes is a domain name.
AUTHSERV_ID = re.compile(r"[A-Za-z0-9._-]{1,253}")
# RFC 6376 3.1: sub-domains, one below the other.
SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*")
VARIABLE = re.compile(r"\{([^{}]*)\}")
VARIABLES = ("hostname", "id", "text")
# RFC 5321 4.5.3.1.5: a reply line has 512 octets at most, with its codes and line end.
LONGEST_TEXT = 490
# What each source of logins can prove; a key that only proves itself by shared keys needs accounts of ours.
TOKENS = frozenset({"XOAUTH2", "OAUTHBEARER"})
KEYS = frozenset({"CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"})
OWN = ("sqlite", "file")
# Source of logins to the key that it cannot do without.
NEEDED = {"dovecot": "socket", "http": "url"}


def contradictions(settings: Settings) -> Iterator[Finding]:
    """All of them, in the order of the file's sections."""
    for check_rows in (
        listen_rows,
        tls_rows,
        login_rows,
        authentication_rows,
        signing_rows,
        way_rows,
        folder_rows,
        number_rows,
    ):
        yield from check_rows(settings)


def listen_rows(settings: Settings) -> Iterator[Finding]:
    if not settings.listen:
        yield "listen", "there is no listening socket", "add one [[listen]] with an address"
    yield from places(settings)
    if settings.control.address and not settings.control.address.is_loopback:
        yield "control.address", f"{settings.control.address} is open to the network", "it takes an address on loopback"
    for number, row in enumerate(settings.listen):
        for key, wrong, right in (*face_rows(row), *secure_rows(row, settings), *reply_rows(row)):
            yield f"listen[{number}].{key}", wrong, right


def places(settings: Settings) -> Iterator[Finding]:
    """No two sockets in one place."""
    seen: dict[str, str] = {}
    rows = [(f"listen[{number}].address", str(row.address)) for number, row in enumerate(settings.listen)]
    rows += [("control.address", str(settings.control.address))] if settings.control.address else []
    rows.append(("control.socket", f"unix:{settings.control.socket}"))
    for key, address in rows:
        if address in seen and not address.endswith(":0"):
            yield key, f"{address} is already used by {seen[address]}", "give each its own port"
        seen[address] = key


def face_rows(row: Listen) -> Iterator[Finding]:
    if row.max_size < 65_536:
        yield "max_size", "this is below what mail needs", "64KiB at least (RFC 5321 4.5.3.1.7)"
    if row.profile == "lmtp" and row.address.port == 25:
        # RFC 2033 5
        yield "address", "LMTP may not use port 25", "choose another port, or a unix socket"
    if not MODE.fullmatch(row.mode):
        yield "mode", f"{row.mode!r} is not a file mode", 'it takes one like "0660"'
    for key in ("greet_delay", "tarpit"):
        if getattr(row, key) > 60_000:
            yield key, "this is longer than clients wait", "it takes 1m at most"
    for key in ("proxy_networks", "xclient_networks"):
        wide = [network for network in getattr(row, key) if ipaddress.ip_network(network).prefixlen == 0]
        if wide:
            yield key, f"{wide[0]} is everybody, who could then claim any address", "name the networks of your own"


def secure_rows(row: Listen, settings: Settings) -> Iterator[Finding]:
    """TLS, logins and what they need of each other."""
    source = settings.logins.source
    if row.client_certificates != "off" and row.tls == "off":
        yield "client_certificates", "there is no TLS on this socket to show one in", 'set tls, or leave it "off"'
    elif row.client_certificates != "off" and not settings.tls.client_ca:
        yield "client_certificates", "no authority is named whose certificates count", "name its file in tls.client_ca"
    if row.login == "off" and row.auth:
        yield "auth", 'nobody may log in here: login is "off"', 'set login = "offered" or "required"'
    if row.login != "off" and row.tls == "off" and not row.clear_networks:
        yield "login", "nobody could log in: there is no TLS on this socket", "set tls, or name clear_networks"
    if "EXTERNAL" in row.auth and row.client_certificates == "off":
        yield "auth", "EXTERNAL needs a client certificate", 'set client_certificates = "ask"'
    for mechanism in row.auth:
        if mechanism in KEYS and source not in (*OWN, "hook"):
            yield "auth", f"{mechanism} needs accounts of ours, not source = {source!r}", "leave it out, PLAIN does"
        if mechanism in TOKENS and source in OWN:
            yield (
                "auth",
                f"{mechanism} needs somebody who knows tokens",
                'set logins.source to "dovecot", "http" or "hook"',
            )


def reply_rows(row: Listen) -> Iterator[Finding]:
    for code, text in row.replies.items():
        key = f'replies."{code}"'
        if not REPLY_KEY.fullmatch(code):
            yield key, "this is no reply code", 'it takes one like "550" or "550 5.1.1"'
        unknown = [name for name in VARIABLE.findall(text) if name not in VARIABLES]
        if unknown:
            yield (
                key,
                f"there is no variable {{{unknown[0]}}}",
                "known: " + ", ".join(f"{{{one}}}" for one in VARIABLES),
            )
        if not text.isascii() or not text.isprintable() or not 0 < len(text) <= LONGEST_TEXT:
            yield key, "this is no line of a reply", f"1 to {LONGEST_TEXT} printable ASCII characters"


def tls_rows(settings: Settings) -> Iterator[Finding]:
    for number, row in enumerate(settings.tls.certificate):
        yield from absent(f"tls.certificate[{number}].chain", row.chain)
        yield from absent(f"tls.certificate[{number}].key", row.key)
    yield from absent("tls.client_ca", settings.tls.client_ca)
    if not 100 <= settings.tls.watch <= 86_400_000:
        yield "tls.watch", "the number is out of range", "it takes 100ms to 1d"


def login_rows(settings: Settings) -> Iterator[Finding]:
    given = settings.logins
    needed = NEEDED.get(given.source)
    if needed and not getattr(given, needed):
        yield f"logins.{needed}", "this key is missing", f'source = "{given.source}" needs it'
    for source, key in NEEDED.items():
        if getattr(given, key) and given.source != source:
            yield f"logins.{key}", f'nobody asks there: source is "{given.source}"', f'set source = "{source}"'
    if given.source == "hook" and not settings.hooks.file:
        yield "hooks.file", "this key is missing", 'logins.source = "hook" needs a policy file with a function auth'
    if given.file and given.source not in OWN:
        yield "logins.file", f'nobody reads it: source is "{given.source}"', 'set source = "sqlite" or "file"'
    if given.url:
        yield from url_rows(given.url)
    yield from absent("logins.token_file", given.token_file)
    if not 100 <= given.deadline <= 120_000:
        yield "logins.deadline", "the number is out of range", "it takes 100ms to 2m"


def authentication_rows(settings: Settings) -> Iterator[Finding]:
    known = _core.verdict_words()
    for row, action in settings.authentication.actions.items():
        key = f'authentication.actions."{row}"'
        method, _, word = row.partition("=")
        if method not in known:
            yield key, f"{method!r} is no method", 'a row is "method=result", with ' + ", ".join(known)
        elif word not in known[method]:
            yield key, f"{method} never says {word!r}", "it says " + ", ".join(known[method])
        elif word == "temperror" and action == "reject":
            yield key, "a failure of DNS is for now and refuses nobody for good", 'it takes "defer" at most'
    if settings.authentication.id and not AUTHSERV_ID.fullmatch(settings.authentication.id):
        yield "authentication.id", "this is no name for Authentication-Results", "it takes a host name of yours"


def signing_rows(settings: Settings) -> Iterator[Finding]:
    for number, row in enumerate(settings.signing):
        key = f"signing[{number}]"
        if not SELECTOR.fullmatch(row.selector):
            yield f"{key}.selector", f"{row.selector!r} is no name in DNS", 'it takes one like "202612-rsa"'
        if row.hook and row.key:
            yield f"{key}.hook", "there is a key file too", "leave one of the two out"
        if row.hook and not settings.hooks.file:
            yield "hooks.file", "this key is missing", f"{key}.hook needs a policy file with a function signing_key"
        if not row.hook:
            yield from absent(f"{key}.key", row.key)
        if row.since and row.until and row.since >= row.until:
            yield f"{key}.until", "it ends before it begins", "set a day after since"
        below = row.identity.rpartition("@")[2]
        if row.identity and ("@" not in row.identity or not (below == row.domain or below.endswith(f".{row.domain}"))):
            yield f"{key}.identity", "it is not of this domain", f'it takes one like "@news.{row.domain}"'
        if row.seal and (row.authors or row.identity):
            yield f"{key}.seal", "authors and identity are for DKIM", "leave them out, or seal"


def url_rows(url: str) -> Iterator[Finding]:
    """Passwords go there: over TLS, or without leaving the machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        yield (
            "logins.url",
            f"{url!r} is no address of the web",
            'it takes one like "https://accounts.example.org/login"',
        )
    elif parts.scheme == "http" and not is_loopback(host):
        yield "logins.url", "passwords would go over the network in the clear", "use https, or a host on loopback"


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def way_rows(settings: Settings) -> Iterator[Finding]:
    tags = {row.tag for row in settings.tag}
    for number, row in enumerate(settings.route):
        key = f"route[{number}]"
        if row.to == "smarthost" and row.host is None and settings.smarthost is None:
            yield f"{key}.host", "this key is missing", 'to = "smarthost" needs a host'
        if row.to == "lmtp" and (row.host is None) == (not row.socket):
            wrong = "this key is missing" if row.host is None else "there is a socket too"
            yield f"{key}.host", wrong, 'to = "lmtp" needs a host or a socket'
        if row.socket and row.to != "lmtp":
            yield f"{key}.socket", f'to = "{row.to}" has no use for a socket', 'set to = "lmtp"'
        if row.socket and (not row.socket.startswith("/") or len(row.socket.encode()) > LONGEST_SOCKET):
            yield (
                f"{key}.socket",
                "this is no path of a unix socket",
                f"a whole path of {LONGEST_SOCKET} octets at most",
            )
        if row.to == "maildir" and not row.mailbox:
            yield f"{key}.mailbox", "this key is missing", 'to = "maildir" needs a mailbox'
        if row.tag and row.tag not in tags and not settings.hooks.file:
            yield f"{key}.tag", f"nothing gives the tag {row.tag!r}", "add a [[tag]] row or a hook that gives it"
        yield from hop_rows(key, row)
    if settings.smarthost is not None:
        yield from hop_rows("smarthost", settings.smarthost)
    yield from end_rows(settings)


def end_rows(settings: Settings) -> Iterator[Finding]:
    if "*" in settings.relay.domains:
        yield "relay.domains", "anybody could send to everybody through us", "name domains, or trust networks"
    for domain, mailbox in settings.local.domains.items():
        if domain == "*":
            yield 'local.domains."*"', "every domain would end here", "use local.catch_all for that"
        if not mailbox:
            yield f'local.domains."{domain}"', "it has no mailbox", f"it takes {Mailbox.right}"


def hop_rows(key: str, hop: Hop) -> Iterator[Finding]:
    """How a connection to another host is secured."""
    if hop.implicit_tls and hop.tls == "none":
        yield f"{key}.tls", "implicit_tls is set, so there is TLS", 'leave it out, or set "verify"'
    yield from absent(f"{key}.roots", hop.roots)
    if hop.certificate is not None:
        yield from absent(f"{key}.certificate.chain", hop.certificate.chain)
        yield from absent(f"{key}.certificate.key", hop.certificate.key)
    login = hop.login
    if login is None:
        return
    yield from absent(f"{key}.login.password_file", login.password_file)
    yield from absent(f"{key}.login.token_file", login.token_file)
    given = [name for name in ("password", "password_file", "token", "token_file") if getattr(login, name)]
    if len(given) != 1:
        wrong = f"{' and '.join(given)} are both there" if given else "there is neither a password nor a token"
        yield f"{key}.login", wrong, "it takes one of password, password_file, token, token_file"
    if hop.tls == "none" and not hop.implicit_tls and not login.without_tls:
        yield f"{key}.login", "it is never used: there is no TLS to that host", "set tls, or without_tls = true"


def absent(key: str, path: str) -> Iterator[Finding]:
    if path and not Path(path).is_file():
        yield key, f"there is no file {path}", "name one that is there, or leave the key out"


def folder_rows(settings: Settings) -> Iterator[Finding]:
    hooks = settings.hooks_file
    if hooks and not hooks.is_file():
        yield "hooks.file", f"there is no file {hooks}", "name a Python file, or leave the key out"
    if len(settings.control.socket.encode()) > LONGEST_SOCKET:
        yield (
            "control.socket",
            "the path is too long for a unix socket",
            f"{LONGEST_SOCKET} octets at most; set control.socket",
        )


def number_rows(settings: Settings) -> Iterator[Finding]:
    """Numbers that the engine bounds more narrowly than their kind does."""
    spool, limits = settings.spool, settings.limits
    bounds = (
        ("spool.segment", spool.segment, 1 << 20, 1 << 30, "1MiB to 1GiB"),
        ("spool.group_size", spool.group_size, 64 << 10, 16 << 20, "64KiB to 16MiB"),
        ("limits.inline_body", limits.inline_body, 4 << 10, 8 << 20, "4KiB to 8MiB"),
        ("limits.max_header", limits.max_header, 4 << 10, 1 << 20, "4KiB to 1MiB"),
        ("dns.timeout", settings.dns.timeout, 100, 60_000, "100ms to 60s"),
        ("dns.lifetime", settings.dns.lifetime, settings.dns.timeout, 300_000, "dns.timeout to 5m"),
        ("dns.max_ttl", settings.dns.max_ttl, settings.dns.min_ttl, 7 * 86_400_000, "dns.min_ttl to 7d"),
    )
    for key, value, least, most, right in bounds:
        if not least <= value <= most:
            yield key, "the number is out of range", f"it takes {right}"
    for word, waits in msgspec.structs.asdict(settings.delivery.retry).items():
        if not waits or min(waits) <= 0:
            yield f"delivery.retry.{word}", "a wait is missing or zero", "at least one time above 0"
