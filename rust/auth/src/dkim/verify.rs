//! Verifying: what can be said from the header first, then, with the body's hash and the key, the verdict.

use angarium_message::Header;
use angarium_nouns::Millis;
use aws_lc_rs::digest::Digest;

use super::{Bodies, BodyDigests, MAX_SIGNATURES, Outcome, Problem, Signature, header_digest};
use crate::dns::{Answer, Known, Pending, Question};
use crate::key::{MAX_RSA_BITS, PublicKey};
use crate::tags;

/// A signature of the message with the digest of what it signs.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub signature: Result<Signature, Problem>,
    pub digest: Option<Digest>,
    /// What a field that cannot be read said of itself, for the report.
    domain: Box<str>,
    selector: Box<str>,
}

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    pub domain: Box<str>,
    pub selector: Box<str>,
    pub identity: Box<str>,
    pub algorithm: &'static str,
    /// Size of the key; 0 if there was none.
    pub bits: usize,
    /// The beginning of `b=`, which tells signatures of one domain apart (RFC 6008 4).
    pub tag: Box<str>,
    pub testing: bool,
    pub problem: Option<Problem>,
    pub steps: Vec<String>,
}

/// The signatures of a message from the top, and the body hashes they want.
pub fn candidates(header: &Header<'_>, data: &[u8], bodies: &mut Bodies) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for field in header.all("DKIM-Signature") {
        let value = header.value_of(field);
        if candidates.len() == MAX_SIGNATURES {
            candidates.push(Candidate::named(value, Problem::TooMany));
            break;
        }
        candidates.push(match Signature::parse(value) {
            Err(problem) => Candidate::named(value, problem),
            Ok(signature) => {
                bodies.want(signature.body_form);
                let own = &data[field.range()];
                let digest = header_digest(header, data, &signature.fields, signature.header_form, own);
                Candidate::new(signature, digest)
            }
        });
    }
    candidates
}

impl Candidate {
    pub fn new(signature: Signature, digest: Digest) -> Self {
        let (domain, selector) = (signature.domain.clone(), signature.selector.clone());
        Self { signature: Ok(signature), digest: Some(digest), domain, selector }
    }

    fn named(value: &[u8], problem: Problem) -> Self {
        let tags = tags::Tags::parse(value).ok();
        let text = |name| tags.as_ref().and_then(|tags| tags.text(name)).filter(|text| text.len() <= 253);
        Self {
            domain: text("d").unwrap_or_default().into(),
            selector: text("s").unwrap_or_default().into(),
            signature: Err(problem),
            digest: None,
        }
    }
}

/// Judges one signature.
pub fn verify(known: &Known, candidate: &Candidate, bodies: &BodyDigests, now: Millis) -> Result<Verdict, Pending> {
    let mut verdict = Verdict {
        outcome: Outcome::PermError,
        domain: candidate.domain.clone(),
        selector: candidate.selector.clone(),
        identity: "".into(),
        algorithm: "",
        bits: 0,
        tag: "".into(),
        testing: false,
        problem: None,
        steps: Vec::new(),
    };
    let checked = match (&candidate.signature, candidate.digest) {
        (Ok(signature), Some(digest)) => {
            verdict.identity = signature.identity.clone();
            verdict.algorithm = signature.algorithm.as_str();
            verdict.tag =
                base64_simd::STANDARD.encode_to_string(signature.bytes.get(..9).unwrap_or(&signature.bytes)).into();
            verdict.tag = verdict.tag.get(..8).unwrap_or(&verdict.tag).into();
            judge(known, signature, digest, bodies, now, &mut verdict)?
        }
        (Err(problem), _) => Err(problem.clone()),
        (Ok(_), None) => Err(Problem::Mismatch),
    };
    verdict.outcome = checked.as_ref().map_or_else(outcome_of, |()| Outcome::Pass);
    if let Err(problem) = &checked {
        verdict.steps.push(problem.to_string());
    }
    verdict.problem = checked.err();
    Ok(verdict)
}

/// The order of RFC 6376 6.1: the signature itself, its key, the body, the header.
fn judge(
    known: &Known,
    signature: &Signature,
    digest: Digest,
    bodies: &BodyDigests,
    now: Millis,
    verdict: &mut Verdict,
) -> Result<Result<(), Problem>, Pending> {
    let name = signature.key_name();
    let fields = signature.fields.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(":");
    verdict.steps.push(format!("signs {fields}"));
    if let Err(problem) = signature.check_time(now) {
        return Ok(Err(problem));
    }
    let key = match find_key(known.get(Question::txt(&name))?, &name, MAX_RSA_BITS) {
        Ok(key) => key,
        Err(problem) => return Ok(Err(problem)),
    };
    verdict.bits = key.bits;
    verdict.testing = key.testing;
    verdict.steps.push(format!("{name} holds a key of {} bits", key.bits));
    Ok(check(signature, &key, digest, bodies, verdict))
}

fn check(
    signature: &Signature,
    key: &PublicKey,
    digest: Digest,
    bodies: &BodyDigests,
    verdict: &mut Verdict,
) -> Result<(), Problem> {
    if key.algorithm != signature.algorithm {
        return Err(Problem::KeyType);
    }
    let identity = signature.identity.rsplit_once('@').map_or("", |(_, domain)| domain);
    if key.strict_identity && !identity.eq_ignore_ascii_case(&signature.domain) {
        return Err(Problem::StrictIdentity);
    }
    check_body(signature, bodies)?;
    verdict.steps.push("the body hash matches".into());
    if !key.verifies(&digest, &signature.bytes) {
        return Err(Problem::Mismatch);
    }
    verdict.steps.push("the signature matches".into());
    Ok(())
}

/// Whether the body is the one that was signed, all of it.
pub fn check_body(signature: &Signature, bodies: &BodyDigests) -> Result<(), Problem> {
    let body = bodies.get(signature.body_form).ok_or(Problem::BodyHash)?;
    match signature.length {
        Some(length) if length < body.length => return Err(Problem::Unsigned(body.length - length)),
        Some(length) if length > body.length => return Err(Problem::Longer),
        _ => {}
    }
    if body.sha256 == *signature.body_hash { Ok(()) } else { Err(Problem::BodyHash) }
}

/// RFC 6376 3.6.2.2: several records are undefined; a few are tried, none is preferred.
const MAX_RECORDS: usize = 4;

/// The key among the records at its name; one that can be used wins over one that cannot.
pub fn find_key(answer: &Answer, name: &str, max_rsa_bits: usize) -> Result<PublicKey, Problem> {
    if answer.is_temporary() {
        return Err(Problem::Dns);
    }
    let mut problem = Problem::NoKey(name.into());
    for record in answer.texts().iter().take(MAX_RECORDS) {
        match PublicKey::parse(record, max_rsa_bits) {
            Ok(key) => return Ok(key),
            Err(error) => problem = Problem::Key(error),
        }
    }
    Err(problem)
}

/// RFC 8601 2.7.1: what was changed or ran out fails, what nobody should sign like that is policy, the rest an error.
fn outcome_of(problem: &Problem) -> Outcome {
    match problem {
        Problem::BodyHash | Problem::Mismatch | Problem::Expired | Problem::Longer => Outcome::Fail,
        Problem::Unsigned(_) | Problem::Future | Problem::TooMany => Outcome::Policy,
        Problem::Dns => Outcome::TempError,
        _ => Outcome::PermError,
    }
}
