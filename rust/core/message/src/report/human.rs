//! The part for people: what happened, to whom, what the other side said, and what to do.

use super::{Action, Form, RecipientReport, Report};
use crate::date;
use crate::line::{WIDTH, clean, push};
use angarium_nouns::Reason;

/// Recipients described one by one; of more only the count is told, the part for programs names them all.
const MAX_DESCRIBED: usize = 50;

pub fn write(report: &Report<'_>, form: Form, out: &mut Vec<u8>) {
    let (charset, encoding) = if form.utf8 { ("utf-8", "8bit") } else { ("us-ascii", "7bit") };
    push(out, format_args!("Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"));
    out.extend_from_slice(b"\r\n");
    let mut text = Text { out, utf8: form.utf8 };
    text.paragraph("", &format!("This is the mail system at {}.", report.reporter));
    text.blank();
    text.paragraph("", summary(report.action()));
    for recipient in report.recipients.iter().take(MAX_DESCRIBED) {
        text.blank();
        describe(recipient, &mut text);
    }
    let left_out = report.recipients.len().saturating_sub(MAX_DESCRIBED);
    if left_out > 0 {
        text.blank();
        text.paragraph("", &format!("And {left_out} more, named in the part of this report that programs read."));
    }
    text.blank();
    let arrived = date::text(report.arrived);
    text.paragraph("", &format!("Your message came in on {arrived} and has the id {} here.", report.original_id));
    let attached = if form.full { "It is attached whole." } else { "Its header is attached." };
    text.paragraph("", attached);
}

fn summary(action: Action) -> &'static str {
    match action {
        Action::Failed => {
            "Your message could not be delivered to the recipients below. No further attempt will be made for them."
        }
        Action::Delayed => {
            "Your message has not been delivered yet to the recipients below. You need not send it again: we keep \
             trying, and will tell you if it cannot be delivered."
        }
        Action::Delivered => "Your message was delivered to the recipients below.",
        Action::Relayed => {
            "Your message was handed on for the recipients below to a system that does not send reports of \
             delivery. You may hear nothing more."
        }
        Action::Expanded => "Your message was handed on to the members of the lists below.",
    }
}

fn describe(recipient: &RecipientReport<'_>, text: &mut Text<'_>) {
    text.paragraph("", &format!("<{}>", recipient.recipient));
    match recipient.action {
        Action::Failed | Action::Delayed => describe_trouble(recipient, text),
        Action::Delivered | Action::Relayed | Action::Expanded => {}
    }
}

fn describe_trouble(recipient: &RecipientReport<'_>, text: &mut Text<'_>) {
    let (happened, to_do) = explanation(recipient.reason);
    text.paragraph("    ", happened);
    if recipient.code != 0 {
        let who = if recipient.remote.is_empty() { "The other side" } else { recipient.remote };
        text.paragraph("    ", &format!("{who} said: {} {}", recipient.code, recipient.text));
    } else if !recipient.text.is_empty() {
        text.paragraph("    ", recipient.text);
    }
    if recipient.attempts > 1 {
        text.paragraph("    ", &format!("It was tried {} times.", recipient.attempts));
    }
    match recipient.retry_until {
        Some(until) if recipient.action == Action::Delayed => {
            text.paragraph("    ", &format!("We keep trying until {}.", date::text(until)));
        }
        _ => text.paragraph("    ", to_do),
    }
}

/// What happened, and what the sender can do about it.
fn explanation(reason: Reason) -> (&'static str, &'static str) {
    const WRITE_OTHERWISE: &str = "Please reach the recipient in another way, or send the message again later.";
    const ASK_THEM: &str = "Please ask the administrators of the recipient's mail system.";
    const ASK_US: &str = "Please forward this report to your own mail administrators.";
    match reason {
        Reason::NoSuchRecipient => {
            ("There is no such recipient.", "Please check the address for mistakes and send the message again.")
        }
        Reason::MailboxFull => ("The recipient's mailbox is full.", WRITE_OTHERWISE),
        Reason::TooLarge => {
            ("The message is larger than the recipient's mail system takes.", "Please send a smaller message.")
        }
        Reason::Content => ("The recipient's mail system refused the content of the message.", ASK_THEM),
        Reason::Policy => ("The recipient's mail system refused the message by its rules.", ASK_THEM),
        Reason::Sender => ("The recipient's mail system does not accept the sender's address.", ASK_US),
        Reason::Greylist | Reason::Throttle | Reason::TooManyRecipients => {
            ("The recipient's mail system asked us again and again to come back later.", WRITE_OTHERWISE)
        }
        Reason::Tls => ("No connection could be made that is as secure as this message or domain demands.", ASK_US),
        Reason::Dns | Reason::NoRoute => {
            ("The domain of the address does not exist, or takes no mail.", "Please check the address for mistakes.")
        }
        Reason::Connect => ("No connection to the recipient's mail system could be made.", WRITE_OTHERWISE),
        Reason::Timeout => ("The recipient's mail system did not answer in time.", WRITE_OTHERWISE),
        Reason::Uncertain => (
            "The recipient's mail system took the message but never confirmed it. It may have arrived.",
            "Please ask the recipient before you send it again.",
        ),
        Reason::Protocol => ("The recipient's mail system gave an answer that makes no sense.", ASK_THEM),
        Reason::Conversion => (
            "The message holds characters that the recipient's mail system cannot take.",
            "Please send it again in plain ASCII, or ask the administrators of the recipient's mail system.",
        ),
        Reason::Expired => ("It could not be delivered in the time allowed for it.", WRITE_OTHERWISE),
        Reason::Cancelled => ("An administrator stopped it.", ASK_US),
        Reason::Loop => ("The message goes in a circle between mail systems.", ASK_US),
        Reason::Lost => ("Our copy of the message became unreadable.", "Please send the message again."),
        Reason::LocalDisk => ("Our mail system could not write it to the mailbox.", ASK_US),
        Reason::Suspended => ("Delivery to this destination is suspended by our administrators.", ASK_US),
        Reason::Other | Reason::Done => ("The recipient's mail system did not take the message.", ASK_THEM),
    }
}

/// Plain text in lines under 78 columns, every word cleaned.
struct Text<'a> {
    out: &'a mut Vec<u8>,
    utf8: bool,
}

impl Text<'_> {
    fn blank(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    /// Words of a text in lines behind an indent. A word wider than a line stands alone on one.
    fn paragraph(&mut self, indent: &str, words: &str) {
        let mut column = 0;
        for word in words.split_whitespace() {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > WIDTH {
                self.blank();
                column = 0;
            }
            let lead = if column == 0 { indent } else { " " };
            self.out.extend_from_slice(lead.as_bytes());
            for c in word.chars() {
                self.out.extend_from_slice(clean(c, self.utf8).encode_utf8(&mut [0; 4]).as_bytes());
            }
            column += lead.len() + width;
        }
        self.blank();
    }
}
