//! Sealing (RFC 8617 5.1): the three fields that continue a chain, or begin one.

use angarium_message::Header;
use angarium_nouns::Millis;
use aws_lc_rs::digest::{Context, Digest, SHA256};

use super::{Chain, Fields, MAX_INSTANCES, Outcome, collect};
use crate::canon::{self, BodyDigest, Form};
use crate::dkim::header_digest;
use crate::dkim::sign::{Folded, OVERSIGNED, SIGNED, SignError};
use crate::dkim::signature::name_of;
use crate::key::SigningKey;

/// How a domain seals.
#[derive(Debug)]
pub struct Sealer {
    pub key: SigningKey,
    pub domain: Box<str>,
    pub selector: Box<str>,
    /// The names for `h=`, as they shall stand there.
    pub fields: Vec<Box<str>>,
}

/// RFC 5322 2.1.1 asks for at most 78. The signature of the message alone stands in one line, at most 684 characters:
/// the seal covers the folds in it, so there are none to be folded another way.
const WIDTH: usize = 76;

/// What is sealed: the verdict of the chain so far goes into `cv=`, our results into the results field.
#[derive(Debug, Clone, Copy)]
pub struct Sealed<'a> {
    pub outcome: Outcome,
    /// The value of our Authentication-Results: authserv-id and results.
    pub results: &'a str,
    /// The body hash in relaxed form.
    pub body: &'a BodyDigest,
    pub now: Millis,
}

impl Sealer {
    /// A sealer that signs what DKIM signs, and the DKIM signatures (RFC 8617 4.1.2).
    pub fn new(key: SigningKey, domain: &str, selector: &str) -> Result<Self, SignError> {
        let name = |text: &str| name_of(text.as_bytes()).ok_or(SignError::Name);
        Ok(Self { key, domain: name(domain)?, selector: name(selector)?, fields: Vec::new() })
    }

    /// The names for `h=`: those set, else what is there of the tables, over-signed as DKIM does it.
    fn names(&self, header: &Header<'_>, data: &[u8]) -> Vec<Box<[u8]>> {
        if !self.fields.is_empty() {
            return self.fields.iter().map(|name| name.as_bytes().into()).collect();
        }
        let mut names: Vec<Box<[u8]>> = Vec::new();
        for name in SIGNED.iter().chain(&["DKIM-Signature"]) {
            let there = header.fields().iter().filter(|field| field.has_name(data, name)).count();
            let over = usize::from(OVERSIGNED.contains(name));
            names.extend((0..(there + over).min(8)).map(|_| name.as_bytes().into()));
        }
        names
    }
}

/// The fields ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, to be put in front of the message.
/// `None`: a chain that had failed before, or that is full, is not continued (RFC 8617 5.1).
pub fn seal(
    sealer: &Sealer,
    header: &Header<'_>,
    data: &[u8],
    chain: &Chain,
    what: &Sealed<'_>,
) -> Result<Option<Vec<u8>>, SignError> {
    let instance = chain.instances + 1;
    if instance > MAX_INSTANCES || already_failed(chain) {
        return Ok(None);
    }
    let results = results_field(instance, what.results);
    let message = message_signature(sealer, header, data, instance, what)?;
    let mut field = Folded::new("ARC-Seal", WIDTH);
    field.tag("a", sealer.key.algorithm().as_str()).open_line("b");
    let cv = if instance == 1 { Outcome::None } else { what.outcome };
    let mut rest = Folded::behind_long();
    rest.tag("cv", cv.as_str()).tag("d", &sealer.domain).tag("i", &instance.to_string());
    rest.tag("s", &sealer.selector).tag("t", &(what.now / 1000).to_string());
    let unsigned = [&field.out[..], &rest.out].concat();
    let older = if cv == Outcome::Fail { Vec::new() } else { collect(header, data).unwrap_or_default() };
    let digest = digest(data, &older, &[&results, &message], &unsigned);
    field.long(&base64_simd::STANDARD.encode_to_string(&sealer.key.sign(&digest)?));
    field.out.extend_from_slice(&rest.out);
    Ok(Some([field.end(), message, results].concat()))
}

fn already_failed(chain: &Chain) -> bool {
    let newest = chain.sets.as_ref().ok().and_then(|sets| sets.last());
    newest.and_then(|set| set.seal.as_ref().ok()).is_some_and(|seal| seal.chain == Outcome::Fail)
}

fn results_field(instance: usize, results: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut line = angarium_message::line::Line::new(&mut out, "ARC-Authentication-Results", false);
    line.word(&format!("i={instance};")).words(results).end();
    out
}

fn message_signature(
    sealer: &Sealer,
    header: &Header<'_>,
    data: &[u8],
    instance: usize,
    what: &Sealed<'_>,
) -> Result<Vec<u8>, SignError> {
    let names = sealer.names(header, data);
    let mut field = Folded::new("ARC-Message-Signature", WIDTH);
    field.tag("a", sealer.key.algorithm().as_str()).open_line("b");
    let mut rest = Folded::behind_long();
    rest.tag("bh", &base64_simd::STANDARD.encode_to_string(what.body.sha256)).tag("c", "relaxed/relaxed");
    rest.tag("d", &sealer.domain).list("h", &names).tag("i", &instance.to_string());
    rest.tag("s", &sealer.selector).tag("t", &(what.now / 1000).to_string());
    let unsigned = [&field.out[..], &rest.out].concat();
    let digest = header_digest(header, data, &names, Form::Relaxed, &unsigned);
    field.out.extend_from_slice(base64_simd::STANDARD.encode_to_string(sealer.key.sign(&digest)?).as_bytes());
    field.out.extend_from_slice(&rest.out);
    Ok(field.end())
}

/// RFC 8617 5.1.1; a failed chain is not signed, only the own set (5.1.2).
fn digest(data: &[u8], older: &[Fields], own: &[&[u8]], unsigned: &[u8]) -> Digest {
    let mut canonical = Vec::with_capacity(2048);
    for fields in older {
        for field in [fields.results, fields.message, fields.seal] {
            canon::field(&mut canonical, &data[field.range()], Form::Relaxed);
        }
    }
    for field in own {
        canon::field(&mut canonical, field, Form::Relaxed);
    }
    canon::field(&mut canonical, unsigned, Form::Relaxed);
    canonical.truncate(canonical.len() - 2);
    let mut context = Context::new(&SHA256);
    context.update(&canonical);
    context.finish()
}
