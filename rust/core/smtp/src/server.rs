//! The server's side of one connection: bytes to [`Event`]s, answers to bytes.
//!
//! [`Server::receive`] reads on until something happened that the caller must know. Some events wait for an answer
//! ([`Server::reply`] or [`Server::accept`]); until it is given nothing more is read, so that pipelined input is
//! worked off in order. Mistakes of the peer (syntax, order, length) are answered here and seen by nobody else; too
//! many of them end the session. What may follow what stands in `table`; limits of lines and content are kept here.
//! Leaves to others: sockets, time-outs, policy. An idle session holds no buffer.

use std::sync::Arc;

use angarium_nouns::{BodyType, Reply};
use memchr::{memchr, memchr2};

use crate::answers;
use crate::command::{self, HelloCommand, MailCommand, RcptCommand};
use crate::content::{Content, Piece};
use crate::settings::{Extensions, ServerSettings};
use crate::table::{self, Answerer, Form, LONGEST_LINE, Next, Row, State, Verb};

/// What happened. Those marked with a question wait for an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// All input is used up (or the session waits for an answer, or is closed: then it was not looked at).
    Need,
    /// The client spoke before the greeting; nothing was read. Greet or refuse, then go on.
    Early,
    /// ? EHLO or HELO; a transaction that was open is gone.
    Hello(HelloCommand),
    /// ? MAIL.
    Mail(MailCommand),
    /// ? RCPT.
    Rcpt(RcptCommand),
    /// ? DATA; a positive answer (354) starts the content.
    Data,
    /// Content, as it is to be kept: a slice of the input (or a CRLF that was cut by a read), several for each read.
    Body(&'a [u8]),
    /// ? The final dot. Whatever the answer, the transaction is over.
    End { size: u64, body: BodyType },
    /// The content will be refused with this reply at its final dot, by the server itself; the transaction is gone.
    Broken(Reply),
    /// RSET, answered; a transaction that was open is gone.
    Reset,
    /// ? VRFY with what it asks for.
    Vrfy(Box<str>),
    /// QUIT, answered. Write the output and close.
    Quit,
    /// The server ends the session with this reply, which is in the output: too many errors, another protocol.
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
    /// The reply that content gets at its final dot.
    broken: Option<Box<Reply>>,
    recipients: u32,
    errors: u32,
    state: State,
    awaits: Option<Verb>,
    skipping: Skipping,
    /// EHLO was said (not HELO): extensions may be used.
    extended: bool,
    smtputf8: bool,
    body: BodyType,
    /// MAIL or a RCPT of this transaction was refused: what was pipelined behind it is no mistake.
    refused: bool,
}

/// The rest of a line that was answered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipping {
    No,
    Text,
    AfterCr,
}

impl Server {
    pub fn new(settings: Arc<ServerSettings>) -> Self {
        Self {
            settings,
            output: Vec::new(),
            line: Vec::new(),
            content: Content::default(),
            broken: None,
            recipients: 0,
            errors: 0,
            state: State::Banner,
            awaits: None,
            skipping: Skipping::No,
            extended: false,
            smtputf8: false,
            body: BodyType::SevenBit,
            refused: false,
        }
    }

    pub fn settings(&self) -> &Arc<ServerSettings> {
        &self.settings
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

    /// Recipients accepted in this transaction.
    pub fn recipients(&self) -> u32 {
        self.recipients
    }

    /// Mistakes so far.
    pub fn errors(&self) -> u32 {
        self.errors
    }

    /// Whether the session said EHLO.
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// Bytes to write; the caller drains them.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Says the banner.
    pub fn greet(&mut self) {
        debug_assert_eq!(self.state, State::Banner, "greeted twice");
        let text = format!("{} {}", self.settings.hostname, self.settings.banner);
        Reply::plain(220, "").with_text(text).write_to(&mut self.output);
        self.state = State::Fresh;
    }

    /// Says `reply` instead of the banner. After a 5xx the client may still say QUIT (RFC 5321 3.1).
    pub fn refuse(&mut self, reply: &Reply) {
        debug_assert_eq!(self.state, State::Banner, "greeted twice");
        self.write(reply);
        self.state = if reply.code == 421 { State::Closed } else { State::Refused };
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
            State::Content => Cut::Content,
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
        while used < input.len() {
            if self.awaits.is_some() {
                return (used, Event::Need);
            }
            let rest = &input[used..];
            let (step, event) = match self.state {
                State::Banner => return (used, Event::Early),
                State::Closed => return (input.len(), Event::Need),
                State::Content => self.read_content(rest),
                _ if self.skipping == Skipping::No => self.read_command(rest),
                _ => (self.skip(rest), None),
            };
            used += step;
            if let Some(event) = event {
                return (used, event);
            }
        }
        (used, Event::Need)
    }

    /// Answers what waits, positively, in the table's words.
    pub fn accept(&mut self) {
        match self.awaits {
            Some(Verb::Ehlo) => self.accept_hello(true),
            Some(Verb::Helo) => self.accept_hello(false),
            Some(verb) => self.reply(&table::row_of(verb).positive),
            None => debug_assert!(false, "nothing waits for an answer"),
        }
    }

    /// Answers what waits.
    pub fn reply(&mut self, reply: &Reply) {
        debug_assert!(self.awaits.is_some(), "nothing waits for an answer");
        let Some(verb) = self.awaits.take() else { return };
        self.write(reply);
        match reply.code {
            421 => self.end(),
            code if code < 400 => self.succeed(verb),
            _ => self.fail(verb),
        }
    }

    /// From inside the content: the rest is read and dropped, and `reply` given at its final dot.
    pub fn refuse_content(&mut self, reply: Reply) {
        debug_assert_eq!(self.state, State::Content, "there is no content to refuse");
        self.content.drain();
        self.broken.get_or_insert_with(|| Box::new(reply));
    }

    /// Counts a mistake that the caller saw (a refused login, an unknown recipient).
    #[must_use = "true: too many, close the session"]
    pub fn count_error(&mut self) -> bool {
        self.errors += 1;
        self.errors >= self.settings.max_errors
    }

    fn write(&mut self, reply: &Reply) {
        if reply.enhanced.is_some() && !self.settings.extensions.has(Extensions::ENHANCED_STATUS_CODES) {
            Reply { enhanced: None, ..reply.clone() }.write_to(&mut self.output);
        } else {
            reply.write_to(&mut self.output);
        }
    }

    fn end(&mut self) {
        self.state = State::Closed;
        self.awaits = None;
        self.line = Vec::new();
    }

    fn accept_hello(&mut self, extended: bool) {
        let settings = &self.settings;
        let mut text = settings.hostname.clone();
        let offered = if extended { settings.extensions } else { Extensions::NONE };
        for keyword in offered.keywords() {
            text.push('\n');
            text.push_str(keyword);
            if Extensions::named(keyword) == Some(Extensions::SIZE) && settings.max_size > 0 {
                text.push(' ');
                text.push_str(&settings.max_size.to_string());
            }
        }
        self.reply(&Reply::plain(250, "").with_text(text));
    }

    fn succeed(&mut self, verb: Verb) {
        match verb {
            Verb::Ehlo | Verb::Helo => self.extended = verb == Verb::Ehlo,
            Verb::Rcpt => self.recipients += 1,
            Verb::Data => self.content = Content::default(),
            _ => {}
        }
        self.advance(table::row_of(verb).next);
    }

    fn fail(&mut self, verb: Verb) {
        match verb {
            Verb::Mail | Verb::Rcpt => self.refused = true,
            Verb::FinalDot => self.advance(table::row_of(verb).next),
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
        self.body = BodyType::SevenBit;
        self.refused = false;
    }

    fn read_content<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Event<'a>>) {
        let (used, piece) = self.content.scan(input, &self.settings);
        let event = match piece {
            Piece::Nothing => None,
            Piece::Text(text) => Some(Event::Body(text)),
            Piece::Breach(breach) => {
                let reply = breach.reply();
                self.broken = Some(Box::new(reply.clone()));
                Some(Event::Broken(reply))
            }
            Piece::End => self.end_of_content(),
        };
        (used, event)
    }

    fn end_of_content<'a>(&mut self) -> Option<Event<'a>> {
        if let Some(reply) = self.broken.take() {
            self.write(&reply);
            self.start(State::Ready);
            return None;
        }
        self.awaits = Some(Verb::FinalDot);
        // Eight-bit content under 7BIT is taken as what it is; the field is full of it.
        let body = if self.content.is_eight_bit() { BodyType::EightBitMime } else { self.body };
        Some(Event::End { size: self.content.size(), body })
    }

    /// Takes one command line, or as much of it as there is.
    fn read_command<'a>(&mut self, input: &[u8]) -> (usize, Option<Event<'a>>) {
        let room = LONGEST_LINE - self.line.len();
        let window = &input[..input.len().min(room)];
        let Some(at) = memchr(b'\n', window) else {
            if window.len() == room {
                return (window.len(), self.skip_line(window, &answers::LINE_TOO_LONG));
            }
            self.line.extend_from_slice(window);
            return (window.len(), None);
        };
        let used = at + 1;
        let before = if at > 0 { Some(&window[at - 1]) } else { self.line.last() };
        if before != Some(&b'\r') {
            return (used, self.skip_line(&window[..used], &answers::BARE_CONTROL));
        }
        if self.line.is_empty() {
            return (used, self.command(&window[..at - 1]));
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&window[..used]);
        line.truncate(line.len() - 2);
        (used, self.command(&line))
    }

    /// Answers a line before its end, and drops the rest of it.
    fn skip_line<'a>(&mut self, seen: &[u8], reply: &Reply) -> Option<Event<'a>> {
        self.line = Vec::new();
        self.skipping = if seen.last() == Some(&b'\r') { Skipping::AfterCr } else { Skipping::Text };
        self.mistake(reply)
    }

    fn skip(&mut self, input: &[u8]) -> usize {
        if self.skipping == Skipping::AfterCr && input[0] == b'\n' {
            self.skipping = Skipping::No;
            return 1;
        }
        if let Some(at) = memchr::memmem::find(input, b"\r\n") {
            self.skipping = Skipping::No;
            return at + 2;
        }
        self.skipping = if input.ends_with(b"\r") { Skipping::AfterCr } else { Skipping::Text };
        input.len()
    }

    /// The peer's mistake: answered, counted; one too many ends the session.
    fn mistake<'a>(&mut self, reply: &Reply) -> Option<Event<'a>> {
        if self.count_error() {
            return Some(self.hang_up(answers::TOO_MANY_ERRORS));
        }
        self.write(reply);
        None
    }

    fn hang_up<'a>(&mut self, reply: Reply) -> Event<'a> {
        self.write(&reply);
        self.end();
        Event::Hangup(reply)
    }

    /// One whole line without its CRLF.
    fn command<'a>(&mut self, line: &[u8]) -> Option<Event<'a>> {
        if memchr2(b'\r', 0, line).is_some() {
            return self.mistake(&answers::BARE_CONTROL);
        }
        let name_end = memchr(b' ', line).unwrap_or(line.len());
        let Some(row) = table::row_named(&line[..name_end]) else {
            return self.mistake(&answers::UNKNOWN_VERB);
        };
        if line.len() + 2 > table::line_limit(row.verb, self.settings.extensions) {
            return self.mistake(&answers::LINE_TOO_LONG);
        }
        if let Some(reply) = self.refusal(row) {
            return reply;
        }
        // RFC 5321 4.1.1: blanks at the end are tolerated.
        match self.read_argument(row, line[name_end..].trim_ascii()) {
            Ok(event) => self.dispatch(row, event),
            Err(reply) => self.misread(row.verb, &reply),
        }
    }

    /// Whether the row forbids its verb now: the whole answer, with the event that follows from it.
    #[allow(clippy::option_option)]
    fn refusal<'a>(&mut self, row: &Row) -> Option<Option<Event<'a>>> {
        if row.verb == Verb::Foreign {
            return Some(Some(self.hang_up(answers::FOREIGN)));
        }
        if row.verb == Verb::Absent || !self.settings.extensions.has(row.extension) {
            return Some(self.mistake(&answers::NOT_OFFERED));
        }
        if row.states.has(self.state) {
            return None;
        }
        // RFC 2920: what was pipelined behind a refused MAIL or RCPT is out of order without being a mistake.
        let behind_refusal = self.refused && matches!(row.verb, Verb::Rcpt | Verb::Data);
        if !behind_refusal {
            return Some(self.mistake(&table::out_of_order(row.verb, self.state)));
        }
        let no_recipients = row.verb == Verb::Data && self.state == State::Mail;
        let reply = if no_recipients { answers::NO_RECIPIENTS } else { answers::MAIL_FIRST };
        self.write(&reply);
        Some(None)
    }

    fn read_argument<'a>(&self, row: &Row, argument: &[u8]) -> Result<Event<'a>, Reply> {
        let offered = if self.extended { self.settings.extensions } else { Extensions::NONE };
        Ok(match row.form {
            Form::Nothing if !argument.is_empty() => return Err(answers::NO_ARGUMENT),
            Form::Text if argument.is_empty() => return Err(answers::ARGUMENT_MISSING),
            Form::Host => Event::Hello(command::hello(argument, row.verb == Verb::Ehlo)?),
            Form::ReversePath => Event::Mail(self.sized(command::mail(argument, offered)?)?),
            Form::ForwardPath => Event::Rcpt(command::rcpt(argument, offered, self.smtputf8, &self.settings.hostname)?),
            Form::Text => Event::Vrfy(String::from_utf8_lossy(argument).into()),
            Form::Nothing if row.verb == Verb::Data => Event::Data,
            Form::Nothing if row.verb == Verb::Quit => Event::Quit,
            Form::Nothing if row.verb == Verb::Rset => Event::Reset,
            Form::Nothing | Form::Anything => Event::Need,
        })
    }

    /// RFC 1870 6.1: what declares itself too large is refused before it is sent.
    fn sized(&self, mail: MailCommand) -> Result<MailCommand, Reply> {
        let limit = self.settings.max_size;
        if limit > 0 && mail.size.is_some_and(|size| size > limit) { Err(answers::TOO_LARGE) } else { Ok(mail) }
    }

    fn misread<'a>(&mut self, verb: Verb, reply: &Reply) -> Option<Event<'a>> {
        self.fail(verb);
        self.mistake(reply)
    }

    /// A command that is in order and well written.
    fn dispatch<'a>(&mut self, row: &Row, event: Event<'a>) -> Option<Event<'a>> {
        match &event {
            Event::Hello(_) if self.state != State::Fresh => self.start(State::Ready),
            Event::Mail(mail) => {
                (self.smtputf8, self.body, self.refused) = (mail.smtputf8, mail.body, false);
            }
            Event::Rcpt(_) if self.recipients >= self.settings.max_recipients => {
                self.write(&answers::TOO_MANY_RECIPIENTS);
                return None;
            }
            _ => {}
        }
        if row.answerer == Answerer::Caller {
            self.awaits = Some(row.verb);
            return Some(event);
        }
        if row.verb == Verb::Help {
            let help = answers::HELP.with_text(self.settings.help.clone());
            self.write(&help);
        } else {
            self.write(&row.positive);
        }
        self.advance(row.next);
        (event != Event::Need).then_some(event)
    }
}
