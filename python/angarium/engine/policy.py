"""Compiles settings into the engine's policy tables: pure, no judgement, field for field.

The order of `Settings.listen` is the numbering of listeners. Whether a phase of hooks is asked at all comes from
outside (`hooks`), because only who loaded the policy file knows which functions stand in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time

from .. import settings as site
from .tables import (
    Allowance,
    Authentication,
    Brake,
    Commit,
    Dns,
    Expiry,
    Hook,
    Hooks,
    Journal,
    Limits,
    Listener,
    ListenerLimits,
    Logins,
    Policy,
    Quota,
    Reports,
    RetryTable,
    RouteTagRule,
    Signer,
    Signers,
    Timeouts,
)

PHASES = ("connect", "mail", "rcpt", "message", "auth")
TLS_DEMANDS = {"none": 0, "opportunistic": 0, "encrypt": 1, "verify": 2}
CLASSES = {"urgent": 0, "high": 1, "normal": 2, "bulk": 3}


def compile_policy(settings: site.Settings, *, hooks: Collection[str] = ()) -> Policy:
    """The tables of a site; `hooks` names the phases whose functions are there."""
    return Policy(
        hostname=settings.server.hostname,
        listeners=tuple(listener(row) for row in settings.listen),
        trusted_networks=tuple(str(network) for network in settings.relay.networks),
        local_domains=tuple(str(domain) for domain in settings.local.domains),
        local_recipients=tuple(str(pattern) for pattern in settings.local.recipients),
        relay_domains=tuple(str(domain) for domain in settings.relay.domains),
        accept_any=bool(settings.local.catch_all),
        route_tags=tuple(tag_rule(row) for row in settings.tag),
        limits=limits(settings.limits),
        timeouts=timeouts(settings.timeouts),
        retry=(retry_table(settings.delivery.retry),),
        expiry=Expiry(
            message=int(settings.delivery.expire),
            report=int(settings.delivery.expire_reports),
            hold=int(settings.delivery.expire_holds),
        ),
        journal=Journal(
            keep=int(settings.journal.keep),
            bytes=int(settings.journal.keep_size),
            required_bytes=int(settings.journal.required),
            best_effort_bytes=int(settings.journal.best_effort),
        ),
        brake=Brake(failures=settings.delivery.brake.failures, multiple=settings.delivery.brake.multiple),
        quota=Quota(tenant=int(settings.spool.tenant_quota), below=int(settings.spool.quota_below)),
        reports=reports(settings),
        hooks=hook_tables(settings, hooks),
        commit=Commit(
            group_records=settings.spool.group_records,
            group_bytes=int(settings.spool.group_size),
            journal_wait=int(settings.spool.journal_wait),
        ),
        logins=logins(settings.logins),
        dns=dns(settings.dns),
        authentication=authentication(settings.authentication),
    )


def listener(row: site.Listen) -> Listener:
    return Listener(
        name=row.name or row.profile,
        profile=row.profile,
        banner=row.banner,
        max_size=int(row.max_size),
        max_recipients=row.max_recipients,
        max_line=row.max_line,
        bare_newline=row.bare_newline,
        max_errors=row.max_errors,
        trusted=row.trusted,
        tls_demand=TLS_DEMANDS[row.onward_tls],
        class_=CLASSES[row.priority],
        tenant=row.tenant,
        tls=row.tls,
        tls_version=row.tls_version,
        client_certificates=row.client_certificates,
        clear_networks=tuple(str(network) for network in row.clear_networks),
        login=row.login,
        mechanisms=tuple(row.auth),
        senders=row.senders,
        complete=row.complete,
        authenticate=row.authenticate,
        proxy_networks=tuple(str(network) for network in row.proxy_networks),
        xclient_networks=tuple(str(network) for network in row.xclient_networks),
        greet_delay=int(row.greet_delay),
        tarpit=int(row.tarpit),
        limits=ListenerLimits(
            **{whose: allowance(getattr(row.limits, whose)) for whose in ListenerLimits.__struct_fields__}
        ),
        without=tuple(row.without),
        with_=tuple(row.with_),
        hold_at_most=int(row.hold_at_most),
        deliver_by_least=int(row.deliver_by_least),
        replies=dict(row.replies),
    )


def allowance(given: site.Allowance) -> Allowance:
    return Allowance(**{name: int(getattr(given, name)) for name in Allowance.__struct_fields__})


def logins(given: site.Logins) -> Logins:
    return Logins(**{name: int(getattr(given, name)) for name in Logins.__struct_fields__})


def dns(given: site.Dns) -> Dns:
    figures = {name: int(getattr(given, name)) for name in Dns.__struct_fields__ if name != "servers"}
    return Dns(servers=tuple(str(server) for server in given.servers), **figures)


def authentication(given: site.Authentication) -> Authentication:
    return Authentication(
        id=given.id,
        honour_dmarc=given.honour_dmarc,
        actions=dict(given.actions),
        forwarder_networks=tuple(str(network) for network in given.forwarders.networks),
        forwarder_domains=tuple(str(domain) for domain in given.forwarders.domains),
        sealers=tuple(str(domain) for domain in given.sealers),
    )


def compile_signers(keys: Iterable[tuple[site.Signing, bytes]]) -> Signers:
    """The keys of a site, each with its row."""
    return Signers(signers=tuple(signer(row, pem) for row, pem in keys))


def signer(row: site.Signing, pem: bytes) -> Signer:
    return Signer(
        domain=str(row.domain),
        selector=row.selector,
        key=pem,
        seals=row.seal,
        authors=tuple(str(domain) for domain in row.authors),
        tenant=row.tenant,
        stream=row.stream,
        since=midnight(row.since),
        until=midnight(row.until),
        headers=row.headers,
        identity=row.identity or None,
        lifetime=None if row.expire is None else int(row.expire.seconds),
        simple_header=row.header == "simple",
        simple_body=row.body == "simple",
        converts=row.eight_bit == "convert",
    )


def midnight(day: date | None) -> int:
    """When a day begins (UTC), in Unix milliseconds; 0 for none."""
    return 0 if day is None else int(datetime.combine(day, time.min, UTC).timestamp() * 1_000)


def tag_rule(row: site.Tag) -> RouteTagRule:
    return RouteTagRule(
        sender=str(row.sender), recipient=str(row.recipient), listener=row.listener, tenant=row.tenant, tag=row.tag
    )


def limits(given: site.Limits) -> Limits:
    return Limits(
        sessions=given.sessions,
        sessions_per_address=given.sessions_per_address,
        transactions_per_session=given.transactions_per_session,
        bytes_in_flight=int(given.memory),
        inline_body=int(given.inline_body),
        max_received=given.max_received,
        max_header=int(given.max_header),
        entries=given.entries,
    )


def timeouts(given: site.Timeouts) -> Timeouts:
    return Timeouts(**{name: int(getattr(given, name)) for name in Timeouts.__struct_fields__})


def retry_table(given: site.Retry) -> RetryTable:
    reasons = {name: tuple(int(wait) for wait in getattr(given, name)) for name in type(given).__struct_fields__}
    return RetryTable(name="default", **reasons)


def reports(settings: site.Settings) -> Reports:
    given = settings.reports
    return Reports(
        postmaster=given.postmaster,
        hostname=settings.server.hostname,
        full_limit=int(given.full_limit),
        collect=int(given.collect),
        delay_after=int(given.delay_after),
    )


def hook_tables(settings: site.Settings, wanted: Collection[str]) -> Hooks:
    """A phase has a table only when it is wanted: without one it costs nothing."""
    given = settings.hooks

    def table(phase: str) -> Hook | None:
        if phase not in wanted:
            return None
        if phase == "auth":
            # Nobody comes in because we cannot tell who he is.
            return Hook(deadline=int(settings.logins.deadline), otherwise="defer")
        own: site.Hook = getattr(given, phase)
        return Hook(
            deadline=int(given.deadline if own.deadline is None else own.deadline),
            otherwise=own.otherwise or given.otherwise,
        )

    return Hooks(**{phase: table(phase) for phase in PHASES}, credits=given.at_once)
