//! The tables of the server: states, verbs, parameters. Nothing else decides what may follow what.
//!
//! A verb's row says how its argument is written, which extension it belongs to, in which states it may come, who
//! answers it and where a positive answer leads. An unknown pair is a refusal (503). The tables know nothing of bytes,
//! limits, policy or mail; `server` walks them, `command` reads the arguments.
//!
//! ```text
//! Banner ─greet─► Fresh ─EHLO─► Ready ─MAIL─► Mail ─RCPT─► Recipients ─DATA─► Content ─dot─► Ready
//!    └──refuse──► Refused         │ ▲                        └─BDAT─► Chunk ◄─BDAT─► Chunks, LAST ─► Ready
//!                           AUTH─►│ └Authenticating   STARTTLS─► Securing ─secured─► Fresh   XCLIENT─► Fresh
//!                                        (RSET, EHLO: back to Ready)            QUIT, 421: Closed
//! ```

use angarium_nouns::Reply;

use crate::answers;
use crate::parameters::{MAIL_PARAMETERS, RCPT_PARAMETERS, room};
use crate::settings::Extensions;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Nothing was said yet.
    Banner,
    /// The greeting was a 5xx: only QUIT is left (RFC 5321 3.1).
    Refused,
    /// Greeted, no EHLO yet.
    Fresh,
    /// Between transactions.
    Ready,
    /// MAIL was accepted.
    Mail,
    /// At least one RCPT was accepted.
    Recipients,
    /// Behind 354.
    Content,
    /// Inside the octets of a BDAT.
    Chunk,
    /// Between two BDAT of a message.
    Chunks,
    /// Behind 334: the next line is a response.
    Authenticating,
    /// Behind the 220 to STARTTLS: nothing is read until the handshake is done.
    Securing,
    /// Nothing is read any more.
    Closed,
}

impl State {
    /// A word for logs and for Python.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 12] = [
            "banner",
            "refused",
            "fresh",
            "ready",
            "mail",
            "recipients",
            "content",
            "chunk",
            "chunks",
            "authenticating",
            "securing",
            "closed",
        ];
        NAMES[self as usize]
    }
}

/// A set of states.
#[derive(Debug, Clone, Copy)]
pub(crate) struct States(u16);

impl States {
    const NONE: Self = Self(0);
    const READY: Self = Self(1 << State::Ready as u16);
    const MAIL: Self = Self(1 << State::Mail as u16 | 1 << State::Recipients as u16);
    const RECIPIENTS: Self = Self(1 << State::Recipients as u16);
    const CONTENT: Self = Self(1 << State::Content as u16 | 1 << State::Chunk as u16);
    const CHUNKS: Self = Self(1 << State::Recipients as u16 | 1 << State::Chunks as u16);
    const RESPONSE: Self = Self(1 << State::Authenticating as u16);
    /// Not within a transaction.
    const OUTSIDE: Self = Self(1 << State::Fresh as u16 | 1 << State::Ready as u16);
    /// RFC 5321 4.1.4: at any time, also without EHLO.
    const ANY: Self = Self(Self::OUTSIDE.0 | Self::MAIL.0 | 1 << State::Chunks as u16);
    const ANY_OR_REFUSED: Self = Self(Self::ANY.0 | 1 << State::Refused as u16);

    pub(crate) const fn has(self, state: State) -> bool {
        self.0 & (1 << state as u16) != 0
    }
}

/// The commands of SMTP, and the final dot, which is answered like one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    /// The final dot, or the last octet of BDAT LAST.
    FinalDot,
    StartTls,
    Auth,
    /// A line behind 334.
    AuthResponse,
    Etrn,
    Xclient,
    Xforward,
    Rset,
    Noop,
    Vrfy,
    Expn,
    Help,
    Quit,
    /// Known, never offered: TURN, SEND and kin.
    Absent,
    /// A verb of another protocol: somebody speaks through us (cross-protocol requests); closed at once.
    Foreign,
}

impl Verb {
    /// As it is written; `.` for the final dot.
    pub fn name(self) -> &'static str {
        match self {
            Self::FinalDot => ".",
            // Its line has no verb.
            Self::AuthResponse => "AUTH response",
            verb => row_of(verb).name,
        }
    }
}

/// How the argument of a verb is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Nothing,
    Anything,
    Host,
    ReversePath,
    ForwardPath,
    Mailbox,
    Mechanism,
    Node,
    Attributes,
}

impl Form {
    /// An empty argument is missing rather than badly written.
    pub(crate) fn needs_text(self) -> bool {
        matches!(self, Self::Mailbox | Self::Mechanism | Self::Node | Self::Attributes)
    }
}

/// Where a positive answer leads. A negative one changes nothing, but for the final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    To(State),
    /// Ready; before EHLO, Fresh.
    Start,
}

/// What must have gone before where the settings demand it: the answer is 530 otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// TLS.
    Tls,
    /// TLS and a login.
    Login,
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answerer {
    /// The caller; [`Row::positive`] is what `accept` says.
    Caller,
    /// The server, with [`Row::positive`].
    Server,
}

/// One verb.
#[derive(Debug)]
pub(crate) struct Row {
    pub verb: Verb,
    pub name: &'static str,
    pub form: Form,
    /// Must be offered, else 502.
    pub extension: Extensions,
    pub need: Need,
    pub states: States,
    pub answerer: Answerer,
    pub positive: Reply,
    pub next: Next,
}

const fn row(
    verb: Verb,
    name: &'static str,
    form: Form,
    states: States,
    (need, answerer): (Need, Answerer),
    positive: Reply,
    next: Next,
) -> Row {
    Row { verb, name, form, extension: Extensions::NONE, need, states, answerer, positive, next }
}

impl Row {
    /// Of an extension.
    const fn of(mut self, extension: Extensions) -> Self {
        self.extension = extension;
        self
    }
}

const fn absent(name: &'static str) -> Row {
    row(Verb::Absent, name, Form::Anything, States::NONE, SERVER, answers::NOT_OFFERED, Next::Stay)
}

const fn foreign(name: &'static str) -> Row {
    row(Verb::Foreign, name, Form::Anything, States::NONE, SERVER, answers::FOREIGN, Next::To(State::Closed))
}

const SERVER: (Need, Answerer) = (Need::Nothing, Answerer::Server);
const CALLER: (Need, Answerer) = (Need::Nothing, Answerer::Caller);
const SECURED: (Need, Answerer) = (Need::Tls, Answerer::Caller);
const KNOWN: (Need, Answerer) = (Need::Login, Answerer::Caller);

/// The verbs, the frequent ones in front.
#[rustfmt::skip]
pub(crate) static ROWS: [Row; 36] = [
    row(Verb::Mail,     "MAIL",     Form::ReversePath, States::READY,          KNOWN,   answers::SENDER_OK,     Next::To(State::Mail)),
    row(Verb::Rcpt,     "RCPT",     Form::ForwardPath, States::MAIL,           KNOWN,   answers::RECIPIENT_OK,  Next::To(State::Recipients)),
    row(Verb::Data,     "DATA",     Form::Nothing,     States::RECIPIENTS,     KNOWN,   answers::START_CONTENT, Next::To(State::Content)),
    row(Verb::Ehlo,     "EHLO",     Form::Host,        States::ANY,            CALLER,  answers::OK,            Next::To(State::Ready)),
    row(Verb::Helo,     "HELO",     Form::Host,        States::ANY,            CALLER,  answers::OK,            Next::To(State::Ready)),
    row(Verb::Lhlo,     "LHLO",     Form::Host,        States::ANY,            CALLER,  answers::OK,            Next::To(State::Ready)),
    row(Verb::Quit,     "QUIT",     Form::Nothing,     States::ANY_OR_REFUSED, SERVER,  answers::BYE,           Next::To(State::Closed)),
    row(Verb::Rset,     "RSET",     Form::Nothing,     States::ANY,            SERVER,  answers::OK,            Next::Start),
    row(Verb::Bdat,     "BDAT",     Form::Anything,    States::CHUNKS,         KNOWN,   answers::CHUNK_OK,      Next::To(State::Chunk)).of(Extensions::CHUNKING),
    row(Verb::StartTls, "STARTTLS", Form::Nothing,     States::READY,          CALLER,  answers::READY_FOR_TLS, Next::To(State::Securing)).of(Extensions::STARTTLS),
    row(Verb::Auth,     "AUTH",     Form::Mechanism,   States::READY,          SECURED, answers::LOGGED_IN,     Next::To(State::Ready)).of(Extensions::AUTH),
    row(Verb::Noop,     "NOOP",     Form::Anything,    States::ANY,            SERVER,  answers::OK,            Next::Stay),
    row(Verb::Vrfy,     "VRFY",     Form::Mailbox,     States::ANY,            KNOWN,   answers::NOT_VERIFIED,  Next::Stay),
    row(Verb::Expn,     "EXPN",     Form::Mailbox,     States::ANY,            KNOWN,   answers::NOT_EXPANDED,  Next::Stay).of(Extensions::EXPN),
    row(Verb::Help,     "HELP",     Form::Anything,    States::ANY,            SERVER,  answers::OK,            Next::Stay),
    row(Verb::Etrn,     "ETRN",     Form::Node,        States::READY,          KNOWN,   answers::QUEUING,       Next::Stay).of(Extensions::ETRN),
    row(Verb::Xclient,  "XCLIENT",  Form::Attributes,  States::OUTSIDE,        CALLER,  answers::OK,            Next::To(State::Fresh)).of(Extensions::XCLIENT),
    row(Verb::Xforward, "XFORWARD", Form::Attributes,  States::READY,          CALLER,  answers::OK,            Next::Stay).of(Extensions::XFORWARD),
    // Without a verb in the line.
    row(Verb::FinalDot,     "", Form::Nothing,  States::CONTENT,  CALLER, answers::OK,        Next::To(State::Ready)),
    row(Verb::AuthResponse, "", Form::Anything, States::RESPONSE, CALLER, answers::LOGGED_IN, Next::To(State::Ready)),
    absent("SEND"), absent("SOML"), absent("SAML"), absent("TURN"), absent("ATRN"), absent("BURL"),
    foreign("GET"), foreign("POST"), foreign("CONNECT"), foreign("PUT"), foreign("HEAD"), foreign("OPTIONS"),
    foreign("DELETE"), foreign("PATCH"), foreign("TRACE"), foreign("PRI"),
];

/// The row of the verb that a line begins with.
pub(crate) fn row_named(name: &[u8], lmtp: bool) -> Option<&'static Row> {
    let row = ROWS.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name) && !row.name.is_empty())?;
    // RFC 2033 4.1: LMTP has LHLO instead of EHLO and HELO.
    let spoken = match row.verb {
        Verb::Ehlo | Verb::Helo => !lmtp,
        Verb::Lhlo => lmtp,
        _ => true,
    };
    spoken.then_some(row)
}

/// Every verb has a row.
pub(crate) fn row_of(verb: Verb) -> &'static Row {
    ROWS.iter().find(|row| row.verb == verb).unwrap_or(&ROWS[0])
}

/// Why `verb` may not come now.
pub(crate) fn out_of_order(verb: Verb, state: State) -> Reply {
    match (verb, state) {
        (_, State::Refused) => answers::ONLY_QUIT,
        (Verb::Etrn | Verb::Auth | Verb::StartTls | Verb::Xclient | Verb::Xforward, state) if state != State::Fresh => {
            answers::NOT_IN_A_TRANSACTION
        }
        (_, State::Fresh) => answers::HELLO_FIRST,
        (_, State::Chunks) => answers::IN_CHUNKS,
        (Verb::Mail, _) => answers::MAIL_TWICE,
        (Verb::Data | Verb::Bdat, State::Mail) => answers::RCPT_FIRST,
        _ => answers::MAIL_FIRST,
    }
}

/// RFC 5321 4.5.3.1.4, with CRLF.
const COMMAND_LINE: usize = 512;
/// RFC 4954 4: of AUTH and of responses, with CRLF.
pub(crate) const AUTH_LINE: usize = 12_288;

/// The longest line that `verb` may have, with CRLF.
pub(crate) fn line_limit(verb: Verb, offered: Extensions) -> usize {
    match verb {
        Verb::Mail => COMMAND_LINE + room(&MAIL_PARAMETERS, offered),
        Verb::Rcpt => COMMAND_LINE + room(&RCPT_PARAMETERS, offered),
        Verb::Auth | Verb::AuthResponse => AUTH_LINE,
        _ => COMMAND_LINE,
    }
}

/// What is kept of a line before its verb is looked at: the longest of any verb but AUTH. A test holds it there.
pub(crate) const LONGEST_LINE: usize = 1_280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_way_on() {
        for row in &ROWS {
            let after_354 = row.next == Next::To(State::Content);
            assert_eq!(row.positive.code / 100 == 3, after_354, "{}", row.name);
            assert!(row.states.has(State::Content) == (row.verb == Verb::FinalDot), "{}", row.name);
            assert!(row.states.has(State::Authenticating) == (row.verb == Verb::AuthResponse), "{}", row.name);
            for silent in [State::Closed, State::Banner, State::Securing] {
                assert!(!row.states.has(silent), "{}", row.name);
            }
            let same = ROWS.iter().filter(|other| other.name == row.name && !row.name.is_empty());
            assert!(row.name.is_empty() || same.count() == 1, "{}", row.name);
        }
    }

    #[test]
    fn the_longest_line_is_kept() {
        for row in ROWS.iter().filter(|row| row.verb != Verb::Auth && row.verb != Verb::AuthResponse) {
            assert!(line_limit(row.verb, Extensions::ALL) <= LONGEST_LINE, "{}", row.name);
        }
        assert_eq!(line_limit(Verb::Mail, Extensions::ALL), LONGEST_LINE - 18);
    }
}
