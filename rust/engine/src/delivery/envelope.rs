//! From a lease to envelopes: the stage *load and group*.
//!
//! Leased recipients of one message go into one envelope when sender, variant and substitutions agree (RET, ENVID
//! and TLS demand belong to the message, so they agree already), at most `limit` in one. The content is shared.

use std::sync::Arc;

use angarium_ledger::{Content, Lease, LeasedEntry};
use angarium_nouns::record::{RECIPIENTS_PER_BLOCK, Recipient};
use tokio::time::Instant;

use super::content::Loaded;
use super::render;

/// One transaction to be: a sender, recipients, and the content with its variant.
pub struct Envelope {
    pub lease: Arc<Lease>,
    pub content: Arc<Loaded>,
    pub sender: String,
    pub variant: u16,
    pub recipients: Vec<Addressee>,
    /// The record lacks these recipients: it is not what was promised.
    pub damaged: bool,
    /// When the lease was taken.
    pub since: Instant,
}

/// One recipient of an envelope.
pub struct Addressee {
    pub leased: LeasedEntry,
    pub recipient: Recipient,
}

/// Groups what was leased.
pub fn group(lease: &Arc<Lease>, content: &Arc<Loaded>, limit: usize, since: Instant) -> Vec<Envelope> {
    let mut envelopes: Vec<Envelope> = Vec::with_capacity(1);
    let mut block = (usize::MAX, Vec::new());
    for &leased in &lease.entries {
        let found = pick(content, leased.number, &mut block);
        let damaged = found.is_none();
        let recipient = found.unwrap_or_default();
        let sender = render::sender(&content.head, &recipient, leased.number);
        let personal = render::is_personal(&content.head, recipient.variant);
        let variant = recipient.variant;
        let fits = |envelope: &&mut Envelope| {
            !personal
                && envelope.damaged == damaged
                && envelope.sender == sender
                && envelope.variant == variant
                && envelope.recipients.len() < limit
        };
        let fitting = envelopes.iter_mut().rev().find(fits);
        let addressee = Addressee { leased, recipient };
        match fitting {
            Some(envelope) => envelope.recipients.push(addressee),
            None => envelopes.push(Envelope {
                lease: Arc::clone(lease),
                content: Arc::clone(content),
                sender,
                variant,
                recipients: vec![addressee],
                damaged,
                since,
            }),
        }
    }
    envelopes
}

/// Recipient `number`, decoding each block once as long as the numbers ascend. `None`: the record has no such one.
fn pick(content: &Content, number: u32, block: &mut (usize, Vec<Recipient>)) -> Option<Recipient> {
    let index = number as usize;
    let wanted = index / RECIPIENTS_PER_BLOCK;
    if block.0 != wanted {
        *block = (wanted, content.head.recipients.block(wanted).ok()?);
    }
    block.1.get_mut(index % RECIPIENTS_PER_BLOCK).map(std::mem::take)
}
