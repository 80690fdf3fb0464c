//! The stage *filter*: the message hook, and what its verdict does to recipients and message.
//!
//! Plain SMTP has one answer for all recipients, folded by a table: somebody accepts, 250 (those refused are
//! quarantined, never bounced); all reject, 5xx; else 4xx. Header edits become a variant, so the body is not
//! touched; a body that the hook replaces is stored instead of the one that came.

use std::sync::Arc;

use angarium_auth::results;
use angarium_ledger::Body;
use angarium_nouns::envelope::Class;
use angarium_nouns::record::{EntryState, Recipient};
use angarium_nouns::{Address, Reason, Reply};

use super::{Guest, Message, received_field};
use crate::asks::{AskPhase, Question, View};
use crate::intake::Intake;
use crate::tables::{Decision, Verdict};

pub(super) async fn filter(intake: &Intake, mut message: Box<Message>) -> Result<Box<Message>, Reply> {
    let Some(hook) = message.policy.table.hooks.message.clone() else { return Ok(message) };
    let shared = share(&mut message.body);
    let question = question(&message, shared.as_ref());
    let verdict = intake.asks.ask(&hook, question).await;
    if let Some(bytes) = shared {
        // Python may still look at it; then it keeps the bytes and we go on with a copy.
        message.body = Body::Inline(Arc::try_unwrap(bytes).unwrap_or_else(|kept| kept.to_vec()));
    }
    let verdicts: Vec<Verdict> = (0..message.recipients.len())
        .map(|number| verdict.recipients.get(&(number as u32)).unwrap_or(&verdict).clone())
        .collect();
    let alone = message.each && message.recipients.len() > 1;
    if let Some(reply) = folded(&verdicts).filter(|_| !alone) {
        return Err(reply);
    }
    apply_to_recipients(&mut message, &verdicts);
    apply_to_message(&mut message, &verdict);
    if let Some(content) = verdict.body {
        replace_body(intake, &mut message, &content);
    }
    Ok(message)
}

/// Takes inline bytes out, so that a hook can look at them without a copy.
fn share(body: &mut Body) -> Option<Arc<Vec<u8>>> {
    match body {
        Body::Inline(bytes) => Some(Arc::new(std::mem::take(bytes))),
        Body::Parts(_) | Body::File(_) => None,
    }
}

fn question(message: &Message, shared: Option<&Arc<Vec<u8>>>) -> Question {
    let view = match (&message.body, shared) {
        (_, Some(bytes)) => Some(View::Memory(bytes.clone(), message.front)),
        (Body::File(file), None) => Some(View::of_file(&file.name, message.front)),
        _ => None,
    };
    let size = match (&view, &message.body) {
        (Some(View::Memory(bytes, front)), _) => (bytes.len() - front) as u64,
        _ => message.size(),
    };
    Question {
        phase: AskPhase::Message,
        session: message.session.session,
        listener: message.listener,
        peer: message.peer,
        trusted: message.session.trusted,
        hello: message.session.hello.clone(),
        login: message.session.login.clone(),
        tls: message.session.tls.clone(),
        id: Some(message.id),
        sender: message.sender_text().to_owned(),
        recipients: message.recipients.iter().map(|guest| guest.address.as_str().to_owned()).collect(),
        size,
        view,
        verdicts: message.verdicts.as_ref().map_or_else(Vec::new, |verdicts| verdicts.encode()),
        credentials: None,
    }
}

/// The one reply for all, when nobody accepts: a 4xx if anybody would take it later.
fn folded(verdicts: &[Verdict]) -> Option<Reply> {
    let refuses = |verdict: &&Verdict| matches!(verdict.decision, Decision::Reject | Decision::Defer);
    if verdicts.is_empty() || verdicts.iter().filter(refuses).count() < verdicts.len() {
        return None;
    }
    let later = verdicts.iter().find(|verdict| verdict.decision == Decision::Defer);
    Some(later.unwrap_or(&verdicts[0]).reply())
}

fn apply_to_recipients(message: &mut Message, verdicts: &[Verdict]) {
    if message.each {
        refuse_each(message, verdicts);
    }
    for (guest, verdict) in message.recipients.iter_mut().zip(verdicts) {
        match verdict.decision {
            Decision::Accept | Decision::Discard => {}
            Decision::Hold => hold(&mut guest.record, verdict),
            // Quarantine: the client was told 250 for the others and cannot be told more.
            Decision::Reject | Decision::Defer => {
                guest.record.may_report = false;
                hold(&mut guest.record, &Verdict::default());
            }
        }
        if let Some(tag) = &verdict.tag {
            guest.record.route_tag.clone_from(tag);
        }
        if let Some(tenant) = &verdict.tenant {
            guest.record.tenant.clone_from(tenant);
        }
    }
    let each = message.each;
    let mut decisions = verdicts.iter().map(|verdict| verdict.decision);
    message.recipients.retain(|_| match decisions.next() {
        Some(Decision::Discard) => false,
        Some(Decision::Reject | Decision::Defer) => !each,
        _ => true,
    });
}

/// Each is told alone (RFC 2033 4.2), so nothing needs a quarantine.
fn refuse_each(message: &mut Message, verdicts: &[Verdict]) {
    for (guest, verdict) in message.recipients.iter().zip(verdicts) {
        if matches!(verdict.decision, Decision::Reject | Decision::Defer) {
            message.refused.push((guest.number, verdict.reply()));
        }
    }
}

fn hold(recipient: &mut Recipient, verdict: &Verdict) {
    recipient.state = EntryState::Held;
    recipient.due = verdict.until;
    recipient.reason = Reason::Policy;
}

fn apply_to_message(message: &mut Message, verdict: &Verdict) {
    if let Some(sender) = &verdict.sender {
        message.sender = Address::parse(sender).ok();
    }
    if let Some(class) = verdict.class.and_then(|class| Class::try_from(class).ok()) {
        message.class = class;
    }
    if let Some(campaign) = &verdict.campaign {
        message.campaign.clone_from(campaign);
    }
    if !verdict.edits.is_empty() {
        message.edit(&verdict.edits);
    }
    let like = message.recipients.first().map(|guest| guest.record.clone()).unwrap_or_default();
    for address in verdict.add_recipients.iter().filter_map(|text| Address::parse(text).ok()) {
        let record = Recipient { address: address.as_str().to_owned(), ..like.clone() };
        message.recipients.push(Guest { address, record, number: u32::MAX });
    }
}

/// Another content, behind our trace.
fn replace_body(intake: &Intake, message: &mut Message, content: &[u8]) {
    let only = match &message.recipients[..] {
        [guest] => Some(guest.address.as_str()),
        _ => None,
    };
    let host = &message.policy.table.hostname;
    let mut bytes = received_field(&message.session, host, message.id, only, message.id.millis(), message.smtputf8);
    message.front = bytes.len();
    bytes.extend_from_slice(content);
    let replaced = std::mem::replace(&mut message.body, Body::Inline(bytes));
    let is_in_front = !matches!(replaced, Body::File(_));
    intake.drop_body(replaced);
    if let Some(verdicts) = message.verdicts.as_ref().filter(|_| is_in_front) {
        let field = results::field_of(&verdicts.results);
        message.put_on_top(&field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(decision: Decision) -> Verdict {
        Verdict { decision, ..Verdict::default() }
    }

    #[test]
    fn folds_by_the_table() {
        use Decision::{Accept, Defer, Discard, Hold, Reject};
        for (decisions, code) in [
            (&[Accept, Reject][..], None),
            (&[Hold, Defer], None),
            (&[Discard, Reject], None),
            (&[Reject, Reject], Some(550)),
            (&[Reject, Defer], Some(451)),
            (&[Defer], Some(451)),
        ] {
            let verdicts: Vec<_> = decisions.iter().copied().map(verdict).collect();
            assert_eq!(folded(&verdicts).map(|reply| reply.code), code, "{decisions:?}");
        }
    }
}
