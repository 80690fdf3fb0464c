//! DKIM (RFC 6376 with RFC 8301 and RFC 8463): signatures of a message, verified and made.
//!
//! The header is digested once for each signature and the body once for each canonical form, as it streams by; after
//! that only keys are missing. Refused are rsa-sha1, keys out of bounds, expired signatures, signatures that leave
//! From out, and bodies that `l=` leaves partly unsigned (RFC 6376 8.2): whatever stands there was added by anybody.

pub mod sign;
pub mod signature;
pub mod verify;

pub use sign::{SignError, Signer};
pub use signature::{Problem, Signature};
pub use verify::{Candidate, Verdict, candidates, verify};

use angarium_message::{Field, Header};
use aws_lc_rs::digest::{Context, Digest, SHA256};

use crate::canon::{self, BodyDigest, BodyHash, Form};
use crate::tags;

/// Signatures that are checked in one message, from the top. Real mail has up to five; a hundred would be an attack.
pub const MAX_SIGNATURES: usize = 10;
/// Names in `h=`. Signers that list every field they know stay under 100.
pub const MAX_SIGNED_FIELDS: usize = 256;

/// The results of RFC 8601 2.7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Pass,
    Fail,
    Policy,
    Neutral,
    TempError,
    PermError,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Body hashes in the making, one for each form that somebody wants.
#[derive(Debug, Default, Clone)]
pub struct Bodies {
    simple: Option<BodyHash>,
    relaxed: Option<BodyHash>,
}

/// Finished body hashes.
#[derive(Debug, Default, Clone, Copy)]
pub struct BodyDigests {
    simple: Option<BodyDigest>,
    relaxed: Option<BodyDigest>,
}

impl Bodies {
    pub fn want(&mut self, form: Form) {
        let place = match form {
            Form::Simple => &mut self.simple,
            Form::Relaxed => &mut self.relaxed,
        };
        place.get_or_insert_with(|| BodyHash::new(form));
    }

    pub fn update(&mut self, piece: &[u8]) {
        for body in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            body.update(piece);
        }
    }

    pub fn finish(self) -> BodyDigests {
        BodyDigests { simple: self.simple.map(BodyHash::finish), relaxed: self.relaxed.map(BodyHash::finish) }
    }
}

impl BodyDigests {
    pub fn get(&self, form: Form) -> Option<BodyDigest> {
        match form {
            Form::Simple => self.simple,
            Form::Relaxed => self.relaxed,
        }
    }
}

/// The hash of a body that is at hand as a whole.
pub fn body_digest(body: &[u8], form: Form) -> BodyDigest {
    let mut hash = BodyHash::new(form);
    hash.update(body);
    hash.finish()
}

/// The digest that a signature signs: the fields it names, bottom up for each name, and the signature's own field
/// without `b=` (RFC 6376 3.7, 5.4.2). A name whose fields are used up adds nothing, so nobody can add one later.
pub fn header_digest(header: &Header<'_>, data: &[u8], names: &[Box<[u8]>], form: Form, own: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    let mut canonical = Vec::with_capacity(256);
    for (at, name) in names.iter().enumerate() {
        let earlier = names[..at].iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
        let Some(field) = nth_from_below(header, data, name, earlier) else { continue };
        canonical.clear();
        canon::field(&mut canonical, &data[field.range()], form);
        context.update(&canonical);
    }
    canonical.clear();
    canon::field(&mut canonical, &tags::without_signature(own), form);
    canonical.truncate(canonical.len() - 2); // its own CRLF is not signed
    context.update(&canonical);
    context.finish()
}

fn nth_from_below<'h>(header: &'h Header<'_>, data: &[u8], name: &[u8], n: usize) -> Option<&'h Field> {
    let name = std::str::from_utf8(name).ok()?;
    header.fields().iter().rev().filter(|field| field.has_name(data, name)).nth(n)
}
