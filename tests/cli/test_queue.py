"""`angarium queue …`: listings with filters and pages, every order, and ids that are not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_first_run import assert_one_sentence
from tests.harness import RecordingSink
from tests.site import Site, relay, running, wait_until
from tests.talk import Talk, content

UNKNOWN = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"


@pytest.fixture
def sink() -> Iterator[RecordingSink]:
    served = RecordingSink()
    yield served
    served.close()


@pytest.fixture
def suspended(tmp_path: Path, sink: RecordingSink) -> Iterator[Site]:
    """Keeps what it takes."""
    with running(tmp_path, relay(sink.port, suspended=True)) as site:
        yield site


@pytest.fixture
def later(tmp_path: Path) -> Iterator[Site]:
    """Its host says "come again" to whom it does not know, so that everything waits for an hour."""
    sink = RecordingSink(refuse=lambda line: "450 4.2.0 come again" if line.startswith("RCPT TO:<later") else None)
    with running(tmp_path, relay(sink.port)) as site:
        yield site
    sink.close()


def send(site: Site, *recipients: str, sender: str = "a@client.test", subject: str = "queued") -> str:
    """The id of the message."""
    with Talk(site.port) as talk:
        answer = talk.mail(sender, recipients, content(subject))
    assert answer.startswith("250 2.0.0"), answer
    return answer.split()[-1]


def tried(site: Site) -> None:
    wait_until(lambda: all(row["attempts"] for row in site.queue()), lambda: site.queue())


def test_list_and_show(suspended: Site) -> None:
    assert suspended.run("queue", "list").stdout == "nothing waits\n"
    id = send(suspended, "b@one.test", "c@two.test", sender="")
    rows = suspended.lines("queue", "list")
    assert [(row["message"], row["number"], row["recipient"]) for row in rows] == [
        (id, 0, "b@one.test"),
        (id, 1, "c@two.test"),
    ]
    assert {(row["state"], row["priority"], row["sender"], row["attempts"]) for row in rows} == {
        ("waiting", "normal", "", 0)
    }
    table = suspended.run("queue", "list").stdout.splitlines()
    assert table[0].split() == ["ID", "STATE", "CLASS", "AGE", "DUE", "TRIES", "FROM", "TO", "WHY"]
    assert len(table) == 3
    assert rows[0]["id"] in table[1]
    shown = suspended.run("queue", "show", id).stdout
    for words in (id, "b@one.test", "c@two.test", "from:     <>", "waiting"):
        assert words in shown
    (one,) = suspended.lines("queue", "show", rows[1]["id"])
    assert one["recipient"] == "c@two.test"


FILTERS: list[tuple[dict[str, str], set[str]]] = [
    ({"domain": "one.test"}, {"b@one.test", "x@one.test"}),
    ({"domain": "ONE.test"}, {"b@one.test", "x@one.test"}),
    ({"sender": "other@client.test"}, {"x@one.test"}),
    ({"domain": "one.test", "sender": "a@client.test"}, {"b@one.test"}),
    ({"state": "held"}, {"c@two.test"}),
    ({"state": "waiting"}, {"b@one.test", "x@one.test"}),
    ({"priority": "normal"}, {"b@one.test", "c@two.test", "x@one.test"}),
    ({"priority": "bulk"}, set()),
    ({"before": "1000"}, set()),
    ({"received_after": "1000"}, {"b@one.test", "c@two.test", "x@one.test"}),
    ({"domain": "no.test"}, set()),
    ({"tenant": "nobody"}, set()),
    ({"campaign": "nothing"}, set()),
    ({"site": "nowhere"}, set()),
]
COMMANDS: list[tuple[tuple[str, ...], set[str]]] = [
    (("--domain", "one.test", "--sender", "a@client.test", "--priority", "normal"), {"b@one.test"}),
    (("--state", "held", "--older-than", "0s"), {"c@two.test"}),
    (("--older-than", "1h", "--tenant", "t", "--campaign", "c", "--site", "s"), set()),
]


def test_filters(suspended: Site) -> None:
    send(suspended, "b@one.test")
    held = send(suspended, "c@two.test")
    send(suspended, "x@one.test", sender="other@client.test")
    assert suspended.run("queue", "hold", held).returncode == 0
    for filters, wanted in FILTERS:
        assert {row["recipient"] for row in suspended.queue(**filters)} == wanted, filters
    for arguments, wanted in COMMANDS:
        assert {row["recipient"] for row in suspended.lines("queue", "list", *arguments)} == wanted, arguments
    assert len(suspended.lines("queue", "list", "--limit", "2")) == 2
    assert "there are more" in suspended.run("queue", "list", "--limit", "2").stdout


def test_pages(suspended: Site) -> None:
    """More than the API gives in one page; each entry once, in order."""
    recipients = [f"r{number}@d{number % 7}.test" for number in range(500)]
    for _ in range(3):
        send(suspended, *recipients)
    rows = suspended.lines("queue", "list", "--limit", "5000")
    assert len(rows) == 1_500
    assert len({row["id"] for row in rows}) == 1_500
    assert sum(row["recipient"].endswith("@d3.test") for row in rows) == len(suspended.queue(domain="d3.test"))
    assert len(suspended.run("queue", "list", "--limit", "1200").stdout.splitlines()) == 1_202
    ended = suspended.run("queue", "cancel", "--all")
    assert (ended.returncode, ended.stdout) == (0, "cancel: 1,500 entries changed\n")
    assert suspended.queue() == []


def test_hold_and_release(later: Site) -> None:
    id = send(later, "later@one.test", "later2@one.test")
    tried(later)
    first, second = later.queue()
    held = later.run("queue", "hold", first["id"], "--why", "a look at it", "--until", "2h")
    assert (held.returncode, held.stdout) == (0, "hold: 1 entries changed\n")
    assert {row["id"]: row["state"] for row in later.queue()} == {first["id"]: "held", second["id"]: "waiting"}
    released = later.run("queue", "release", id)
    assert released.returncode == 0, released.stderr
    wait_until(lambda: later.queue(state="held") == [], lambda: later.queue())
    wait_until(lambda: all(row["state"] == "waiting" for row in later.queue()), lambda: later.queue())
    orders = [fact["about"] for fact in later.facts() if fact["about"].get("kind") in ("hold", "release")]
    assert [(fact["kind"], fact["why"], fact["changed"]) for fact in orders] == [
        ("hold", "a look at it", 1),
        ("release", "", 1),
    ]
    assert orders[0]["until"] > 0
    assert orders[0]["by"]


def test_a_hold_by_filter_stands_until_a_release_by_the_same_filter(suspended: Site) -> None:
    send(suspended, "b@one.test")
    held = suspended.run("queue", "hold", "--domain", "one.test")
    assert held.stdout == "hold: 1 entries changed; later mail that fits too, until a release with the same filter\n"
    send(suspended, "later@one.test", "later@two.test")
    states = {"b@one.test": "held", "later@one.test": "held", "later@two.test": "waiting"}
    assert {row["recipient"]: row["state"] for row in suspended.queue()} == states
    assert suspended.run("queue", "release", "--domain", "one.test").stdout == "release: 2 entries changed\n"
    send(suspended, "last@one.test")
    assert {row["state"] for row in suspended.queue()} == {"waiting"}


def test_what_is_held_is_not_delivered_until_it_is_released(tmp_path: Path, sink: RecordingSink) -> None:
    with running(tmp_path, relay(sink.port, suspended=True)) as site:
        held, free = send(site, "held@one.test"), send(site, "free@one.test")
        assert site.run("queue", "hold", held).returncode == 0
        site.server.stop()
        site.server.config.write_text(site.server.config.read_text().replace("suspended = true", "suspended = false"))
        sink.keep_bodies = True
        site.start()
        wait_until(lambda: len(sink.messages) == 1, lambda: site.queue())
        assert free.encode() in sink.messages[0]
        assert [row["state"] for row in site.queue()] == ["held"]
        assert site.run("queue", "retry", "--all").returncode == 0
        assert site.run("queue", "flush").returncode == 0
        assert [row["state"] for row in site.queue()] == ["held"]
        assert site.run("queue", "release", held).returncode == 0
        wait_until(lambda: len(sink.messages) == 2, lambda: site.queue())
        wait_until(lambda: site.queue() == [], lambda: site.queue())


def test_cancel(later: Site, tmp_path: Path) -> None:
    """One recipient, then a domain, then by sender; nothing comes back to the sender, and a restart forgets nothing."""
    send(later, "later@one.test", "later@two.test", "later@three.test")
    send(later, "later@four.test", sender="other@client.test")
    tried(later)
    by_domain = {row["recipient"].partition("@")[2]: row["id"] for row in later.queue()}
    assert later.run("queue", "cancel", by_domain["one.test"]).stdout == "cancel: 1 entries changed\n"
    assert later.run("queue", "cancel", "--domain", "two.test").stdout == "cancel: 1 entries changed\n"
    assert later.run("queue", "cancel", "--sender", "other@client.test").stdout == "cancel: 1 entries changed\n"
    assert [row["recipient"] for row in later.queue()] == ["later@three.test"]
    later.server.kill()
    later.start()
    assert [row["recipient"] for row in later.queue()] == ["later@three.test"]
    assert later.metric("angarium_failed_total") == 0


@pytest.mark.parametrize("order", [("retry", "--domain", "one.test"), ("retry", "--all"), ("flush",)], ids=" ".join)
def test_retry_and_flush_try_again_now(later: Site, order: tuple[str, ...]) -> None:
    send(later, "later@one.test")
    tried(later)
    attempts = later.queue()[0]["attempts"]
    assert later.run("queue", *order).returncode == 0
    wait_until(lambda: later.queue()[0]["attempts"] > attempts, lambda: later.queue())
    assert later.queue()[0]["state"] == "waiting"


def test_confirm_clock(suspended: Site) -> None:
    ended = suspended.run("queue", "confirm-clock", "--why", "looked at it")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", UNKNOWN),
        ("show", f"{UNKNOWN}.3"),
        ("show", "nonsense"),
        ("show", "../../metrics"),
        ("hold", UNKNOWN),
        ("release", UNKNOWN),
        ("cancel", UNKNOWN),
        ("retry", UNKNOWN),
        ("cancel", "nonsense"),
        ("cancel", f"{UNKNOWN}.99999999999"),
    ],
    ids=" ".join,
)
def test_unknown_ids(site_with_one: Site, arguments: tuple[str, ...]) -> None:
    ended = site_with_one.run("queue", *arguments)
    assert ended.returncode == 1, ended
    assert ended.stderr.startswith("angarium: ")
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert arguments[1].rpartition("/")[2].partition(".")[0] in ended.stderr
    assert len(site_with_one.queue()) == 1


@pytest.fixture(scope="module")
def site_with_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("queue"), relay(9, suspended=True)) as site:
        send(site, "b@one.test")
        yield site


def test_an_order_without_a_target_changes_nothing(site_with_one: Site) -> None:
    for order in ("hold", "release", "cancel", "retry"):
        ended = site_with_one.run("queue", order)
        assert_one_sentence(ended)
        assert "--all" in ended.stderr
    assert [row["state"] for row in site_with_one.queue()] == ["waiting"]


def test_ids_in_any_case(site_with_one: Site) -> None:
    (row,) = site_with_one.queue()
    assert json.loads(site_with_one.run("queue", "show", row["id"].lower(), "--json").stdout)["id"] == row["id"]


def test_orders_that_stand(suspended: Site) -> None:
    """Listed with what they are for; a release of everything says which it leaves, and leaves none."""
    assert suspended.run("queue", "rules").stdout == "no order stands\n"
    send(suspended, "b@one.test")
    for domain in ("one.test", "two.test"):
        assert suspended.run("queue", "hold", "--domain", domain, "--why", "a look").returncode == 0
    kept = suspended.run("queue", "keep", "--all")
    assert (kept.returncode, kept.stdout.split(",")[0]) == (0, "kept: the content of 1 messages and of what comes")
    one, two, hold = suspended.lines("queue", "rules")
    assert [(one["kind"], one["where"], one["why"]), (two["kind"], two["where"], two["why"])] == [
        ("hold", {"domain": "one.test"}, "a look"),
        ("hold", {"domain": "two.test"}, "a look"),
    ]
    assert (hold["kind"], hold["messages"]) == ("legal-hold", 1)
    table = suspended.run("queue", "rules").stdout
    assert "--domain two.test" in table and "the content of 1 messages" in table
    lifted = suspended.run("queue", "lift", str(one["rule"]))
    assert (lifted.returncode, lifted.stdout) == (0, f"lifted: rule {one['rule']}\n")
    assert_one_sentence(suspended.run("queue", "lift", str(one["rule"])))
    released = suspended.run("queue", "release", "--all")
    assert (released.returncode, released.stdout) == (0, "release: 1 entries changed\n")
    assert [rule["kind"] for rule in suspended.lines("queue", "rules")] == ["legal-hold"]
    assert suspended.run("queue", "lift", str(hold["rule"])).returncode == 0
    assert suspended.lines("queue", "rules") == []


def test_readers_of_the_journal_are_forgotten(suspended: Site) -> None:
    assert suspended.run("journal", "followers").stdout == "nobody reads\n"
    assert_one_sentence(suspended.run("journal", "forget", "nobody"))
