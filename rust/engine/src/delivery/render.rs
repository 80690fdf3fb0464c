//! What goes over the wire: `render(content, variant, recipient)`. Pure; rendering again gives the same bytes.
//!
//! A variant's header edits are made on the header section alone; the body behind it is never copied. The sender
//! pattern (VERP, SRS) is filled per recipient: `{id}`, `{number}`, `{local}`, `{domain}` of the recipient,
//! `{sender.local}`, `{sender.domain}`, and `{=}` for the whole recipient with `=` in place of `@`. Signing comes
//! behind this as the last step.

use angarium_nouns::record::{ContentHead, Recipient, Variant};

/// Header edit kinds of a variant.
const ADD: u8 = 0;
const REMOVE: u8 = 1;

/// Bytes in front, then the stored body from `from` on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    pub front: Vec<u8>,
    pub from: u64,
}

pub fn variant(head: &ContentHead, number: u16) -> Option<&Variant> {
    // Variant 0 is the message as it is unless the record says otherwise.
    head.variants.get(usize::from(number))
}

/// The rendering differs from recipient to recipient, so that no two may share a transaction.
pub fn is_personal(head: &ContentHead, number: u16) -> bool {
    variant(head, number).is_some_and(|variant| !variant.substitutions.is_empty())
}

/// The envelope sender for this recipient.
pub fn sender(head: &ContentHead, recipient: &Recipient, number: u32) -> String {
    let own = recipient.sender.as_deref().unwrap_or(&head.sender);
    match variant(head, recipient.variant) {
        Some(variant) if !variant.sender.is_empty() && !own.is_empty() => {
            fill(&variant.sender, own, head, recipient, number)
        }
        _ => own.to_owned(),
    }
}

fn fill(pattern: &str, own: &str, head: &ContentHead, recipient: &Recipient, number: u32) -> String {
    let split = |address: &str| address.rsplit_once('@').map(|(l, d)| (l.to_owned(), d.to_owned())).unwrap_or_default();
    let (local, domain) = split(&recipient.address);
    let (sender_local, sender_domain) = split(own);
    pattern
        .replace("{id}", &head.id.to_string())
        .replace("{number}", &number.to_string())
        .replace("{sender.local}", &sender_local)
        .replace("{sender.domain}", &sender_domain)
        .replace("{=}", &format!("{local}={domain}"))
        .replace("{local}", &local)
        .replace("{domain}", &domain)
}

/// Needs the header section in hand: `None` when the variant leaves the message as it is.
pub fn edits_header(head: &ContentHead, number: u16) -> bool {
    variant(head, number).is_some_and(|variant| !variant.edits.is_empty())
}
