//! Reports written as groups of header fields: delivery status (RFC 3464 2), feedback (RFC 5965 3, RFC 6591 for
//! authentication failures) and message disposition (RFC 8098 3.2).

use serde::{Deserialize, Serialize};

use super::ReadError;
use crate::header::Header;
use crate::part::Part;
use crate::scan::{Kind, Tree};
use crate::words;

/// Groups of one report that are read: one for each recipient.
const MAX_GROUPS: usize = 10_000;

/// (name, value) in order; names in lower case, values unfolded, encoded words decoded.
type Group = Vec<(String, String)>;

/// A delivery report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub reporting_mta: String,
    pub envelope_id: String,
    pub arrival_date: String,
    pub recipients: Vec<RecipientStatus>,
    /// Message-ID of the mail it is about.
    pub original_message_id: String,
}

/// What a report says of one recipient. Types before a semicolon are taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RecipientStatus {
    pub original_recipient: String,
    pub final_recipient: String,
    /// failed, delayed, delivered, relayed or expanded (RFC 3464 2.3.3).
    pub action: String,
    pub status: String,
    pub remote_mta: String,
    pub diagnostic_type: String,
    pub diagnostic: String,
    pub last_attempt: String,
    pub will_retry_until: String,
}

/// A feedback report; all its fields beside those that have their own place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feedback {
    /// abuse, fraud, virus, not-spam, auth-failure, other, or what stands there.
    pub feedback_type: String,
    pub user_agent: String,
    pub version: String,
    pub arrival_date: String,
    pub source_ip: String,
    pub original_mail_from: String,
    pub original_rcpt_to: Vec<String>,
    pub original_envelope_id: String,
    pub reporting_mta: String,
    pub reported_domain: Vec<String>,
    pub reported_uri: Vec<String>,
    pub authentication_results: Vec<String>,
    /// How many complaints it stands for; 1 where nothing is said.
    pub incidents: u64,
    /// All fields in order, names in lower case: those of RFC 6591 are among them.
    pub fields: Group,
    pub original_message_id: String,
}

/// A disposition notification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Disposition {
    pub reporting_ua: String,
    pub original_recipient: String,
    pub final_recipient: String,
    pub original_message_id: String,
    /// `manual-action/MDN-sent-manually`.
    pub mode: String,
    /// displayed, deleted, dispatched, processed.
    pub disposition: String,
    /// `error`, `failed` and the like behind a slash.
    pub modifiers: Vec<String>,
    pub errors: Vec<String>,
}

/// Reads the message/delivery-status part.
pub fn status(data: &[u8]) -> Result<Status, ReadError> {
    let tree = Tree::scan(data);
    let part = find(&tree, data, &["delivery-status", "global-delivery-status"]).ok_or(ReadError::Absent)?;
    let mut status = status_in(&part.decode().bytes);
    status.original_message_id = original_id(&tree, data);
    Ok(status)
}

/// Reads the groups of a delivery report, whatever they stand in.
pub(crate) fn status_in(bytes: &[u8]) -> Status {
    let mut groups = groups(bytes);
    let first = if groups.is_empty() { Vec::new() } else { groups.remove(0) };
    // Some writers leave the empty line between the two groups out.
    let recipients = if has(&first, "final-recipient") {
        std::iter::once(&first).chain(&groups).collect()
    } else {
        groups.iter().collect::<Vec<_>>()
    };
    Status {
        reporting_mta: typed(&first, "reporting-mta").1,
        envelope_id: value(&first, "original-envelope-id"),
        arrival_date: value(&first, "arrival-date"),
        recipients: recipients.into_iter().filter(|group| is_recipient(group)).map(recipient).collect(),
        original_message_id: String::new(),
    }
}

fn is_recipient(group: &Group) -> bool {
    has(group, "final-recipient") || has(group, "original-recipient") || has(group, "action")
}

fn recipient(group: &Group) -> RecipientStatus {
    let (diagnostic_type, diagnostic) = typed(group, "diagnostic-code");
    RecipientStatus {
        original_recipient: typed(group, "original-recipient").1,
        final_recipient: typed(group, "final-recipient").1,
        action: value(group, "action").split([' ', '(']).next().unwrap_or_default().to_ascii_lowercase(),
        status: value(group, "status").split([' ', '(']).next().unwrap_or_default().to_owned(),
        remote_mta: typed(group, "remote-mta").1,
        diagnostic_type,
        diagnostic,
        last_attempt: value(group, "last-attempt-date"),
        will_retry_until: value(group, "will-retry-until"),
    }
}

/// Reads the message/feedback-report part.
pub fn feedback(data: &[u8]) -> Result<Feedback, ReadError> {
    let tree = Tree::scan(data);
    let part = find(&tree, data, &["feedback-report"]).ok_or(ReadError::Absent)?;
    let fields: Group = groups(&part.decode().bytes).concat();
    let all = |name: &str| fields.iter().filter(|field| field.0 == name).map(|field| field.1.clone()).collect();
    Ok(Feedback {
        feedback_type: value(&fields, "feedback-type").to_ascii_lowercase(),
        user_agent: value(&fields, "user-agent"),
        version: value(&fields, "version"),
        arrival_date: [value(&fields, "arrival-date"), value(&fields, "received-date")]
            .into_iter()
            .find(|date| !date.is_empty())
            .unwrap_or_default(),
        // RFC 5965 3.2: the address alone; some put the name behind it.
        source_ip: value(&fields, "source-ip").split([' ', '(']).next().unwrap_or_default().to_owned(),
        original_mail_from: value(&fields, "original-mail-from"),
        original_rcpt_to: all("original-rcpt-to"),
        original_envelope_id: value(&fields, "original-envelope-id"),
        reporting_mta: typed(&fields, "reporting-mta").1,
        reported_domain: all("reported-domain"),
        reported_uri: all("reported-uri"),
        authentication_results: all("authentication-results"),
        incidents: value(&fields, "incidents").parse().unwrap_or(1),
        fields: fields.clone(),
        original_message_id: original_id(&tree, data),
    })
}

/// Reads the message/disposition-notification part.
pub fn disposition(data: &[u8]) -> Result<Disposition, ReadError> {
    let tree = Tree::scan(data);
    let kinds = ["disposition-notification", "global-disposition-notification"];
    let part = find(&tree, data, &kinds).ok_or(ReadError::Absent)?;
    let fields: Group = groups(&part.decode().bytes).concat();
    let (mode, rest) = typed(&fields, "disposition");
    let (word, modifiers) = rest.split_once('/').unwrap_or((&rest, ""));
    Ok(Disposition {
        reporting_ua: value(&fields, "reporting-ua"),
        original_recipient: typed(&fields, "original-recipient").1,
        final_recipient: typed(&fields, "final-recipient").1,
        original_message_id: bare_id(&value(&fields, "original-message-id")),
        mode: mode.to_ascii_lowercase(),
        disposition: word.trim().to_ascii_lowercase(),
        modifiers: modifiers.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect(),
        errors: fields.iter().filter(|field| field.0 == "error").map(|field| field.1.clone()).collect(),
    })
}

fn find<'t>(tree: &'t Tree, data: &'t [u8], kinds: &[&str]) -> Option<Part<'t>> {
    tree.parts(data).find(|part| {
        let content = part.content_type();
        content.is("message") && kinds.iter().any(|kind| content.subtype_is(kind))
    })
}

/// Message-ID of the returned message or header.
pub(crate) fn original_id(tree: &Tree, data: &[u8]) -> String {
    let of_message = tree
        .parts(data)
        .filter(|part| part.kind() == Kind::Message)
        .find_map(|part| part.children().next()?.text_of("Message-ID"));
    let of_header = || {
        let part = tree.parts(data).find(|part| part.content_type().sub.to_ascii_lowercase().ends_with(b"headers"))?;
        let bytes = part.decode().bytes.into_owned();
        Header::scan(&bytes).value("Message-ID").map(words::decode)
    };
    bare_id(&of_message.or_else(of_header).unwrap_or_default())
}

fn bare_id(id: &str) -> String {
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// Groups of fields between empty lines.
pub(crate) fn groups(bytes: &[u8]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut rest = bytes.trim_ascii_start();
    while !rest.is_empty() && groups.len() < MAX_GROUPS {
        let header = Header::scan(rest);
        let text = |bytes: &[u8]| words::decode(bytes.trim_ascii()).trim().to_owned();
        let named = header.fields().iter().filter(|field| field.is_named());
        let group: Group = named
            .map(|field| (text(header.name_of(field)).to_ascii_lowercase(), text(header.value_of(field))))
            .collect();
        if !group.is_empty() {
            groups.push(group);
        }
        let next = header.body_start();
        rest = if next == 0 { &[] } else { rest[next..].trim_ascii_start() };
    }
    groups
}

fn has(group: &Group, name: &str) -> bool {
    group.iter().any(|field| field.0 == name)
}

fn value(group: &Group, name: &str) -> String {
    group.iter().find(|field| field.0 == name).map(|field| field.1.clone()).unwrap_or_default()
}

/// `rfc822; a@b` as type and text; a text without type has an empty one.
fn typed(group: &Group, name: &str) -> (String, String) {
    let whole = value(group, name);
    match whole.split_once(';') {
        Some((kind, text)) => (kind.trim().to_ascii_lowercase(), text.trim().to_owned()),
        None => (String::new(), whole),
    }
}
