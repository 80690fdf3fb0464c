//! The fields that a hop adds in front: Received (RFC 5321 4.4), Return-Path at final delivery, Date and Message-ID
//! where a submitted message has none (RFC 6409 8). Each is appended to a vector of its own; the body is not touched.
//!
//! Whatever a peer said is cleaned before it is written: no control character and no second field can get in.

use std::net::{IpAddr, SocketAddr};

use angarium_nouns::record::SessionFacts;
use angarium_nouns::{Host, MessageId, Millis};

use crate::date;
use crate::line::Line;

/// What a Received field says.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    pub session: &'a SessionFacts,
    /// The name of this host.
    pub by: &'a str,
    pub id: MessageId,
    /// The envelope recipient, only if it is the only one: others are not told of each other (RFC 5321 7.2).
    pub only_recipient: Option<&'a str>,
    pub at: Millis,
    /// The message may carry UTF-8 in its header (SMTPUTF8 was asked for: RFC 6531 3.7.3).
    pub utf8: bool,
}

impl Received<'_> {
    /// Appends the field.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line::new(out, "Received", self.utf8);
        if !self.session.peer.is_empty() {
            let (hello, info) = from_words(&self.session.hello, &self.session.peer, self.utf8);
            line.word("from").word(&hello).words(&info);
        }
        line.word("by").word(self.by).word("with").word(protocol_or_smtp(&self.session.protocol));
        if !self.session.tls.is_empty() {
            line.words(&comment(&self.session.tls));
        }
        line.word("id");
        let id = self.id.to_string();
        match self.only_recipient.filter(|text| may_stand(text, self.utf8)) {
            None => line.word(&format!("{id};")),
            Some(recipient) => line.word(&id).word("for").word(&format!("<{recipient}>;")),
        };
        line.words(&date::text(self.at)).end();
    }
}

/// How a message came in over SMTP or LMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocol {
    pub lmtp: bool,
    /// EHLO was said, not HELO.
    pub extended: bool,
    pub utf8: bool,
    pub tls: bool,
    pub login: bool,
}

impl Protocol {
    /// The word behind `with`: RFC 3848, and RFC 6531 4.3 for SMTPUTF8.
    pub fn word(self) -> &'static str {
        const SMTP: [&str; 4] = ["ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"];
        const SMTP_UTF8: [&str; 4] = ["UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"];
        const LMTP: [&str; 4] = ["LMTP", "LMTPS", "LMTPA", "LMTPSA"];
        const LMTP_UTF8: [&str; 4] = ["UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"];
        let words = match (self.lmtp, self.utf8) {
            (true, false) => LMTP,
            (true, true) => LMTP_UTF8,
            (false, true) => SMTP_UTF8,
            (false, false) if self.extended => SMTP,
            (false, false) => return "SMTP",
        };
        words[usize::from(self.tls) + 2 * usize::from(self.login)]
    }
}

/// Appends `Return-Path: <sender>`, which only the final delivery adds (RFC 5321 4.4); empty for the null path.
pub fn write_return_path(out: &mut Vec<u8>, sender: &str) {
    Line::new(out, "Return-Path", true).word(&format!("<{sender}>")).end();
}

/// Appends `Delivered-To: recipient`, by which a later delivery of the same message knows a loop.
pub fn write_delivered_to(out: &mut Vec<u8>, recipient: &str) {
    Line::new(out, "Delivered-To", true).word(recipient).end();
}

/// Appends a Date field (RFC 5322 3.6.1).
pub fn write_date(out: &mut Vec<u8>, at: Millis) {
    Line::new(out, "Date", false).words(&date::text(at)).end();
}

/// Appends a Message-ID field (RFC 5322 3.6.4): the message's own id at this host.
pub fn write_message_id(out: &mut Vec<u8>, id: MessageId, host: &str) {
    Line::new(out, "Message-ID", false).word(&format!("<{id}@{host}>")).end();
}

/// The HELO argument and the comment with the address. A hello that is no host stands in the comment only
/// (RFC 5321 4.4: Extended-Domain), as Exim writes it.
fn from_words(hello: &str, peer: &str, utf8: bool) -> (String, String) {
    let literal = address_literal(peer);
    match Host::parse(hello) {
        Ok(_) if may_stand(hello, utf8) => (hello.to_owned(), comment(&literal)),
        Ok(host) => (host.to_string(), comment(&literal)),
        Err(_) if hello.is_empty() => (literal.clone(), comment(&literal)),
        Err(_) => (literal.clone(), comment(&format!("{literal} helo={hello}"))),
    }
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`, or `unknown` for a peer without an address (a unix socket).
fn address_literal(peer: &str) -> String {
    let ip = peer.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| peer.parse::<IpAddr>());
    ip.map_or_else(|_| "unknown".to_owned(), |ip| Host::Literal(ip.to_canonical()).to_string())
}

/// A comment, its own parentheses and backslashes quoted (RFC 5322 3.2.2).
fn comment(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('(');
    for c in text.chars() {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(')');
    out
}

fn protocol_or_smtp(protocol: &str) -> &str {
    if protocol.is_empty() { "SMTP" } else { protocol }
}

fn may_stand(text: &str, utf8: bool) -> bool {
    !text.is_empty() && (utf8 || text.is_ascii())
}
