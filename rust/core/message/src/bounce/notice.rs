//! The text of a notice: what stands before the returned mail, which recipients it names, what it says of each.

use super::Gathered;
use crate::address;
use crate::part::Part;
use crate::scan::{Kind, Tree};

/// Text that is looked at; notices are short, what follows is the returned mail.
const MAX_NOTICE: usize = 32 * 1024;
/// Recipients of one notice.
const MAX_RECIPIENTS: usize = 1000;
/// Lines that belong to one recipient at most.
const MAX_LINES: usize = 40;

/// Where the returned mail begins, as the programs write it; compared in lower case at the start of a line.
const RETURNED: [&str; 35] = [
    "--- below this line is a copy",
    "------ this is a copy",
    "------- this is a copy",
    "--- the header of the original message",
    "--- original message",
    "----- original message",
    "---- original message",
    "-----original message",
    "----- unsent message",
    "----- message header",
    "----- returned message",
    "---------- original message",
    "--- undelivered message follows",
    "------ original message",
    "--------returned mail",
    "original message follows",
    "original message headers",
    "received: from ",
    "received: by ",
    "return-path:",
    "the original message follows",
    "your original message",
    "message header follows",
    "message headers follow",
    "content-type: message/rfc822",
    "content-type: text/rfc822-headers",
    "------ headers",
    "----------------- message header",
    "original-message-id:",
    "message-id:",
    "|------------------------- message log",
    "*** original message",
    "----- your message",
    "copy of your message",
    "the following is a copy",
];

/// The first text of the message that is no returned mail, cut before one that stands in it.
pub(super) fn text(tree: &Tree, data: &[u8]) -> String {
    let mut text = String::new();
    let root = tree.root(data);
    if root.kind() == Kind::Multipart && tree.parts(data).all(|part| part.content_type().is("multipart")) {
        // No delimiter fits its boundary: the text is all there is.
        text.push_str(before_returned(&String::from_utf8_lossy(root.body())));
    }
    let own = tree.parts(data).filter(|part| part.kind() == Kind::Leaf && !is_returned(part));
    for part in own.filter(|part| part.content_type().is("text")).take(4) {
        let part_text = part.text().text.into_owned();
        if part.content_type().subtype_is("html") {
            if text.trim().is_empty() {
                text.push_str(&without_tags(&part_text));
            }
        } else {
            text.push_str(before_returned(&part_text));
        }
        text.push('\n');
    }
    text.truncate(text.floor_char_boundary(MAX_NOTICE));
    text
}

fn is_returned(part: &Part<'_>) -> bool {
    let headers = part.content_type().subtype_is("rfc822-headers");
    headers || std::iter::successors(part.parent(), Part::parent).any(|outer| outer.kind() == Kind::Message)
}

fn before_returned(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let low = line.trim_start().to_ascii_lowercase();
        if at > 0 && RETURNED.iter().any(|mark| low.starts_with(mark)) {
            return &text[..at];
        }
        at += line.len();
    }
    text
}

fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push('\n');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&nbsp;", " ")
}

/// The recipients a notice names, each with the lines behind it up to the next.
pub(super) fn recipients(notice: &str, root: &Part<'_>) -> Vec<Gathered> {
    let mut found: Vec<Gathered> = Vec::new();
    let mut lines = 0;
    for line in notice.lines() {
        let trimmed = line.trim();
        if let Some(recipient) = named(trimmed) {
            if let Some(known) = found.iter_mut().position(|one| one.recipient.eq_ignore_ascii_case(&recipient)) {
                let one = found.remove(known);
                found.push(one);
            } else if found.len() < MAX_RECIPIENTS {
                found.push(Gathered { recipient, ..Gathered::default() });
            }
            lines = 0;
        }
        lines += 1;
        if let Some(one) = found.last_mut().filter(|_| lines <= MAX_LINES) {
            one.diagnostic.push_str(trimmed);
            one.diagnostic.push(' ');
        }
    }
    let failed = failed_recipients(root);
    if found.is_empty() {
        let all = if failed.is_empty() { anywhere(notice) } else { failed };
        found = all.into_iter().map(|recipient| Gathered { recipient, ..Gathered::default() }).collect();
        for one in &mut found {
            notice.clone_into(&mut one.diagnostic);
        }
    }
    // A notice about one recipient may say why before it names it.
    if let [only] = &mut found[..]
        && super::rules::reply_of(&only.diagnostic).is_empty()
        && super::rules::by_words(&only.diagnostic).is_none()
    {
        notice.clone_into(&mut only.diagnostic);
    }
    found
}

/// X-Failed-Recipients, as Exim and Gmail write it.
fn failed_recipients(root: &Part<'_>) -> Vec<String> {
    let value = root.value("X-Failed-Recipients").unwrap_or_default();
    address::mailboxes(value).into_iter().map(|mailbox| mailbox.address).filter(|text| text.contains('@')).collect()
}

/// The address that a line is about: it begins with it, bare, in brackets or quotes, or behind a label.
fn named(line: &str) -> Option<String> {
    const LABELS: [&str; 12] = [
        "there was an error delivering your mail to",
        "recipient:",
        "rcpt to:",
        "user:",
        "error on:",
        "failed recipient:",
        "final-recipient: rfc822;",
        "*",
        "-",
        "recipient address:",
        "final recipient:",
        "message to",
    ];
    let low = line.to_ascii_lowercase();
    let label = LABELS.iter().find(|label| low.starts_with(**label)).map_or(0, |label| label.len());
    let code = line.get(..4).is_some_and(|front| front.ends_with(' ') && front.trim_end().parse::<u16>().is_ok());
    let line = line[if code { 4 } else { label }..].trim_start().trim_start_matches(['"', '\'', '(']);
    let line = line.strip_prefix('<').unwrap_or(line);
    let end = line.find([' ', '>', '"', '\'', ',', ';', ')', '\t', ':']).unwrap_or(line.len());
    let address = line[..end].trim_end_matches('.');
    is_address(address).then(|| address.to_owned())
}

fn anywhere(notice: &str) -> Vec<String> {
    let splits =
        |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | '"' | '\'' | ',' | ';' | ':' | '[' | ']');
    let mut found: Vec<String> = Vec::new();
    for word in notice.split(splits).map(|word| word.trim_end_matches('.')).filter(|word| is_address(word)) {
        let daemon = ["mailer-daemon@", "postmaster@"].iter().any(|name| word.to_ascii_lowercase().starts_with(name));
        if !daemon && !found.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            found.push(word.to_owned());
        }
    }
    found.truncate(1);
    found
}

fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let letters = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    !local.is_empty() && domain.contains('.') && letters(local) && letters(domain)
}

/// What the notice says of a recipient: from its first mention on.
pub(super) fn about(notice: &str, recipient: &str) -> String {
    let low = notice.to_ascii_lowercase();
    let at = (!recipient.is_empty()).then(|| low.find(&recipient.to_ascii_lowercase())).flatten().unwrap_or(0);
    let rest = &notice[notice.floor_char_boundary(at)..];
    rest.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Without brackets and a type in front.
pub(super) fn bare_address(text: &str) -> String {
    let text = text.rsplit(';').next().unwrap_or(text).trim();
    text.trim_start_matches('<').trim_end_matches('>').trim().to_owned()
}
