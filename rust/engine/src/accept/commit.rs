//! The stage *commit*: the record is made and checksummed here, on the worker, and the answer waits for its sync.

use std::os::fd::RawFd;

use angarium_ledger::{CommitError, Incoming};
use angarium_nouns::record::ContentHead;
use angarium_nouns::{Millis, Reply};
use serde_bytes::ByteBuf;

use super::{Answer, Message};
use crate::committer::Kept;
use crate::intake::Intake;
use crate::session::budget::Charge;

pub(super) async fn commit(intake: &Intake, message: Box<Message>, peer: RawFd) -> Result<Answer, Reply> {
    let (id, recipients, size) = (message.id, message.recipients.len() as u64, message.size());
    let (each, refused) = (message.each, message.refused.clone());
    if intake.ledger.refuses_tenant(&message.tenant) {
        return Err(CommitError::Full.reply());
    }
    let (incoming, charge) = record(*message, intake.clock.now())?;
    // Told here, since the committer could only refuse the whole group.
    if incoming.record_len() > intake.ledger.max_record() {
        return Err(CommitError::TooLarge.reply());
    }
    let kept = intake.committer.put(incoming, peer).wait().await;
    drop(charge);
    match kept {
        Kept::Durable => {
            intake.counters.received_recipients.add(recipients);
            intake.counters.received_bytes.add(size);
            Ok(if each { Answer::Each(id, refused) } else { Answer::Accepted(id) })
        }
        Kept::Withdrawn => Ok(Answer::Gone),
        Kept::Refused(refusal) => Err(refusal.reply()),
    }
}

/// The record as it goes to disk, and the charge to hold until it is there.
fn record(message: Message, received: Millis) -> Result<(Incoming, Option<Charge>), Reply> {
    let recipients: Vec<_> = message.recipients.into_iter().map(|guest| guest.record).collect();
    let head = ContentHead {
        id: message.id,
        received,
        session: message.session,
        sender: message.sender.map_or_else(String::new, |sender| sender.as_str().to_owned()),
        body_type: message.body_type,
        smtputf8: message.smtputf8,
        ret: message.ret,
        envid: message.envid,
        tenant: message.tenant,
        stream: message.stream,
        campaign: message.campaign,
        class: message.class,
        tls_demand: message.tls_demand,
        deadline: message.deadline,
        notify_by: message.notify_by,
        by_trace: message.by_trace,
        priority: message.priority,
        idempotency: message.idempotency,
        policy_generation: message.policy.generation,
        variants: message.variants,
        authentication: message.verdicts.map_or_else(ByteBuf::new, |verdicts| verdicts.encode().into()),
        ..ContentHead::default()
    };
    let prepared = Incoming::prepare(head, &recipients, message.body);
    let incoming = prepared.map_err(|_| CommitError::TooLarge.reply())?;
    Ok((incoming, message.charge))
}
