//! Signing: a DKIM-Signature for a header and a body hash.
//!
//! Fields are chosen by tables: what is there of the list is signed, every instance of it, and the names that must
//! not be added later are named once more than they stand there (RFC 6376 5.4, 8.15). The time is an argument.

use angarium_message::Header;
use angarium_nouns::Millis;

use super::header_digest;
use crate::canon::{BodyDigest, Form};
use crate::key::{SigningKey, SigningKeyError};

/// What is signed if it is there (RFC 6376 5.4.1, with the fields of lists, threads and one-click unsubscribing).
pub const SIGNED: [&str; 26] = [
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Content-Disposition",
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Post",
    "Feedback-ID",
    "Autocrypt",
];
/// What nobody may add: readers show one of two, and not the same one.
pub const OVERSIGNED: [&str; 10] =
    ["From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "MIME-Version", "Content-Type", "Sender"];
/// RFC 5322 2.1.1.
const WIDTH: usize = 76;

/// How a domain signs.
#[derive(Debug)]
pub struct Signer {
    pub key: SigningKey,
    pub domain: Box<str>,
    pub selector: Box<str>,
    /// `i=`, if it says more than the domain.
    pub identity: Option<Box<str>>,
    pub header_form: Form,
    pub body_form: Form,
    /// Seconds until the signature expires.
    pub lifetime: Option<u64>,
    pub signed: Vec<Box<str>>,
    pub oversigned: Vec<Box<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the message has no From, which must be signed")]
    NoFrom,
    #[error("the domain, the selector or the identity cannot stand in a signature")]
    Name,
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

impl Signer {
    /// A signer with the tables of this file, relaxed/relaxed, without expiry.
    pub fn new(key: SigningKey, domain: &str, selector: &str) -> Result<Self, SignError> {
        let name = |text: &str| super::signature::name_of(text.as_bytes()).ok_or(SignError::Name);
        Ok(Self {
            key,
            domain: name(domain)?,
            selector: name(selector)?,
            identity: None,
            header_form: Form::Relaxed,
            body_form: Form::Relaxed,
            lifetime: None,
            signed: SIGNED.map(Into::into).to_vec(),
            oversigned: OVERSIGNED.map(Into::into).to_vec(),
        })
    }

    /// The field with its CRLF, to be put in front of the message. `body` is the hash in [`Self::body_form`].
    pub fn sign(&self, header: &Header<'_>, data: &[u8], body: &BodyDigest, now: Millis) -> Result<Vec<u8>, SignError> {
        let names = self.names(header, data)?;
        let mut field = Folded::new("DKIM-Signature", WIDTH);
        field.tag("v", "1").tag("a", self.key.algorithm().as_str());
        field.tag("c", &format!("{}/{}", self.header_form.as_str(), self.body_form.as_str()));
        field.tag("d", &self.domain).tag("s", &self.selector);
        if let Some(identity) = &self.identity {
            field.tag("i", identity);
        }
        field.tag("t", &(now / 1000).to_string());
        if let Some(lifetime) = self.lifetime {
            field.tag("x", &(now / 1000 + lifetime).to_string());
        }
        field.list("h", &names).tag("bh", &base64_simd::STANDARD.encode_to_string(body.sha256));
        finish(field, header, data, &names, self.header_form, &self.key)
    }

    /// Every instance of what is signed, and one more of what is over-signed.
    fn names(&self, header: &Header<'_>, data: &[u8]) -> Result<Vec<Box<[u8]>>, SignError> {
        if !header.has("From") {
            return Err(SignError::NoFrom);
        }
        let mut names = Vec::with_capacity(24);
        for name in &self.signed {
            let there = header.fields().iter().filter(|field| field.has_name(data, name)).count();
            let over = usize::from(self.oversigned.iter().any(|other| other.eq_ignore_ascii_case(name)));
            for _ in 0..(there + over).min(super::MAX_SIGNED_FIELDS - names.len()) {
                names.push(name.as_bytes().into());
            }
        }
        Ok(names)
    }
}

/// Puts the signature behind `b=`; what was written before is signed as it stands.
pub(crate) fn finish(
    mut field: Folded,
    header: &Header<'_>,
    data: &[u8],
    names: &[Box<[u8]>],
    form: Form,
    key: &SigningKey,
) -> Result<Vec<u8>, SignError> {
    field.open("b");
    let digest = header_digest(header, data, names, form, &field.out);
    let signature = key.sign(&digest)?;
    field.long(&base64_simd::STANDARD.encode_to_string(&signature));
    Ok(field.end())
}

/// A field of tags in the making, folded between tags and inside long values.
#[derive(Debug)]
pub(crate) struct Folded {
    pub out: Vec<u8>,
    width: usize,
    line: usize,
    first: bool,
}

impl Folded {
    pub fn new(name: &str, width: usize) -> Self {
        Self { out: format!("{name}: ").into_bytes(), width, line: 0, first: true }
    }

    /// Tags that follow a long value on a line of their own.
    pub fn behind_long() -> Self {
        Self { out: b";\r\n\t".to_vec(), width: WIDTH, line: 3, first: true }
    }

    fn column(&self) -> usize {
        self.out.len() - self.line
    }

    fn fold(&mut self) {
        while self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        self.out.extend_from_slice(b"\r\n");
        self.line = self.out.len();
        self.out.push(b'\t');
    }

    fn separate(&mut self, length: usize) {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(b"; ");
        }
        if self.column() + length > self.width && self.column() > 1 {
            self.fold();
        }
    }

    pub fn tag(&mut self, name: &str, value: &str) -> &mut Self {
        self.separate(name.len() + value.len() + 2);
        self.out.extend_from_slice(format!("{name}={value}").as_bytes());
        self
    }

    /// A colon-separated list that may be folded behind each colon.
    pub fn list(&mut self, name: &str, items: &[Box<[u8]>]) -> &mut Self {
        self.open(name);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.push(b':');
            }
            if self.column() + item.len() + 1 > self.width && at > 0 {
                self.fold();
            }
            self.out.extend_from_slice(item);
        }
        self
    }

    /// A tag whose value comes later.
    pub fn open(&mut self, name: &str) {
        self.separate(self.width / 2);
        self.out.extend_from_slice(format!("{name}=").as_bytes());
    }

    /// The same on a line of its own.
    pub fn open_line(&mut self, name: &str) {
        self.out.push(b';');
        self.fold();
        self.out.extend_from_slice(format!("{name}=").as_bytes());
    }

    /// A value that may be folded anywhere.
    pub fn long(&mut self, value: &str) {
        let mut rest = value;
        while !rest.is_empty() {
            let room = self.width.saturating_sub(self.column()).clamp(1, rest.len());
            self.out.extend_from_slice(&rest.as_bytes()[..room]);
            rest = &rest[room..];
            if !rest.is_empty() {
                self.fold();
            }
        }
    }

    pub fn end(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"\r\n");
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::{Bodies, Outcome, body_digest, candidates, verify};
    use crate::dns::{Answer, Known, Question};
    use crate::key::Kind;

    const MAIL: &[u8] = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: hello\r\n  there\r\n\r\nbody \r\n\r\n";

    fn judged(message: &[u8], record: &str) -> crate::dkim::Verdict {
        let header = Header::scan(message);
        let mut bodies = Bodies::default();
        let candidates = candidates(&header, message, &mut bodies);
        bodies.update(&message[header.body_start()..]);
        let mut known = Known::default();
        known.learn(Question::txt("s._domainkey.example.org"), Answer::Texts(vec![record.as_bytes().into()]));
        verify(&known, &candidates[0], &bodies.finish(), 1_000_000).unwrap()
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_may_be_added() {
        for kind in [Kind::Rsa2048, Kind::Ed25519] {
            for form in [Form::Simple, Form::Relaxed] {
                let (key, _) = SigningKey::generate(kind).unwrap();
                let record = key.record();
                let mut signer = Signer::new(key, "example.org", "s").unwrap();
                (signer.header_form, signer.body_form) = (form, form);
                let header = Header::scan(MAIL);
                let body = body_digest(&MAIL[header.body_start()..], form);
                let mut signed = signer.sign(&header, MAIL, &body, 1_000_000).unwrap();
                signed.extend_from_slice(MAIL);
                let verdict = judged(&signed, &record);
                assert_eq!(verdict.outcome, Outcome::Pass, "{verdict:?}");
                for added in ["From: c@example.org\r\n", "Subject: x\r\n"] {
                    let forged = [added.as_bytes(), &signed].concat();
                    assert_eq!(judged(&forged, &record).outcome, Outcome::Fail);
                }
                let longer = [&signed[..], b"more\r\n"].concat();
                assert_eq!(judged(&longer, &record).problem, Some(crate::dkim::Problem::BodyHash));
                let lines = signed.split(|byte| *byte == b'\n').map(<[u8]>::len).max();
                assert!(lines.unwrap() <= 79, "{}", String::from_utf8_lossy(&signed));
            }
        }
    }
}
