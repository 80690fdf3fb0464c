//! What a returned mail says: whom it is about, status, reply, why, hard or soft, the other side's words.
//!
//! [`read`] gathers (a delivery report if there is one, else the text of a notice), then [`rules`] judge: the first
//! row whose words stand in the diagnostic gives the reason and its id; a status alone decides where no words do.
//! Dialects are data; no branch here knows a vendor. Nothing fails; what is no bounce has no entries.

mod notice;
pub mod rules;

use serde::Serialize;

use crate::marks;
use crate::part::Part;
use crate::reading::{self, RecipientStatus};
use crate::scan::{Kind, Tree};
use crate::{header::Header, words};
pub use rules::Reason;

/// One recipient of a returned mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounce {
    pub recipient: String,
    /// Enhanced status (RFC 3463); `5.0.9nn` by reason where nobody gave one.
    pub status: String,
    /// Reply code of SMTP, empty where none was said.
    pub reply: String,
    pub reason: Reason,
    /// Never send there again; soft else.
    pub hard: bool,
    /// What the other side said.
    pub diagnostic: String,
    /// Message-ID of the original.
    pub message_id: String,
    /// Type of a complaint, such as `abuse`.
    pub feedback_type: String,
    /// Id of the rule that gave the reason.
    pub rule: &'static str,
}

/// What was gathered of one recipient before it is judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered {
    pub recipient: String,
    pub action: String,
    pub status: String,
    pub diagnostic: String,
}

/// Reads a returned mail, a complaint or an automatic answer.
#[must_use]
pub fn read(data: &[u8]) -> Vec<Bounce> {
    let tree = Tree::scan(data);
    let root = tree.root(data);
    let message_id = original_id(&tree, data);
    if let Ok(feedback) = reading::feedback(data) {
        return complaints(&feedback, &message_id);
    }
    let subject = root.text_of("Subject").unwrap_or_default().to_lowercase();
    if rules::is_complaint(&subject) {
        let feedback = reading::Feedback { feedback_type: "abuse".into(), ..reading::Feedback::default() };
        return complaints(&feedback, &message_id);
    }
    let notice = notice::text(&tree, data);
    let mut gathered = match reading::status(data) {
        Ok(status) => status.recipients.iter().map(|one| from_status(one, &notice)).collect(),
        Err(_) => Vec::new(),
    };
    if gathered.is_empty() {
        gathered = status_in_text(&notice);
    }
    if gathered.is_empty() {
        gathered = notice::recipients(&notice, &root);
    }
    if gathered.is_empty() && looks_returned(&root, &notice) {
        gathered =
            vec![Gathered { recipient: original_to(&tree, data), diagnostic: notice.clone(), ..Gathered::default() }];
    }
    if gathered.iter().all(|one| one.status.is_empty() && rules::reply_of(&one.diagnostic).is_empty())
        && rules::is_vacation(&subject, &notice)
        && !marks::is_report(&Header::scan(data))
    {
        return vec![vacation(&root, notice, message_id)];
    }
    gathered.into_iter().map(|one| judge(one, &notice, &message_id)).collect()
}

/// A delivery report that stands in the text, where its part cannot be found.
fn status_in_text(notice: &str) -> Vec<Gathered> {
    let low = notice.to_ascii_lowercase();
    let marks = ["reporting-mta:", "final-recipient:", "original-recipient:"];
    let Some(at) = marks.iter().filter_map(|mark| low.find(mark)).min() else { return Vec::new() };
    let status = reading::status_in(&notice.as_bytes()[at..]);
    status.recipients.iter().map(|one| from_status(one, notice)).collect()
}

/// A notice that names nobody: from a mail system, or with a reply of one in it.
fn looks_returned(root: &Part<'_>, notice: &str) -> bool {
    let from = root.text_of("From").unwrap_or_default().to_lowercase();
    let daemon = ["mailer-daemon", "postmaster", "mail delivery"].iter().any(|name| from.contains(name));
    daemon || root.content_type().subtype_is("report") || !rules::reply_of(notice).is_empty()
}

/// Whom the returned mail was written to, if that is one.
fn original_to(tree: &Tree, data: &[u8]) -> String {
    let inside = tree.parts(data).find(|part| part.kind() == Kind::Message).and_then(|part| part.children().next());
    let to = inside.and_then(|original| original.value("To")).map(crate::address::mailboxes).unwrap_or_default();
    to.into_iter().next().map(|mailbox| mailbox.address).unwrap_or_default()
}

/// One complaint for each recipient it names, at least one.
fn complaints(feedback: &reading::Feedback, message_id: &str) -> Vec<Bounce> {
    let named: Vec<String> = feedback.original_rcpt_to.clone();
    let recipients = if named.is_empty() { vec![String::new()] } else { named };
    let complaint = |recipient: String| Bounce {
        recipient: notice::bare_address(&recipient),
        status: String::new(),
        reply: String::new(),
        reason: Reason::Feedback,
        hard: false,
        diagnostic: String::new(),
        message_id: message_id.to_owned(),
        feedback_type: feedback.feedback_type.clone(),
        rule: "feedback-report",
    };
    recipients.into_iter().map(complaint).collect()
}

fn vacation(root: &Part<'_>, diagnostic: String, message_id: String) -> Bounce {
    let from = root.value("From").map(crate::address::mailboxes).unwrap_or_default();
    Bounce {
        recipient: from.into_iter().next().map(|mailbox| mailbox.address).unwrap_or_default(),
        status: String::new(),
        reply: String::new(),
        reason: Reason::Vacation,
        hard: false,
        diagnostic,
        message_id,
        feedback_type: String::new(),
        rule: "vacation-text",
    }
}

/// The report's fields; where it has no words of its own, those of the notice about the same recipient.
fn from_status(one: &RecipientStatus, notice: &str) -> Gathered {
    let recipient = notice::bare_address(&one.final_recipient);
    let recipient = if recipient.contains('@') { recipient } else { notice::bare_address(&one.original_recipient) };
    let diagnostic = if rules::is_bare(&one.diagnostic) {
        format!("{} {}", one.diagnostic, notice::about(notice, &recipient)).trim().to_owned()
    } else {
        one.diagnostic.clone()
    };
    Gathered { recipient, action: one.action.clone(), status: one.status.clone(), diagnostic }
}

fn judge(one: Gathered, notice: &str, message_id: &str) -> Bounce {
    let reply = rules::reply_of(&one.diagnostic);
    let (said, behind_reply) = rules::status_of(&one.diagnostic);
    let given = if rules::is_status(&one.status) { one.status.clone() } else { String::new() };
    // What the other side said is nearer to the matter than a summary such as 5.0.0 (RFC 3464 2.3.4).
    let nearer = !said.is_empty() && (behind_reply || given.is_empty() || rules::is_vague(&given));
    let status = if nearer && (given.is_empty() || !rules::is_vague(&said)) { said } else { given };
    let (reason, rule) = rules::reason(&one, &status, &reply, notice);
    let status =
        if status.is_empty() { rules::own_status(reason, &reply, &one.action, &one.diagnostic) } else { status };
    Bounce {
        recipient: one.recipient,
        hard: reason.is_hard(),
        status,
        reply,
        reason,
        diagnostic: one.diagnostic,
        message_id: message_id.to_owned(),
        feedback_type: String::new(),
        rule,
    }
}

/// From the returned part, else from a returned header inside the text.
fn original_id(tree: &Tree, data: &[u8]) -> String {
    let of_part = reading::original_message_id(tree, data);
    if !of_part.is_empty() {
        return of_part;
    }
    let leaves = tree.parts(data).filter(|part| part.kind() == Kind::Leaf && part.content_type().is("text"));
    let found = leaves.filter_map(|part| {
        let text = part.text().text.into_owned();
        let line = text.lines().find(|line| line.trim_start().to_ascii_lowercase().starts_with("message-id:"))?;
        line.split_once(':').map(|(_, id)| words::decode(id.as_bytes()))
    });
    let id = found.into_iter().next().unwrap_or_default();
    id.trim().trim_start_matches('<').trim_end_matches('>').to_owned()
}
