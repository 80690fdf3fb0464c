//! What the server says: the caller's answers, the answer to EHLO, banners, challenges; and what each leads to.

use std::borrow::Cow;

use angarium_nouns::Reply;

use super::Server;
use crate::answers;
use crate::instant;
use crate::proxied;
use crate::settings::Extensions;
use crate::table::{self, State, Verb};

impl Server {
    /// Answers what waits, positively, in the table's words.
    pub fn accept(&mut self) {
        match self.awaits {
            Some(verb @ (Verb::Ehlo | Verb::Helo | Verb::Lhlo)) => self.accept_hello(verb != Verb::Helo),
            Some(Verb::Xclient) => {
                self.awaits = None;
                self.say_banner();
                self.succeed(Verb::Xclient, 220);
            }
            Some(verb) => self.reply(&self.worded(&table::row_of(verb).positive)),
            None => debug_assert!(false, "nothing waits for an answer"),
        }
    }

    /// Answers what waits. In LMTP the end of the content gets `reply` for each recipient.
    pub fn reply(&mut self, reply: &Reply) {
        debug_assert!(self.awaits.is_some(), "nothing waits for an answer");
        match self.awaits.take() {
            None => {}
            Some(Verb::Bdat) => self.answer_chunk(reply),
            Some(Verb::FinalDot) => {
                self.write_for_content(reply);
                self.settle(Verb::FinalDot, reply.code);
            }
            Some(verb) => {
                self.write(reply);
                self.settle(verb, reply.code);
            }
        }
    }

    /// Answers the end of content for each accepted recipient, in their order. LMTP says just these (RFC 2033 4.2);
    /// PRDR says 353, these, and the first positive (else the first) for the whole; else only that one is said.
    pub fn reply_each(&mut self, replies: &[Reply]) {
        debug_assert_eq!(self.awaits, Some(Verb::FinalDot), "no content waits for an answer");
        debug_assert_eq!(replies.len(), self.recipients as usize, "a reply for each recipient");
        let Some(whole) = replies.iter().find(|reply| reply.is_positive()).or(replies.first()) else { return };
        if self.awaits.take().is_none() {
            return;
        }
        if self.prdr && !self.settings.lmtp {
            self.say(&answers::ANALYSIS);
        }
        if self.prdr || self.settings.lmtp {
            for reply in replies {
                self.write(reply);
            }
        }
        if !self.settings.lmtp {
            self.write(whole);
        }
        self.settle(Verb::FinalDot, whole.code);
    }

    /// Answers AUTH or a response with a challenge (334); the client's next line is its response.
    pub fn challenge(&mut self, challenge: &[u8]) {
        let in_exchange = matches!(self.awaits, Some(Verb::Auth | Verb::AuthResponse));
        debug_assert!(in_exchange, "no login waits for an answer");
        if in_exchange {
            self.awaits = None;
            self.output.extend_from_slice(b"334 ");
            base64_simd::STANDARD.encode_append(challenge, &mut self.output);
            self.output.extend_from_slice(b"\r\n");
            self.state = State::Authenticating;
        }
    }

    fn settle(&mut self, verb: Verb, code: u16) {
        self.utf8_answer = false;
        match code {
            421 => self.end(),
            code if code < 400 => self.succeed(verb, code),
            _ => self.fail(verb),
        }
    }

    /// Writes what the end of content gets: in LMTP once for each recipient (a 421 ends the session and is said once).
    pub(super) fn write_for_content(&mut self, reply: &Reply) {
        let each = self.settings.lmtp && reply.code != 421;
        for _ in 0..if each { self.recipients.max(1) } else { 1 } {
            self.write(reply);
        }
    }

    /// Our own reply, in the site's words where it has some.
    pub(super) fn say(&mut self, reply: &Reply) {
        self.write(&self.worded(reply));
    }

    pub(super) fn worded<'a>(&self, reply: &'a Reply) -> Cow<'a, Reply> {
        let settings = &self.settings;
        if settings.wording.is_empty() {
            return Cow::Borrowed(reply);
        }
        let own = settings.wording.of(reply, &settings.hostname, &format!("{:x}", self.session));
        own.map_or(Cow::Borrowed(reply), Cow::Owned)
    }

    pub(super) fn write(&mut self, reply: &Reply) {
        let enhanced = reply.enhanced.filter(|_| self.offered.has(Extensions::ENHANCED_STATUS_CODES));
        // RFC 6531 3.7.4.2: UTF-8 only for those who said that they read it.
        let readable = self.smtputf8 || self.utf8_answer || reply.text.is_ascii();
        if enhanced == reply.enhanced && readable {
            return reply.write_to(&mut self.output);
        }
        let plain = |c: char| if c.is_ascii() { c } else { '?' };
        let text = if readable { reply.text.clone() } else { reply.text.chars().map(plain).collect::<String>().into() };
        Reply { code: reply.code, enhanced, text }.write_to(&mut self.output);
    }

    pub(super) fn say_banner(&mut self) {
        let text = format!("{} {}", self.settings.hostname, self.settings.banner);
        Reply::plain(220, "").with_text(text).write_to(&mut self.output);
    }

    fn accept_hello(&mut self, extended: bool) {
        let mut text = self.settings.hostname.clone();
        let offered = if extended { self.offered() } else { Extensions::NONE };
        for (extension, keyword) in offered.rows() {
            let parameter = self.parameter_of(extension);
            text.push('\n');
            text.push_str(keyword);
            if !parameter.is_empty() {
                text.push(' ');
                text.push_str(&parameter);
            }
        }
        self.reply(&Reply::plain(250, "").with_text(text));
    }

    /// What stands behind a keyword.
    fn parameter_of(&self, extension: Extensions) -> String {
        let settings = &self.settings;
        match extension {
            Extensions::SIZE if settings.max_size > 0 => settings.max_size.to_string(),
            Extensions::AUTH => self.mechanisms.write(),
            Extensions::LIMITS => settings.limits.write(),
            Extensions::DELIVERBY if settings.deliver_by_minimum > 0 => settings.deliver_by_minimum.to_string(),
            Extensions::FUTURERELEASE => {
                let latest = instant::write(self.now + u64::from(settings.hold_maximum));
                format!("{} {latest}", settings.hold_maximum)
            }
            Extensions::XCLIENT => proxied::names(true),
            Extensions::XFORWARD => proxied::names(false),
            _ => String::new(),
        }
    }
}
