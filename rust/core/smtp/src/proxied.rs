//! XCLIENT and XFORWARD: a trusted peer says for whom it speaks (as Postfix does).
//!
//! Attributes are `NAME=xtext`, a table row each; `[UNAVAILABLE]` and `[TEMPUNAVAIL]` say that there is no value.
//! Values are checked before they are believed, since they end in Received fields and in logs. Who may send them is
//! the caller's question.

use std::net::IpAddr;

use angarium_nouns::{Host, Reply};

use crate::answers;
use crate::xtext;

/// What was said of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Given<T> {
    /// Not named.
    #[default]
    Absent,
    /// There is none.
    Unavailable,
    /// It could not be found out now.
    Temporary,
    Value(T),
}

impl<T> Given<T> {
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The later word holds.
    fn update(&mut self, later: Self) {
        if !matches!(later, Self::Absent) {
            *self = later;
        }
    }
}

/// The attributes of XCLIENT (all but `ident` and `source`) and XFORWARD (all but the login and the destination).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxiedCommand {
    /// Host name of the client, as DNS has it.
    pub name: Given<Box<str>>,
    pub addr: Given<IpAddr>,
    pub port: Given<u16>,
    /// SMTP, ESMTP or LMTP.
    pub proto: Given<Box<str>>,
    pub helo: Given<Box<str>>,
    pub login: Given<Box<str>>,
    pub dest_addr: Given<IpAddr>,
    pub dest_port: Given<u16>,
    /// The message's name in the log of the peer.
    pub ident: Given<Box<str>>,
    /// LOCAL or REMOTE.
    pub source: Given<Box<str>>,
}

impl ProxiedCommand {
    /// Takes over what a later command named: a long list comes in several (XFORWARD).
    pub fn merge(&mut self, later: Self) {
        self.name.update(later.name);
        self.addr.update(later.addr);
        self.port.update(later.port);
        self.proto.update(later.proto);
        self.helo.update(later.helo);
        self.login.update(later.login);
        self.dest_addr.update(later.dest_addr);
        self.dest_port.update(later.dest_port);
        self.ident.update(later.ident);
        self.source.update(later.source);
    }
}

type Set = fn(&mut ProxiedCommand, Given<String>) -> Option<()>;

/// An attribute.
struct Attribute {
    name: &'static str,
    xclient: bool,
    xforward: bool,
    set: Set,
}

#[rustfmt::skip]
static ATTRIBUTES: [Attribute; 10] = [
    Attribute { name: "NAME",     xclient: true,  xforward: true,  set: |c, v| put(&mut c.name, v, host_name) },
    Attribute { name: "ADDR",     xclient: true,  xforward: true,  set: |c, v| put(&mut c.addr, v, address) },
    Attribute { name: "PORT",     xclient: true,  xforward: true,  set: |c, v| put(&mut c.port, v, |v| v.parse().ok()) },
    Attribute { name: "PROTO",    xclient: true,  xforward: true,  set: |c, v| put(&mut c.proto, v, protocol) },
    Attribute { name: "HELO",     xclient: true,  xforward: true,  set: |c, v| put(&mut c.helo, v, word) },
    Attribute { name: "LOGIN",    xclient: true,  xforward: false, set: |c, v| put(&mut c.login, v, text) },
    Attribute { name: "DESTADDR", xclient: true,  xforward: false, set: |c, v| put(&mut c.dest_addr, v, address) },
    Attribute { name: "DESTPORT", xclient: true,  xforward: false, set: |c, v| put(&mut c.dest_port, v, |v| v.parse().ok()) },
    Attribute { name: "IDENT",    xclient: false, xforward: true,  set: |c, v| put(&mut c.ident, v, word) },
    Attribute { name: "SOURCE",   xclient: false, xforward: true,  set: |c, v| put(&mut c.source, v, source) },
];

/// The attributes that XCLIENT takes, or XFORWARD, as EHLO lists them.
pub(crate) fn names(xclient: bool) -> String {
    let taken = ATTRIBUTES.iter().filter(|row| if xclient { row.xclient } else { row.xforward });
    taken.map(|row| row.name).collect::<Vec<_>>().join(" ")
}

/// Reads the argument of XCLIENT or XFORWARD.
pub(crate) fn read(argument: &[u8], xclient: bool) -> Result<Box<ProxiedCommand>, Reply> {
    let text = std::str::from_utf8(argument).map_err(|_| answers::BAD_ATTRIBUTE)?;
    let mut command = Box::new(ProxiedCommand::default());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        attribute(&mut command, word, xclient).ok_or(answers::BAD_ATTRIBUTE)?;
    }
    Ok(command)
}

fn attribute(command: &mut ProxiedCommand, word: &str, xclient: bool) -> Option<()> {
    let (name, value) = word.split_once('=')?;
    let row = ATTRIBUTES.iter().find(|row| row.name.eq_ignore_ascii_case(name))?;
    if !(if xclient { row.xclient } else { row.xforward }) {
        return None;
    }
    let value = match value {
        _ if value.eq_ignore_ascii_case("[UNAVAILABLE]") => Given::Unavailable,
        _ if value.eq_ignore_ascii_case("[TEMPUNAVAIL]") => Given::Temporary,
        _ => Given::Value(xtext::decode_printable(value).filter(|text| !text.is_empty())?),
    };
    (row.set)(command, value)
}

/// Stores a value once it is checked.
fn put<T>(field: &mut Given<T>, value: Given<String>, check: fn(&str) -> Option<T>) -> Option<()> {
    *field = match value {
        Given::Value(text) => Given::Value(check(&text)?),
        Given::Unavailable => Given::Unavailable,
        Given::Temporary => Given::Temporary,
        Given::Absent => Given::Absent,
    };
    Some(())
}

/// RFC 5321 4.5.3.1.2.
const MAX_TEXT: usize = 255;

fn text(value: &str) -> Option<Box<str>> {
    (value.len() <= MAX_TEXT).then(|| value.into())
}

/// What may stand in a comment of a Received field: as the name behind EHLO.
fn word(value: &str) -> Option<Box<str>> {
    let good = |b: u8| b.is_ascii_graphic() && !b"()<>@,;\"\\".contains(&b);
    text(value).filter(|value| value.bytes().all(good))
}

fn host_name(value: &str) -> Option<Box<str>> {
    Host::parse(value).ok().map(|_| value.into())
}

/// `192.0.2.1`, `IPV6:2001:db8::1`.
fn address(value: &str) -> Option<IpAddr> {
    match value.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPV6:")) {
        Some(_) => value[5..].parse().ok().filter(IpAddr::is_ipv6),
        None => value.parse().ok(),
    }
}

fn protocol(value: &str) -> Option<Box<str>> {
    ["SMTP", "ESMTP", "LMTP"].into_iter().find(|known| known.eq_ignore_ascii_case(value)).map(Into::into)
}

fn source(value: &str) -> Option<Box<str>> {
    ["LOCAL", "REMOTE"].into_iter().find(|known| known.eq_ignore_ascii_case(value)).map(Into::into)
}
