//! Mail from code: a table and the bytes become the same message that a session makes.
//!
//! What cannot be a message (a bad address, no recipients, line ends that are not CRLF) is refused with the reply
//! that SMTP would have given. Over the inline bound the bytes go to a file of their own, on the blocking pool.

use std::sync::Arc;

use angarium_ledger::{Body, CommitError};
use angarium_nouns::envelope::{BodyType, Class, DsnNotify, DsnReturn};
use angarium_nouns::record::{EntryState, Recipient, SessionFacts, Variant};
use angarium_nouns::{Address, Reply};
use memchr::memchr3_iter;

use super::{Answer, Guest, Message, StampWords, accept, received_field, stamp_bytes};
use crate::intake::{Intake, SHUTTING_DOWN};
use crate::policy::compiled::{Compiled, TagQuestion};
use crate::tables::{Submission, SubmittedRecipient};

const BAD_SENDER: Reply = Reply::new(501, (5, 1, 7), "Bad sender address");
const BAD_RECIPIENT: Reply = Reply::new(501, (5, 1, 3), "Bad recipient address");
const NO_RECIPIENTS: Reply = Reply::new(554, (5, 5, 1), "No valid recipients");
const BAD_CONTENT: Reply = Reply::new(550, (5, 6, 0), "Content holds a CR or LF outside CRLF, or a NUL");
const BAD_WORD: Reply = Reply::new(501, (5, 5, 4), "A number in the submission names no known word");

/// From the table and its bytes to the answer.
pub async fn submit(intake: &Intake, submission: Submission, content: Vec<u8>) -> Answer {
    intake.counters.submitted.one_more();
    match message(intake, submission, content).await {
        Ok(message) => accept(intake, message, -1).await,
        Err(reply) => Answer::Refused(reply),
    }
}

async fn message(intake: &Intake, submission: Submission, content: Vec<u8>) -> Result<Box<Message>, Reply> {
    if intake.is_stopping() {
        return Err(SHUTTING_DOWN);
    }
    intake.takes_mail(&submission.tenant)?;
    check_lines(&content)?;
    let policy = intake.policy.load_full();
    let mut message = Box::new(envelope(intake, policy, submission)?);
    let limit = message.policy.table.limits.inline_body as usize;
    let eight_bit = message.body_type == BodyType::SevenBit && !content.is_ascii();
    if eight_bit {
        message.body_type = BodyType::EightBitMime;
    }
    let bytes = with_trace(&mut message, &content);
    drop(content);
    if bytes.len() <= limit {
        message.body = Body::Inline(bytes);
        return Ok(message);
    }
    into_file(intake, message, bytes).await
}

/// Everything but the content.
fn envelope(intake: &Intake, policy: Arc<Compiled>, submission: Submission) -> Result<Message, Reply> {
    let now = intake.clock.now();
    let sender = match submission.sender.as_str() {
        "" => None,
        text => Some(Address::parse(text).map_err(|_| BAD_SENDER)?),
    };
    let class = submission.class.map_or(Ok(Class::Normal), Class::try_from).map_err(|_| BAD_WORD)?;
    let ret = DsnReturn::try_from(submission.ret).map_err(|_| BAD_WORD)?;
    let guest = |row: &SubmittedRecipient| guest(&policy, &submission, sender.as_ref(), row);
    let recipients: Vec<Guest> = submission.recipients.iter().map(guest).collect::<Result<_, _>>()?;
    if recipients.is_empty() {
        return Err(NO_RECIPIENTS);
    }
    let variant = |row: crate::tables::SubmittedVariant| Variant {
        sender: row.sender,
        edits: row.edits,
        substitutions: row.substitutions,
        signing: row.signing,
    };
    Ok(Message {
        id: intake.ledger.ids().reserve(now),
        session: SessionFacts {
            peer: submission.peer,
            protocol: if submission.protocol.is_empty() { "HTTP".into() } else { submission.protocol },
            login: submission.login,
            trusted: submission.may_report,
            ..SessionFacts::default()
        },
        sender,
        recipients,
        body_type: if submission.eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
        smtputf8: submission.smtputf8,
        ret,
        envid: submission.envid,
        tenant: submission.tenant,
        stream: submission.stream,
        campaign: submission.campaign,
        class,
        tls_demand: submission.tls_demand,
        deadline: submission.deadline,
        idempotency: submission.idempotency,
        variants: submission.variants.into_iter().map(variant).collect(),
        complete: submission.complete,
        begun: intake.clock.micros(),
        ..Message::new(policy, Body::Inline(Vec::new()))
    })
}

fn guest(
    policy: &Compiled,
    submission: &Submission,
    sender: Option<&Address>,
    row: &SubmittedRecipient,
) -> Result<Guest, Reply> {
    let address = Address::parse(&row.address).map_err(|_| BAD_RECIPIENT)?;
    let question = TagQuestion { sender, recipient: &address, listener: "", tenant: &submission.tenant };
    let route_tag = if row.tag.is_empty() { policy.route_tag(question).to_owned() } else { row.tag.clone() };
    let record = Recipient {
        address: address.as_str().to_owned(),
        original: row.original.clone(),
        notify: DsnNotify(row.notify),
        sender: row.sender.clone(),
        variant: row.variant,
        route_tag,
        may_report: submission.may_report,
        state: if row.held { EntryState::Held } else { EntryState::Waiting },
        due: row.due,
        fields: row.fields.clone(),
        ..Recipient::default()
    };
    Ok(Guest { address, record, number: 0 })
}

/// The Received field, then the content.
fn with_trace(message: &mut Message, content: &[u8]) -> Vec<u8> {
    let only = match &message.recipients[..] {
        [guest] => Some(guest.address.as_str()),
        _ => None,
    };
    let host = &message.policy.table.hostname;
    let mut bytes = received_field(&message.session, host, message.id, only, message.id.millis(), message.smtputf8);
    message.front = bytes.len();
    bytes.reserve_exact(content.len());
    bytes.extend_from_slice(content);
    bytes
}

async fn into_file(intake: &Intake, mut message: Box<Message>, mut bytes: Vec<u8>) -> Result<Box<Message>, Reply> {
    let words = StampWords {
        policy: &message.policy,
        id: message.id,
        complete: message.complete,
        now: message.id.millis(),
        held_to: None,
    };
    let seen = stamp_bytes(&mut bytes, &mut message.front, &words)?;
    message.tls_demand = seen.tls_demand(message.tls_demand);
    message.stamped = true;
    let (ledger, id) = (intake.ledger.clone(), message.id);
    let written = tokio::task::spawn_blocking(move || {
        let mut file = ledger.new_body(id)?;
        file.write(&bytes)?;
        Ok::<_, CommitError>(file.finish()?)
    });
    let file = written.await.unwrap_or(Err(CommitError::Closed)).map_err(|error| error.reply())?;
    message.body = Body::File(file);
    Ok(message)
}

/// Only CRLF ends a line, and NUL is nowhere (RFC 5321 2.3.8).
fn check_lines(content: &[u8]) -> Result<(), Reply> {
    let mut after = usize::MAX; // the LF that a CR asks for
    for at in memchr3_iter(b'\r', b'\n', 0, content) {
        match content[at] {
            b'\r' if content.get(at + 1) == Some(&b'\n') => after = at + 1,
            b'\n' if at == after => {}
            _ => return Err(BAD_CONTENT),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crlf_ends_a_line() {
        for (content, good) in [
            (&b""[..], true),
            (b"a\r\nb\r\n", true),
            (b"a\nb", false),
            (b"a\rb", false),
            (b"a\r", false),
            (b"a\0", false),
            (b"\r\r\n", false),
            (b"\r\n\n", false),
        ] {
            assert_eq!(check_lines(content).is_ok(), good, "{content:?}");
        }
    }
}
