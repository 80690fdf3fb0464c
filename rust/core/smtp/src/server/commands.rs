//! One command line: whether its verb may come now, what its argument says, who answers it. The rules are `table`'s.

use angarium_nouns::{BodyType, Reply};
use memchr::memchr;

use super::{Event, Server};
use crate::answers;
use crate::command;
use crate::proxied;
use crate::settings::Extensions;
use crate::table::{self, Answerer, Form, Need, Row, State, Verb};

impl Server {
    pub(super) fn command<'a>(&mut self, line: &[u8]) -> Option<Event<'a>> {
        let name_end = memchr(b' ', line).unwrap_or(line.len());
        let Some(row) = table::row_named(&line[..name_end], self.settings.lmtp) else {
            return self.mistake(&answers::UNKNOWN_VERB);
        };
        let offered = self.offered();
        if line.len() + 2 > table::line_limit(row.verb, offered) {
            return self.bad_line(line, &answers::LINE_TOO_LONG);
        }
        // RFC 5321 4.1.1: blanks at the end are tolerated.
        let argument = line[name_end..].trim_ascii();
        if row.verb == Verb::Bdat && offered.has(row.extension) {
            return self.chunk_command(row, argument);
        }
        match self.refusal(row) {
            None => {}
            Some(Refusal::Quiet(reply)) => {
                self.say(&reply);
                return None;
            }
            Some(Refusal::Mistake(reply)) => return self.mistake(&reply),
            Some(Refusal::Hangup(reply)) => return Some(self.hang_up(reply)),
        }
        match self.read_argument(row, argument) {
            Ok(event) => self.dispatch(row, event),
            Err(reply) => {
                self.fail(row.verb);
                self.mistake(&reply)
            }
        }
    }

    /// Why the row's verb may not come now.
    pub(super) fn refusal(&mut self, row: &Row) -> Option<Refusal> {
        if row.verb == Verb::Foreign {
            return Some(Refusal::Hangup(answers::FOREIGN));
        }
        if let Some(reply) = self.not_offered(row) {
            return Some(Refusal::Mistake(reply));
        }
        if !row.states.has(self.state) {
            return Some(self.out_of_order(row.verb));
        }
        let reply = self.unmet_need(row)?;
        self.fail(row.verb);
        Some(Refusal::Mistake(reply))
    }

    fn not_offered(&self, row: &Row) -> Option<Reply> {
        if row.verb == Verb::Absent {
            return Some(answers::NOT_OFFERED);
        }
        if self.offered().has(row.extension) {
            return None;
        }
        Some(match row.verb {
            Verb::StartTls if self.secure => answers::TLS_ALREADY,
            Verb::Auth if !self.secure && self.offered.has(Extensions::STARTTLS) => answers::LOGIN_NEEDS_TLS,
            _ => answers::NOT_OFFERED,
        })
    }

    /// RFC 2920: what was pipelined behind a refusal is out of order without being a mistake.
    fn out_of_order(&self, verb: Verb) -> Refusal {
        let behind_refusal = self.refused && matches!(verb, Verb::Rcpt | Verb::Data | Verb::Bdat);
        if !behind_refusal {
            return Refusal::Mistake(table::out_of_order(verb, self.state));
        }
        let no_recipients = verb != Verb::Rcpt && self.state == State::Mail;
        // RFC 2033 4.2: LMTP says 503.
        let reply = match () {
            () if no_recipients && self.settings.lmtp => answers::NO_RECIPIENTS_LMTP,
            () if no_recipients => answers::NO_RECIPIENTS,
            () => answers::MAIL_FIRST,
        };
        Refusal::Quiet(reply)
    }

    /// What the row needs and the session has not.
    fn unmet_need(&self, row: &Row) -> Option<Reply> {
        let settings = &self.settings;
        match row.verb {
            Verb::Auth if self.logged_in => return Some(answers::LOGGED_IN_ALREADY),
            Verb::Data if self.body == BodyType::BinaryMime => return Some(answers::BINARY_NEEDS_CHUNKS),
            _ => {}
        }
        match row.need {
            Need::Nothing => None,
            _ if settings.tls_required && !self.secure => Some(answers::TLS_FIRST),
            Need::Login if settings.login_required && !self.logged_in => Some(answers::LOGIN_FIRST),
            _ => None,
        }
    }

    fn read_argument<'a>(&mut self, row: &Row, argument: &[u8]) -> Result<Event<'a>, Reply> {
        let terms = self.terms();
        Ok(match row.form {
            Form::Nothing if !argument.is_empty() => return Err(answers::NO_ARGUMENT),
            Form::Nothing | Form::Anything => return Ok(bare_event(row.verb)),
            _ if argument.is_empty() && row.form.needs_text() => return Err(answers::ARGUMENT_MISSING),
            Form::Host => Event::Hello(command::hello(argument, row.verb != Verb::Helo)?),
            Form::ReversePath => Event::Mail(command::mail(argument, &terms)?),
            Form::ForwardPath => Event::Rcpt(command::rcpt(argument, &terms)?),
            Form::Mechanism => Event::Auth(command::auth(argument, self.mechanisms)?),
            Form::Node => Event::Etrn(command::etrn(argument)?),
            Form::Attributes if row.verb == Verb::Xclient => Event::Xclient(proxied::read(argument, true)?),
            Form::Attributes => Event::Xforward(proxied::read(argument, false)?),
            Form::Mailbox => {
                let (text, smtputf8) = command::verify(argument, terms.offered)?;
                self.utf8_answer = smtputf8;
                if row.verb == Verb::Vrfy { Event::Vrfy(text) } else { Event::Expn(text) }
            }
        })
    }

    /// A command that is in order and well written.
    fn dispatch<'a>(&mut self, row: &Row, event: Event<'a>) -> Option<Event<'a>> {
        match &event {
            Event::Hello(_) if self.state != State::Fresh => self.start(State::Ready),
            Event::Mail(mail) => {
                (self.smtputf8, self.body, self.prdr, self.refused) = (mail.smtputf8, mail.body, mail.prdr, false);
            }
            Event::Rcpt(_) if self.recipients >= self.settings.max_recipients => {
                self.say(&answers::TOO_MANY_RECIPIENTS);
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
            self.say(&help);
        } else {
            self.say(&row.positive);
        }
        self.advance(row.next);
        (event != Event::Need).then_some(event)
    }

    /// A line behind 334 (RFC 4954 4).
    pub(super) fn response<'a>(&mut self, line: &[u8]) -> Option<Event<'a>> {
        if line == b"*" {
            self.state = State::Ready;
            self.say(&answers::LOGIN_CANCELLED);
            return Some(Event::AuthCancelled);
        }
        match command::base64(line) {
            Ok(response) => {
                self.awaits = Some(Verb::AuthResponse);
                Some(Event::AuthResponse(response))
            }
            Err(reply) => self.end_exchange(&reply),
        }
    }

    /// A response that is none ends the exchange and is a mistake.
    pub(super) fn end_exchange<'a>(&mut self, reply: &Reply) -> Option<Event<'a>> {
        self.state = State::Ready;
        self.mistake(reply).or(Some(Event::AuthCancelled))
    }
}

/// Why a command is refused, and what that costs.
#[derive(Debug)]
pub(super) enum Refusal {
    Quiet(Reply),
    Mistake(Reply),
    Hangup(Reply),
}

/// What a verb without an argument means to the caller; `Need` for nothing.
fn bare_event<'a>(verb: Verb) -> Event<'a> {
    match verb {
        Verb::Data => Event::Data,
        Verb::Quit => Event::Quit,
        Verb::Rset => Event::Reset,
        Verb::StartTls => Event::StartTls,
        _ => Event::Need,
    }
}
