"""The handlers of the control API and the Litestar application that they make (OpenAPI at /schema/openapi.json).

Handlers translate: HTTP to one call of the bridge, its answer to a shape of `shapes`. They decide nothing about mail.
Every error is one sentence as `{"error": …}`: 400 for what was asked wrongly, 404 for what is not there, 503 for what
the engine cannot do now.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import structlog
from litestar import Litestar, MediaType, Request, Response, delete, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from .. import engine
from ..engine import Bridge, Control, Predicate
from ..errors import Busy, EngineError
from ..settings import Settings
from .history import read_history
from .shapes import (
    ACTIONS,
    LAST_MOMENT,
    MOST_ROWS,
    STATES,
    Entry,
    Facts,
    FaultShown,
    Followers,
    FollowerShown,
    Order,
    Ordered,
    Page,
    Priority,
    Rule,
    Rules,
    State,
    Status,
    Trouble,
    Where,
)

log = structlog.get_logger("angarium.web")

MOMENT = QueryParameter(ge=0, le=LAST_MOMENT)
# Orders that are for everything by nature.
UNFILTERED = frozenset({"flush", "confirm-clock"})
# What an `EngineError` means to a client; anything else is ours: 500.
STATUS_OF = {"not-found": 404, "invalid": 400, "gap": 410, "lost": 410, "stopped": 503, "disk-full": 503, "fault": 503}


@dataclass(frozen=True, slots=True)
class Surface:
    """What the API shows: handed over by whoever builds the server."""

    bridge: Bridge
    settings: Settings
    # Prometheus text (metrics.py).
    metrics: Callable[[], bytes]
    started: int
    # Addresses as people read them.
    listening: tuple[str, ...]


def build_app(surface: Surface) -> Litestar:
    """The application over one running server."""
    return Litestar(
        [*looking(surface), *queueing(surface.bridge), *remembering(surface.bridge)],
        openapi_config=OpenAPIConfig(title="Angarium control", version="1", render_plugins=()),
        exception_handlers={
            HTTPException: http_trouble,
            EngineError: engine_trouble,
            Busy: busy_trouble,
            Exception: own_trouble,
        },
        logging_config=None,
        debug=False,
    )


def looking(surface: Surface) -> list[HTTPRouteHandler]:
    """Figures: /health, /metrics, /v1/status."""

    @get("/health", media_type=MediaType.JSON, sync_to_thread=False)
    def health() -> Response[dict[str, bool]]:
        """200 while mail is taken, 503 while a fault stops intake. Open."""
        accepting = not any(fault.stops_intake for fault in surface.bridge.engine.faults())
        return Response({"accepting": accepting}, status_code=200 if accepting else 503)

    @get("/metrics", media_type=MediaType.TEXT, sync_to_thread=False)
    def metrics() -> Response[bytes]:
        """Figures for Prometheus. Open."""
        return Response(surface.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @get("/v1/status", sync_to_thread=False)
    def status() -> Status:
        """The server at a glance."""
        return status_of(surface)

    return [health, metrics, status]


def queueing(bridge: Bridge) -> list[HTTPRouteHandler]:
    """What waits, and orders about it: /v1/queue."""

    @get("/v1/queue")
    async def entries(
        domain: FromQuery[str | None] = None,
        sender: FromQuery[str | None] = None,
        tenant: FromQuery[str | None] = None,
        campaign: FromQuery[str | None] = None,
        site: FromQuery[str | None] = None,
        state_: Annotated[State | None, QueryParameter(name="state")] = None,
        priority: FromQuery[Priority | None] = None,
        before: Annotated[int | None, MOMENT] = None,
        received_after: Annotated[int | None, MOMENT] = None,
        after: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=MOST_ROWS)] = 100,
    ) -> Page:
        """Waiting entries, a page at a time: give `next` of a page as `after` for the next one."""
        where = Where(
            domain=domain,
            sender=sender,
            tenant=tenant,
            campaign=campaign,
            site=site,
            state=state_,
            priority=priority,
            before=before,
            after=received_after,
        )
        found = await bridge.find(predicate(where, listing=True), after=page_key(after), limit=limit)
        return page(found)

    @get("/v1/queue/rules")
    async def rules() -> Rules:
        """Every order that stands: holds and suspends for later mail, legal holds, pins."""
        return Rules([rule_shown(rule) for rule in await bridge.rules()])

    @get("/v1/queue/{id:str}")
    async def message(id: FromPath[str]) -> Page:
        """All recipients of one message that is still here, or one recipient (MESSAGE.NUMBER)."""
        rows = await entries_of(bridge, id)
        if not rows:
            raise HTTPException(status_code=404, detail=f"no message {id} waits here; its history is in the journal")
        return Page(rows, None)

    @post("/v1/queue/{action:str}", status_code=200)
    async def order(action: FromPath[str], data: JSONBody[Order], request: Request[Any, Any, Any]) -> Ordered:
        """Gives an order; answers when it is durable. An empty filter needs `all`."""
        by = "socket" if request.client is None else f"{request.client.host}:{request.client.port}"
        done = await bridge.control(control_of(action, data, by=by))
        return Ordered(done.changed, done.too_late, done.rule)

    return [entries, rules, message, order]


def remembering(bridge: Bridge) -> list[HTTPRouteHandler]:
    """What happened: /v1/journal."""

    @get("/v1/journal")
    async def journal(
        after: FromQuery[str] = "",
        since: Annotated[int | None, MOMENT] = None,
        last: Annotated[int | None, QueryParameter(ge=1, le=10_000)] = None,
        message_: Annotated[str, QueryParameter(name="message")] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=MOST_ROWS)] = MOST_ROWS,
    ) -> Facts:
        """Facts in their order, from a cursor (`next` of the answer before) or from the oldest."""
        return await read_history(bridge, at=page_key(after), since=since, last=last, message=message_, limit=limit)

    @get("/v1/journal/followers")
    async def followers() -> Followers:
        """Readers that keep their place here, and what they claim."""
        return await followers_of(bridge)

    @delete("/v1/journal/followers/{name:str}", status_code=200)
    async def forget(name: FromPath[str]) -> Followers:
        """Forgets a reader and what it claims; answers with those that are left."""
        await bridge.follow(name, b"", claims="gone")
        return await followers_of(bridge)

    return [journal, followers, forget]


async def entries_of(bridge: Bridge, id: str) -> list[Entry]:
    """All recipients of a message, or the one recipient, page by page."""
    rows: list[Entry] = []
    after = b""
    while True:
        found = await bridge.find(Predicate(ids=(id,)), after=after, limit=MOST_ROWS)
        rows += page(found).entries
        after = found.after
        if not after:
            return rows


def control_of(action: str, order: Order, *, by: str) -> Control:
    """The engine's order for what was asked; 404 for one that there is not, 400 when it says not for whom."""
    if action not in ACTIONS:
        raise HTTPException(status_code=404, detail=f"there is no order {action!r}; {', '.join(ACTIONS)}")
    if order.where == Where() and not order.rule and action not in UNFILTERED:
        raise HTTPException(status_code=400, detail="the filter is empty; say which entries, or all: true")
    where = predicate(order.where)
    return Control(kind=action, where=where, by=by, why=order.why, until=order.until, rule=order.rule, tag=order.tag)


def status_of(surface: Surface) -> Status:
    figures = surface.bridge.figures()
    faults = [
        FaultShown(fault.kind, fault.since, fault.text, fault.stops_intake) for fault in surface.bridge.engine.faults()
    ]
    return Status(
        version=importlib.metadata.version("angarium"),
        hostname=surface.settings.server.hostname,
        started=surface.started,
        now=int(time.time() * 1000),
        listening=list(surface.listening),
        spool=str(surface.settings.spool_folder),
        accepting=not any(fault.stops_intake for fault in faults),
        counters=figures.counts,
        depth={name: figures.now.get(f"depth_{name}", 0) for name in engine.CLASSES},
        states={name: figures.now.get(f"state_{name}", 0) for name in STATES},
        oldest=figures.now.get("oldest", 0),
        faults=faults,
    )


def predicate(where: Where, *, listing: bool = False) -> Predicate:
    """The engine's predicate; a listing without a filter means everything."""
    return Predicate(
        ids=where.ids,
        domain=where.domain,
        tenant=where.tenant,
        campaign=where.campaign,
        sender=where.sender,
        class_=where.priority,
        state=where.state,
        site=where.site,
        before=where.before,
        after=where.after,
        all=where.all or (listing and where == Where()),
    )


async def followers_of(bridge: Bridge) -> Followers:
    places = (await bridge.followers()).values()
    return Followers([FollowerShown(place.name, place.lsn, place.claims, place.skipped) for place in places])


def rule_shown(rule: engine.Rule) -> Rule:
    where = rule.where
    return Rule(
        rule=rule.number,
        kind=rule.kind,
        where=Where(
            ids=where.ids,
            domain=where.domain,
            tenant=where.tenant,
            campaign=where.campaign,
            sender=where.sender,
            priority=cast("Priority | None", where.class_),
            state=cast("State | None", where.state),
            site=where.site,
            before=where.before,
            after=where.after,
            all=where.all,
        ),
        at=rule.at,
        by=rule.by,
        why=rule.why,
        until=rule.until,
        messages=rule.messages,
    )


def page(found: engine.Found) -> Page:
    rows = [
        Entry(
            id=entry.id,
            message=entry.message,
            number=entry.number,
            sender=entry.sender,
            recipient=entry.address,
            state=entry.state,
            priority=entry.class_,
            received=entry.received,
            size=entry.size,
            due=entry.due,
            expires=entry.expires,
            attempts=entry.attempts,
            reason=entry.reason,
            code=entry.code,
            text=entry.text,
            host=entry.host,
            site=entry.site,
            tenant=entry.tenant,
            campaign=entry.campaign,
        )
        for entry in found.entries
    ]
    return Page(rows, found.after.hex() if found.after else None)


def page_key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise HTTPException(status_code=400, detail=f"{text!r} is no place in a listing; give what next held") from None


def http_trouble(_: Request[Any, Any, Any], error: HTTPException) -> Response[Trouble]:
    extra = error.extra if isinstance(error.extra, list) else []
    details = "; ".join(f"{row.get('key', '')}: {row.get('message', '')}" for row in extra if isinstance(row, dict))
    return Response(Trouble(f"{error.detail}: {details}" if details else error.detail), status_code=error.status_code)


def engine_trouble(_: Request[Any, Any, Any], error: EngineError) -> Response[Trouble]:
    return Response(Trouble(str(error)), status_code=STATUS_OF.get(error.word, 500))


def busy_trouble(_: Request[Any, Any, Any], __: Busy) -> Response[Trouble]:
    return Response(Trouble("the server is busy; ask again in a moment"), status_code=503)


def own_trouble(request: Request[Any, Any, Any], error: Exception) -> Response[Trouble]:
    """A mistake of ours: loud in the log, one sentence outside."""
    log.error("a question to the control API failed", path=request.url.path, exc_info=error)
    return Response(Trouble("the server made a mistake; its log says which"), status_code=500)
