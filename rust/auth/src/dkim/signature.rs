//! A signature field, read and checked for everything that can be checked without its key (RFC 6376 3.5, 6.1.1).

use angarium_nouns::Millis;

use super::MAX_SIGNED_FIELDS;
use crate::canon::Form;
use crate::dns::is_name;
use crate::key::{Algorithm, KeyError};
use crate::spf::is_within;
use crate::tags::{self, TagError, Tags};

/// A `t=` this far ahead is no clock that goes wrong any more. RFC 6376 3.5 lets verifiers choose.
pub const MAX_AHEAD: u64 = 24 * 3600;

/// What a DKIM-Signature or ARC-Message-Signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub algorithm: Algorithm,
    pub header_form: Form,
    pub body_form: Form,
    pub domain: Box<str>,
    pub selector: Box<str>,
    /// `i=`, or `@` and the domain.
    pub identity: Box<str>,
    pub fields: Vec<Box<[u8]>>,
    pub body_hash: Vec<u8>,
    pub bytes: Vec<u8>,
    pub length: Option<u64>,
    /// Unix seconds.
    pub time: Option<u64>,
    pub expires: Option<u64>,
}

/// Why a signature is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the field is no tag list: {0}")]
    Tags(#[from] TagError),
    #[error("the tag {0}= is missing")]
    Missing(&'static str),
    #[error("the tag {0}= cannot be read")]
    Malformed(&'static str),
    #[error("rsa-sha1 proves nothing any more (RFC 8301 3.1)")]
    Sha1,
    #[error("the algorithm is unknown")]
    Algorithm,
    #[error("From is not signed")]
    FromUnsigned,
    #[error("the identity (i=) is not within the domain (d=)")]
    Identity,
    #[error("the signature expired")]
    Expired,
    #[error("the signature is from the future")]
    Future,
    #[error("the key cannot be asked for by DNS (q=)")]
    Query,
    #[error("the body hash does not match: the body was changed")]
    BodyHash,
    #[error("the signature does not match: the header was changed or the key is another")]
    Mismatch,
    #[error("{0} bytes of the body are not signed (l=)")]
    Unsigned(u64),
    #[error("more of the body was signed than is there (l=)")]
    Longer,
    #[error("there is no key at {0}")]
    NoKey(Box<str>),
    #[error("DNS failed for the key")]
    Dns,
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("the key is not for this algorithm")]
    KeyType,
    #[error("the key is only for identities of exactly its domain (t=s)")]
    StrictIdentity,
    #[error("the message has more than 10 signatures; this one was not checked")]
    TooMany,
}

impl Signature {
    /// Reads the value of a DKIM-Signature field.
    pub fn parse(value: &[u8]) -> Result<Self, Problem> {
        let tags = Tags::parse(value)?;
        match tags.get("v") {
            Some(b"1") => {}
            Some(_) => return Err(Problem::Malformed("v")),
            None => return Err(Problem::Missing("v")),
        }
        let mut signature = Self::common(&tags, Form::Simple)?;
        if let Some(identity) = tags.text("i") {
            let (_, domain) = identity.rsplit_once('@').ok_or(Problem::Malformed("i"))?;
            if !is_within(domain, &signature.domain) {
                return Err(Problem::Identity);
            }
            signature.identity = identity.into();
        }
        if !signature.fields.iter().any(|name| name.eq_ignore_ascii_case(b"from")) {
            return Err(Problem::FromUnsigned);
        }
        Ok(signature)
    }

    /// The tags that DKIM and ARC share. `default` is the form of both parts where `c=` is missing.
    pub fn common(tags: &Tags<'_>, default: Form) -> Result<Self, Problem> {
        let required = |name| tags.get(name).filter(|value| !value.is_empty()).ok_or(Problem::Missing(name));
        let algorithm = required("a")?;
        if algorithm == b"rsa-sha1" {
            return Err(Problem::Sha1);
        }
        let algorithm = Algorithm::parse(algorithm).ok_or(Problem::Algorithm)?;
        let (header_form, body_form) = forms(tags.get("c"), default).ok_or(Problem::Malformed("c"))?;
        let domain = name_of(required("d")?).ok_or(Problem::Malformed("d"))?;
        let selector = name_of(required("s")?).ok_or(Problem::Malformed("s"))?;
        let identity = format!("@{domain}").into();
        let optional =
            |name| tags.get(name).map(|value| tags::number(value).ok_or(Problem::Malformed(name))).transpose();
        if tags.get("q").is_some_and(|methods| !tags::items(methods).any(|method| method == b"dns/txt")) {
            return Err(Problem::Query);
        }
        let (time, expires) = (optional("t")?, optional("x")?);
        if expires.is_some_and(|expires| time.is_some_and(|time| expires <= time)) {
            return Err(Problem::Malformed("x"));
        }
        Ok(Self {
            algorithm,
            header_form,
            body_form,
            domain,
            selector,
            identity,
            fields: signed_fields(tags.get("h").ok_or(Problem::Missing("h"))?)?,
            body_hash: tags::base64(required("bh")?).ok_or(Problem::Malformed("bh"))?,
            bytes: tags::base64(required("b")?).ok_or(Problem::Malformed("b"))?,
            length: optional("l")?,
            time,
            expires,
        })
    }

    /// Whether the signature counts at this time.
    pub fn check_time(&self, now: Millis) -> Result<(), Problem> {
        let now = now / 1000;
        if self.expires.is_some_and(|expires| expires < now) {
            return Err(Problem::Expired);
        }
        if self.time.is_some_and(|time| time > now + MAX_AHEAD) {
            return Err(Problem::Future);
        }
        Ok(())
    }

    /// Where the key lies.
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }
}

fn signed_fields(value: &[u8]) -> Result<Vec<Box<[u8]>>, Problem> {
    let mut fields = Vec::with_capacity(24);
    // RFC 6376 3.5 knows no empty name, but a verifier loses nothing by passing over it.
    for name in tags::items(value).filter(|name| !name.is_empty()) {
        let good = name.iter().all(|byte| matches!(byte, b'!'..=b'~'));
        if !good || fields.len() == MAX_SIGNED_FIELDS {
            return Err(Problem::Malformed("h"));
        }
        fields.push(name.into());
    }
    Ok(fields)
}

/// `header/body`; a body of which nothing is said is simple (RFC 6376 3.5).
fn forms(value: Option<&[u8]>, default: Form) -> Option<(Form, Form)> {
    let Some(value) = value else { return Some((default, default)) };
    match value.iter().position(|byte| *byte == b'/') {
        None => Some((Form::parse(value)?, Form::Simple)),
        Some(at) => Some((Form::parse(&value[..at])?, Form::parse(&value[at + 1..])?)),
    }
}

pub(crate) fn name_of(value: &[u8]) -> Option<Box<str>> {
    let name = std::str::from_utf8(value).ok()?;
    (is_name(name) && !name.contains([' ', '@', ';', ':', '/'])).then(|| name.into())
}
