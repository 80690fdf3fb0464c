//! Reports on the way of a message: multipart/report with delivery-status (RFC 3464, RFC 6522), written from plain
//! structs. In UTF-8 as message/global-delivery-status where an address needs it (RFC 6533), else in seven bits.
//!
//! The report goes out with the null sender, which is the envelope's matter. Boundary, identity and times are
//! arguments. Whatever a peer said is cleaned and folded, so it can neither break a field nor end a part.

pub mod feedback;
mod human;
mod returned;
mod status;

use angarium_nouns::{BodyType, DsnReturn, EnhancedCode, MessageId, Millis, Outcome, Reason};
use memchr::memmem;

use crate::body::has_8bit;
use crate::date;
use crate::line::{Line, push};

pub use returned::{MAX_RETURNED, MAX_RETURNED_HEADER};

/// What happened to a recipient (RFC 3464 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

impl Action {
    pub fn word(self) -> &'static str {
        ["failed", "delayed", "delivered", "relayed", "expanded"][self as usize]
    }
}

/// The way of one recipient.
#[derive(Debug, Clone, Copy)]
pub struct RecipientReport<'a> {
    /// The address that delivery was tried to.
    pub recipient: &'a str,
    /// `type;address` (ORCPT, its xtext read), or a plain address; empty for none.
    pub original: &'a str,
    pub action: Action,
    pub status: EnhancedCode,
    pub reason: Reason,
    /// The peer, `name[address]:port`; empty if none was spoken to.
    pub remote: &'a str,
    /// The peer's reply code; 0: `text` is our own words.
    pub code: u16,
    /// Lines joined by `\n`.
    pub text: &'a str,
    pub attempts: u32,
    pub last_attempt: Option<Millis>,
    /// For `Delayed`: when we shall give up.
    pub retry_until: Option<Millis>,
}

/// The message that the report is about.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    /// The fields, without the empty line behind them.
    pub header: &'a [u8],
    /// The body, if it may be returned; `None`: never read, only the header goes back.
    pub body: Option<&'a [u8]>,
}

/// One report.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// This host (Reporting-MTA), also the domain of the report's own address.
    pub reporter: &'a str,
    /// Whom it goes to: the sender of the original.
    pub to: &'a str,
    /// The report's own identity.
    pub id: MessageId,
    pub now: Millis,
    /// 1 to 60 letters or digits; lengthened where the original happens to hold it.
    pub boundary: &'a str,
    /// ENVID as the sender gave it, in xtext (RFC 3461 4.4); empty for none.
    pub envelope_id: &'a str,
    /// When the original came in.
    pub arrived: Millis,
    /// The original's identity here.
    pub original_id: MessageId,
    pub recipients: &'a [RecipientReport<'a>],
    pub ret: DsnReturn,
    pub original: Original<'a>,
    /// The way to the sender is known to take 8BITMIME: an original with 8-bit bytes may go back whole.
    pub eight_bit: bool,
}

/// A written report and what its delivery needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub bytes: Vec<u8>,
    pub body_type: BodyType,
    pub smtputf8: bool,
}

/// How the report is written, decided once.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// An address is not ASCII: the global types, UTF-8 in all parts (RFC 6533).
    utf8: bool,
    /// The original goes back whole.
    full: bool,
}

impl Report<'_> {
    /// The report as a message, header included.
    #[must_use]
    pub fn write(&self) -> Written {
        let form = self.form();
        let boundary = free_boundary(self.boundary, &self.original);
        let mut out = Vec::with_capacity(4096 + self.original.header.len());
        self.write_header(&mut out, form, &boundary);
        open_part(&mut out, &boundary);
        human::write(self, form, &mut out);
        open_part(&mut out, &boundary);
        status::write(self, form, &mut out);
        open_part(&mut out, &boundary);
        returned::write(&self.original, form, &mut out);
        push(&mut out, format_args!("\r\n--{boundary}--\r\n"));
        let body_type = if has_8bit(&out) { BodyType::EightBitMime } else { BodyType::SevenBit };
        // UTF-8 inside a part needs 8BITMIME only; SMTPUTF8 is for the envelope and the report's own header.
        Written { bytes: out, body_type, smtputf8: !self.to.is_ascii() }
    }

    fn form(&self) -> Form {
        let ascii = |recipient: &RecipientReport<'_>| recipient.recipient.is_ascii() && recipient.original.is_ascii();
        let utf8 = !self.to.is_ascii() || !self.recipients.iter().all(ascii);
        Form { utf8, full: returned::goes_back_whole(self, utf8) }
    }

    /// What the report as a whole is about: the first action in the order of [`Action`].
    fn action(&self) -> Action {
        self.recipients.iter().map(|recipient| recipient.action).min().unwrap_or(Action::Failed)
    }

    fn write_header(&self, out: &mut Vec<u8>, form: Form, boundary: &str) {
        let subject = match self.action() {
            Action::Failed => "Your message could not be delivered",
            Action::Delayed => "Your message is delayed; we keep trying",
            Action::Delivered | Action::Relayed | Action::Expanded => "Your message was delivered",
        };
        let kind = if form.utf8 { "global-delivery-status" } else { "delivery-status" };
        Line::new(out, "Date", false).words(&date::text(self.now)).end();
        Line::new(out, "From", form.utf8)
            .word("Mail Delivery")
            .word(&format!("<MAILER-DAEMON@{}>", self.reporter))
            .end();
        Line::new(out, "To", form.utf8).word(&format!("<{}>", self.to)).end();
        Line::new(out, "Subject", false).words(subject).end();
        Line::new(out, "Message-ID", false).word(&format!("<{}@{}>", self.id, self.reporter)).end();
        // RFC 3834 5: nobody's program answers this one.
        Line::new(out, "Auto-Submitted", false).word("auto-replied").end();
        Line::new(out, "MIME-Version", false).word("1.0").end();
        Line::new(out, "Content-Type", false)
            .word("multipart/report;")
            .word(&format!("report-type={kind};"))
            .word(&format!("boundary=\"{boundary}\""))
            .end();
        push(out, format_args!("\r\nThis is a report on the delivery of a message, in MIME (RFC 3464).\r\n"));
    }
}

/// The status for an outcome about which no peer gave one (RFC 3463 3).
#[must_use]
pub fn status_of(outcome: Outcome, reason: Reason) -> EnhancedCode {
    let (subject, detail) = match reason {
        Reason::NoSuchRecipient => (1, 1),
        Reason::Sender => (1, 8),
        Reason::MailboxFull => (2, 2),
        Reason::TooLarge => (3, 4),
        Reason::LocalDisk => (3, 1),
        Reason::Lost => (3, 0),
        Reason::Dns | Reason::NoRoute => (4, 4),
        Reason::Connect => (4, 1),
        Reason::Timeout | Reason::Uncertain => (4, 2),
        Reason::Loop => (4, 6),
        Reason::Expired => (4, 7),
        Reason::Throttle | Reason::TooManyRecipients => (5, 3),
        Reason::Protocol => (5, 0),
        Reason::Content => (6, 0),
        Reason::Conversion => (6, 3),
        Reason::Policy | Reason::Greylist | Reason::Cancelled | Reason::Suspended => (7, 1),
        Reason::Tls => (7, 10),
        Reason::Other | Reason::Done => (0, 0),
    };
    let class = match outcome {
        Outcome::Delivered => 2,
        Outcome::Deferred => 4,
        Outcome::Failed => 5,
    };
    EnhancedCode(class, subject, detail)
}

fn open_part(out: &mut Vec<u8>, boundary: &str) {
    push(out, format_args!("\r\n--{boundary}\r\n"));
}

/// The boundary, cleaned, and lengthened until the original does not hold it (RFC 2046 5.1.1: 70 characters at most).
fn free_boundary(wanted: &str, original: &Original<'_>) -> String {
    const MAX_WANTED: usize = 60;
    let clean: String = wanted.chars().filter(char::is_ascii_alphanumeric).take(MAX_WANTED).collect();
    let held = |text: &str| {
        let finder = memmem::Finder::new(text.as_bytes());
        finder.find(original.header).is_some() || original.body.is_some_and(|body| finder.find(body).is_some())
    };
    // Each try has one more character; an original holds at most so many of them as it has bytes, in practice none.
    let mut boundary = format!("={clean}=");
    for last in b'a'..=b'h' {
        if !held(&boundary) {
            break;
        }
        boundary.push(char::from(last));
    }
    boundary
}
