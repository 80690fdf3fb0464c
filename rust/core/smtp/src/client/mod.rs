//! The client's side of one connection: commands to bytes, bytes to replies, each matched to what was asked.
//!
//! Commands may be pipelined; every reply belongs to the oldest command without one. A reply that fits no command or
//! the wrong kind of command, or bytes that are no reply, is a [`ClientError`]: the connection is of no more use, and
//! what was not answered is open. Commands hold no CR, LF or NUL and content no such outside CRLF, or they are not
//! sent. Leaves to others: sockets, time-outs, what a refusal means, HELO after a refused EHLO.

mod commands;
mod write;

use std::collections::VecDeque;

use angarium_nouns::Reply;
use angarium_nouns::reply::MAX_REPLY_LINES;

use self::commands::row_of;
pub use self::commands::{Command, CommandKind, MailParameters, RcptParameters};
use crate::capabilities::Capabilities;
use crate::replies::{MAX_SKIPPED, ReplyReader};
use crate::settings::Extensions;
use crate::stuffing::{Lines, Stuffing};

/// Commands without a reply: more than a window of any peer holds, and a bound for memory.
pub const MAX_OUTSTANDING: usize = 4_096;

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
    #[error("binary content goes in chunks (RFC 3030 3)")]
    BinaryNeedsChunks,
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
    #[error("octets came between the answer to STARTTLS and the handshake")]
    Injected,
}

/// What is being sent or said, beside commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commands,
    /// Behind 354.
    Content,
    /// Octets of a chunk are still to be written.
    Chunk {
        left: u64,
        last: bool,
    },
    /// Behind 334: a response is owed.
    Exchange,
    /// Behind the 220 to STARTTLS.
    Securing,
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
    /// Of the message that goes out in chunks.
    lines: Lines,
    mode: Mode,
    /// LHLO was answered: content is answered for each recipient.
    lmtp: bool,
    /// The transaction being sent may hold addresses in UTF-8.
    smtputf8: bool,
    /// Its chunks are octets, not lines.
    binary: bool,
    /// EHLO, HELO or LHLO was sent since the banner or the handshake.
    greeted: bool,
    secure: bool,
    /// Of the transaction being answered: recipients that were accepted.
    accepted: u32,
    /// Replies that one content still gets.
    each_left: Option<u32>,
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
            lines: Lines::default(),
            mode: Mode::Commands,
            lmtp: false,
            smtputf8: false,
            binary: false,
            greeted: false,
            secure: false,
            accepted: 0,
            each_left: None,
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
        self.mode == Mode::Content
    }

    /// Octets of the chunk begun that are still to be written.
    pub fn chunk_left(&self) -> u64 {
        if let Mode::Chunk { left, .. } = self.mode { left } else { 0 }
    }

    /// 334 has come: its text, base64 inside, is the challenge; [`Command::AuthResponse`] or [`Command::AuthCancel`]
    /// must be next.
    pub fn is_in_exchange(&self) -> bool {
        self.mode == Mode::Exchange
    }

    /// The peer has answered STARTTLS with 220: do the handshake, then call [`Client::secured`].
    pub fn is_securing(&self) -> bool {
        self.mode == Mode::Securing
    }

    /// Whether [`Client::secured`] was called.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The handshake is done. Behind STARTTLS what the peer said before is forgotten and EHLO must be sent again
    /// (RFC 3207 4.2); before the greeting (implicit TLS) it is only noted.
    pub fn secured(&mut self) {
        self.secure = true;
        if self.mode == Mode::Securing {
            self.mode = Mode::Commands;
            self.capabilities = Capabilities::default();
            self.greeted = false;
            self.lmtp = false;
        }
    }

    /// Whether a command may be sent now: nothing is awaited, or the peer takes pipelined commands and the last one
    /// sent lets others follow.
    pub fn may_send(&self) -> bool {
        if self.mode != Mode::Commands {
            return false;
        }
        let Some(&last) = self.expected.back() else { return true };
        let pipelined = self.capabilities.has(Extensions::PIPELINING);
        pipelined && row_of(last).is_some_and(|row| !row.last_of_group) && self.expected.len() < MAX_OUTSTANDING
    }

    /// Appends a command to the output.
    pub fn send(&mut self, command: Command<'_>) -> Result<(), ClientError> {
        self.check()?;
        let in_exchange = matches!(command, Command::AuthResponse(_) | Command::AuthCancel);
        let in_turn = if in_exchange { self.mode == Mode::Exchange } else { self.may_send() };
        if !in_turn || matches!(command, Command::Mail(..)) && !self.greeted {
            return Err(ClientError::OutOfTurn);
        }
        let kind = self.write(command)?;
        self.expected.push_back(kind);
        match command {
            Command::Bdat { size, last } => self.begin_chunk(size, last),
            Command::AuthResponse(_) | Command::AuthCancel => self.mode = Mode::Commands,
            Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_) => self.greeted = true,
            _ => {}
        }
        Ok(())
    }

    fn begin_chunk(&mut self, left: u64, last: bool) {
        if left > 0 {
            self.mode = Mode::Chunk { left, last };
        }
    }

    /// Appends octets of the chunk that [`Command::Bdat`] began, as they are. Unless MAIL said BINARYMIME they are
    /// lines, and a CR or LF outside CRLF or a NUL is an error, after which the connection must be closed.
    pub fn chunk(&mut self, octets: &[u8]) -> Result<(), ClientError> {
        self.check()?;
        let Mode::Chunk { left, last } = self.mode else { return Err(ClientError::OutOfTurn) };
        let left = left.checked_sub(octets.len() as u64).ok_or(ClientError::OutOfTurn)?;
        if !self.binary {
            let ended = self.lines.check(octets);
            let ended = if left == 0 && last { ended.and_then(|()| self.lines.finish()) } else { ended };
            self.keep(ended)?;
        }
        self.output.extend_from_slice(octets);
        self.mode = if left > 0 { Mode::Chunk { left, last } } else { Mode::Commands };
        Ok(())
    }

    /// Appends content, with its dots stuffed. On an error nothing of `chunk` was appended; the connection must be
    /// closed, since what was sent of the message cannot be taken back.
    pub fn body(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        self.check()?;
        if self.mode != Mode::Content {
            return Err(ClientError::OutOfTurn);
        }
        let written = self.stuffing.write(chunk, &mut self.output);
        self.keep(written)
    }

    /// Appends the final dot (and the CRLF of the last line if it was missing). Commands may follow at once.
    pub fn end_body(&mut self) -> Result<(), ClientError> {
        self.check()?;
        if self.mode != Mode::Content {
            return Err(ClientError::OutOfTurn);
        }
        let written = self.stuffing.finish(&mut self.output);
        self.keep(written)?;
        self.mode = Mode::Commands;
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

    fn read(&mut self, input: &[u8]) -> Result<(), ClientError> {
        let mut rest = input;
        while !rest.is_empty() {
            // RFC 3207 4: nothing may come between the 220 and the handshake; what does was injected.
            if self.mode == Mode::Securing {
                return Err(ClientError::Injected);
            }
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
        let Some(&kind) = self.expected.front() else {
            return self.assign_unasked(reply);
        };
        if kind == CommandKind::Content && (self.lmtp || self.each_left.is_some() || reply.code == 353) {
            return self.assign_each(reply);
        }
        self.expected.pop_front();
        let positive = row_of(kind).map_or(0, |row| row.positive);
        if reply.code < 400 && positive & 1 << (reply.code / 100) == 0 {
            return Err(ClientError::OutOfStep(kind, reply.code));
        }
        if reply.is_positive() {
            self.succeed(kind, &reply);
        }
        self.replies.push_back((kind, reply));
        Ok(())
    }

    /// One of several replies to a content: in LMTP one for each accepted recipient (RFC 2033 4.2); with PRDR, behind
    /// 353, these and one for the whole.
    fn assign_each(&mut self, reply: Reply) -> Result<(), ClientError> {
        let whole = u32::from(!self.lmtp);
        let Some(left) = self.each_left else {
            self.each_left = Some(self.accepted.max(1) + whole);
            return if reply.code == 353 && !self.lmtp { Ok(()) } else { self.assign_each(reply) };
        };
        if reply.code < 400 && reply.code / 100 != 2 {
            return Err(ClientError::OutOfStep(CommandKind::Content, reply.code));
        }
        let last = left == 1;
        let kind = if last && whole == 1 { CommandKind::Content } else { CommandKind::ContentFor };
        self.each_left = if last { None } else { Some(left - 1) };
        if last {
            self.expected.pop_front();
            self.accepted = 0;
        }
        self.replies.push_back((kind, reply));
        Ok(())
    }

    /// A server that must shut down may say so at any time (RFC 5321 3.8); one that has read enough of a content may
    /// refuse it before the dot, as Exim and others do.
    fn assign_unasked(&mut self, reply: Reply) -> Result<(), ClientError> {
        let kind = match reply.code {
            421 => CommandKind::Unasked,
            400.. if self.mode == Mode::Content => CommandKind::Content,
            code => return Err(ClientError::Unasked(code)),
        };
        self.replies.push_back((kind, reply));
        Ok(())
    }

    fn succeed(&mut self, kind: CommandKind, reply: &Reply) {
        match kind {
            CommandKind::Ehlo | CommandKind::Lhlo => {
                self.capabilities = Capabilities::read(&reply.text);
                self.lmtp = kind == CommandKind::Lhlo;
            }
            CommandKind::Helo => self.capabilities = Capabilities::default(),
            CommandKind::Mail | CommandKind::Rset | CommandKind::Content => self.accepted = 0,
            CommandKind::Rcpt => self.accepted += 1,
            CommandKind::Data => (self.mode, self.stuffing) = (Mode::Content, Stuffing::default()),
            CommandKind::StartTls => self.mode = Mode::Securing,
            CommandKind::Auth if reply.code == 334 => self.mode = Mode::Exchange,
            // As behind a banner: EHLO comes again.
            CommandKind::Xclient => (self.capabilities, self.greeted) = (Capabilities::default(), false),
            _ => {}
        }
    }
}
