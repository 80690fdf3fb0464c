//! What the results of a message lead to, by the policy's table: nothing, a tag, a hold, or a reply that ends it.
//!
//! The strictest row wins. What SPF, DKIM and DMARC found is not held against known forwarders, nor against messages
//! that a trusted ARC sealer vouches for (RFC 8617 7.2.1). Refusals have the codes of RFC 7372 and RFC 8617.

use angarium_auth::inspection::Judge;
use angarium_auth::{Report, arc, dkim, dmarc, results, spf};
use angarium_message::line::Line;
use angarium_nouns::record::EntryState;
use angarium_nouns::{EnhancedCode, Reason, Reply, Verdicts};

use super::Message;
use crate::policy::Action;
use crate::policy::authentication::Judging;

/// Says in a header field what led to a tag or a hold.
pub const FIELD: &str = "X-Angarium-Policy";
const FORWARDER: &str = "forwarder";
const SEALER: &str = "sealer";
/// Methods that a forwarder breaks without wrong.
const EXCUSABLE: [&str; 3] = ["spf", "dkim", "dmarc"];

/// A row that leads somewhere.
struct Row {
    method: &'static str,
    word: String,
    action: Action,
}

/// Fills in what is done and why; the reply when the message ends here.
pub(super) fn judge(judging: &Judging, judge: &Judge, report: &Report, verdicts: &mut Verdicts) -> Result<(), Reply> {
    let excuse = excuse(judging, judge, report);
    let mut rows = rows(judging, report, verdicts);
    if excuse.is_some() && rows.iter().any(|row| EXCUSABLE.contains(&row.method)) {
        rows.retain(|row| !EXCUSABLE.contains(&row.method));
        excuse.unwrap_or_default().clone_into(&mut verdicts.excused);
    }
    let action = rows.iter().map(|row| row.action).max().unwrap_or_default();
    rows.retain(|row| row.action == action);
    action.word().clone_into(&mut verdicts.action);
    verdicts.reasons = rows.iter().map(|row| format!("{}={}", row.method, row.word)).collect();
    match action {
        Action::Defer | Action::Reject => Err(refusal(action, &rows, report)),
        Action::None | Action::Tag | Action::Quarantine => Ok(()),
    }
}

/// Every row that the results meet.
fn rows(judging: &Judging, report: &Report, verdicts: &Verdicts) -> Vec<Row> {
    let row = |method, word: &str| {
        let usual = if is_put_off(method, word, verdicts, judging) { Action::Defer } else { Action::None };
        judging.row(method, word).unwrap_or(usual)
    };
    let words = verdicts.words().into_iter();
    let mut met: Vec<Row> =
        words.map(|(method, word)| Row { method, word: word.to_owned(), action: row(method, word) }).collect();
    if judging.honour_dmarc && report.dmarc.outcome == dmarc::Outcome::Fail {
        let action = match report.dmarc.disposition {
            dmarc::record::Policy::None => Action::None,
            dmarc::record::Policy::Quarantine => Action::Quarantine,
            dmarc::record::Policy::Reject => Action::Reject,
        };
        met.push(Row { method: "dmarc", word: format!("fail p={}", verdicts.disposition), action });
    }
    for kind in &verdicts.findings {
        met.push(Row { method: "finding", word: kind.clone(), action: judging.finding(kind) });
    }
    met.retain(|row| row.action > Action::None);
    met
}

/// Failures of DNS put a message off where they decide: at DMARC, and at SPF where DMARC did not pass without it or
/// the site has rows for SPF.
fn is_put_off(method: &str, word: &str, verdicts: &Verdicts, judging: &Judging) -> bool {
    word == "temperror"
        && match method {
            "dmarc" => true,
            "spf" => verdicts.dmarc != "pass" || judging.has_rows("spf"),
            _ => false,
        }
}

/// Why failures are not held against this message.
fn excuse(judging: &Judging, judge: &Judge, report: &Report) -> Option<&'static str> {
    let client = report.iprev.as_ref();
    let by_address = client.is_some_and(|iprev| judging.forwards(iprev.ip));
    if by_address || proved(report).any(|name| judging.forwards_as(name)) {
        return Some(FORWARDER);
    }
    let vouched = report.arc.outcome == arc::Outcome::Pass
        && judge.chain().vouched(|name| judging.trusts_sealer(name)).is_some_and(says_dmarc_passed);
    vouched.then_some(SEALER)
}

/// Names that the client has proved to be its own, or to speak for.
fn proved(report: &Report) -> impl Iterator<Item = &str> {
    let named = report.iprev.iter().filter(|iprev| iprev.outcome == angarium_auth::iprev::Outcome::Pass);
    let named = named.filter_map(|iprev| iprev.name.as_deref());
    let sender = report.spf.iter().filter(|spf| spf.outcome == spf::Outcome::Pass).map(|spf| &*spf.domain);
    let signed = report.dkim.iter().filter(|one| one.outcome == dkim::Outcome::Pass).map(|one| &*one.domain);
    named.chain(sender).chain(signed)
}

fn says_dmarc_passed(value: &[u8]) -> bool {
    let seen = results::parse(value).map(|read| read.results).unwrap_or_default();
    seen.iter().any(|result| result.method == "dmarc" && result.result == "pass")
}

/// The reply of the rows that won; they have one action.
fn refusal(action: Action, rows: &[Row], report: &Report) -> Reply {
    let permanent = action == Action::Reject;
    let first = &rows[0];
    let (subject, detail) = match (&*first.word, first.method) {
        // RFC 3463 3.5: a directory server could not be asked.
        ("temperror", "dmarc" | "dkim") => (4, 3),
        _ if rows.iter().any(|row| row.method != first.method && row.word != "temperror") => (7, 26),
        (_, "finding") => (6, 0),
        ("temperror" | "permerror", "spf" | "helo") => (7, 24),
        (_, "spf" | "helo") => (7, 23),
        (_, "dkim") => (7, 20),
        (_, "iprev") => (7, 25),
        // RFC 8617 5.2.2.
        (_, "arc") => (7, 29),
        _ => (7, 1),
    };
    let (code, class) = if permanent { (550, 5) } else { (451, 4) };
    let names: Vec<_> = rows.iter().map(|row| format!("{}={}", row.method, row.word)).collect();
    let when = if permanent { "Refused" } else { "Not now" };
    let text = format!("{when} for what the message shows of its sender: {}", names.join(", "));
    let text = if first.method == "finding" {
        format!("{when}: readers differ about this message: {}", names.join(", "))
    } else {
        text
    };
    let text = explained(text, first, report);
    Reply::checked(code, Some(EnhancedCode(class, subject, detail)), text).unwrap_or(Reply::new(
        code,
        (class, subject, detail),
        "Refused by the policy of this site",
    ))
}

/// RFC 7208 8.4: what the domain itself says stands behind its name.
fn explained(text: String, row: &Row, report: &Report) -> String {
    let spf = report.spf.as_ref().filter(|spf| row.method == "spf" && spf.outcome == spf::Outcome::Fail);
    match spf.and_then(|spf| Some((&spf.domain, spf.explanation.as_deref()?))) {
        Some((domain, words)) if words.is_ascii() && domain.is_ascii() => format!("{text}\n{domain} explains: {words}"),
        _ => text,
    }
}

/// What is done to a message that goes on.
pub(super) fn apply(message: &mut Message, verdicts: &Verdicts) {
    if verdicts.action == Action::None.word() {
        return;
    }
    let mut field = Vec::new();
    let mut line = Line::new(&mut field, FIELD, false);
    line.word(&format!("{};", verdicts.action)).words(&verdicts.reasons.join("; ")).end();
    message.put_on_top(&field);
    if verdicts.action == Action::Quarantine.word() {
        for guest in &mut message.recipients {
            guest.record.state = EntryState::Held;
            guest.record.due = 0;
            guest.record.reason = Reason::Policy;
            guest.record.may_report = false;
        }
    }
}
