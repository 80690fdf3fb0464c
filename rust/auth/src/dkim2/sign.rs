//! Signing with DKIM2: the Message-Instance where this hop is the first or changed something, and the DKIM2-Signature.
//!
//! The draft is the one that our outside suite was made for (recipes with the steps `c` and `d`); later drafts write
//! recipes otherwise. A recipe keeps, of each name and of the body, what stands equal at both ends and quotes the
//! rest, so that a verifier can put back what the message was. Fields are folded; the hash passes over white space.

use std::collections::BTreeSet;
use std::fmt::Write;

use angarium_message::Header;
use angarium_nouns::Millis;
use base64_simd::STANDARD;

use super::{Envelope, MAX_HOPS, MAX_RECIPIENTS, Problem, hashes, header_digest, is_unhashed, numbered, signed_digest};
use crate::canon::{self, Form};
use crate::dkim::body_digest;
use crate::dkim::signature::name_of;
use crate::key::{SigningKey, SigningKeyError};

/// Bytes of a recipe. It is a header field, and servers end headers at 100 KiB to 1 MiB.
pub const MAX_RECIPE: usize = 64 << 10;
const WIDTH: usize = 76;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the domain or the selector cannot stand in a signature")]
    Name,
    #[error("a hop names 1 to {MAX_RECIPIENTS} recipients")]
    Recipients,
    #[error("the message has {MAX_HOPS} hops already")]
    Hops,
    #[error("the hops of the message cannot be continued: {0}")]
    Trail(#[from] Problem),
    #[error("the message was changed since its last hop; what it was before is needed for the recipe")]
    Changed,
    #[error("what is given as the message before is not what the last hop signed")]
    Before,
    #[error("what was changed cannot be told in a recipe: it is not UTF-8, or too much")]
    Recipe,
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

/// How a domain signs.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    domain: Box<str>,
    selector: Box<str>,
}

impl Signer {
    pub fn new(key: SigningKey, domain: &str, selector: &str) -> Result<Self, SignError> {
        let name = |text: &str| name_of(text.as_bytes()).ok_or(SignError::Name);
        Ok(Self { key, domain: name(domain)?, selector: name(selector)? })
    }

    /// The fields to put in front of the message for this envelope. `before`: the message as it came in, needed only
    /// where this hop has changed it.
    pub fn sign(
        &self,
        message: &[u8],
        before: Option<&[u8]>,
        envelope: &Envelope<'_>,
        now: Millis,
    ) -> Result<Vec<u8>, SignError> {
        if envelope.recipients.is_empty() || envelope.recipients.len() > MAX_RECIPIENTS {
            return Err(SignError::Recipients);
        }
        let header = Header::scan(message);
        let mut instances = numbered(&header, "Message-Instance", "m")?;
        let mut hops = numbered(&header, "DKIM2-Signature", "i")?;
        if hops.len() >= MAX_HOPS || instances.len() >= MAX_HOPS {
            return Err(SignError::Hops);
        }
        let instance = instance(&header, message, instances.last(), before)?;
        let number = instances.len() + usize::from(instance.is_some());
        let added = instance.map(|tags| [vec![format!("m={number}")], tags].concat());
        instances.extend(added.as_ref().map(|tags| joined(tags)));
        let encoded = |address: &str| STANDARD.encode_to_string(bracketed(address));
        let recipients: Vec<String> = envelope.recipients.iter().map(|address| encoded(address)).collect();
        let mut tags = vec![
            format!("i={}", hops.len() + 1),
            format!("m={number}"),
            format!("t={}", now / 1000),
            format!("d={}", self.domain),
            format!("mf={}", encoded(envelope.sender)),
            format!("rt={}", recipients.join(",")),
            format!("s={}:{}:", self.selector, self.key.algorithm().as_str()),
        ];
        hops.push(joined(&tags));
        let signature = self.key.sign(&signed_digest(&instances, &hops))?;
        let last = tags.len() - 1;
        tags[last] += &STANDARD.encode_to_string(&signature);
        let mut out = folded("DKIM2-Signature", &tags);
        out.extend(added.map(|tags| folded("Message-Instance", &tags)).unwrap_or_default());
        Ok(out)
    }
}

/// The tags of a new instance behind `m=`, or none where the newest still tells what the message is.
fn instance(
    header: &Header<'_>,
    message: &[u8],
    newest: Option<&Vec<u8>>,
    before: Option<&[u8]>,
) -> Result<Option<Vec<String>>, SignError> {
    let (head, body) = content_hashes(header, message);
    let own = format!("h=sha256:{}:{}", STANDARD.encode_to_string(&head), STANDARD.encode_to_string(&body));
    let Some(newest) = newest else { return Ok(Some(vec![own])) };
    let known = hashes(newest)?;
    if known == (head, body) {
        return Ok(None);
    }
    let before = before.ok_or(SignError::Changed)?;
    let earlier = Header::scan(before);
    if content_hashes(&earlier, before) != known {
        return Err(SignError::Before);
    }
    let recipe = recipe((&earlier, before), (header, message))?;
    Ok(Some(vec![own, format!("r={}", STANDARD.encode_to_string(recipe))]))
}

fn content_hashes(header: &Header<'_>, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let body = body_digest(&message[header.body_start()..], Form::Simple);
    (header_digest(header, message).as_ref().to_vec(), body.sha256.to_vec())
}

/// What makes `before` of `now`, as JSON.
fn recipe(before: (&Header<'_>, &[u8]), now: (&Header<'_>, &[u8])) -> Result<String, SignError> {
    let lines = |(header, message): (&Header<'_>, &[u8])| lines_of(&message[header.body_start()..]);
    let (old, new) = (lines(before), lines(now));
    let mut json = String::from("{");
    if old != new {
        let _ = write!(json, "\"b\":{}", steps(&old, &new, &old)?);
    }
    let mut names: Vec<String> = Vec::new();
    for name in changed_names(before, now) {
        let (old, new) = (fields_of(before, &name), fields_of(now, &name));
        if old.canonical != new.canonical {
            names.push(format!("{}:{}", quoted(&name), steps(&old.canonical, &new.canonical, &old.values)?));
        }
    }
    if !names.is_empty() {
        let comma = if json.len() > 1 { "," } else { "" };
        let _ = write!(json, "{comma}\"h\":{{{}}}", names.join(","));
    }
    json.push('}');
    if json.len() > MAX_RECIPE { Err(SignError::Recipe) } else { Ok(json) }
}

/// Body lines without their ends; the empty ones at the end are not hashed and not told of.
fn lines_of(body: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> =
        body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect();
    while lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

/// The names of hashed fields in either message, in lower case.
fn changed_names(before: (&Header<'_>, &[u8]), now: (&Header<'_>, &[u8])) -> BTreeSet<String> {
    let names = |(header, message): (&Header<'_>, &[u8])| -> Vec<String> {
        let named = header.fields().iter().filter(|field| field.is_named());
        let name = |range| String::from_utf8_lossy(&message[range]).to_ascii_lowercase();
        named.map(|field| name(field.name_range())).filter(|name| !is_unhashed(name.as_bytes())).collect()
    };
    names(before).into_iter().chain(names(now)).collect()
}

/// The fields of a name from the bottom up.
struct Fields {
    canonical: Vec<Vec<u8>>,
    /// What stands behind the colon, unfolded.
    values: Vec<Vec<u8>>,
}

fn fields_of((header, message): (&Header<'_>, &[u8]), name: &str) -> Fields {
    let mut found = Fields { canonical: Vec::new(), values: Vec::new() };
    for field in header.fields().iter().rev().filter(|field| field.has_name(message, name)) {
        let mut canonical = Vec::new();
        canon::field(&mut canonical, &message[field.range()], Form::Relaxed);
        found.canonical.push(canonical);
        let value = header.value_of(field).iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n'));
        found.values.push(value.collect());
    }
    found
}

/// Steps from `new` to `old`: what is equal at both ends is copied, what is between is quoted from `literal`.
fn steps(old: &[Vec<u8>], new: &[Vec<u8>], literal: &[Vec<u8>]) -> Result<String, SignError> {
    let front = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let room = old.len().min(new.len()) - front;
    let back = old.iter().rev().zip(new.iter().rev()).take(room).take_while(|(one, other)| one == other).count();
    let mut steps = Vec::new();
    if front > 0 {
        steps.push(format!("{{\"c\":[1,{front}]}}"));
    }
    let between = &literal[front..old.len() - back];
    if !between.is_empty() {
        let texts = between.iter().map(|line| std::str::from_utf8(line).map(quoted)).collect::<Result<Vec<_>, _>>();
        steps.push(format!("{{\"d\":[{}]}}", texts.map_err(|_| SignError::Recipe)?.join(",")));
    }
    if back > 0 {
        steps.push(format!("{{\"c\":[{},{}]}}", new.len() - back + 1, new.len()));
    }
    Ok(format!("[{}]", steps.join(",")))
}

/// A JSON string (RFC 8259 7).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn bracketed(address: &str) -> String {
    if address.starts_with('<') { address.to_owned() } else { format!("<{address}>") }
}

/// As it is hashed: without white space.
fn joined(tags: &[String]) -> Vec<u8> {
    (tags.join(";") + ";").into_bytes()
}

/// A field of tags, broken between them and inside long ones.
fn folded(name: &str, tags: &[String]) -> Vec<u8> {
    let mut out = format!("{name}:").into_bytes();
    let mut column = out.len();
    for tag in tags {
        if column + tag.len() + 2 > WIDTH && column > 1 {
            out.extend_from_slice(b"\r\n\t");
            column = 1;
        } else {
            out.push(b' ');
            column += 1;
        }
        for byte in tag.bytes().chain(*b";") {
            if column == WIDTH {
                out.extend_from_slice(b"\r\n\t");
                column = 1;
            }
            out.push(byte);
            column += 1;
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::Bodies;
    use crate::dkim2::{Outcome, trail, verify};
    use crate::dns::{Answer, Known, Question};
    use crate::key::Kind;

    const NOW: u64 = 1_740_000_000_000;
    const MAIL: &[u8] = b"From: a@one.example\r\nTo: b@two.example\r\nSubject: hello\r\n\r\nbody\r\nmore\r\n";

    fn world() -> (Vec<Signer>, Known) {
        let mut known = Known::default();
        let signers = ["one.example", "two.example"].map(|domain| {
            let (key, _) = SigningKey::generate(Kind::Ed25519).unwrap();
            let texts = Answer::Texts(vec![key.record().into_bytes().into()]);
            known.learn(Question::txt(&format!("s._domainkey.{domain}")), texts);
            Signer::new(key, domain, "s").unwrap()
        });
        (signers.into(), known)
    }

    fn judged(known: &Known, message: &[u8], envelope: &Envelope<'_>) -> crate::dkim2::Verdict {
        let header = Header::scan(message);
        let mut bodies = Bodies::default();
        let trail = trail(&header, message, &mut bodies);
        bodies.update(&message[header.body_start()..]);
        verify(known, &trail, &bodies.finish(), envelope, NOW, true).unwrap()
    }

    const FIRST: Envelope<'_> = Envelope { sender: "a@one.example", recipients: &["b@two.example", "<c@two.example>"] };
    const SECOND: Envelope<'_> = Envelope { sender: "<b@two.example>", recipients: &["d@three.example"] };

    #[test]
    fn hops_that_change_nothing_and_hops_that_do() {
        let (signers, known) = world();
        let first = [signers[0].sign(MAIL, None, &FIRST, NOW).unwrap(), MAIL.to_vec()].concat();
        assert_eq!(judged(&known, &first, &FIRST).outcome, Outcome::Pass);
        assert_eq!(judged(&known, &first, &SECOND).outcome, Outcome::Fail);

        let same = signers[1].sign(&first, None, &SECOND, NOW).unwrap();
        assert!(!same.windows(16).any(|part| part == b"Message-Instance"));
        let verdict = judged(&known, &[same, first.clone()].concat(), &SECOND);
        assert_eq!((verdict.outcome, verdict.hops), (Outcome::Pass, 2), "{:?}", verdict.problem);

        let changed =
            String::from_utf8(first.clone()).unwrap().replace("Subject: hello", "Subject: [list] hello") + "foot\r\n";
        let changed = changed.as_bytes();
        assert_eq!(signers[1].sign(changed, None, &SECOND, NOW), Err(SignError::Changed));
        assert_eq!(signers[1].sign(changed, Some(MAIL), &SECOND, NOW).map(drop), Ok(()));
        assert_eq!(signers[1].sign(changed, Some(b"From: x\r\n\r\n"), &SECOND, NOW), Err(SignError::Before));
        let added = signers[1].sign(changed, Some(&first), &SECOND, NOW).unwrap();
        assert!(added.split(|byte| *byte == b'\n').all(|line| line.len() <= 78));
        let verdict = judged(&known, &[added, changed.to_vec()].concat(), &SECOND);
        assert_eq!((verdict.outcome, verdict.hops), (Outcome::Pass, 2), "{:?}", verdict.problem);
    }

    #[test]
    fn recipes_tell_what_was() {
        let recipe_of = |before: &str, now: &str| {
            recipe(
                (&Header::scan(before.as_bytes()), before.as_bytes()),
                (&Header::scan(now.as_bytes()), now.as_bytes()),
            )
        };
        for (before, now, want) in [
            ("A: 1\r\n\r\nx\r\n", "A: 1\r\n\r\nx\r\ny\r\n\r\n", r#"{"b":[{"c":[1,1]}]}"#),
            ("A: 1\r\n\r\nx\r\nz\r\n", "A: 1\r\n\r\nx\r\ny\r\nz\r\n", r#"{"b":[{"c":[1,1]},{"c":[3,3]}]}"#),
            (
                "A: 1\r\n\r\na\r\n\"b\\\t\r\nc\r\n",
                "A: 1\r\n\r\na\r\nc\r\n",
                r#"{"b":[{"c":[1,1]},{"d":["\"b\\\u0009"]},{"c":[2,2]}]}"#,
            ),
            ("A: 1\r\n\r\n", "A:  1\r\nB: 2\r\n\r\n", r#"{"h":{"b":[]}}"#),
            ("A: 1\r\nA: 2\r\n\r\n", "A: 0\r\nA: 1\r\nA: 2\r\n\r\n", r#"{"h":{"a":[{"c":[1,2]}]}}"#),
            ("B: 1\r\n 2\r\n\r\nx", "X-B: 2\r\n\r\ny", r#"{"b":[{"d":["x"]}],"h":{"b":[{"d":[" 1 2"]}]}}"#),
        ] {
            assert_eq!(recipe_of(before, now).as_deref(), Ok(want), "{before:?} {now:?}");
        }
        let long = format!("A: 1\r\n\r\n{}\r\n", "x".repeat(MAX_RECIPE));
        assert_eq!(recipe_of(&long, "A: 1\r\n\r\n"), Err(SignError::Recipe));
    }
}
