"""DMARC aggregates, TLS reports and feedback reports with their expected content: 10 + 3 + 5."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from angarium.message.reports import Aggregate, Feedback, TlsReport, read_aggregate, read_feedback, read_tls_report

from tests.suites import Result

# Words that the suite has where the report says nothing.
NOTHING = ("", "none", "unspecified")


def run(folder: Path) -> Result:
    result = Result("reports")
    for expected in sorted((folder / "dmarc-feedback").glob("*.json")):
        source = next(path for end in (".xml", ".eml") if (path := expected.with_suffix(end)).exists())
        differences = list(compare_aggregate(read_aggregate(source.read_bytes()), json.loads(expected.read_text())))
        result.case(f"dmarc/{expected.stem}", "; ".join(differences) or None)
    for expected in sorted((folder / "tlsrpt").glob("*.json")):
        source = expected.with_suffix(".eml") if expected.with_suffix(".eml").exists() else expected
        ours = read_tls_report(source.read_bytes())
        differences = list(compare_tls(ours, json.loads(expected.read_text())))
        result.case(f"tls/{expected.stem}", "; ".join(differences) or None)
    for expected in sorted((folder / "arf").glob("*.json")):
        ours_of = read_feedback(expected.with_suffix(".eml").read_bytes())
        differences = list(compare_feedback(ours_of, json.loads(expected.read_text())))
        result.case(f"arf/{expected.stem}", "; ".join(differences) or None)
    return result


def differs(name: str, ours: object, theirs: object) -> Iterator[str]:
    if str(ours).lower() == str(theirs).lower() or (str(ours).lower() in NOTHING and str(theirs).lower() in NOTHING):
        return
    yield f"{name} is {ours!r}, wanted {theirs!r}"


def word(text: str | None) -> str:
    """The suite writes enums as `TempError`; a report has `temperror`, `local_policy` or `dkim-hash-fail`."""
    return re.sub(r"[^a-z]", "", (text or "").lower()).replace("unspecified", "")


def compare_aggregate(ours: Aggregate, want: dict[str, Any]) -> Iterator[str]:
    meta, policy = want["report_metadata"], want["policy_published"]
    for name in ("org_name", "email", "extra_contact_info", "report_id"):
        yield from differs(name, getattr(ours, name), meta[name] or "")
    yield from differs("range", (ours.begin, ours.end), (meta["date_range"]["begin"], meta["date_range"]["end"]))
    yield from differs("domain", ours.domain, policy["domain"])
    yield from differs("testing", ours.testing, policy["testing"])
    for name, long in (("p", policy["p"]), ("sp", policy["sp"])):
        yield from differs(name, word(getattr(ours, name)), word(long))
    for name in ("adkim", "aspf"):
        yield from differs(name, getattr(ours, name)[:1], word(policy[name])[:1])
    yield from differs("records", len(ours.records), len(want["record"]))
    for record, theirs in zip(ours.records, want["record"], strict=False):
        row, evaluated = theirs["row"], theirs["row"]["policy_evaluated"]
        pairs = [
            ("source_ip", record.source_ip, row["source_ip"] or ""),
            ("count", record.count, row["count"]),
            ("disposition", word(record.disposition), word(evaluated["disposition"])),
            ("dkim", word(record.dkim), word(evaluated["dkim"])),
            ("spf", word(record.spf), word(evaluated["spf"])),
            (
                "reasons",
                [known_reason(r.kind) for r in record.reasons],
                [word(r["type_"]) for r in evaluated["reason"]],
            ),
            ("header_from", record.header_from, theirs["identifiers"]["header_from"]),
            ("envelope_from", record.envelope_from, theirs["identifiers"]["envelope_from"] or ""),
            ("dkim", results(record.dkim_results), expected_results(theirs["auth_results"]["dkim"])),
            ("spf", results(record.spf_results), expected_results(theirs["auth_results"]["spf"])),
        ]
        for name, one, other in pairs:
            yield from differs(name, one, other)


def known_reason(kind: str) -> str:
    """RFC 9990 has no sampled_out any more, so the suite calls it other; here the word stays."""
    return "other" if kind == "sampled_out" else word(kind)


def results(found: Any) -> list[tuple[str, str]]:
    return [(one.domain, word(one.result)) for one in found]


def expected_results(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["domain"], word(one["result"])) for one in found]


def compare_tls(ours: TlsReport, want: dict[str, Any]) -> Iterator[str]:
    for name in ("organization-name", "contact-info", "report-id"):
        yield from differs(name, getattr(ours, name.replace("-", "_")), want.get(name) or "")
    yield from differs("start", ours.date_range.start_datetime, want["date-range"]["start-datetime"])
    yield from differs("policies", len(ours.policies), len(want["policies"]))
    for policy, theirs in zip(ours.policies, want["policies"], strict=False):
        summary = theirs["summary"]
        pairs = [
            ("domain", policy.policy.policy_domain, theirs["policy"].get("policy-domain") or ""),
            ("type", policy.policy.policy_type, theirs["policy"].get("policy-type") or ""),
            ("good", policy.summary.total_successful_session_count, summary.get("total-successful-session-count", 0)),
            ("bad", policy.summary.total_failure_session_count, summary.get("total-failure-session-count", 0)),
            (
                "failures",
                [(f.result_type, f.failed_session_count, f.receiving_mx_hostname) for f in policy.failure_details],
                [
                    (f.get("result-type"), f["failed-session-count"], f.get("receiving-mx-hostname") or "")
                    for f in theirs.get("failure-details") or []
                ],
            ),
        ]
        for name, one, other in pairs:
            yield from differs(name, one, other)


def compare_feedback(ours: Feedback, want: dict[str, Any]) -> Iterator[str]:
    fields = dict(ours.fields)
    pairs = [
        ("feedback_type", word(ours.feedback_type), word(want["feedback_type"])),
        ("user_agent", ours.user_agent, want["user_agent"] or ""),
        ("version", ours.version, want["version"]),
        ("incidents", ours.incidents, want["incidents"]),
        ("source_ip", ours.source_ip, want["source_ip"] or ""),
        ("reporting_mta", ours.reporting_mta, want["reporting_mta"] or ""),
        ("envelope", ours.original_envelope_id, want["original_envelope_id"] or ""),
        ("mail_from", ours.original_mail_from, want["original_mail_from"] or ""),
        ("rcpt_to", ", ".join(ours.original_rcpt_to), want["original_rcpt_to"] or ""),
        ("domains", list(ours.reported_domain), want["reported_domain"]),
        ("uris", list(ours.reported_uri), want["reported_uri"]),
        ("auth_failure", word(fields.get("auth-failure")), word(want["auth_failure"])),
        ("delivery_result", word(fields.get("delivery-result")), word(want["delivery_result"])),
        ("dkim_domain", fields.get("dkim-domain", ""), want["dkim_domain"] or ""),
        ("dkim_selector", fields.get("dkim-selector", ""), want["dkim_selector"] or ""),
    ]
    for name, one, other in pairs:
        yield from differs(name, one, other)
