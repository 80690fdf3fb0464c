//! The client's side of one connection: commands to bytes, bytes to replies, each matched to what was asked.
//!
//! Commands may be pipelined; every reply belongs to the oldest command without one. A reply that fits no command or
//! the wrong kind of command, or bytes that are no reply, is a [`ClientError`]: the connection is of no more use, and
//! what was not answered is open. Commands hold no CR, LF or NUL and content no such outside CRLF, or they are not
//! sent. Leaves to others: sockets, time-outs, what a refusal means, HELO after a refused EHLO.

use std::collections::VecDeque;

use angarium_nouns::reply::MAX_REPLY_LINES;
use angarium_nouns::{Address, BodyType, Reply};

use crate::capabilities::Capabilities;
use crate::replies::{MAX_SKIPPED, ReplyReader};
use crate::settings::Extensions;
use crate::stuffing::Stuffing;

/// Commands without a reply: more than a window of any peer holds, and a bound for memory.
pub const MAX_OUTSTANDING: usize = 4_096;

/// Parameters of MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MailParameters {
    /// Sent when the peer offers SIZE.
    pub size: Option<u64>,
    /// 8BITMIME must be offered.
    pub body: BodyType,
    /// Must be offered.
    pub smtputf8: bool,
}

/// A command to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    /// The empty sender is the null path.
    Mail(&'a str, MailParameters),
    Rcpt(&'a str),
    /// Content follows when 354 has come: [`Client::body`], [`Client::end_body`].
    Data,
    Rset,
    Noop,
    Vrfy(&'a str),
    Quit,
}

impl<'a> Command<'a> {
    /// The command that `verb` names, in any case of letters.
    pub fn named(verb: &str, argument: &'a str, parameters: MailParameters) -> Option<Self> {
        let row = ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(verb))?;
        Some(match row.kind {
            CommandKind::Ehlo => Self::Ehlo(argument),
            CommandKind::Helo => Self::Helo(argument),
            CommandKind::Mail => Self::Mail(argument, parameters),
            CommandKind::Rcpt => Self::Rcpt(argument),
            CommandKind::Data => Self::Data,
            CommandKind::Rset => Self::Rset,
            CommandKind::Noop => Self::Noop,
            CommandKind::Vrfy => Self::Vrfy(argument),
            CommandKind::Quit => Self::Quit,
            CommandKind::Greeting | CommandKind::Content | CommandKind::Unasked => return None,
        })
    }
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    Greeting,
    Ehlo,
    Helo,
    Mail,
    Rcpt,
    Data,
    /// The final dot.
    Content,
    Rset,
    Noop,
    Vrfy,
    Quit,
    /// Nothing: a 421 on the peer's own account.
    Unasked,
}

impl CommandKind {
    /// The verb; `greeting`, `.` for the final dot, empty for none.
    pub fn name(self) -> &'static str {
        row_of(self).map_or("", |row| row.name)
    }
}

/// How a command may be answered, and whether others may be sent behind it before its reply (RFC 2920 3.1).
struct Row {
    kind: CommandKind,
    name: &'static str,
    /// First digit of a positive reply.
    positive: u16,
    last_of_group: bool,
}

#[rustfmt::skip]
static ROWS: [Row; 11] = [
    Row { kind: CommandKind::Greeting, name: "greeting", positive: 2, last_of_group: true },
    Row { kind: CommandKind::Ehlo,     name: "EHLO",     positive: 2, last_of_group: true },
    Row { kind: CommandKind::Helo,     name: "HELO",     positive: 2, last_of_group: true },
    Row { kind: CommandKind::Mail,     name: "MAIL",     positive: 2, last_of_group: false },
    Row { kind: CommandKind::Rcpt,     name: "RCPT",     positive: 2, last_of_group: false },
    Row { kind: CommandKind::Data,     name: "DATA",     positive: 3, last_of_group: true },
    Row { kind: CommandKind::Content,  name: ".",        positive: 2, last_of_group: false },
    Row { kind: CommandKind::Rset,     name: "RSET",     positive: 2, last_of_group: false },
    Row { kind: CommandKind::Noop,     name: "NOOP",     positive: 2, last_of_group: true },
    Row { kind: CommandKind::Vrfy,     name: "VRFY",     positive: 2, last_of_group: true },
    Row { kind: CommandKind::Quit,     name: "QUIT",     positive: 2, last_of_group: true },
];

fn row_of(kind: CommandKind) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.kind == kind)
}

/// Why a connection cannot go on, or (the first group) why something was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("a command holds a control character or an address that breaks its line")]
    Argument,
    #[error("an address in UTF-8 goes only with SMTPUTF8 (RFC 6531)")]
    NeedsSmtputf8,
    #[error("the peer does not offer {0}")]
    NotOffered(&'static str),
    #[error("this may not be sent before the reply to what was sent")]
    OutOfTurn,
    #[error("content holds a CR or LF outside CRLF")]
    BareNewline,
    #[error("content holds a NUL")]
    Nul,
    #[error("the peer sent what is no reply")]
    Garbage,
    #[error("the lines of a reply carry different codes")]
    MixedCodes,
    #[error("a reply has more than {MAX_REPLY_LINES} lines")]
    TooManyLines,
    #[error("a reply line has more than {MAX_SKIPPED} octets")]
    LineTooLong,
    #[error("the peer answered {1} to {0:?}, which is no answer to it")]
    OutOfStep(CommandKind, u16),
    #[error("the peer sent {0} without being asked")]
    Unasked(u16),
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    output: Vec<u8>,
    expected: VecDeque<CommandKind>,
    replies: VecDeque<(CommandKind, Reply)>,
    reader: ReplyReader,
    capabilities: Capabilities,
    stuffing: Stuffing,
    in_content: bool,
    /// The transaction being sent may hold addresses in UTF-8.
    smtputf8: bool,
    broken: Option<ClientError>,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A connection on which the greeting is awaited.
    pub fn new() -> Self {
        Self {
            output: Vec::new(),
            expected: VecDeque::from([CommandKind::Greeting]),
            replies: VecDeque::new(),
            reader: ReplyReader::default(),
            capabilities: Capabilities::default(),
            stuffing: Stuffing::default(),
            in_content: false,
            smtputf8: false,
            broken: None,
        }
    }

    /// What the peer offered in its last answer to EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Bytes to write; the caller drains them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Replies that are still to come.
    pub fn outstanding(&self) -> usize {
        self.expected.len()
    }

    /// The command whose reply comes next.
    pub fn awaits(&self) -> Option<CommandKind> {
        self.expected.front().copied()
    }

    /// 354 has come: content may be written.
    pub fn is_in_content(&self) -> bool {
        self.in_content
    }

    /// Whether a command may be sent now: nothing is awaited, or the peer takes pipelined commands and the last one
    /// sent lets others follow.
    pub fn may_send(&self) -> bool {
        let Some(&last) = self.expected.back() else { return !self.in_content };
        let pipelined = self.capabilities.has(Extensions::PIPELINING) && !self.in_content;
        pipelined && row_of(last).is_some_and(|row| !row.last_of_group) && self.expected.len() < MAX_OUTSTANDING
    }

    /// Appends a command to the output.
    pub fn send(&mut self, command: Command<'_>) -> Result<(), ClientError> {
        self.check()?;
        if !self.may_send() {
            return Err(ClientError::OutOfTurn);
        }
        let kind = match command {
            Command::Ehlo(name) => self.line("EHLO ", name, CommandKind::Ehlo)?,
            Command::Helo(name) => self.line("HELO ", name, CommandKind::Helo)?,
            Command::Mail(sender, parameters) => self.mail(sender, parameters)?,
            Command::Rcpt(recipient) => self.rcpt(recipient)?,
            Command::Data => self.line("DATA", "", CommandKind::Data)?,
            Command::Rset => self.line("RSET", "", CommandKind::Rset)?,
            Command::Noop => self.line("NOOP", "", CommandKind::Noop)?,
            Command::Vrfy(text) => self.line("VRFY ", text, CommandKind::Vrfy)?,
            Command::Quit => self.line("QUIT", "", CommandKind::Quit)?,
        };
        self.expected.push_back(kind);
        Ok(())
    }

    /// Appends content, with its dots stuffed. On an error nothing of `chunk` was appended; the connection must be
    /// closed, since what was sent of the message cannot be taken back.
    pub fn body(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.check()?;
        if !self.in_content {
            return Err(ClientError::OutOfTurn);
        }
        let written = self.stuffing.write(chunk, &mut self.output);
        self.keep(written)
    }

    /// Appends the final dot (and the CRLF of the last line if it was missing). Commands may follow at once.
    pub fn end_body(&mut self) -> Result<(), ClientError> {
        self.check()?;
        if !self.in_content {
            return Err(ClientError::OutOfTurn);
        }
        let written = self.stuffing.finish(&mut self.output);
        self.keep(written)?;
        self.in_content = false;
        self.expected.push_back(CommandKind::Content);
        Ok(())
    }

    /// Reads replies. An error stays: later calls give it again.
    pub fn receive(&mut self, input: &[u8]) -> Result<usize, ClientError> {
        self.check()?;
        let read = self.read(input);
        self.keep(read)?;
        Ok(input.len())
    }

    /// The next whole reply with what it answers.
    pub fn next_reply(&mut self) -> Option<(CommandKind, Reply)> {
        self.replies.pop_front()
    }

    fn check(&self) -> Result<(), ClientError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn keep(&mut self, result: Result<(), ClientError>) -> Result<(), ClientError> {
        if let Err(error) = &result {
            self.broken = Some(error.clone());
        }
        result
    }

    fn line(&mut self, verb: &str, argument: &str, kind: CommandKind) -> Result<CommandKind, ClientError> {
        if argument.bytes().any(|b| b.is_ascii_control()) {
            return Err(ClientError::Argument);
        }
        push(&mut self.output, &[verb, argument, "\r\n"]);
        Ok(kind)
    }

    fn mail(&mut self, sender: &str, parameters: MailParameters) -> Result<CommandKind, ClientError> {
        if !sender.is_empty() {
            check_path(sender, parameters.smtputf8)?;
        }
        let offers = self.capabilities.extensions;
        if parameters.body != BodyType::SevenBit && !offers.has(Extensions::EIGHT_BIT_MIME) {
            return Err(ClientError::NotOffered("8BITMIME"));
        }
        if parameters.smtputf8 && !offers.has(Extensions::SMTPUTF8) {
            return Err(ClientError::NotOffered("SMTPUTF8"));
        }
        self.smtputf8 = parameters.smtputf8;
        push(&mut self.output, &["MAIL FROM:<", sender, ">"]);
        if let Some(size) = parameters.size.filter(|_| offers.has(Extensions::SIZE)) {
            push(&mut self.output, &[" SIZE=", &size.to_string()]);
        }
        if parameters.body != BodyType::SevenBit {
            push(&mut self.output, &[" BODY=8BITMIME"]);
        }
        push(&mut self.output, &[if parameters.smtputf8 { " SMTPUTF8\r\n" } else { "\r\n" }]);
        Ok(CommandKind::Mail)
    }

    fn rcpt(&mut self, recipient: &str) -> Result<CommandKind, ClientError> {
        check_path(recipient, self.smtputf8)?;
        push(&mut self.output, &["RCPT TO:<", recipient, ">\r\n"]);
        Ok(CommandKind::Rcpt)
    }

    fn read(&mut self, input: &[u8]) -> Result<(), ClientError> {
        let mut rest = input;
        while !rest.is_empty() {
            let (used, reply) = self.reader.read(rest)?;
            rest = &rest[used..];
            if let Some(reply) = reply {
                self.assign(reply)?;
            }
        }
        Ok(())
    }

    /// Gives a reply to the command it answers.
    fn assign(&mut self, reply: Reply) -> Result<(), ClientError> {
        let Some(kind) = self.expected.pop_front() else {
            return self.assign_unasked(reply);
        };
        let positive = row_of(kind).map_or(2, |row| row.positive);
        if reply.code < 400 && reply.code / 100 != positive {
            return Err(ClientError::OutOfStep(kind, reply.code));
        }
        if reply.is_positive() {
            self.succeed(kind, &reply);
        }
        self.replies.push_back((kind, reply));
        Ok(())
    }

    /// A server that must shut down may say so at any time (RFC 5321 3.8); one that has read enough of a content may
    /// refuse it before the dot, as Exim and others do.
    fn assign_unasked(&mut self, reply: Reply) -> Result<(), ClientError> {
        let kind = match reply.code {
            421 => CommandKind::Unasked,
            400.. if self.in_content => CommandKind::Content,
            code => return Err(ClientError::Unasked(code)),
        };
        self.replies.push_back((kind, reply));
        Ok(())
    }

    fn succeed(&mut self, kind: CommandKind, reply: &Reply) {
        match kind {
            CommandKind::Ehlo => self.capabilities = Capabilities::read(&reply.text),
            CommandKind::Helo => self.capabilities = Capabilities::default(),
            CommandKind::Data => (self.in_content, self.stuffing) = (true, Stuffing::default()),
            _ => {}
        }
    }
}

fn push(output: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        output.extend_from_slice(part.as_bytes());
    }
}

/// Addresses were checked when they came in; what was made of them since (rewriting) must not break the line.
fn check_path(address: &str, smtputf8: bool) -> Result<(), ClientError> {
    if !smtputf8 && !address.is_ascii() {
        return Err(ClientError::NeedsSmtputf8);
    }
    let plain = |b: u8| !b.is_ascii_control() && !matches!(b, b' ' | b'<' | b'>' | b'"');
    if address.bytes().all(plain) && !address.is_empty() || Address::parse(address).is_ok() {
        return Ok(());
    }
    Err(ClientError::Argument)
}
