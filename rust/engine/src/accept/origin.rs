//! Who a message says it is from: the mailboxes of From and Sender, held to what a login may write there (RFC 6409 6.1).
//!
//! Reads the address lists of RFC 5322 3.4 with their comments, quotes, groups and folds. What cannot be read is not
//! allowed: a login must not get through what another program reads otherwise.

use angarium_message::Header;
use angarium_nouns::{Address, Reply};

use crate::logins::Login;

const NOT_YOURS: Reply =
    Reply::new(550, (5, 7, 1), "The address in From or Sender is not one of your login's; send from one that is");
/// What an address field may hold at most; RFC 5322 has no bound, Postfix stops at 100 KiB for a whole header.
const MOST: usize = 64 << 10;

/// May this login write this header?
pub(super) fn check(header: &Header<'_>, login: &Login) -> Result<(), Reply> {
    for name in ["From", "Sender"] {
        for field in header.all(name) {
            let addresses = mailboxes(header.value_of(field)).ok_or(NOT_YOURS)?;
            if !addresses.iter().all(|address| login.may_send_as(Some(address))) {
                return Err(NOT_YOURS);
            }
        }
    }
    Ok(())
}

/// The addresses of a list; `None`: it is none.
fn mailboxes(value: &[u8]) -> Option<Vec<Address>> {
    if value.len() > MOST {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let mut addresses = Vec::new();
    for entry in entries(text)? {
        let spec = match (entry.find('<'), entry.rfind('>')) {
            (Some(open), Some(close)) if open < close => &entry[open + 1..close],
            (None, None) => &*entry,
            _ => return None,
        };
        let spec = spec.trim();
        if !spec.is_empty() {
            addresses.push(Address::parse(spec).ok()?);
        }
    }
    Some(addresses)
}

/// The list cut at its commas, without comments, display names in quotes, and names of groups.
fn entries(text: &str) -> Option<Vec<String>> {
    let (mut entries, mut entry) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut angle, mut escaped) = (0_u32, false, false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                if depth == 0 {
                    entry.push(c);
                }
                continue;
            }
            '\\' if quoted || depth > 0 => {
                escaped = true;
                if depth > 0 {
                    continue;
                }
            }
            '"' if depth == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => {
                depth += 1;
                continue;
            }
            ')' => {
                depth = depth.checked_sub(1)?;
                continue;
            }
            _ if depth > 0 => continue,
            '<' => angle = true,
            '>' => angle = false,
            ',' | ';' if !angle => {
                entries.push(without_name(&std::mem::take(&mut entry)));
                continue;
            }
            // The name of a group.
            ':' if !angle => {
                entry.clear();
                continue;
            }
            _ => {}
        }
        entry.push(c);
    }
    entries.push(without_name(&entry));
    (depth == 0 && !quoted && !angle).then_some(entries)
}

/// The part in angle brackets, if there is one outside quotes.
fn without_name(entry: &str) -> String {
    let mut quoted = false;
    for (at, c) in entry.char_indices() {
        match c {
            '"' if !entry[..at].ends_with('\\') => quoted = !quoted,
            '<' if !quoted => return entry[at..].trim().to_owned(),
            _ => {}
        }
    }
    entry.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists() {
        let read = |text: &str| -> Option<Vec<String>> {
            Some(mailboxes(text.as_bytes())?.iter().map(|address| address.as_str().to_owned()).collect())
        };
        let list = |addresses: &[&str]| Some(addresses.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        for (text, expected) in [
            (" Ann <ann@here.example>\r\n", list(&["ann@here.example"])),
            ("ann@here.example (boss, of all)", list(&["ann@here.example"])),
            ("\"x, <evil@there.example>\" <ann@here.example>", list(&["ann@here.example"])),
            ("a@b.example,\r\n Bob <c@d.example>", list(&["a@b.example", "c@d.example"])),
            ("friends: a@b.example, c@d.example;", list(&["a@b.example", "c@d.example"])),
            ("<a@b.example", None),
            ("a@b.example (", None),
            ("Ann ann@here.example x", None),
            ("<a@b.example> <c@d.example>", None),
            ("", list(&[])),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
