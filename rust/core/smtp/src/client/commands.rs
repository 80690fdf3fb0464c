//! The commands of the client, and what each may be answered with: rows.

use angarium_nouns::{BodyType, DsnNotify, DsnReturn};

use crate::command::{DeliverBy, Hold};

/// Parameters of MAIL. What the peer does not offer is an error, but for `size`, `envid` and `ret`, which help where they
/// are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters<'a> {
    /// Sent when the peer offers SIZE.
    pub size: Option<u64>,
    /// 8BITMIME must be offered, or BINARYMIME with CHUNKING.
    pub body: BodyType,
    /// Must be offered.
    pub smtputf8: bool,
    /// Sent when the peer offers DSN.
    pub ret: DsnReturn,
    /// Sent, as xtext, when the peer offers DSN; printable ASCII.
    pub envid: Option<&'a str>,
    /// DELIVERBY must be offered.
    pub by: Option<DeliverBy>,
    /// FUTURERELEASE must be offered.
    pub hold: Option<Hold>,
    /// MT-PRIORITY must be offered; -9 to 9.
    pub priority: Option<i8>,
    /// REQUIRETLS must be offered, which peers do only under TLS (RFC 8689 4.2.1).
    pub require_tls: bool,
    /// Sent, as xtext, when the peer offers AUTH; empty for `<>`.
    pub auth: Option<&'a str>,
    /// Sent when the peer offers PRDR.
    pub prdr: bool,
}

/// Parameters of RCPT, sent when the peer offers DSN: whoever needs them looks at the capabilities first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RcptParameters<'a> {
    pub notify: DsnNotify,
    /// `rfc822;address`, as [`crate::RcptCommand`] has it.
    pub orcpt: Option<&'a str>,
}

/// A command to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    /// EHLO of LMTP.
    Lhlo(&'a str),
    /// The empty sender is the null path.
    Mail(&'a str, MailParameters<'a>),
    Rcpt(&'a str, RcptParameters<'a>),
    /// Content follows when 354 has come: [`crate::Client::body`], [`crate::Client::end_body`].
    Data,
    /// So many octets follow at once: [`crate::Client::chunk`]. Behind `last` the message is answered as behind a dot.
    Bdat {
        size: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy(&'a str),
    Expn(&'a str),
    StartTls,
    /// The mechanism by its name; 334 asks for a response.
    Auth {
        mechanism: &'a str,
        initial: Option<&'a [u8]>,
    },
    /// Answers a challenge.
    AuthResponse(&'a [u8]),
    /// Ends the exchange: `*`.
    AuthCancel,
    Etrn(&'a str),
    /// Names and values, which are written as xtext; an empty one as `[UNAVAILABLE]`. Success is a new banner: EHLO again.
    Xclient(&'a [(&'a str, &'a str)]),
    Xforward(&'a [(&'a str, &'a str)]),
    Quit,
}

impl<'a> Command<'a> {
    /// The command with at most one plain argument that `verb` names, in any case of letters.
    pub fn named(verb: &str, argument: &'a str) -> Option<Self> {
        let row = ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(verb))?;
        Some(match row.kind {
            CommandKind::Ehlo => Self::Ehlo(argument),
            CommandKind::Helo => Self::Helo(argument),
            CommandKind::Lhlo => Self::Lhlo(argument),
            CommandKind::Mail => Self::Mail(argument, MailParameters::default()),
            CommandKind::Rcpt => Self::Rcpt(argument, RcptParameters::default()),
            CommandKind::Data => Self::Data,
            CommandKind::Rset => Self::Rset,
            CommandKind::Noop => Self::Noop,
            CommandKind::Vrfy => Self::Vrfy(argument),
            CommandKind::Expn => Self::Expn(argument),
            CommandKind::StartTls => Self::StartTls,
            CommandKind::Etrn => Self::Etrn(argument),
            CommandKind::Quit => Self::Quit,
            _ => return None,
        })
    }
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    Greeting,
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    /// A BDAT that is not the last.
    Bdat,
    /// The final dot, or BDAT LAST.
    Content,
    /// The content, for the next recipient that was accepted (LMTP, PRDR).
    ContentFor,
    Rset,
    Noop,
    Vrfy,
    Expn,
    StartTls,
    /// AUTH, a response, a cancellation.
    Auth,
    Etrn,
    Xclient,
    Xforward,
    Quit,
    /// Nothing: a 421 on the peer's own account.
    Unasked,
}

impl CommandKind {
    /// The verb; `greeting`, `.` for the final dot, empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentFor => ".",
            kind => row_of(kind).map_or("", |row| row.name),
        }
    }
}

/// How a command may be answered, and whether others may be sent behind it before its reply (RFC 2920 3.1).
pub(crate) struct Row {
    pub kind: CommandKind,
    pub name: &'static str,
    /// First digits of positive replies, as bits.
    pub positive: u8,
    pub last_of_group: bool,
}

const SUCCESS: u8 = 1 << 2;
const MORE: u8 = 1 << 3;

#[rustfmt::skip]
static ROWS: [Row; 19] = [
    Row { kind: CommandKind::Greeting, name: "greeting", positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Ehlo,     name: "EHLO",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Helo,     name: "HELO",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Lhlo,     name: "LHLO",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Mail,     name: "MAIL",     positive: SUCCESS, last_of_group: false },
    Row { kind: CommandKind::Rcpt,     name: "RCPT",     positive: SUCCESS, last_of_group: false },
    Row { kind: CommandKind::Data,     name: "DATA",     positive: MORE,    last_of_group: true },
    Row { kind: CommandKind::Bdat,     name: "BDAT",     positive: SUCCESS, last_of_group: false },
    Row { kind: CommandKind::Content,  name: ".",        positive: SUCCESS, last_of_group: false },
    Row { kind: CommandKind::Rset,     name: "RSET",     positive: SUCCESS, last_of_group: false },
    Row { kind: CommandKind::Noop,     name: "NOOP",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Vrfy,     name: "VRFY",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Expn,     name: "EXPN",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::StartTls, name: "STARTTLS", positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Auth,     name: "AUTH",     positive: SUCCESS | MORE, last_of_group: true },
    Row { kind: CommandKind::Etrn,     name: "ETRN",     positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Xclient,  name: "XCLIENT",  positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Xforward, name: "XFORWARD", positive: SUCCESS, last_of_group: true },
    Row { kind: CommandKind::Quit,     name: "QUIT",     positive: SUCCESS, last_of_group: true },
];

pub(crate) fn row_of(kind: CommandKind) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.kind == kind)
}
