//! The tables of the server: states, verbs, parameters. Nothing else decides what may follow what.
//!
//! A verb's row says how its argument is written, which extension it belongs to, in which states it may come, who
//! answers it and where a positive answer leads. An unknown pair is a refusal (503). The tables know nothing of bytes,
//! limits, policy or mail; `server` walks them, `command` reads the arguments.
//!
//! ```text
//! Banner ─greet─► Fresh ─EHLO─► Ready ─MAIL─► Mail ─RCPT─► Recipients ─DATA─► Content ─dot─► Ready
//!    └──refuse──► Refused                (RSET, EHLO: back to Ready)            QUIT, 421: Closed
//! ```

use angarium_nouns::{BodyType, Reply};

use crate::answers;
use crate::command::{MailCommand, RcptCommand};
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
    /// Nothing is read any more.
    Closed,
}

impl State {
    /// A word for logs and for Python.
    pub fn name(self) -> &'static str {
        ["banner", "refused", "fresh", "ready", "mail", "recipients", "content", "closed"][self as usize]
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
    const CONTENT: Self = Self(1 << State::Content as u16);
    /// RFC 5321 4.1.4: at any time, also without EHLO.
    const ANY: Self = Self(1 << State::Fresh as u16 | Self::READY.0 | Self::MAIL.0);
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
    Mail,
    Rcpt,
    Data,
    FinalDot,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    /// Known, never offered: EXPN, TURN, SEND and kin, and extensions to come.
    Absent,
    /// A verb of another protocol: somebody speaks through us (cross-protocol requests); closed at once.
    Foreign,
}

impl Verb {
    /// As it is written; `.` for the final dot.
    pub fn name(self) -> &'static str {
        match row_of(self).name {
            "" => ".",
            name => name,
        }
    }
}

/// How the argument of a verb is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Nothing,
    Anything,
    Text,
    Host,
    ReversePath,
    ForwardPath,
}

/// Where a positive answer leads. A negative one changes nothing, but for the final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Stay,
    To(State),
    /// Ready; before EHLO, Fresh.
    Start,
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
    answerer: Answerer,
    positive: Reply,
    next: Next,
) -> Row {
    Row { verb, name, form, extension: Extensions::NONE, states, answerer, positive, next }
}

const fn absent(name: &'static str) -> Row {
    row(Verb::Absent, name, Form::Anything, States::NONE, Answerer::Server, answers::NOT_OFFERED, Next::Stay)
}

const fn foreign(name: &'static str) -> Row {
    row(Verb::Foreign, name, Form::Anything, States::NONE, Answerer::Server, answers::FOREIGN, Next::To(State::Closed))
}

use Answerer::{Caller, Server};

/// The verbs, the frequent ones in front.
#[rustfmt::skip]
pub(crate) static ROWS: [Row; 24] = [
    row(Verb::Mail, "MAIL", Form::ReversePath, States::READY,          Caller, answers::SENDER_OK,     Next::To(State::Mail)),
    row(Verb::Rcpt, "RCPT", Form::ForwardPath, States::MAIL,           Caller, answers::RECIPIENT_OK,  Next::To(State::Recipients)),
    row(Verb::Data, "DATA", Form::Nothing,     States::RECIPIENTS,     Caller, answers::START_CONTENT, Next::To(State::Content)),
    row(Verb::Ehlo, "EHLO", Form::Host,        States::ANY,            Caller, answers::OK,            Next::To(State::Ready)),
    row(Verb::Helo, "HELO", Form::Host,        States::ANY,            Caller, answers::OK,            Next::To(State::Ready)),
    row(Verb::Quit, "QUIT", Form::Nothing,     States::ANY_OR_REFUSED, Server, answers::BYE,           Next::To(State::Closed)),
    row(Verb::Rset, "RSET", Form::Nothing,     States::ANY,            Server, answers::OK,            Next::Start),
    row(Verb::Noop, "NOOP", Form::Anything,    States::ANY,            Server, answers::OK,            Next::Stay),
    row(Verb::Vrfy, "VRFY", Form::Text,        States::ANY,            Caller, answers::NOT_VERIFIED,  Next::Stay),
    row(Verb::Help, "HELP", Form::Anything,    States::ANY,            Server, answers::OK,            Next::Stay),
    row(Verb::FinalDot, "", Form::Nothing,     States::CONTENT,        Caller, answers::OK,            Next::To(State::Ready)),
    absent("EXPN"), absent("SEND"), absent("SOML"), absent("SAML"), absent("TURN"), absent("ETRN"),
    absent("AUTH"), absent("STARTTLS"), absent("BDAT"),
    foreign("GET"), foreign("POST"), foreign("CONNECT"), foreign("PUT"),
];

/// The row of the verb that a line begins with.
pub(crate) fn row_named(name: &[u8]) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name) && !row.name.is_empty())
}

/// Every verb has a row.
pub(crate) fn row_of(verb: Verb) -> &'static Row {
    ROWS.iter().find(|row| row.verb == verb).unwrap_or(&ROWS[0])
}

/// Why `verb` may not come now.
pub(crate) fn out_of_order(verb: Verb, state: State) -> Reply {
    match (verb, state) {
        (_, State::Refused) => answers::ONLY_QUIT,
        (_, State::Fresh) => answers::HELLO_FIRST,
        (Verb::Mail, _) => answers::MAIL_TWICE,
        (Verb::Data, State::Mail) => answers::RCPT_FIRST,
        _ => answers::MAIL_FIRST,
    }
}

/// A parameter of a command `C`.
pub(crate) struct Parameter<C: 'static> {
    pub keyword: &'static str,
    /// Must be offered, else the parameter is unknown.
    pub extension: Extensions,
    /// Octets by which it lengthens the command line.
    pub room: usize,
    pub read: fn(&mut C, Option<&str>) -> Result<(), Reply>,
}

/// RFC 5321 4.5.3.1.4, with CRLF.
const COMMAND_LINE: usize = 512;

/// Rooms: RFC 1870 3, RFC 6152 2, RFC 6531 3.1.
#[rustfmt::skip]
pub(crate) const MAIL_PARAMETERS: [Parameter<MailCommand>; 3] = [
    Parameter { keyword: "SIZE",     extension: Extensions::SIZE,           room: 26, read: read_size },
    Parameter { keyword: "BODY",     extension: Extensions::EIGHT_BIT_MIME, room: 16, read: read_body },
    Parameter { keyword: "SMTPUTF8", extension: Extensions::SMTPUTF8,       room: 10, read: read_utf8 },
];

/// None yet; DSN (RFC 3461) brings NOTIFY and ORCPT.
pub(crate) const RCPT_PARAMETERS: [Parameter<RcptCommand>; 0] = [];

/// The longest line that `verb` may have, with CRLF.
pub(crate) const fn line_limit(verb: Verb, offered: Extensions) -> usize {
    COMMAND_LINE
        + match verb {
            Verb::Mail => room(&MAIL_PARAMETERS, offered),
            Verb::Rcpt => room(&RCPT_PARAMETERS, offered),
            _ => 0,
        }
}

const fn room<C>(parameters: &[Parameter<C>], offered: Extensions) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < parameters.len() {
        if offered.has(parameters[at].extension) {
            sum += parameters[at].room;
        }
        at += 1;
    }
    sum
}

/// The longest line of any verb: what is kept of a line before its verb is known.
pub(crate) const LONGEST_LINE: usize = {
    let (mail, rcpt) = (line_limit(Verb::Mail, Extensions::STANDARD), line_limit(Verb::Rcpt, Extensions::STANDARD));
    if mail > rcpt { mail } else { rcpt }
};

fn read_size(mail: &mut MailCommand, value: Option<&str>) -> Result<(), Reply> {
    let digits = value.filter(|v| (1..=20).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_digit()));
    let digits = digits.ok_or(answers::BAD_PARAMETER)?;
    mail.size = Some(digits.parse().unwrap_or(u64::MAX));
    Ok(())
}

fn read_body(mail: &mut MailCommand, value: Option<&str>) -> Result<(), Reply> {
    let value = value.ok_or(answers::BAD_PARAMETER)?;
    mail.body = match () {
        () if value.eq_ignore_ascii_case("7BIT") => BodyType::SevenBit,
        () if value.eq_ignore_ascii_case("8BITMIME") => BodyType::EightBitMime,
        () => return Err(answers::BAD_PARAMETER),
    };
    Ok(())
}

fn read_utf8(mail: &mut MailCommand, value: Option<&str>) -> Result<(), Reply> {
    mail.smtputf8 = true;
    if value.is_some() { Err(answers::BAD_PARAMETER) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_row_and_every_answer_a_way_on() {
        use Verb::{Absent, Data, Ehlo, FinalDot, Foreign, Helo, Help, Mail, Noop, Quit, Rcpt, Rset, Vrfy};
        for verb in [Ehlo, Helo, Mail, Rcpt, Data, FinalDot, Rset, Noop, Vrfy, Help, Quit, Absent, Foreign] {
            assert_eq!(row_of(verb).verb, verb);
        }
        for row in &ROWS {
            let after_354 = row.next == Next::To(State::Content);
            assert_eq!(row.positive.code / 100 == 3, after_354, "{}", row.name);
            assert!(row.states.has(State::Content) == (row.verb == FinalDot), "{}", row.name);
            assert!(!row.states.has(State::Closed) && !row.states.has(State::Banner), "{}", row.name);
        }
    }
}
