//! The server's side of one connection: bytes to [`Event`]s, answers to bytes.
//!
//! [`Server::receive`] reads on until something happened that the caller must know. Some events wait for an answer
//! ([`Server::reply`] or [`Server::accept`]); until it is given nothing more is read, so that pipelined input is
//! worked off in order. Mistakes of the peer (syntax, order, length) are answered here and seen by nobody else; too
//! many of them end the session. What may follow what stands in `table`; limits of lines and content are kept here.
//! Leaves to others: sockets, time-outs, policy. An idle session holds no buffer.

mod commands;
mod lines;
mod replies;
mod transfer;

use std::sync::Arc;

use angarium_nouns::{BodyType, Reply};

use self::lines::Skipping;
use crate::answers;
use crate::command::{AuthCommand, ChunkCommand, EtrnCommand, HelloCommand, MailCommand, RcptCommand};
use crate::content::Content;
use crate::parameters::Terms;
use crate::proxied::ProxiedCommand;
use crate::sasl::Mechanisms;
use crate::settings::{Extensions, ServerSettings};
use crate::table::{self, Next, State, Verb};

/// What happened. Those marked with a question wait for an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All input is used up (or the session waits for an answer, or is closed: then it was not looked at).
    Need,
    /// The client spoke before the greeting; nothing was read. Greet or refuse, then go on.
    Early,
    /// ? EHLO, HELO or LHLO; a transaction that was open is gone.
    Hello(HelloCommand),
    /// ? MAIL.
    Mail(MailCommand),
    /// ? RCPT.
    Rcpt(RcptCommand),
    /// ? DATA; a positive answer (354) starts the content.
    Data,
    /// ? BDAT: so much content follows. Accepted, it is read (nothing is said before its end); refused, it is read and
    /// dropped, the transaction is gone, and the refusal is said at its end. Call `receive` again even with nothing.
    Chunk(ChunkCommand),
    /// Content, as it is to be kept: a slice of the input (or a CRLF that was cut by a read), several for each read.
    Body(&'a [u8]),
    /// ? The final dot, or the end of BDAT LAST. Whatever the answer, the transaction is over. LMTP and PRDR take an
    /// answer for each recipient: [`Server::reply_each`].
    End { size: u64, body: BodyType },
    /// The content will be refused with this reply at its end, by the server itself; the transaction is gone.
    Broken(Reply),
    /// RSET, answered; a transaction that was open is gone.
    Reset,
    /// ? VRFY with what it asks for.
    Vrfy(Box<str>),
    /// ? EXPN with what it asks for.
    Expn(Box<str>),
    /// ? AUTH: answer with [`Server::challenge`] or a reply (235, 535, ..).
    Auth(AuthCommand),
    /// ? The answer to a challenge, decoded; to be answered like `Auth`.
    AuthResponse(Vec<u8>),
    /// The exchange was ended by the client (`*`) or by nonsense, which was answered.
    AuthCancelled,
    /// ? STARTTLS: accepted, give whatever else was read to `receive` (it is refused: somebody injected it), write the
    /// output, do the handshake, call [`Server::secured`].
    StartTls,
    /// ? ETRN.
    Etrn(EtrnCommand),
    /// ? XCLIENT: accepted, the session begins anew with a banner.
    Xclient(Box<ProxiedCommand>),
    /// ? XFORWARD.
    Xforward(Box<ProxiedCommand>),
    /// QUIT, answered. Write the output and close.
    Quit,
    /// The server ends the session with this reply, which is in the output: too many errors, another protocol, octets
    /// that no command may be followed by.
    Hangup(Reply),
}

/// What the end of the input cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing but the session (which should have said QUIT).
    Nothing,
    /// A command line without its end.
    Command,
    /// A transaction before its content.
    Transaction,
    /// Content without its final dot: must not be delivered (RFC 5321 4.1.1.5).
    Content,
}

/// One session.
#[derive(Debug)]
pub struct Server {
    settings: Arc<ServerSettings>,
    output: Vec<u8>,
    /// The beginning of a command line whose end did not come yet; empty and without memory otherwise.
    line: Vec<u8>,
    content: Content,
    /// The reply that content gets at its end.
    broken: Option<Box<Reply>>,
    /// Octets of the chunk that are still to come.
    chunk_left: u64,
    /// What `{id}` in texts of the site's own stands for.
    session: u64,
    /// Seconds since 1970, as the caller last said; 0: unknown.
    now: u64,
    offered: Extensions,
    recipients: u32,
    errors: u32,
    mechanisms: Mechanisms,
    state: State,
    awaits: Option<Verb>,
    skipping: Skipping,
    /// The chunk is the last of its message.
    chunk_last: bool,
    /// EHLO or HELO was said.
    greeted: bool,
    /// It was EHLO: extensions may be used.
    extended: bool,
    smtputf8: bool,
    /// VRFY or EXPN asked for an answer in UTF-8.
    utf8_answer: bool,
    prdr: bool,
    body: BodyType,
    /// MAIL, a RCPT or a BDAT of this transaction was refused: what was pipelined behind it is no mistake.
    refused: bool,
    secure: bool,
    logged_in: bool,
}

impl Server {
    pub fn new(settings: Arc<ServerSettings>) -> Self {
        Self {
            output: Vec::new(),
            line: Vec::new(),
            content: Content::default(),
            broken: None,
            chunk_left: 0,
            session: 0,
            now: 0,
            offered: settings.extensions,
            recipients: 0,
            errors: 0,
            mechanisms: settings.mechanisms,
            state: State::Banner,
            awaits: None,
            skipping: Skipping::No,
            chunk_last: false,
            greeted: false,
            extended: false,
            smtputf8: false,
            utf8_answer: false,
            prdr: false,
            body: BodyType::SevenBit,
            refused: false,
            secure: false,
            logged_in: false,
            settings,
        }
    }

    pub fn settings(&self) -> &Arc<ServerSettings> {
        &self.settings
    }

    /// The client is another one now (XCLIENT): what it may do is too. `offer` and `offer_mechanisms` come behind it.
    pub fn take_settings(&mut self, settings: Arc<ServerSettings>) {
        self.settings = settings;
    }

    /// The number that `{id}` in the site's own texts stands for, in hexadecimal.
    pub fn set_session(&mut self, number: u64) {
        self.session = number;
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// The command that waits for an answer.
    pub fn awaits(&self) -> Option<Verb> {
        self.awaits
    }

    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Nothing is owed, begun or kept: the session may be ended without harm to mail.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Fresh | State::Ready) && self.awaits.is_none() && self.line.is_empty()
    }

    /// Content is being sent: in DATA, in a chunk or between two.
    pub fn is_in_content(&self) -> bool {
        matches!(self.state, State::Content | State::Chunk | State::Chunks)
    }

    /// Recipients accepted in this transaction.
    pub fn recipients(&self) -> u32 {
        self.recipients
    }

    /// Mistakes so far.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Whether the session said EHLO (or LHLO).
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// Whether the connection is under TLS, as [`Server::secured`] said.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether AUTH succeeded.
    pub fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    /// The caller knows who it is without AUTH (XCLIENT, a certificate): no login is asked for.
    pub fn set_logged_in(&mut self) {
        self.logged_in = true;
    }

    /// What EHLO offers from now on, beside what is offered already.
    pub fn offer(&mut self, extensions: Extensions) {
        self.offered = self.offered.with(extensions);
    }

    /// No longer offered, and refused.
    pub fn withdraw(&mut self, extensions: Extensions) {
        self.offered = self.offered.without(extensions);
    }

    /// The mechanisms that AUTH offers from now on.
    pub fn offer_mechanisms(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    pub fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// Says what o'clock it is, in seconds since 1970; without it FUTURERELEASE is not offered.
    pub fn set_now(&mut self, seconds: u64) {
        self.now = seconds;
    }

    /// What is offered at this moment: what can work.
    pub fn offered(&self) -> Extensions {
        let mut offered = self.offered;
        if self.now == 0 || self.settings.hold_maximum == 0 {
            offered = offered.without(Extensions::FUTURERELEASE);
        }
        if self.mechanisms.is_empty() {
            offered = offered.without(Extensions::AUTH);
        }
        if self.secure { offered.without(Extensions::STARTTLS) } else { offered }
    }

    /// Bytes to write; the caller drains them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Says the banner.
    pub fn greet(&mut self) {
        debug_assert_eq!(self.state, State::Banner, "greeted twice");
        self.say_banner();
        self.state = State::Fresh;
    }

    /// Says `reply` instead of the banner. After a 5xx the client may still say QUIT (RFC 5321 3.1).
    pub fn refuse(&mut self, reply: &Reply) {
        debug_assert_eq!(self.state, State::Banner, "greeted twice");
        self.write(reply);
        self.state = if reply.code == 421 { State::Closed } else { State::Refused };
    }

    /// The handshake is done. Behind STARTTLS all that was said before is forgotten and EHLO must come again (RFC 3207
    /// 4.2); before the banner (implicit TLS, RFC 8314 3.3) it is only noted.
    pub fn secured(&mut self) {
        debug_assert!(matches!(self.state, State::Banner | State::Securing), "there was no handshake");
        self.secure = true;
        if self.state == State::Securing {
            self.begin_anew();
        }
    }

    /// Says `reply` (a 421) whatever goes on, and ends the session.
    pub fn close(&mut self, reply: &Reply) {
        if self.state != State::Closed {
            self.write(reply);
            self.end();
        }
    }

    /// The client has closed its side; says what that cut off.
    pub fn eof(&mut self) -> Cut {
        let cut = match self.state {
            State::Content | State::Chunk | State::Chunks => Cut::Content,
            State::Mail | State::Recipients => Cut::Transaction,
            State::Closed => Cut::Nothing,
            _ if self.line.is_empty() => Cut::Nothing,
            _ => Cut::Command,
        };
        self.end();
        cut
    }

    /// Reads on: how many octets were used up, and what happened. Call again with the rest until [`Event::Need`].
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> (usize, Event<'a>) {
        let mut used = 0;
        loop {
            if self.awaits.is_some() {
                return (used, Event::Need);
            }
            let rest = &input[used..];
            let (step, event) = match self.state {
                State::Chunk if self.chunk_left == 0 => (0, self.end_of_chunk()),
                _ if rest.is_empty() => return (used, Event::Need),
                State::Banner => return (used, Event::Early),
                State::Closed => return (input.len(), Event::Need),
                State::Content => self.read_content(rest),
                State::Chunk => self.read_chunk(rest),
                State::Securing => (rest.len(), Some(self.hang_up(answers::INJECTED))),
                _ if self.skipping.drops() => (self.skip(rest), None),
                _ => self.read_line(rest),
            };
            used += step;
            if let Some(event) = event {
                return (used, event);
            }
        }
    }

    /// From inside the content: the rest is read and dropped, and `reply` given at its end.
    pub fn refuse_content(&mut self, reply: Reply) {
        debug_assert!(self.is_in_content(), "there is no content to refuse");
        self.content.drain();
        self.broken.get_or_insert_with(|| Box::new(reply));
    }

    /// Counts a mistake that the caller saw (a refused login, an unknown recipient).
    #[must_use = "true: too many, close the session"]
    pub fn count_error(&mut self) -> bool {
        self.errors += 1;
        self.errors >= self.settings.max_errors
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.awaits = None;
        self.line = Vec::new();
    }

    /// As behind the banner: nothing that was said counts.
    fn begin_anew(&mut self) {
        self.start(State::Fresh);
        self.greeted = false;
        self.extended = false;
        self.logged_in = false;
    }

    fn succeed(&mut self, verb: Verb, code: u16) {
        match verb {
            Verb::Ehlo | Verb::Helo | Verb::Lhlo => (self.greeted, self.extended) = (true, verb != Verb::Helo),
            Verb::Rcpt => self.recipients += 1,
            Verb::Data => self.content = Content::default(),
            Verb::Auth | Verb::AuthResponse => self.logged_in = code == 235,
            Verb::Xclient => self.begin_anew(),
            _ => {}
        }
        self.advance(table::row_of(verb).next);
    }

    fn fail(&mut self, verb: Verb) {
        match verb {
            Verb::Mail | Verb::Rcpt => self.refused = true,
            Verb::FinalDot | Verb::AuthResponse => self.advance(table::row_of(verb).next),
            _ => {}
        }
    }

    fn advance(&mut self, next: Next) {
        match next {
            Next::Stay => {}
            Next::To(State::Ready) => self.start(State::Ready),
            Next::To(state) => self.state = state,
            Next::Start if self.state == State::Fresh => {}
            Next::Start => self.start(State::Ready),
        }
    }

    /// Forgets the transaction.
    fn start(&mut self, state: State) {
        self.state = state;
        self.recipients = 0;
        self.broken = None;
        self.smtputf8 = false;
        self.prdr = false;
        self.body = BodyType::SevenBit;
        self.refused = false;
    }

    /// What readers of parameters look at. Extensions belong to sessions that said EHLO.
    fn terms(&self) -> Terms<'_> {
        let offered = if self.extended { self.offered() } else { Extensions::NONE };
        Terms { settings: &self.settings, offered, now: self.now, smtputf8: self.smtputf8 }
    }

    /// The peer's mistake: answered, counted; one too many ends the session.
    fn mistake<'a>(&mut self, reply: &Reply) -> Option<Event<'a>> {
        if self.count_error() {
            return Some(self.hang_up(answers::TOO_MANY_ERRORS));
        }
        self.say(reply);
        None
    }

    fn hang_up<'a>(&mut self, reply: Reply) -> Event<'a> {
        self.say(&reply);
        self.end();
        Event::Hangup(reply)
    }
}
