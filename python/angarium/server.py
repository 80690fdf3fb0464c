"""The whole house: builds every room, opens the nurseries, stops them in reverse.

`serve` runs until it is told to stop; `run` is what the command calls: signals, exit code, and one sentence for what
keeps it from starting. Read from top to bottom, this is the order in which a server comes up. The first SIGTERM or
Ctrl-C stops gracefully within the settings' time, a second one skips to the flush; SIGHUP reads the settings and the
policy file again (not addresses, folders and the spool's sizes: those need a restart).
"""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio

from . import _core, delivery, intake, journal, routing
from .auth.keys import Key, SigningKeys
from .dns import Lookups
from .engine import Bridge, Certificate, Control, Predicate, Recovered, compile_policy, compile_signers, supervise
from .engine import Certificates as EngineCertificates
from .errors import AngariumError, EngineError, HookError, PolicyError, StartError
from .identity import Identities
from .intake import Listening
from .journal import Journal
from .metrics import LoopSteps, Metrics
from .policy import Asking, Hook, load_hooks
from .settings import Settings
from .tls import Certificates, Shown
from .web import api, serving

log = structlog.get_logger("angarium")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """What a started server gives to whoever started it."""

    settings: Settings
    bridge: Bridge
    journal: Journal
    metrics: Metrics
    recovered: Recovered
    # `127.0.0.1:2525`, in the order of the settings; a port that was left to the system is filled in.
    addresses: tuple[str, ...]
    # Graceful; once more: skip to the flush.
    stop: Callable[[], None]


class Stopping:
    """How often somebody asked for the end."""

    def __init__(self) -> None:
        self.asked = trio.Event()
        self.hurry = trio.Event()

    def ask(self) -> None:
        (self.hurry if self.asked.is_set() else self.asked).set()


async def serve(
    settings: Settings,
    *,
    reload: Callable[[], Settings] | None = None,
    say: Say = lambda line: None,
    task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs the mail server until SIGTERM, Ctrl-C or `Running.stop`. `started` gives a `Running` when mail is taken.

    `reload` reads the settings again at SIGHUP, `say` gets the lines that a person reads. Raises `StartError` (one
    sentence) for what keeps it from starting.
    """
    house = House(settings, reload=reload, say=say)
    try:
        await house.live(task_status)
    finally:
        house.close_doors()
        house.close_control()
        with trio.CancelScope(shield=True):
            await house.identities.close()
            await trio.to_thread.run_sync(house.engine.close)


class House:
    """Every room, built in order. Nothing runs before `live`."""

    def __init__(self, settings: Settings, *, reload: Callable[[], Settings] | None, say: Say) -> None:
        self.settings = settings
        self.reload = reload
        self.say = say
        self.stopping = Stopping()
        self.control_ends = trio.Event()
        hooks = load_policy_file(settings)
        auth, giving = hooks.pop("auth", None), hooks.pop("signing_key", None)
        prepare_folders(settings)
        self.identities = Identities(settings, auth)
        self.certificates = Certificates(settings, self.show_certificates)
        self.signing = SigningKeys(settings, giving, self.sign_with)
        hooks |= self.logins(settings)
        self.policy = compile_policy(settings, hooks=hooks)
        lookups = Lookups(settings.dns)
        self.router = routing.Router(settings, lookups)
        self.planner = delivery.Planner(settings, lookups, chance=random.Random())
        # Ports before the spool: a port in use is the likelier mistake, and costs no recovery.
        self.listening = intake.listen(settings)
        self.addresses = tuple(one.address for one in self.listening)
        self.control = open_control(settings, self.listening)
        self.engine = open_engine(settings, self.give_up)
        self.bridge = Bridge(self.engine)
        self.steps = LoopSteps()
        self.asking = Asking(self.engine.answer_many, settings.hooks, hooks)
        self.metrics = Metrics(self.bridge, steps=self.steps, hooks=lambda: (self.asking.failures, self.asking.late))
        self.journal = Journal(self.bridge)
        self.bridge.on_asks(self.asking.ask)
        self.bridge.on_flag("fault", self.tell_faults)
        self.bridge.on_flag("limits_met", self.tell_limits)

    def logins(self, settings: Settings) -> dict[str, Hook]:
        """The hook of the phase auth, where anybody may log in."""
        return {"auth": self.identities.judge} if any(row.login != "off" for row in settings.listen) else {}

    def show_certificates(self, shown: Shown) -> None:
        rows = (
            Certificate(names=one.names, chain=one.chain.encode(), key=one.key.encode()) for one in shown.certificates
        )
        self.bridge.set_certificates(EngineCertificates(certificates=tuple(rows), client_ca=shown.client_ca.encode()))

    def sign_with(self, keys: Sequence[Key]) -> None:
        self.bridge.set_signers(compile_signers((key.row, key.pem) for key in keys))

    def close_doors(self) -> None:
        intake.close(self.listening)
        self.listening = []

    def give_up(self) -> None:
        """The start ends before anything ran."""
        self.close_doors()
        self.close_control()

    def close_control(self) -> None:
        self.control.unix.close()
        if self.control.tcp is not None:
            self.control.tcp.close()

    async def live(self, task_status: trio.TaskStatus[Running]) -> None:
        """From recovery to the flush: one nursery per life time, the longest outside."""
        trio.lowlevel.add_instrument(self.steps)
        try:
            self.first_certificates()
            await self.signing.fetch()
            async with trio.open_nursery() as bridge:
                await bridge.start(self.bridge.run)
                recovered = await self.recover()
                if recovered.entries:
                    await self.refresh_routes()
                else:
                    self.remember_routing()
                async with trio.open_nursery() as control, trio.open_nursery() as rooms:
                    control.start_soon(supervise, "control", self.serve_control)
                    self.open_rooms(rooms)
                    async with trio.open_nursery() as doors:
                        self.open_listeners(doors)
                        doors.start_soon(self.watch_signals, doors)
                        task_status.started(self.running(recovered))
                        await self.stopping.asked.wait()
                        self.say("stopping: no new mail, waiting for what is under way (once more: at once)")
                        self.close_doors()
                        await self.stop_engine()
                        doors.cancel_scope.cancel()
                    rooms.cancel_scope.cancel()
                    # The API ends by itself, so that nobody gets half an answer.
                    self.control_ends.set()
                bridge.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self.steps)
        self.say("stopped")

    def first_certificates(self) -> None:
        try:
            self.certificates.install()
        except PolicyError as error:
            raise StartError(f"tls: the certificates cannot be used: {error}") from None

    async def recover(self) -> Recovered:
        try:
            recovered = await self.bridge.recover(self.policy)
        except EngineError as error:
            raise StartError(f"{self.settings.spool_folder}: {error}") from None
        for damage in recovered.damage:
            log.error("the spool is damaged", damage=damage)
        # What lives now lives until the end: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        return recovered

    async def refresh_routes(self) -> None:
        """Routes are remembered over a restart: when the settings say other ones, all are asked for anew."""
        if self.routing_file.exists() and self.routing_file.read_text() == routing_digest(self.settings):
            return
        why = "the settings of routes have changed"
        await self.bridge.control(Control(kind="reroute", where=Predicate(all=True), by="server", why=why))
        self.remember_routing()

    def remember_routing(self) -> None:
        self.routing_file.write_text(routing_digest(self.settings))

    @property
    def routing_file(self) -> Path:
        return self.settings.data_folder / "routing.digest"

    def open_rooms(self, nursery: trio.Nursery) -> None:
        rooms: dict[str, Callable[[], Awaitable[None]]] = {
            "hooks": self.asking.run,
            "routing": partial(routing.serve, self.bridge, self.router),
            "delivery": partial(delivery.serve, self.bridge, self.planner),
            "followers": partial(journal.serve, self.journal, ()),
            "certificates": self.certificates.watch,
            "signing": self.signing.watch,
            "logins": partial(self.identities.watch, self.bridge.forget_logins),
        }
        for name, room in rooms.items():
            nursery.start_soon(supervise, name, room)

    async def serve_control(self) -> None:
        surface = api.Surface(
            bridge=self.bridge,
            settings=self.settings,
            metrics=self.metrics.text,
            started=time.time_ns() // 1_000_000,
            listening=self.addresses,
        )
        await serving.serve_control(api.build_app(surface), self.control, stop=self.control_ends.wait)

    def open_listeners(self, nursery: trio.Nursery) -> None:
        for one in self.listening:
            nursery.start_soon(supervise, f"listener {one.address}", partial(intake.serve, self.bridge, one))

    def running(self, recovered: Recovered) -> Running:
        """Mail is taken from here on."""
        for line in greeting(self.settings, self.addresses, recovered):
            self.say(line)
        return Running(
            settings=self.settings,
            bridge=self.bridge,
            journal=self.journal,
            metrics=self.metrics,
            recovered=recovered,
            addresses=self.addresses,
            stop=self.stopping.ask,
        )

    async def watch_signals(self, nursery: trio.Nursery) -> None:
        try:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                async for number in signals:
                    if number == signal.SIGHUP:
                        self.read_again(nursery)
                    else:
                        self.stopping.ask()
        except RuntimeError:
            # Outside the main thread whoever started us calls `Running.stop`.
            return

    def read_again(self, nursery: trio.Nursery) -> None:
        """Tables, hooks and routes anew; what cannot be used leaves everything as it was."""
        try:
            settings = self.reload() if self.reload else self.settings
            refuse_moves(self.settings, settings)
            hooks = load_policy_file(settings)
            auth, giving = hooks.pop("auth", None), hooks.pop("signing_key", None)
            put_identities = self.identities.use(settings, auth)
            put_certificates = self.certificates.use(settings)
            put_keys = self.signing.use(settings, giving)
            self.planner.check(settings)
            hooks |= self.logins(settings)
            policy = compile_policy(settings, hooks=hooks)
            put_certificates()
            put_keys()
            generation = self.bridge.set_policy(policy)
        except (AngariumError, PolicyError) as error:
            log.error("the settings are not used", why=str(error))
            return
        nursery.start_soon(put_identities().close)
        self.asking.use(settings.hooks, hooks)
        self.router.use(settings)
        self.planner.use(settings)
        self.settings = settings
        nursery.start_soon(self.refresh_routes)
        log.info("settings and policy read again", generation=generation)

    async def stop_engine(self) -> None:
        """Finishes what is under way until the deadline, or until somebody is in a hurry."""

        async def hurry() -> None:
            await self.stopping.hurry.wait()
            await self.bridge.stop(0)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hurry)
            stopped = await self.bridge.stop(time.time_ns() // 1_000_000 + self.settings.timeouts.stop)
            nursery.cancel_scope.cancel()
        if stopped.sessions or stopped.deliveries:
            self.say(f"cut off: {stopped.sessions} sessions, {stopped.deliveries} deliveries")

    def tell_limits(self) -> None:
        """A line for each limit and whom it met, at most once a minute: a flood is a number in it."""
        for limit, listener, who, times, session in self.engine.limits_met():
            row = self.settings.listen[listener]
            name = f"{session:x}" if session else ""
            log.warning("limit", limit=limit, who=who, times=times, listener=row.name or row.profile, session=name)

    def tell_faults(self) -> None:
        for fault in self.engine.faults():
            log.error("fault", kind=fault.kind, text=fault.text, stops_intake=fault.stops_intake)


# --- what a start needs -------------------------------------------------------------------------------------------


def load_policy_file(settings: Settings) -> dict[str, Hook]:
    """The hooks, with those that the engine does not ask: who judges logins, who gives keys."""
    try:
        return load_hooks(settings.hooks_file)
    except HookError as error:
        raise StartError(str(error)) from None


def prepare_folders(settings: Settings) -> None:
    """The data folder is for its owner alone; an existing one of other owners is left as it is and told."""
    for folder in (settings.data_folder, settings.spool_folder, settings.mail_folder):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"{folder}: the folder cannot be made: {error.strerror}") from None
    if stat.S_IMODE(settings.data_folder.stat().st_mode) & 0o077:
        close_to_others(settings.data_folder)


def close_to_others(folder: Path) -> None:
    try:
        folder.chmod(0o700)
    except OSError as error:
        raise StartError(
            f"{folder}: others may read the data folder, and it cannot be closed: {error.strerror}"
        ) from None


def open_control(settings: Settings, listening: list[Listening]) -> serving.ControlSockets:
    try:
        return serving.open_control(settings)
    except StartError:
        intake.close(listening)
        raise


def open_engine(settings: Settings, give_up: Callable[[], None]) -> _core.Engine:
    """Takes the spool's lock. Raises `SpoolHeld`, `SpoolNewer`, `SpoolUnreadable`."""
    try:
        return _core.Engine(
            str(settings.spool_folder),
            settings.server.node,
            segment_bytes=int(settings.spool.segment),
            workers=settings.server.workers,
        )
    except StartError as error:
        give_up()
        raise type(error)(f"{settings.spool_folder}: {error}") from None


def refuse_moves(before: Settings, after: Settings) -> None:
    """What only a restart can change."""
    moved = {
        "listen": [row.address for row in before.listen] != [row.address for row in after.listen],
        "server.data": before.server.data != after.server.data,
        "spool.folder": before.spool.folder != after.spool.folder,
        "local.folder": before.local.folder != after.local.folder,
        "control": before.control != after.control,
    }
    changed = [key for key, is_moved in moved.items() if is_moved]
    if changed:
        raise StartError(f"{', '.join(changed)} cannot be changed while the server runs; restart it")


def routing_digest(settings: Settings) -> str:
    """What routes are made from, as one short text."""
    delivery = (settings.delivery.port, settings.delivery.tls)
    tables = (settings.server, settings.local, settings.route, settings.tag, settings.smarthost, delivery)
    return hashlib.sha256(repr(tables).encode()).hexdigest()


def greeting(settings: Settings, addresses: tuple[str, ...], recovered: Recovered) -> list[str]:
    """What a person reads when the server has started."""
    version = importlib.metadata.version("angarium")
    rows = zip(addresses, settings.listen, strict=True)
    named = ", ".join(f"{address} ({row.name})" if len(addresses) > 1 else address for address, row in rows)
    lines = [f"angarium {version}: taking mail on {named}"]
    if settings.control.address:
        lines.append(f"control and metrics on http://{settings.control.address}")
    lines.append(f"data folder {settings.data_folder}")
    lines.append(f"spool {settings.spool_folder}: {recovered.entries:,} recipients wait")
    if recovered.lost:
        lines.append(f"{recovered.lost:,} recipients are lost: their content cannot be read; see angarium journal")
    if not settings.tls.certificate and any(row.tls != "off" for row in settings.listen):
        lines.append("TLS with a certificate that we signed ourselves; docs/tls.md says how to use another")
    if settings.local.catch_all:
        lines.append(
            f"mail for everybody goes to the mailbox {settings.local.catch_all}; read it with: angarium mail list"
        )
    if settings.delivery.suspended:
        lines.append("delivery is suspended: mail is kept and not sent on")
    warnings = (intake.raise_descriptors(settings.limits.sessions), intake.backlog_warning())
    return [*lines, *filter(None, warnings)]


# --- the command --------------------------------------------------------------------------------------------------


def run(settings: Settings, *, reload: Callable[[], Settings] | None = None) -> int:
    """`serve` in its own Trio loop, with logs on standard error; the exit code.

    What keeps it from starting is one sentence on standard error and exit code 1.
    """
    log_to_stderr()
    problems: list[BaseException] = []
    try:
        trio.run(partial(serve, settings, reload=reload, say=say_line))
    except* StartError as group:
        problems.extend(leaves(group))
    for problem in problems:
        print(f"angarium: {problem}", file=sys.stderr)
    return 1 if problems else 0


def leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        yield from leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)


def say_line(line: str) -> None:
    print(line, flush=True)


def log_to_stderr() -> None:
    """One JSON object per line, or plain text for a person at a terminal."""
    to_person = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer(colors=to_person and "NO_COLOR" not in os.environ)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer if to_person else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
