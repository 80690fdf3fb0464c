//! ARC (RFC 8617): the chain of those who handed a message on, verified, and continued by a seal.
//!
//! A chain is judged by its structure first (each instance once, none missing, up to 50), then by the newest message
//! signature, then by all seals. It passes or fails as a whole; how far back the message itself is still what was
//! signed is `oldest_pass`. A key that DNS could not give for now fails the chain, but says `temporary`.

pub mod seal;

use angarium_message::{Field, Header};
use angarium_nouns::Millis;
use aws_lc_rs::digest::{Context, Digest, SHA256};

use crate::canon::{self, Form};
use crate::dkim::signature::name_of;
use crate::dkim::verify::{check_body, find_key};
use crate::dkim::{Bodies, BodyDigests, Problem as Fault, Signature, header_digest};
use crate::dns::{Known, Pending, Question};
use crate::key::{Algorithm, MAX_RSA_BITS};
use crate::tags::{self, Tags};

pub use seal::{Sealer, seal};

/// RFC 8617 4.2.1.
pub const MAX_INSTANCES: usize = 50;

/// RFC 8617 4.4, and how far the chain holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    None,
    Pass,
    Fail,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// Why a chain fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("a field of the chain has no usable instance number")]
    Instance,
    #[error("the chain has more than 50 instances")]
    TooLong,
    #[error("instance {0} is not there exactly once in all three fields")]
    Incomplete(usize),
    #[error("message signature {0}: {1}")]
    Message(usize, Fault),
    #[error("seal {0}: {1}")]
    Seal(usize, Fault),
    #[error("seal {0} says of the chain before it what cannot be (cv=)")]
    ChainValue(usize),
    #[error("seal {0} says that the chain had failed before it")]
    Failed(usize),
}

/// One instance of the chain.
#[derive(Debug, Clone)]
pub struct Set {
    pub message: Result<Signature, Fault>,
    pub seal: Result<Seal, Fault>,
    /// The results this hop saw, behind `i=n;`.
    pub results: Box<[u8]>,
    message_digest: Option<Digest>,
    seal_digest: Option<Digest>,
}

/// An ARC-Seal, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    pub algorithm: Algorithm,
    pub domain: Box<str>,
    pub selector: Box<str>,
    pub chain: Outcome,
    pub bytes: Vec<u8>,
    pub time: Option<u64>,
}

/// The chain as the header has it.
#[derive(Debug, Clone)]
pub struct Chain {
    pub sets: Result<Vec<Set>, Problem>,
    /// Instances that are there, also in a chain that is broken.
    pub instances: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    pub instances: usize,
    /// The lowest instance whose message signature still holds; 0: all of them (RFC 8617 5.2).
    pub oldest_pass: usize,
    /// The domains of the seals, the oldest first.
    pub sealers: Vec<Box<str>>,
    pub problem: Option<Problem>,
    pub temporary: bool,
    pub steps: Vec<String>,
}

impl Chain {
    /// What the first of those saw who handed the message on to us without a gap of trust; for a chain that passes.
    pub fn vouched(&self, trusts: impl Fn(&str) -> bool) -> Option<&[u8]> {
        let sets = self.sets.as_ref().ok()?;
        let is_trusted = |set: &&Set| set.seal.as_ref().is_ok_and(|seal| trusts(&seal.domain));
        sets.iter().rev().take_while(is_trusted).last().map(|set| &*set.results)
    }
}

/// Reads the chain and the body hashes it wants.
pub fn chain(header: &Header<'_>, data: &[u8], bodies: &mut Bodies) -> Chain {
    let collected = collect(header, data);
    let instances = collected.as_ref().map_or(0, Vec::len);
    Chain { sets: collected.map(|fields| read(header, data, &fields, bodies)), instances }
}

/// The three fields of an instance.
#[derive(Debug, Clone, Copy)]
struct Fields {
    results: Field,
    message: Field,
    seal: Field,
}

/// RFC 8617 5.2 step 3: instances from 1 without gaps, each field of each once.
fn collect(header: &Header<'_>, data: &[u8]) -> Result<Vec<Fields>, Problem> {
    let mut found: [Vec<Option<Field>>; 3] = Default::default();
    for field in header.fields() {
        let Some(kind) = KINDS.iter().position(|name| field.has_name(data, name)) else { continue };
        let at = instance(header.value_of(field), kind == 0).ok_or(Problem::Instance)?;
        if at > MAX_INSTANCES {
            return Err(Problem::TooLong);
        }
        let places = &mut found[kind];
        places.resize(places.len().max(at), None);
        if places[at - 1].replace(*field).is_some() {
            return Err(Problem::Incomplete(at));
        }
    }
    let count = found.iter().map(Vec::len).max().unwrap_or(0);
    let mut sets = Vec::with_capacity(count);
    for at in 0..count {
        let get = |kind: usize| found[kind].get(at).copied().flatten().ok_or(Problem::Incomplete(at + 1));
        sets.push(Fields { results: get(0)?, message: get(1)?, seal: get(2)? });
    }
    Ok(sets)
}

const KINDS: [&str; 3] = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];

/// `i=`; in the results it must be the first thing (RFC 8617 4.1.1), with a semicolon behind it.
fn instance(value: &[u8], is_results: bool) -> Option<usize> {
    let number = if is_results {
        let end = memchr::memchr(b';', value)?;
        let value = tags::trim(&value[..end]).strip_prefix(b"i")?;
        tags::number(tags::trim(tags::trim(value).strip_prefix(b"=")?))?
    } else {
        tags::number(Tags::parse(value).ok()?.get("i")?)?
    };
    (number > 0).then_some(number as usize)
}

fn read(header: &Header<'_>, data: &[u8], fields: &[Fields], bodies: &mut Bodies) -> Vec<Set> {
    let mut sealed = Context::new(&SHA256);
    let mut sets = Vec::with_capacity(fields.len());
    for fields in fields {
        let message = message_signature(header.value_of(&fields.message));
        let message_digest = message.as_ref().ok().map(|signature| {
            bodies.want(signature.body_form);
            let own = &data[fields.message.range()];
            header_digest(header, data, &signature.fields, signature.header_form, own)
        });
        let seal = read_seal(header.value_of(&fields.seal));
        let seal_digest = seal_digest(&mut sealed, data, fields);
        let value = header.value_of(&fields.results);
        let end = memchr::memchr(b';', value).map_or(value.len(), |at| at + 1);
        let results = tags::trim(&value[end..]).into();
        sets.push(Set { message, seal, results, message_digest, seal_digest: Some(seal_digest) });
    }
    sets
}

/// RFC 8617 5.1.1: all fields of the chain so far, the newest seal without its `b=`. The digest goes on from set to
/// set, so a long chain costs no more than its bytes.
fn seal_digest(sealed: &mut Context, data: &[u8], fields: &Fields) -> Digest {
    let mut canonical = Vec::new();
    canon::field(&mut canonical, &data[fields.results.range()], Form::Relaxed);
    canon::field(&mut canonical, &data[fields.message.range()], Form::Relaxed);
    sealed.update(&canonical);
    let mut own = sealed.clone();
    canonical.clear();
    canon::field(&mut canonical, &tags::without_signature(&data[fields.seal.range()]), Form::Relaxed);
    own.update(&canonical[..canonical.len() - 2]);
    canonical.clear();
    canon::field(&mut canonical, &data[fields.seal.range()], Form::Relaxed);
    sealed.update(&canonical);
    own.finish()
}

fn message_signature(value: &[u8]) -> Result<Signature, Fault> {
    let tags = Tags::parse(value)?;
    // Every sealer in the field says c=; without it the validation suite of ARC has it relaxed.
    let signature = Signature::common(&tags, Form::Relaxed)?;
    // RFC 8617 4.1.2: the seals are never signed here.
    if signature.fields.iter().any(|name| name.eq_ignore_ascii_case(b"ARC-Seal")) {
        return Err(Fault::Malformed("h"));
    }
    Ok(signature)
}

fn read_seal(value: &[u8]) -> Result<Seal, Fault> {
    let tags = Tags::parse(value)?;
    let required = |name| tags.get(name).filter(|value| !value.is_empty()).ok_or(Fault::Missing(name));
    // RFC 8617 4.1.3: a seal with h= is no seal.
    if tags.get("h").is_some() {
        return Err(Fault::Malformed("h"));
    }
    let algorithm = match required("a")? {
        b"rsa-sha1" => return Err(Fault::Sha1),
        other => Algorithm::parse(other).ok_or(Fault::Algorithm)?,
    };
    let chain = match required("cv")? {
        b"none" => Outcome::None,
        b"pass" => Outcome::Pass,
        b"fail" => Outcome::Fail,
        _ => return Err(Fault::Malformed("cv")),
    };
    let time = tags.get("t").map(|value| tags::number(value).ok_or(Fault::Malformed("t"))).transpose()?;
    Ok(Seal {
        algorithm,
        domain: name_of(required("d")?).ok_or(Fault::Malformed("d"))?,
        selector: name_of(required("s")?).ok_or(Fault::Malformed("s"))?,
        chain,
        bytes: tags::base64(required("b")?).ok_or(Fault::Malformed("b"))?,
        time,
    })
}

/// Judges the chain (RFC 8617 5.2).
pub fn verify(known: &Known, chain: &Chain, bodies: &BodyDigests, now: Millis) -> Result<Verdict, Pending> {
    let mut verdict = Verdict {
        outcome: Outcome::None,
        instances: chain.instances,
        oldest_pass: 0,
        sealers: Vec::new(),
        problem: None,
        temporary: false,
        steps: Vec::new(),
    };
    let checked = match &chain.sets {
        Ok(sets) if sets.is_empty() => return Ok(verdict),
        Ok(sets) => {
            verdict.sealers =
                sets.iter().filter_map(|set| set.seal.as_ref().ok()).map(|seal| seal.domain.clone()).collect();
            judge(known, sets, bodies, now, &mut verdict)?
        }
        Err(problem) => Err(problem.clone()),
    };
    verdict.outcome = if checked.is_ok() { Outcome::Pass } else { Outcome::Fail };
    if let Err(problem) = &checked {
        verdict.steps.push(problem.to_string());
        verdict.temporary = matches!(problem, Problem::Message(_, Fault::Dns) | Problem::Seal(_, Fault::Dns));
    }
    verdict.problem = checked.err();
    Ok(verdict)
}

fn judge(
    known: &Known,
    sets: &[Set],
    bodies: &BodyDigests,
    now: Millis,
    verdict: &mut Verdict,
) -> Result<Result<(), Problem>, Pending> {
    if let Err(problem) = check_chain_values(sets) {
        return Ok(Err(problem));
    }
    ask_for_keys(known, sets)?;
    let newest = sets.len();
    if let Err(fault) = check_message(known, &sets[newest - 1], bodies, now)? {
        return Ok(Err(Problem::Message(newest, fault)));
    }
    verdict.steps.push(format!("message signature {newest} holds"));
    for at in (1..=newest).rev() {
        if let Err(fault) = check_seal(known, &sets[at - 1])? {
            return Ok(Err(Problem::Seal(at, fault)));
        }
        verdict.steps.push(format!("seal {at} holds"));
    }
    verdict.oldest_pass = oldest_pass(known, sets, bodies, now)?;
    Ok(Ok(()))
}

/// RFC 8617 5.2 steps 2 and 3: the first says none, the others pass; fail ends it.
fn check_chain_values(sets: &[Set]) -> Result<(), Problem> {
    for (at, set) in sets.iter().enumerate().rev() {
        let number = at + 1;
        let seal = set.seal.as_ref().map_err(|fault| Problem::Seal(number, fault.clone()))?;
        match (seal.chain, at) {
            (Outcome::None, 0) | (Outcome::Pass, 1..) => {}
            (Outcome::Fail, _) => return Err(Problem::Failed(number)),
            _ => return Err(Problem::ChainValue(number)),
        }
    }
    Ok(())
}

/// All keys at once, so that they are asked for side by side.
fn ask_for_keys(known: &Known, sets: &[Set]) -> Result<(), Pending> {
    let mut missing = 0;
    for set in sets {
        let seal = set.seal.as_ref().ok().map(|seal| key_name(&seal.selector, &seal.domain));
        let message = set.message.as_ref().ok().map(Signature::key_name);
        for name in seal.into_iter().chain(message) {
            missing += usize::from(known.get(Question::txt(&name)).is_err());
        }
    }
    if missing == 0 { Ok(()) } else { Err(Pending) }
}

fn key_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

fn check_message(known: &Known, set: &Set, bodies: &BodyDigests, now: Millis) -> Result<Result<(), Fault>, Pending> {
    let (signature, digest) = match (&set.message, set.message_digest) {
        (Ok(signature), Some(digest)) => (signature, digest),
        (Err(fault), _) => return Ok(Err(fault.clone())),
        (Ok(_), None) => return Ok(Err(Fault::Mismatch)),
    };
    if let Err(fault) = signature.check_time(now).and_then(|()| check_body(signature, bodies)) {
        return Ok(Err(fault));
    }
    check_bytes(known, &signature.key_name(), signature.algorithm, digest, &signature.bytes)
}

fn check_seal(known: &Known, set: &Set) -> Result<Result<(), Fault>, Pending> {
    let (Ok(seal), Some(digest)) = (&set.seal, set.seal_digest) else { return Ok(Err(Fault::Mismatch)) };
    check_bytes(known, &key_name(&seal.selector, &seal.domain), seal.algorithm, digest, &seal.bytes)
}

fn check_bytes(
    known: &Known,
    name: &str,
    algorithm: Algorithm,
    digest: Digest,
    bytes: &[u8],
) -> Result<Result<(), Fault>, Pending> {
    let key = match find_key(known.get(Question::txt(name))?, name, MAX_RSA_BITS) {
        Ok(key) => key,
        Err(fault) => return Ok(Err(fault)),
    };
    if key.algorithm != algorithm {
        return Ok(Err(Fault::KeyType));
    }
    Ok(if key.verifies(&digest, bytes) { Ok(()) } else { Err(Fault::Mismatch) })
}

/// How many signatures of older hops are looked at for `oldest_pass`.
const MAX_OLDER: usize = 10;

fn oldest_pass(known: &Known, sets: &[Set], bodies: &BodyDigests, now: Millis) -> Result<usize, Pending> {
    let newest = sets.len();
    for at in (1..newest).rev().take(MAX_OLDER) {
        if check_message(known, &sets[at - 1], bodies, now)?.is_err() {
            return Ok(at + 1);
        }
    }
    Ok(if newest > MAX_OLDER + 1 { newest - MAX_OLDER } else { 0 })
}
