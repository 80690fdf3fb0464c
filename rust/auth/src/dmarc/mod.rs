//! DMARC (RFC 9989): does what SPF or DKIM proved belong to the authors that a reader sees?
//!
//! Organizational domains are found by walking up the tree, at most eight questions for a name. Each author domain is
//! judged; the message passes only if all pass, and the strictest policy of those that fail counts. A message with two
//! From fields never passes. A temporary failure of DNS is `temperror`, never a pass.

pub mod record;

use angarium_nouns::Domain;

use crate::author::{AuthorError, Authors};
use crate::dkim;
use crate::dns::{Answer, Known, Missing, Pending, Question};
use crate::spf::{self, is_within};
use record::{Policy, Record, Suffix, is_dmarc};

/// RFC 9989 4.10: questions of one walk.
pub const MAX_STEPS: usize = 8;
/// RFC 9989 4.10: a longer name goes on at this many labels.
const LABELS_AFTER_JUMP: usize = 7;
/// Verified DKIM domains whose organizational domain is looked for. Each may cost a walk.
pub const MAX_IDENTIFIERS: usize = 10;

/// The results of RFC 8601 2.7.4 as RFC 9989 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    None,
    Pass,
    Fail,
    TempError,
    PermError,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// What was found for one author domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub domain: Domain,
    pub outcome: Outcome,
    /// Where the record lies, without `_dmarc.`.
    pub record_domain: Option<Box<str>>,
    pub record: Option<Record>,
    pub organization: Option<Box<str>>,
    /// What the record asks for this very name (p, sp or np).
    pub policy: Policy,
    pub spf_aligned: bool,
    pub dkim_aligned: bool,
    pub steps: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    /// What the domain asks for a message that fails, softened while it tests; none if it does not fail.
    pub disposition: Policy,
    pub authors: Vec<Author>,
    pub problem: Option<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Author(#[from] AuthorError),
    #[error("the message has {0} From fields")]
    SeveralFields(usize),
    #[error("DNS failed for the policy")]
    Dns,
}

/// What was proved: the SPF identity, and the DKIM domains that verified.
#[derive(Debug, Clone, Copy)]
pub struct Proved<'a> {
    /// `None`: there is no client to judge.
    pub spf: Option<&'a spf::Verdict>,
    pub dkim: &'a [dkim::Verdict],
}

pub fn check(known: &Known, authors: &Result<Authors, AuthorError>, proved: &Proved<'_>) -> Result<Verdict, Pending> {
    let authors = match authors {
        Ok(authors) => authors,
        Err(problem) => {
            let problem = Some(problem.clone().into());
            let verdict = Verdict { outcome: Outcome::PermError, disposition: Policy::None, authors: vec![], problem };
            return Ok(verdict);
        }
    };
    let judged: Vec<_> = authors.domains.iter().map(|domain| judge(known, domain, proved)).collect();
    let judged = judged.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(combine(judged, authors.fields))
}

/// The strictest of all authors (RFC 9989 11.5).
fn combine(mut authors: Vec<Author>, fields: usize) -> Verdict {
    let several = fields > 1;
    for author in authors.iter_mut().filter(|author| several && author.outcome == Outcome::Pass) {
        author.outcome = Outcome::Fail;
        author.steps.push("two From fields: readers differ in which they show".into());
    }
    let any = |outcome| authors.iter().any(|author| author.outcome == outcome);
    let order = [Outcome::Fail, Outcome::TempError, Outcome::PermError, Outcome::None];
    let outcome = order.into_iter().find(|outcome| any(*outcome)).unwrap_or(Outcome::Pass);
    let failed = authors.iter().filter(|author| author.outcome == Outcome::Fail);
    let disposition = failed.map(Author::disposition).max().unwrap_or(Policy::None);
    let problem = match outcome {
        _ if several => Some(Problem::SeveralFields(fields)),
        Outcome::TempError => Some(Problem::Dns),
        _ => None,
    };
    Verdict { outcome, disposition, authors, problem }
}

impl Author {
    fn disposition(&self) -> Policy {
        let testing = self.record.as_ref().is_some_and(|record| record.testing);
        if testing { self.policy.softened() } else { self.policy }
    }
}

fn judge(known: &Known, domain: &Domain, proved: &Proved<'_>) -> Result<Author, Pending> {
    let mut author = Author {
        domain: domain.clone(),
        outcome: Outcome::None,
        record_domain: None,
        record: None,
        organization: None,
        policy: Policy::None,
        spf_aligned: false,
        dkim_aligned: false,
        steps: Vec::new(),
    };
    let Some(tree) = walk(known, domain.as_str())? else {
        author.outcome = Outcome::TempError;
        return Ok(author);
    };
    author.organization = Some(tree.organization.clone());
    let Some((at, record)) = tree.policy() else {
        author.steps.push(format!("neither {domain} nor a name above it publishes DMARC"));
        return Ok(author);
    };
    author.steps.push(format!("{at} publishes {}", record.text));
    author.policy = policy_for(known, domain.as_str(), at, record, &mut author.steps)?;
    author.record_domain = Some(at.into());
    let spf = spf_alignment(known, domain.as_str(), &tree, record, proved)?;
    let dkim = dkim_alignment(known, domain.as_str(), &tree, record, proved)?;
    (author.spf_aligned, author.dkim_aligned) = (spf == Some(true), dkim == Some(true));
    author.steps.push(alignment_step("SPF", spf));
    author.steps.push(alignment_step("DKIM", dkim));
    author.outcome = match (author.spf_aligned || author.dkim_aligned, spf, dkim) {
        (true, _, _) => Outcome::Pass,
        (false, None, _) | (false, _, None) => Outcome::TempError,
        _ => Outcome::Fail,
    };
    author.record = Some(record.clone());
    Ok(author)
}

fn alignment_step(what: &str, aligned: Option<bool>) -> String {
    match aligned {
        Some(true) => format!("{what} passed for an aligned domain"),
        Some(false) => format!("{what} proved no aligned domain"),
        None => format!("{what} could not be judged: DNS failed"),
    }
}

/// p, sp or np (RFC 9989 4.10.1 and 4.7).
fn policy_for(
    known: &Known,
    domain: &str,
    at: &str,
    record: &Record,
    steps: &mut Vec<String>,
) -> Result<Policy, Pending> {
    if domain == at {
        steps.push(format!("p={} applies", record.policy.as_str()));
        return Ok(record.policy);
    }
    let below = record.subdomains.unwrap_or(record.policy);
    let Some(nonexistent) = record.nonexistent.filter(|policy| *policy != below) else {
        steps.push(format!("{} applies to names below (sp)", below.as_str()));
        return Ok(below);
    };
    let missing = matches!(known.get(Question::a(domain))?, Answer::NotFound(Missing::Name));
    steps.push(format!("{domain} {}", if missing { "does not exist (np)" } else { "exists (sp)" }));
    Ok(if missing { nonexistent } else { below })
}

/// Whether SPF passed for an aligned domain; `None` if that cannot be said for now.
fn spf_alignment(
    known: &Known,
    domain: &str,
    tree: &Tree,
    record: &Record,
    proved: &Proved<'_>,
) -> Result<Option<bool>, Pending> {
    let Some(spf) = proved.spf else { return Ok(Some(false)) };
    let aligned = || aligned(known, domain, tree, &spf.domain, record.strict_spf);
    match spf.outcome {
        spf::Outcome::Pass => aligned(),
        // It matters only where a pass would have.
        spf::Outcome::TempError => Ok(aligned()?.filter(|aligned| !aligned)),
        _ => Ok(Some(false)),
    }
}

fn dkim_alignment(
    known: &Known,
    domain: &str,
    tree: &Tree,
    record: &Record,
    proved: &Proved<'_>,
) -> Result<Option<bool>, Pending> {
    let mut result = Some(false);
    let of = |outcome| proved.dkim.iter().filter(move |verdict| verdict.outcome == outcome);
    // Passes first: what failed for now matters only where a pass would have.
    for verdict in of(dkim::Outcome::Pass).chain(of(dkim::Outcome::TempError)).take(MAX_IDENTIFIERS) {
        match (aligned(known, domain, tree, &verdict.domain, record.strict_dkim)?, verdict.outcome) {
            (Some(true), dkim::Outcome::Pass) => return Ok(Some(true)),
            (Some(true) | None, _) => result = None,
            (Some(false), _) => {}
        }
    }
    Ok(result)
}

/// RFC 9989 4.4: the same name, or in relaxed mode the same organization.
fn aligned(known: &Known, domain: &str, tree: &Tree, other: &str, strict: bool) -> Result<Option<bool>, Pending> {
    let Ok(other) = Domain::parse(other.strip_suffix('.').unwrap_or(other)) else { return Ok(Some(false)) };
    let other = other.as_str();
    if domain == other {
        return Ok(Some(true));
    }
    // Names of one organization lie below it, so most strangers need no walk.
    if strict || !is_within(other, &tree.organization) {
        return Ok(Some(false));
    }
    Ok(walk(known, other)?.map(|found| found.organization == tree.organization))
}

/// What lies on the way from a name to the root (RFC 9989 4.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Records from the name upwards.
    records: Vec<(Box<str>, Record)>,
    start: Box<str>,
    pub organization: Box<str>,
}

impl Tree {
    /// The record that applies to the name: its own, its organization's, its public suffix's (RFC 9989 4.10.1).
    fn policy(&self) -> Option<(&str, &Record)> {
        let at = |name: &str| self.records.iter().find(|(found, _)| **found == *name);
        let suffix = || self.records.iter().find(|(_, record)| record.suffix == Suffix::Yes);
        at(&self.start).or_else(|| at(&self.organization)).or_else(suffix).map(|(name, record)| (&**name, record))
    }
}

/// Walks up the tree; `Ok(None)`: DNS failed on the way.
pub fn walk(known: &Known, name: &str) -> Result<Option<Tree>, Pending> {
    let mut records = Vec::new();
    let names = steps(name);
    // All at once: a walk that stops early wastes a question, one that asks in turn wastes eight round trips.
    let unknown = names.iter().filter(|name| known.get(question(name)).is_err()).count();
    if unknown > 0 {
        return Err(Pending);
    }
    for at in names {
        let answer = known.get(question(at))?;
        if answer.is_temporary() {
            return Ok(None);
        }
        let Some(record) = single_record(answer) else { continue };
        let suffix = record.suffix;
        records.push((Box::from(at), record));
        if suffix != Suffix::Unknown {
            break;
        }
    }
    let organization = organization(name, &records).into();
    Ok(Some(Tree { records, start: name.into(), organization }))
}

fn question(name: &str) -> Question {
    Question::txt(&format!("_dmarc.{name}"))
}

/// RFC 9989 4.10: several records at one name are as good as none.
fn single_record(answer: &Answer) -> Option<Record> {
    let mut records = answer.texts().iter().filter(|text| is_dmarc(text));
    match (records.next(), records.next()) {
        (Some(text), None) => Record::parse(text),
        _ => None,
    }
}

/// The names of a walk: the name itself, then upwards, a long one from seven labels on.
fn steps(name: &str) -> Vec<&str> {
    let mut names = vec![name];
    let mut rest = name;
    while names.len() < MAX_STEPS {
        let labels = rest.split('.').count();
        let drop = if labels > MAX_STEPS { labels - LABELS_AFTER_JUMP } else { 1 };
        let Some(shorter) = rest.splitn(drop + 1, '.').nth(drop) else { break };
        names.push(shorter);
        rest = shorter;
    }
    names
}

/// RFC 9989 4.10.2.
fn organization<'n>(start: &'n str, records: &'n [(Box<str>, Record)]) -> &'n str {
    for (name, record) in records {
        match record.suffix {
            Suffix::No => return name,
            Suffix::Yes if **name != *start => return below(start, name),
            _ => {}
        }
    }
    records.iter().min_by_key(|(name, _)| name.split('.').count()).map_or(start, |(name, _)| name)
}

/// The name one label below `suffix` on the way to `name`.
fn below<'n>(name: &'n str, suffix: &str) -> &'n str {
    let front = &name[..name.len() - suffix.len() - 1];
    let label = front.rfind('.').map_or(0, |dot| dot + 1);
    &name[label..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks() {
        assert_eq!(steps("a.b.example"), ["a.b.example", "b.example", "example"]);
        let long = steps("a.b.c.d.e.f.g.h.i.mail.example");
        assert_eq!(long.len(), 8);
        assert_eq!(long[1], "e.f.g.h.i.mail.example");
        assert_eq!(long[7], "example");
        assert_eq!(below("a.b.co.example", "co.example"), "b.co.example");
        assert_eq!(below("b.co.example", "co.example"), "b.co.example");
    }

    fn known(records: &[(&str, &str)], from: &str) -> Known {
        let mut known = Known::default();
        for name in steps(from) {
            known.learn(question(name), Answer::NotFound(Missing::Name));
        }
        for (name, text) in records {
            known.learn(question(name), Answer::Texts(vec![text.as_bytes().into()]));
        }
        known
    }

    #[test]
    fn organizations() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, Option<&'a str>);
        let cases: &[Case<'_>] = &[
            (&[], "a.example.com", "a.example.com", None),
            (&[("example.com", "v=DMARC1; p=none")], "a.example.com", "example.com", Some("example.com")),
            (&[("com", "v=DMARC1; p=reject; psd=y")], "a.example.com", "example.com", Some("com")),
            (
                &[("a.example.com", "v=DMARC1; p=none; psd=n"), ("example.com", "v=DMARC1; p=reject")],
                "a.example.com",
                "a.example.com",
                Some("a.example.com"),
            ),
            (
                &[("example.com", "v=DMARC1; p=none"), ("com", "v=DMARC1; p=reject; psd=y")],
                "example.com",
                "example.com",
                Some("example.com"),
            ),
        ];
        for (records, name, organization, policy) in cases {
            let tree = walk(&known(records, name), name).unwrap().unwrap();
            assert_eq!(&*tree.organization, *organization, "{records:?}");
            assert_eq!(tree.policy().map(|(name, _)| name), *policy, "{records:?}");
        }
    }
}
