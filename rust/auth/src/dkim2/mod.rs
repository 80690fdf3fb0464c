//! DKIM2 (draft-ietf-dkim-dkim2-spec): is the message what its last hop signed, and was it signed for this envelope?
//!
//! The newest DKIM2-Signature is verified: its tags, its envelope, the hashes of the newest Message-Instance, and its
//! signatures of which one known to us must hold. Older hops are covered by it but their contents are not rebuilt from
//! recipes. A draft: what it says may still change, so nothing else in this room depends on it.

pub mod sign;

pub use sign::{SignError, Signer};

use angarium_message::Header;
use angarium_nouns::Millis;
use aws_lc_rs::digest::{Context, Digest, SHA256};

use crate::canon::{self, Form};
use crate::dkim::signature::{MAX_AHEAD, name_of};
use crate::dkim::verify::find_key;
use crate::dkim::{Bodies, BodyDigests, Problem as KeyFault};
use crate::dns::{Known, Pending, Question};
use crate::key::Algorithm;
use crate::spf::is_within;
use crate::tags;

/// Hops and instances of one message; the bound that RFC 8617 4.2.1 set for ARC.
pub const MAX_HOPS: usize = 50;
/// Signatures of one hop, for algorithms that come and go.
pub const MAX_SIGNATURES: usize = 8;
/// Recipients named by one hop; RFC 5321 4.5.3.1.8 lets a transaction have as many.
pub const MAX_RECIPIENTS: usize = 100;
/// The draft lets verifiers take larger keys than DKIM does; the crypto library ends here.
const MAX_RSA_BITS: usize = 8192;
/// The draft's bound for `n=`.
const MAX_NONCE: usize = 64;

/// Fields that hops add or change on the way: never hashed. So are those that begin with `x-` or `arc-`.
const UNHASHED: [&str; 6] =
    ["received", "return-path", "message-instance", "dkim2-signature", "dkim-signature", "authentication-results"];

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

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the tag list of {0} cannot be read")]
    Tags(&'static str),
    #[error("the tag {0}= is missing or cannot be read")]
    Tag(&'static str),
    #[error("the numbers of {0} are not 1, 2, 3 and so on")]
    Numbers(&'static str),
    #[error("the signature is for another instance than the newest")]
    Instance,
    #[error("the sender (mf=) is not within the domain (d=)")]
    Domain,
    #[error("the nonce is longer than 64 characters")]
    Nonce,
    #[error("the message was signed for another sender")]
    Sender,
    #[error("the message was signed for other recipients")]
    Recipient,
    #[error("the signature is from the future")]
    Future,
    #[error("the header was changed")]
    HeaderHash,
    #[error("the body was changed")]
    BodyHash,
    #[error("no signature is of an algorithm that is known")]
    Algorithm,
    #[error("{0}")]
    Key(#[from] KeyFault),
    #[error("no signature matches")]
    Mismatch,
}

/// The envelope that the message came in, with or without angle brackets.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub sender: &'a str,
    pub recipients: &'a [&'a str],
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    pub outcome: Outcome,
    pub domain: Box<str>,
    pub hops: usize,
    pub problem: Option<Problem>,
}

/// The newest hop, read, with the digests that it must match.
#[derive(Debug, Clone)]
pub struct Hop {
    domain: Box<str>,
    sender: String,
    recipients: Vec<String>,
    nonce: usize,
    time: u64,
    /// Selector, algorithm (`None`: unknown), signature.
    signatures: Vec<(Box<str>, Option<Algorithm>, Vec<u8>)>,
    header_hash: Vec<u8>,
    body_hash: Vec<u8>,
    header: Digest,
    signed: Digest,
}

/// What the header says of its hops.
#[derive(Debug, Clone)]
pub struct Trail {
    pub hop: Result<Option<Hop>, Problem>,
    pub hops: usize,
}

/// Reads the hops of a message and asks for the body hash they need.
pub fn trail(header: &Header<'_>, data: &[u8], bodies: &mut Bodies) -> Trail {
    let hops = header.all("DKIM2-Signature").count();
    if hops == 0 {
        return Trail { hop: Ok(None), hops };
    }
    bodies.want(Form::Simple);
    Trail { hop: read(header, data).map(Some), hops }
}

fn read(header: &Header<'_>, data: &[u8]) -> Result<Hop, Problem> {
    let instances = numbered(header, "Message-Instance", "m")?;
    let hops = numbered(header, "DKIM2-Signature", "i")?;
    let (Some(instance), Some(newest)) = (instances.last(), hops.last()) else {
        return Err(Problem::Numbers("Message-Instance"));
    };
    let tags = Pairs::parse(newest, "DKIM2-Signature")?;
    if tags.number("m")? as usize != instances.len() {
        return Err(Problem::Instance);
    }
    let (header_hash, body_hash) = hashes(instance)?;
    Ok(Hop {
        domain: name_of(tags.get("d")?).ok_or(Problem::Tag("d"))?,
        sender: address(tags.get("mf")?, "mf")?,
        recipients: recipients(tags.get("rt")?)?,
        nonce: tags.find("n").map_or(0, <[u8]>::len),
        time: tags.number("t")?,
        signatures: signatures(tags.get("s")?)?,
        header_hash,
        body_hash,
        header: header_digest(header, data),
        signed: signed_digest(&instances, &hops),
    })
}

/// What the newest hop signs: all instances, all hops before it, and its own field without the signatures.
fn signed_digest(instances: &[Vec<u8>], hops: &[Vec<u8>]) -> Digest {
    let mut context = Context::new(&SHA256);
    for value in instances {
        add(&mut context, "message-instance", value);
    }
    if let Some((newest, earlier)) = hops.split_last() {
        for value in earlier {
            add(&mut context, "dkim2-signature", value);
        }
        add(&mut context, "dkim2-signature", &without_signatures(newest));
    }
    context.finish()
}

/// The values of a field without white space, by their numbers: 1, 2, 3 and so on, each once.
fn numbered(header: &Header<'_>, name: &'static str, tag: &'static str) -> Result<Vec<Vec<u8>>, Problem> {
    let mut found = Vec::new();
    for field in header.all(name).take(MAX_HOPS + 1) {
        let mut value = header.value_of(field).to_vec();
        value.retain(|byte| !byte.is_ascii_whitespace());
        found.push((Pairs::parse(&value, name)?.number(tag)?, value));
    }
    found.sort_unstable_by_key(|pair| pair.0);
    let right = found.iter().zip(1..).all(|((number, _), wanted)| *number == wanted);
    if !right || found.len() > MAX_HOPS {
        return Err(Problem::Numbers(name));
    }
    Ok(found.into_iter().map(|(_, value)| value).collect())
}

/// A tag list whose names do not care about case.
struct Pairs<'a>(Vec<(String, &'a [u8])>);

impl<'a> Pairs<'a> {
    fn parse(value: &'a [u8], field: &'static str) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, &[u8])> = Vec::with_capacity(12);
        for item in value.split(|byte| *byte == b';').filter(|item| !item.is_empty()) {
            let equals = memchr::memchr(b'=', item).ok_or(Problem::Tags(field))?;
            let name = String::from_utf8_lossy(&item[..equals]).to_ascii_lowercase();
            if pairs.len() == tags::MAX_TAGS || pairs.iter().any(|pair| pair.0 == name) {
                return Err(Problem::Tags(field));
            }
            pairs.push((name, &item[equals + 1..]));
        }
        Ok(Self(pairs))
    }

    fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    fn get(&self, name: &'static str) -> Result<&'a [u8], Problem> {
        self.find(name).filter(|value| !value.is_empty()).ok_or(Problem::Tag(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, Problem> {
        tags::number(self.get(name)?).ok_or(Problem::Tag(name))
    }
}

/// `h=sha256:HEADER:BODY`, perhaps among hashes of other kinds.
fn hashes(instance: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Problem> {
    let tags = Pairs::parse(instance, "Message-Instance")?;
    for item in tags.get("h")?.split(|byte| *byte == b',') {
        let mut parts = item.split(|byte| *byte == b':');
        if parts.next() == Some(b"sha256") {
            let mut hash = || parts.next().and_then(tags::base64).ok_or(Problem::Tag("h"));
            return Ok((hash()?, hash()?));
        }
    }
    Err(Problem::Tag("h"))
}

fn address(value: &[u8], tag: &'static str) -> Result<String, Problem> {
    tags::base64(value).and_then(|text| String::from_utf8(text).ok()).ok_or(Problem::Tag(tag))
}

fn recipients(value: &[u8]) -> Result<Vec<String>, Problem> {
    value.split(|byte| *byte == b',').take(MAX_RECIPIENTS).map(|item| address(item, "rt")).collect()
}

type Signed = (Box<str>, Option<Algorithm>, Vec<u8>);

fn signatures(value: &[u8]) -> Result<Vec<Signed>, Problem> {
    let mut found = Vec::new();
    for item in value.split(|byte| *byte == b',').take(MAX_SIGNATURES) {
        let mut parts = item.splitn(3, |byte| *byte == b':');
        let selector = parts.next().and_then(name_of).ok_or(Problem::Tag("s"))?;
        let algorithm = parts.next().ok_or(Problem::Tag("s"))?;
        let bytes = parts.next().and_then(tags::base64).filter(|bytes| !bytes.is_empty()).ok_or(Problem::Tag("s"))?;
        found.push((selector, Algorithm::parse(algorithm), bytes));
    }
    Ok(found)
}

fn add(context: &mut Context, name: &str, value: &[u8]) {
    context.update(name.as_bytes());
    context.update(b":");
    context.update(value);
    context.update(b"\r\n");
}

/// The value with every signature in `s=` cut out; selectors and algorithms stay.
fn without_signatures(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (at, item) in value.split(|byte| *byte == b';').enumerate() {
        if at > 0 {
            out.push(b';');
        }
        if !item.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"s=")) {
            out.extend_from_slice(item);
            continue;
        }
        for (at, part) in item.split(|byte| *byte == b',').enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let cut = memchr::memrchr(b':', part).map_or(part.len(), |colon| colon + 1);
            out.extend_from_slice(&part[..cut]);
        }
    }
    out
}

/// A field of the way, by its name in lower case.
fn is_unhashed(name: &[u8]) -> bool {
    let prefixed = name.starts_with(b"x-") || name.starts_with(b"arc-");
    prefixed || UNHASHED.iter().any(|other| other.as_bytes() == name)
}

/// All fields but those of the way, by name, each name from the bottom up, relaxed.
fn header_digest(header: &Header<'_>, data: &[u8]) -> Digest {
    let mut fields: Vec<(Vec<u8>, usize)> = Vec::with_capacity(header.fields().len());
    for (at, field) in header.fields().iter().enumerate().rev() {
        let name = data[field.name_range()].to_ascii_lowercase();
        if !name.is_empty() && !is_unhashed(&name) {
            fields.push((name, at));
        }
    }
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    let mut context = Context::new(&SHA256);
    let mut canonical = Vec::with_capacity(256);
    for (_, at) in fields {
        canonical.clear();
        canon::field(&mut canonical, &data[header.fields()[at].range()], Form::Relaxed);
        context.update(&canonical);
    }
    context.finish()
}

/// Judges the newest hop. `strict`: addresses must have their angle brackets, as the draft has it by now.
pub fn verify(
    known: &Known,
    trail: &Trail,
    bodies: &BodyDigests,
    envelope: &Envelope<'_>,
    now: Millis,
    strict: bool,
) -> Result<Verdict, Pending> {
    let verdict =
        |outcome, domain: &str, problem| Ok(Verdict { outcome, domain: domain.into(), hops: trail.hops, problem });
    let hop = match &trail.hop {
        Ok(None) => return verdict(Outcome::None, "", None),
        Ok(Some(hop)) => hop,
        Err(problem) => return verdict(Outcome::PermError, "", Some(problem.clone())),
    };
    let checked = check_hop(hop, envelope, now, strict).and_then(|()| check_hashes(hop, bodies));
    let checked = match checked {
        Ok(()) => check_signatures(known, hop)?,
        Err(problem) => Err(problem),
    };
    match checked {
        Ok(()) => verdict(Outcome::Pass, &hop.domain, None),
        Err(problem) => verdict(outcome_of(&problem), &hop.domain, Some(problem)),
    }
}

fn check_hop(hop: &Hop, envelope: &Envelope<'_>, now: Millis, strict: bool) -> Result<(), Problem> {
    if hop.nonce > MAX_NONCE {
        return Err(Problem::Nonce);
    }
    let has_brackets = |text: &str| text.starts_with('<') && text.ends_with('>');
    if strict && !has_brackets(&hop.sender) {
        return Err(Problem::Tag("mf"));
    }
    if strict && !hop.recipients.iter().all(|recipient| has_brackets(recipient)) {
        return Err(Problem::Tag("rt"));
    }
    let sender = bare(&hop.sender);
    let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
    if !sender.is_empty() && !is_within(domain, &hop.domain) {
        return Err(Problem::Domain);
    }
    if !is_same(sender, bare(envelope.sender)) {
        return Err(Problem::Sender);
    }
    let named = |wanted: &&str| hop.recipients.iter().any(|recipient| is_same(bare(recipient), bare(wanted)));
    if !envelope.recipients.iter().all(named) {
        return Err(Problem::Recipient);
    }
    if hop.time > now / 1000 + MAX_AHEAD { Err(Problem::Future) } else { Ok(()) }
}

fn bare(address: &str) -> &str {
    address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address)
}

/// Local parts as they are, domains without regard to case.
fn is_same(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((one, domain)), Some((other, its))) => one == other && domain.eq_ignore_ascii_case(its),
        _ => one == other,
    }
}

fn check_hashes(hop: &Hop, bodies: &BodyDigests) -> Result<(), Problem> {
    if hop.header.as_ref() != hop.header_hash {
        return Err(Problem::HeaderHash);
    }
    let body = bodies.get(Form::Simple).ok_or(Problem::BodyHash)?;
    if body.sha256 == *hop.body_hash { Ok(()) } else { Err(Problem::BodyHash) }
}

/// One signature that holds is enough; those of unknown algorithms count for nothing.
fn check_signatures(known: &Known, hop: &Hop) -> Result<Result<(), Problem>, Pending> {
    let mut problem = Problem::Algorithm;
    for (selector, algorithm, bytes) in &hop.signatures {
        let Some(algorithm) = algorithm else { continue };
        let name = format!("{selector}._domainkey.{}", hop.domain);
        match find_key(known.get(Question::txt(&name))?, &name, MAX_RSA_BITS) {
            Err(fault) => problem = Problem::Key(fault),
            Ok(key) if key.algorithm != *algorithm => problem = Problem::Key(KeyFault::KeyType),
            Ok(key) if key.verifies(&hop.signed, bytes) => return Ok(Ok(())),
            Ok(_) => problem = Problem::Mismatch,
        }
    }
    Ok(Err(problem))
}

fn outcome_of(problem: &Problem) -> Outcome {
    match problem {
        Problem::Key(KeyFault::Dns) => Outcome::TempError,
        Problem::Sender
        | Problem::Recipient
        | Problem::HeaderHash
        | Problem::BodyHash
        | Problem::Algorithm
        | Problem::Mismatch
        | Problem::Future => Outcome::Fail,
        _ => Outcome::PermError,
    }
}
