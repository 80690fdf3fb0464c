//! What goes over the wire: `render(content, variant, recipient)`. Pure; rendering again gives the same bytes.
//!
//! A variant's header edits are made on the header section alone; the body behind it is never copied. The sender
//! pattern (VERP, SRS) is filled per recipient: `{id}`, `{number}`, `{local}`, `{domain}` of the recipient,
//! `{sender.local}`, `{sender.domain}`, and `{=}` for the whole recipient with `=` in place of `@`. Signing comes
//! behind this as the last step.

use angarium_message::Header;
use angarium_message::edit::{kept, ranges_of};
use angarium_nouns::record::{ContentHead, Recipient, Variant};
use serde_bytes::ByteBuf;

/// Header edit kinds of a variant.
pub const ADD: u8 = 0;
pub const REMOVE: u8 = 1;

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

/// Whether the variant changes any byte of the message.
pub fn changes(head: &ContentHead, number: u16) -> bool {
    variant(head, number).is_some_and(|variant| !variant.edits.is_empty() || !variant.substitutions.is_empty())
}

/// Makes the header edits. `start` is the stored body, or as much of it as holds the header section.
pub fn edit(head: &ContentHead, number: u16, start: &[u8]) -> Rendered {
    edit_with(variant(head, number).map_or(&[][..], |variant| &variant.edits), start)
}

/// The same for edits that no record has yet.
pub fn edit_with(edits: &[(u8, ByteBuf)], start: &[u8]) -> Rendered {
    let mut front = Vec::new();
    for (_, line) in edits.iter().filter(|(kind, _)| *kind == ADD) {
        front.extend_from_slice(line);
        if !line.ends_with(b"\r\n") {
            front.extend_from_slice(b"\r\n");
        }
    }
    let names: Vec<_> =
        edits.iter().filter(|(kind, _)| *kind == REMOVE).filter_map(|(_, name)| field_name(name)).collect();
    if names.is_empty() {
        return Rendered { front, ..Rendered::default() };
    }
    let header = Header::scan(start);
    let end = header.body_start();
    let skipped = ranges_of(&header, start, &names);
    kept(&start[..end], &skipped).for_each(|piece| front.extend_from_slice(piece));
    Rendered { front, from: end as u64 }
}

/// Puts the recipient's fields in the place of the variant's tokens, everywhere. The whole message is in `front` then.
pub fn substitute(head: &ContentHead, recipient: &Recipient, rendered: Rendered, body: &[u8]) -> Rendered {
    let Some(variant) = variant(head, recipient.variant).filter(|variant| !variant.substitutions.is_empty()) else {
        return rendered;
    };
    let mut whole = rendered.front;
    whole.extend_from_slice(body.get(rendered.from as usize..).unwrap_or_default());
    for (token, field) in &variant.substitutions {
        let value = recipient.fields.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value);
        whole = replace(&whole, token.as_bytes(), value.as_bytes());
    }
    Rendered { front: whole, from: body.len() as u64 }
}

fn replace(text: &[u8], token: &[u8], value: &[u8]) -> Vec<u8> {
    if token.is_empty() {
        return text.to_vec();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = 0;
    for at in memchr::memmem::find_iter(text, token) {
        out.extend_from_slice(&text[rest..at]);
        out.extend_from_slice(value);
        rest = at + token.len();
    }
    out.extend_from_slice(&text[rest..]);
    out
}

/// The name of an edit that gives a name or a whole line.
fn field_name(edit: &[u8]) -> Option<&str> {
    let name = edit.split(|&b| b == b':').next()?;
    std::str::from_utf8(name).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use angarium_nouns::id::MessageId;

    const BODY: &[u8] = b"Received: one\r\nSubject: a\r\n b\r\nX-Gone: 1\r\n\r\nX-Gone: stays, {{name}}\r\n";

    fn head(variant: Variant) -> ContentHead {
        ContentHead {
            id: MessageId(9),
            sender: "s@a.example".into(),
            variants: vec![variant],
            ..ContentHead::default()
        }
    }

    fn whole(rendered: &Rendered) -> String {
        let mut whole = rendered.front.clone();
        whole.extend_from_slice(&BODY[rendered.from as usize..]);
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn edits_the_header_only() {
        let edits = vec![
            (ADD, ByteBuf::from("X-New: 1")),
            (REMOVE, ByteBuf::from("x-gone")),
            (REMOVE, ByteBuf::from("received:")),
        ];
        let head = head(Variant { edits, ..Variant::default() });
        assert!(changes(&head, 0) && !changes(&head, 1));
        assert_eq!(whole(&edit(&head, 0, BODY)), "X-New: 1\r\nSubject: a\r\n b\r\n\r\nX-Gone: stays, {{name}}\r\n");
    }

    #[test]
    fn adding_copies_nothing_of_the_message() {
        let head = head(Variant { edits: vec![(ADD, ByteBuf::from("A: 1\r\n"))], ..Variant::default() });
        assert_eq!(edit(&head, 0, BODY), Rendered { front: b"A: 1\r\n".to_vec(), from: 0 });
    }

    #[test]
    fn substitutes() {
        let head = head(Variant { substitutions: vec![("{{name}}".into(), "name".into())], ..Variant::default() });
        let recipient = Recipient { fields: vec![("name".into(), "Ada".into())], ..Recipient::default() };
        assert!(is_personal(&head, 0));
        let rendered = substitute(&head, &recipient, edit(&head, 0, BODY), BODY);
        assert!(whole(&rendered).ends_with("stays, Ada\r\n") && rendered.from == BODY.len() as u64);
    }

    #[test]
    fn fills_sender_patterns() {
        let recipient = Recipient { address: "r@b.example".into(), ..Recipient::default() };
        for (pattern, want) in [
            ("", "s@a.example"),
            ("bounce+{=}@x.example", "bounce+r=b.example@x.example"),
            ("{sender.local}-{number}@{sender.domain}", "s-3@a.example"),
            ("{local}.{domain}@x", "r.b.example@x"),
        ] {
            let head = head(Variant { sender: pattern.into(), ..Variant::default() });
            assert_eq!(sender(&head, &recipient, 3), want);
        }
        let mut null = head(Variant { sender: "b+{=}@x".into(), ..Variant::default() });
        null.sender = String::new();
        assert_eq!(sender(&null, &recipient, 3), "", "reports keep the null path");
    }
}
