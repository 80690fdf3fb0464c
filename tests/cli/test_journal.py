"""`angarium journal tail`: the last facts, a while back, one message, and what happens next."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cli.test_queue import send
from tests.harness import COMMAND, RecordingSink
from tests.site import Site, relay, running, wait_until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    sink = RecordingSink()
    with running(tmp_path_factory.mktemp("journal"), relay(sink.port)) as started:
        yield started
    sink.close()


def delivered(site: Site, *recipients: str) -> str:
    """Sends one message and waits for the facts that close it."""
    id = send(site, *recipients)
    wait_until(lambda: len(story(site, id)) == 1 + len(recipients), lambda: site.facts())
    return id


def story(site: Site, id: str) -> list[tuple[str, object]]:
    return [(fact["kind"], fact["about"].get("state")) for fact in site.lines("journal", "tail", "--message", id)]


def test_one_message_from_beginning_to_end(site: Site) -> None:
    delivered(site, "other@one.test")
    id = delivered(site, "b@one.test", "c@two.test")
    assert story(site, id) == [("received", None), ("settled", "delivered"), ("settled", "delivered")]
    facts = site.lines("journal", "tail", "--message", id)
    received, settled = facts[0]["about"], facts[1]["about"]
    assert (received["sender"], received["recipients"]) == ("a@client.test", ["b@one.test", "c@two.test"])
    assert (settled["outcome"], settled["code"], settled["attempts"]) == ("delivered", 250, 1)
    assert settled["host"].startswith("127.0.0.1")
    assert [fact["lsn"] for fact in facts] == sorted(fact["lsn"] for fact in facts)
    assert all(fact["at"] > 1_700_000_000_000 for fact in facts)


def test_for_people(site: Site) -> None:
    id = delivered(site, "b@one.test")
    lines = site.run("journal", "tail", "--message", id).stdout.splitlines()
    assert len(lines) == 2
    assert " received " in lines[0]
    assert f"id={id}" in lines[0]
    assert "state=delivered" in lines[1]


def test_limit_gives_the_newest(site: Site) -> None:
    ids = [delivered(site, "b@one.test") for _ in range(3)]
    newest = site.lines("journal", "tail", "--limit", "2")
    assert [(fact["kind"], fact["about"]["id"]) for fact in newest] == [("received", ids[-1]), ("settled", ids[-1])]


def test_since(site: Site) -> None:
    id = delivered(site, "b@one.test")
    assert id in {fact["about"].get("id") for fact in site.lines("journal", "tail", "--since", "1m")}
    assert site.lines("journal", "tail", "--since", "0s") == []
    both = site.lines("journal", "tail", "--since", "1m", "--message", id)
    assert [fact["kind"] for fact in both] == ["received", "settled"]


def test_an_unknown_message(site: Site) -> None:
    for id in ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "nonsense"):
        ended = site.run("journal", "tail", "--message", id)
        assert ended.returncode == 1, ended
        assert ended.stderr.startswith("angarium: ")
        assert ended.stderr.count("\n") == 1
        assert id in ended.stderr


def test_the_story_of_one_recipient(site: Site) -> None:
    id = delivered(site, "b@one.test", "c@two.test")
    facts = site.lines("journal", "tail", "--message", f"{id}.1")
    assert [(fact["kind"], fact["about"].get("number")) for fact in facts] == [("received", None), ("settled", 1)]


def test_follow_shows_what_happens_next(site: Site) -> None:
    before = delivered(site, "before@one.test")
    with subprocess.Popen(
        [COMMAND, "journal", "tail", "--follow", "--limit", "1", "--json"],
        cwd=site.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        guard = threading.Timer(30, following.kill)
        guard.start()
        try:
            assert json.loads(following.stdout.readline())["about"]["id"] == before
            after = send(site, "after@one.test")
            received, settled = (json.loads(following.stdout.readline()) for _ in range(2))
        finally:
            guard.cancel()
            stop = time.monotonic() + 30
            # A person presses Ctrl-C again when the first one met a moment in which Python could not raise it.
            while following.poll() is None and time.monotonic() < stop:
                following.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    following.wait(8)
            following.kill()
        assert following.returncode == 130
        assert following.stderr is not None
        assert following.stderr.read() == ""
    assert (received["kind"], received["about"]["id"]) == ("received", after)
    assert (settled["kind"], settled["about"]["state"]) == ("settled", "delivered")


def test_the_journal_outlives_a_restart(site: Site) -> None:
    id = delivered(site, "b@one.test")
    facts = site.lines("journal", "tail", "--message", id)
    site.server.kill()
    site.start()
    assert site.lines("journal", "tail", "--message", id) == facts
