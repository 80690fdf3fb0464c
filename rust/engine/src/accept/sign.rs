//! The stage *sign*: DKIM for mail of our own, ARC for mail that goes on, the last thing before the commit.
//!
//! Ours is what came from a client that we know, from code, or from ourselves (reports); a stranger's mail is never
//! signed, whatever its From says. Content is made 7-bit first, where nobody else has signed it. The arithmetic is done
//! on a pool of its own. A variant is signed as it will be rendered; one with fields of the recipient is signed when it is. What
//! makes this fail is a key that does not work: nothing goes out unsigned then, the client comes again.

use std::sync::Arc;

use angarium_auth::canon::Form;
use angarium_auth::dkim::{Bodies, BodyDigests, SignError};
use angarium_auth::{arc, dkim};
use angarium_ledger::{Body, BodyFile, Incoming, Ledger};
use angarium_message::header::MAX_HEADER;
use angarium_message::{Header, convert};
use angarium_nouns::envelope::BodyType;
use angarium_nouns::record::{ContentHead, Variant};
use angarium_nouns::{Millis, Reply};
use serde_bytes::ByteBuf;

use super::authenticate::{PIECE, read_full, read_rest};
use super::{Message, SIGNATURES};
use crate::delivery::render::{self, Rendered};
use crate::intake::Intake;
use crate::signing::{Keys, Row, Signed};

const UNSIGNED: Reply = Reply::new(451, (4, 3, 0), "Local error in processing, try again later");

/// The chain that a message came with, and what became of it.
#[derive(Debug, Clone)]
pub struct Chain {
    pub chain: arc::Chain,
    pub outcome: arc::Outcome,
}

/// Who signs and who seals a message.
struct Chosen {
    signers: Vec<Arc<Row<dkim::Signer>>>,
    sealer: Option<Arc<Row<arc::Sealer>>>,
    chain: Option<Box<Chain>>,
    /// The value of our Authentication-Results.
    results: String,
    now: Millis,
}

/// The body is not changed by a variant that is signed here; its header is.
struct Work {
    chosen: Chosen,
    variants: Vec<Variant>,
}

/// Fields for the message as it is, or for each of its variants.
type Fields = Result<Vec<Vec<u8>>, SignError>;

/// Is there anybody to sign or seal it?
pub(super) fn is_wanted(intake: &Intake, message: &Message) -> bool {
    let keys = intake.signing.keys();
    (keys.signs() && is_ours(message)) || (keys.seals() && goes_on(message))
}

pub(super) async fn sign(intake: &Intake, mut message: Box<Message>) -> Result<Box<Message>, Reply> {
    let keys = intake.signing.keys();
    let (ours, onward) = (is_ours(&message), goes_on(&message));
    if let Body::Parts(parts) = &message.body {
        message.body = Body::Inline(parts.concat());
    }
    let signed = about(&message, intake.clock.now());
    let sealer = keys.sealer(&signed).filter(|_| onward);
    let begun = intake.clock.micros();
    let fields = match &mut message.body {
        Body::Inline(bytes) => {
            let bytes = std::mem::take(bytes);
            let signers = if ours { keys.signers(&Header::scan(&bytes), &signed) } else { Vec::new() };
            let work = work(&mut message, signers, sealer, signed.now);
            if work.is_idle() {
                message.body = Body::Inline(bytes);
                return Ok(message);
            }
            let (fields, bytes, converted) = intake.signing.run(move || work.on(bytes)).await.ok_or(UNSIGNED)?;
            message.body = Body::Inline(bytes);
            message.body_type = if converted { BodyType::SevenBit } else { message.body_type };
            fields
        }
        Body::File(file) => {
            let (ledger, file) = (intake.ledger.clone(), file.clone());
            let work = work(&mut message, Vec::new(), sealer, signed.now);
            let read = move || work.on_file(&ledger, &file, &keys, ours.then_some(&signed));
            intake.signing.run(read).await.flatten().ok_or(UNSIGNED)?
        }
        Body::Parts(_) => return Ok(message),
    };
    let fields = fields.map_err(|_| {
        intake.counters.sign_failed.one_more();
        UNSIGNED
    })?;
    put(intake, &mut message, fields);
    intake.counters.sign_time.record(intake.clock.micros().saturating_sub(begun));
    Ok(message)
}

fn is_ours(message: &Message) -> bool {
    message.session.trusted || message.peer.is_none()
}

/// Was it judged here, and does it leave for somewhere else?
fn goes_on(message: &Message) -> bool {
    message.chain.is_some() && message.recipients.iter().any(|guest| !message.policy.is_local(&guest.address))
}

fn about(message: &Message, now: Millis) -> Signed {
    Signed { tenant: message.tenant.clone(), stream: message.stream.clone(), now }
}

fn work(
    message: &mut Message,
    signers: Vec<Arc<Row<dkim::Signer>>>,
    sealer: Option<Arc<Row<arc::Sealer>>>,
    now: Millis,
) -> Work {
    let results = message.verdicts.as_ref().map_or_else(String::new, |verdicts| verdicts.results.clone());
    let chain = message.chain.take();
    Work { chosen: Chosen { signers, sealer, chain, results, now }, variants: message.variants.clone() }
}

/// Fields of one message go on top; fields of variants into their edits.
fn put(intake: &Intake, message: &mut Message, fields: Vec<Vec<u8>>) {
    if fields.iter().any(|fields| !fields.is_empty()) {
        intake.counters.signed.one_more();
    }
    if message.variants.is_empty() {
        for fields in fields.iter().filter(|fields| !fields.is_empty()) {
            message.put_on_top(fields);
        }
        return;
    }
    for (variant, fields) in message.variants.iter_mut().zip(fields).filter(|(_, fields)| !fields.is_empty()) {
        variant.edits.insert(0, (render::ADD, ByteBuf::from(fields)));
    }
}

impl Work {
    fn is_idle(&self) -> bool {
        self.chosen.is_idle()
    }

    /// Signs bytes in memory; gives them back, perhaps converted.
    fn on(self, mut bytes: Vec<u8>) -> (Fields, Vec<u8>, bool) {
        let seven_bit = if self.chosen.converts() { seven_bit(&bytes) } else { None };
        let converted = seven_bit.is_some();
        bytes = seven_bit.unwrap_or(bytes);
        let header = Header::scan(&bytes);
        let mut bodies = self.chosen.bodies();
        bodies.update(&bytes[header.body_start()..]);
        let fields = self.fields(&bytes[..header.body_start()], &bodies.finish());
        (fields, bytes, converted)
    }

    /// The same of a body in a file, which is never converted. `ours`: signers are chosen by its header.
    fn on_file(mut self, ledger: &Ledger, file: &BodyFile, keys: &Keys, ours: Option<&Signed>) -> Option<Fields> {
        let reader = ledger.read_body(file).ok()?;
        let mut start = vec![0; (file.length as usize).min(MAX_HEADER + PIECE)];
        let mut at = 0;
        read_full(&reader, &mut start, &mut at)?;
        let header = Header::scan(&start);
        self.chosen.signers = ours.map_or_else(Vec::new, |signed| keys.signers(&header, signed));
        if self.is_idle() {
            return Some(Ok(Vec::new()));
        }
        let mut bodies = self.chosen.bodies();
        bodies.update(&start[header.body_start()..]);
        read_rest(&reader, at, file.length, |piece| bodies.update(piece))?;
        Some(self.fields(&start[..header.body_start()], &bodies.finish()))
    }

    fn fields(&self, header: &[u8], bodies: &BodyDigests) -> Fields {
        if self.variants.is_empty() {
            return Ok(vec![self.chosen.fields(header, bodies)?]);
        }
        let of_variant = |variant: &Variant| {
            if !variant.substitutions.is_empty() {
                return Ok(Vec::new());
            }
            let Rendered { mut front, from } = render::edit_with(&variant.edits, header);
            front.extend_from_slice(header.get(from as usize..).unwrap_or_default());
            self.chosen.fields(&front, bodies)
        };
        self.variants.iter().map(of_variant).collect()
    }
}

impl Chosen {
    fn is_idle(&self) -> bool {
        self.signers.is_empty() && self.sealer.is_none()
    }

    fn converts(&self) -> bool {
        self.signers.iter().any(|row| row.converts)
    }

    /// The hashes that they want.
    fn bodies(&self) -> Bodies {
        let mut bodies = Bodies::default();
        self.signers.iter().for_each(|row| bodies.want(row.key.body_form));
        if self.sealer.is_some() {
            bodies.want(Form::Relaxed);
        }
        bodies
    }

    /// All signatures of one header section, and the seal above them.
    fn fields(&self, data: &[u8], bodies: &BodyDigests) -> Result<Vec<u8>, SignError> {
        let header = Header::scan(data);
        let mut fields = Vec::new();
        for row in &self.signers {
            let Some(body) = bodies.get(row.key.body_form) else { continue };
            match row.key.sign(&header, data, &body, self.now) {
                Ok(field) => fields.extend_from_slice(&field),
                // What has no From cannot be signed and is nobody's to refuse here.
                Err(SignError::NoFrom) => {}
                Err(error) => return Err(error),
            }
        }
        if let (Some(row), Some(chain), Some(body)) = (&self.sealer, &self.chain, bodies.get(Form::Relaxed)) {
            let what = arc::seal::Sealed { outcome: chain.outcome, results: &self.results, body: &body, now: self.now };
            let seal = arc::seal(&row.key, &header, data, &chain.chain, &what)?;
            fields.splice(0..0, seal.unwrap_or_default());
        }
        Ok(fields)
    }
}

/// The message in 7 bits, where it is not and nobody's signature forbids it.
fn seven_bit(bytes: &[u8]) -> Option<Vec<u8>> {
    if convert::is_seven_bit(bytes) {
        return None;
    }
    let header = Header::scan(bytes);
    if SIGNATURES.iter().any(|name| header.has(name)) {
        return None;
    }
    convert::seven_bit(bytes).ok().flatten()
}

/// A copy with fields of its recipient, which is signed each time that it is rendered: with the time of its arrival, so
/// that rendering again gives the same octets. `None`: it stays as it is.
pub fn sign_copy(keys: &Keys, head: &ContentHead, copy: &[u8]) -> Option<Vec<u8>> {
    let ours = head.session.trusted || head.session.peer.is_empty();
    if !ours {
        return None;
    }
    let now = head.received;
    let signed = Signed { tenant: head.tenant.clone(), stream: head.stream.clone(), now };
    let signers = keys.signers(&Header::scan(copy), &signed);
    let chosen = Chosen { signers, sealer: None, chain: None, results: String::new(), now };
    if chosen.is_idle() {
        return None;
    }
    let work = Work { chosen, variants: Vec::new() };
    let (fields, copy, _) = work.on(copy.to_vec());
    let fields = fields.ok()?.concat();
    Some([fields, copy].concat())
}

/// A report of our own on its way to the committer. It is owed whether or not a key works.
pub fn sign_report(intake: &Intake, report: Incoming) -> Incoming {
    let keys = intake.signing.keys();
    let Some(bytes) = report.inline().filter(|_| keys.signs()) else { return report };
    let signed = Signed { tenant: report.head().tenant.clone(), stream: String::new(), now: intake.clock.now() };
    let header = Header::scan(bytes);
    let signers = keys.signers(&header, &signed);
    let chosen = Chosen { signers, sealer: None, chain: None, results: String::new(), now: signed.now };
    if chosen.is_idle() {
        return report;
    }
    let mut bodies = chosen.bodies();
    bodies.update(&bytes[header.body_start()..]);
    let fields = chosen.fields(&bytes[..header.body_start()], &bodies.finish());
    let counter = if fields.is_ok() { &intake.counters.signed } else { &intake.counters.sign_failed };
    counter.one_more();
    if let Ok(fields) = fields { report.fronted(&fields) } else { report }
}
