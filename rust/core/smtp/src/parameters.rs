//! The parameters of MAIL and RCPT: a row each, with its extension, its room in the line and its reader.
//!
//! A parameter whose extension is not offered is unknown (RFC 5321 4.1.1.11). Values are read into nouns here and
//! checked to the letter; nothing with a control character passes, whatever encoding it came in.

use angarium_nouns::{Address, BodyType, DsnNotify, DsnReturn, Reply};

use crate::answers;
use crate::command::{ByMode, DeliverBy, Hold, MailCommand, RcptCommand};
use crate::instant;
use crate::settings::{Extensions, ServerSettings};
use crate::xtext;

/// What a reader may look at beside the value.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub settings: &'a ServerSettings,
    /// What holds at this moment.
    pub offered: Extensions,
    /// Seconds since 1970.
    pub now: u64,
    /// MAIL of this transaction had SMTPUTF8.
    pub smtputf8: bool,
}

type Reader<C> = fn(&mut C, Option<&str>, &Terms<'_>) -> Result<(), Reply>;

/// A parameter of a command `C`.
pub(crate) struct Parameter<C: 'static> {
    pub keyword: &'static str,
    /// Must be offered, else the parameter is unknown.
    pub extension: Extensions,
    /// Octets by which it lengthens the command line.
    pub room: usize,
    pub read: Reader<C>,
}

const fn parameter<C>(keyword: &'static str, extension: Extensions, room: usize, read: Reader<C>) -> Parameter<C> {
    Parameter { keyword, extension, room, read }
}

/// RFC 3461 4.4.
const MAX_ENVID: usize = 100;
/// RFC 3461 4.2.
const MAX_ORCPT: usize = 500;

/// Rooms: RFC 1870 3, RFC 6152 2, RFC 6531 3.1, RFC 3461 4.3 and 4.4, RFC 4954 3, RFC 2852 3, RFC 4865 4, RFC 6710 3,
/// RFC 8689 2. HOLDFOR and HOLDUNTIL exclude each other and share a room.
#[rustfmt::skip]
pub(crate) static MAIL_PARAMETERS: [Parameter<MailCommand>; 12] = [
    parameter("SIZE",        Extensions::SIZE,           26,  size),
    parameter("BODY",        Extensions::EIGHT_BIT_MIME, 16,  body),
    parameter("SMTPUTF8",    Extensions::SMTPUTF8,       10,  smtputf8),
    parameter("RET",         Extensions::DSN,            9,   ret),
    parameter("ENVID",       Extensions::DSN,            107, envid),
    parameter("AUTH",        Extensions::AUTH,           500, auth),
    parameter("BY",          Extensions::DELIVERBY,      17,  by),
    parameter("HOLDFOR",     Extensions::FUTURERELEASE,  34,  hold_for),
    parameter("HOLDUNTIL",   Extensions::FUTURERELEASE,  0,   hold_until),
    parameter("MT-PRIORITY", Extensions::MT_PRIORITY,    15,  priority),
    parameter("REQUIRETLS",  Extensions::REQUIRETLS,     11,  require_tls),
    parameter("PRDR",        Extensions::PRDR,           5,   prdr),
];

/// Rooms: RFC 3461 4.1 and 4.2.
#[rustfmt::skip]
pub(crate) static RCPT_PARAMETERS: [Parameter<RcptCommand>; 2] = [
    parameter("NOTIFY", Extensions::DSN, 29,  notify),
    parameter("ORCPT",  Extensions::DSN, 507, orcpt),
];

/// Octets by which `parameters` lengthen a line when these extensions are offered.
pub(crate) fn room<C>(parameters: &[Parameter<C>], offered: Extensions) -> usize {
    parameters.iter().filter(|parameter| offered.has(parameter.extension)).map(|parameter| parameter.room).sum()
}

/// Reads ` KEYWORD=value ...` into `command`.
pub(crate) fn read<C>(command: &mut C, known: &[Parameter<C>], text: &str, terms: &Terms<'_>) -> Result<(), Reply> {
    let mut seen = 0_u32;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
        let named = |p: &Parameter<C>| p.keyword.eq_ignore_ascii_case(keyword) && terms.offered.has(p.extension);
        let at = known.iter().position(named).ok_or(answers::UNKNOWN_PARAMETER)?;
        if seen & 1 << at != 0 {
            return Err(answers::REPEATED_PARAMETER);
        }
        seen |= 1 << at;
        (known[at].read)(command, value, terms)?;
    }
    Ok(())
}

const BAD: Reply = answers::BAD_PARAMETER;

fn given(value: Option<&str>) -> Result<&str, Reply> {
    value.filter(|value| !value.is_empty()).ok_or(BAD)
}

fn alone(value: Option<&str>) -> Result<(), Reply> {
    if value.is_some() { Err(BAD) } else { Ok(()) }
}

/// `digits` decimal digits at most, nothing else.
fn number(text: &str, digits: usize) -> Result<u64, Reply> {
    let good = (1..=digits).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { Ok(text.parse().unwrap_or(u64::MAX)) } else { Err(BAD) }
}

/// RFC 1870 6.1: what declares itself too large is refused before it is sent.
fn size(mail: &mut MailCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let size = number(given(value)?, 20)?;
    mail.size = Some(size);
    let limit = terms.settings.max_size;
    if limit > 0 && size > limit { Err(answers::TOO_LARGE) } else { Ok(()) }
}

fn body(mail: &mut MailCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let value = given(value)?;
    let binary = terms.offered.has(Extensions::BINARYMIME.with(Extensions::CHUNKING));
    mail.body = match () {
        () if value.eq_ignore_ascii_case("7BIT") => BodyType::SevenBit,
        () if value.eq_ignore_ascii_case("8BITMIME") => BodyType::EightBitMime,
        () if binary && value.eq_ignore_ascii_case("BINARYMIME") => BodyType::BinaryMime,
        () => return Err(BAD),
    };
    Ok(())
}

fn smtputf8(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    mail.smtputf8 = true;
    alone(value)
}

fn ret(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    let value = given(value)?;
    mail.ret = match () {
        () if value.eq_ignore_ascii_case("FULL") => DsnReturn::Full,
        () if value.eq_ignore_ascii_case("HDRS") => DsnReturn::Headers,
        () => return Err(BAD),
    };
    Ok(())
}

fn envid(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    let value = given(value)?;
    let decoded = xtext::decode_printable(value).filter(|_| value.len() <= MAX_ENVID);
    mail.envid = Some(decoded.ok_or(BAD)?.into());
    Ok(())
}

/// RFC 4954 5. Whether it is believed is the caller's question.
fn auth(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    let decoded = xtext::decode_printable(given(value)?).ok_or(BAD)?;
    let address = if decoded == "<>" { None } else { Some(Address::parse(&decoded).map_err(|_| BAD)?) };
    mail.auth = Some(address);
    Ok(())
}

/// RFC 2852 4: `120;R`, `-60;NT`.
fn by(mail: &mut MailCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let (time, mode) = given(value)?.split_once(';').ok_or(BAD)?;
    let (sign, digits) = match time.as_bytes().first() {
        Some(b'-') => (-1, &time[1..]),
        Some(b'+') => (1, &time[1..]),
        _ => (1, time),
    };
    let seconds = sign * number(digits, 9)? as i32;
    let (mode, trace) = match mode.to_ascii_uppercase().as_str() {
        "R" => (ByMode::Return, false),
        "RT" => (ByMode::Return, true),
        "N" => (ByMode::Notify, false),
        "NT" => (ByMode::Notify, true),
        _ => return Err(BAD),
    };
    // RFC 2852 4: a message that must be returned at once is not sent; one with less than the minimum neither.
    if mode == ByMode::Return && (seconds <= 0 || seconds.unsigned_abs() < terms.settings.deliver_by_minimum) {
        return Err(answers::TOO_SOON);
    }
    mail.by = Some(DeliverBy { seconds, mode, trace });
    Ok(())
}

/// RFC 4865 4.
fn hold_for(mail: &mut MailCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let seconds = number(given(value)?, 9)?;
    hold(mail, Hold::For(seconds as u32), seconds, terms)
}

fn hold_until(mail: &mut MailCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let moment = instant::read(given(value)?).ok_or(BAD)?;
    hold(mail, Hold::Until(moment), moment.saturating_sub(terms.now), terms)
}

fn hold(mail: &mut MailCommand, hold: Hold, length: u64, terms: &Terms<'_>) -> Result<(), Reply> {
    if mail.hold.is_some() {
        return Err(answers::REPEATED_PARAMETER);
    }
    mail.hold = Some(hold);
    if length > u64::from(terms.settings.hold_maximum) { Err(answers::HELD_TOO_LONG) } else { Ok(()) }
}

/// RFC 6710 3: -9 to 9.
fn priority(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    let (sign, digit) = match given(value)?.as_bytes() {
        [b'-', digit] => (-1, digit),
        [digit] => (1, digit),
        _ => return Err(BAD),
    };
    let digit = digit.checked_sub(b'0').filter(|value| *value <= 9).ok_or(BAD)?;
    mail.priority = Some(sign * digit.cast_signed());
    Ok(())
}

fn require_tls(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    mail.require_tls = true;
    alone(value)
}

fn prdr(mail: &mut MailCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    mail.prdr = true;
    alone(value)
}

/// RFC 3461 4.1: NEVER stands alone.
fn notify(rcpt: &mut RcptCommand, value: Option<&str>, _: &Terms<'_>) -> Result<(), Reply> {
    let mut bits = 0;
    for word in given(value)?.split(',') {
        let bit = match word.to_ascii_uppercase().as_str() {
            "NEVER" => DsnNotify::NEVER,
            "SUCCESS" => DsnNotify::SUCCESS,
            "FAILURE" => DsnNotify::FAILURE,
            "DELAY" => DsnNotify::DELAY,
            _ => return Err(BAD),
        };
        if bits & bit != 0 {
            return Err(BAD);
        }
        bits |= bit;
    }
    if bits & DsnNotify::NEVER != 0 && bits != DsnNotify::NEVER {
        return Err(BAD);
    }
    rcpt.notify = DsnNotify(bits);
    Ok(())
}

/// RFC 3461 4.2: `rfc822;xtext`; RFC 6533 3 adds `utf-8` with characters above ASCII, which go only with SMTPUTF8.
fn orcpt(rcpt: &mut RcptCommand, value: Option<&str>, terms: &Terms<'_>) -> Result<(), Reply> {
    let value = given(value)?;
    let (kind, address) = value.split_once(';').ok_or(BAD)?;
    let atom = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    let good_kind = !kind.is_empty() && kind.bytes().all(atom);
    if !good_kind || address.is_empty() || value.len() > MAX_ORCPT {
        return Err(BAD);
    }
    let address = if kind.eq_ignore_ascii_case("utf-8") {
        let written = address.is_ascii() || terms.smtputf8;
        unicode_address(address).filter(|_| written)
    } else {
        xtext::decode_text(address)
    };
    let address = address.ok_or(BAD)?;
    // Postfix writes `rfc822` also for addresses that only the other type can hold.
    let kind = if address.is_ascii() { kind } else { "utf-8" };
    rcpt.orcpt = Some(format!("{kind};{address}").into());
    Ok(())
}

/// RFC 6533 3: printable characters, with `\x{20AC}` for those that cannot be written here.
fn unicode_address(text: &str) -> Option<String> {
    let mut address = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (c, behind) = if c == '\\' { embedded(rest)? } else { (c, &rest[c.len_utf8()..]) };
        if c.is_control() {
            return None;
        }
        address.push(c);
        rest = behind;
    }
    Some(address)
}

fn embedded(text: &str) -> Option<(char, &str)> {
    let (digits, behind) = text.strip_prefix("\\x{")?.split_once('}')?;
    let good = (2..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16).ok().filter(|_| good)?;
    Some((char::from_u32(number)?, behind))
}
