//! Arguments of commands, read into nouns. A function here gets the text behind the verb and gives a value or the
//! reply that the mistake deserves.
//!
//! Strict where leniency opens doors (brackets, characters, parameters), lenient where the field needs it: a blank
//! behind `FROM:` or `TO:` and blanks at the line's end are forgiven; source routes are read and ignored (RFC 5321
//! appendix C).

use angarium_nouns::{Address, BodyType, Host, Reply, ReversePath};

use crate::answers;
use crate::settings::Extensions;
use crate::table::{MAIL_PARAMETERS, Parameter, RCPT_PARAMETERS};

/// RFC 5321 4.5.3.1.2.
const MAX_HOST: usize = 255;

/// EHLO or HELO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloCommand {
    /// As the client wrote it: one word of printable ASCII that cannot break a comment of a header field. It need not
    /// be a valid name; whoever wants one asks [`HelloCommand::host`].
    pub name: Box<str>,
    /// EHLO.
    pub extended: bool,
}

impl HelloCommand {
    /// The name as a domain or address literal, when it is one (RFC 5321 4.1.1.1).
    pub fn host(&self) -> Option<Host> {
        Host::parse(&self.name).ok()
    }
}

/// MAIL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MailCommand {
    /// `None` is the null path `<>`.
    pub path: ReversePath,
    /// As declared by the client (RFC 1870); not above the limit.
    pub size: Option<u64>,
    pub body: BodyType,
    pub smtputf8: bool,
}

/// RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptCommand {
    /// For `<postmaster>` without a domain: postmaster at our own name.
    pub path: Address,
    /// It was `<postmaster>`: must be accepted (RFC 5321 4.5.1).
    pub bare_postmaster: bool,
}

pub(crate) fn hello(argument: &[u8], extended: bool) -> Result<HelloCommand, Reply> {
    let good = |b: &u8| b.is_ascii_graphic() && !b"()<>@,;\"\\".contains(b);
    if argument.is_empty() || argument.len() > MAX_HOST || !argument.iter().all(good) {
        return Err(answers::BAD_HELLO);
    }
    let name = String::from_utf8_lossy(argument).into_owned().into_boxed_str();
    Ok(HelloCommand { name, extended })
}

pub(crate) fn mail(argument: &[u8], offered: Extensions) -> Result<MailCommand, Reply> {
    let rest = behind_label(argument, b"FROM:").ok_or(answers::MAIL_SYNTAX)?;
    let text = std::str::from_utf8(rest).map_err(|_| answers::BAD_SENDER)?;
    let (path, parameters) = split_path(text).ok_or(answers::BAD_SENDER)?;
    let mut mail = MailCommand::default();
    read_parameters(&mut mail, &MAIL_PARAMETERS, parameters, offered)?;
    if !path.is_empty() {
        let address = Address::parse(path).map_err(|_| answers::BAD_SENDER)?;
        if !address.is_ascii() && !mail.smtputf8 {
            return Err(answers::NEEDS_SMTPUTF8);
        }
        mail.path = Some(address);
    }
    Ok(mail)
}

pub(crate) fn rcpt(argument: &[u8], offered: Extensions, smtputf8: bool, our_name: &str) -> Result<RcptCommand, Reply> {
    let rest = behind_label(argument, b"TO:").ok_or(answers::RCPT_SYNTAX)?;
    let text = std::str::from_utf8(rest).map_err(|_| answers::BAD_RECIPIENT)?;
    let (path, parameters) = split_path(text).ok_or(answers::BAD_RECIPIENT)?;
    let bare_postmaster = path.eq_ignore_ascii_case("postmaster");
    let address = if bare_postmaster { Address::parse(&format!("{path}@{our_name}")) } else { Address::parse(path) };
    let path = address.map_err(|_| answers::BAD_RECIPIENT)?;
    if !path.is_ascii() && !smtputf8 {
        return Err(answers::NEEDS_SMTPUTF8);
    }
    let mut rcpt = RcptCommand { path, bare_postmaster };
    read_parameters(&mut rcpt, &RCPT_PARAMETERS, parameters, offered)?;
    Ok(rcpt)
}

/// The text behind `FROM:` or `TO:` and a blank that does not belong there but is common.
fn behind_label<'a>(argument: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = argument.split_at_checked(label.len())?;
    front.eq_ignore_ascii_case(label).then(|| rest.trim_ascii_start())
}

/// `<path>` and what stands behind it; the path without brackets and source route.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let end = end_of_path(inner)?;
    let parameters = &inner[end + 1..];
    if !parameters.is_empty() && !parameters.starts_with(' ') {
        return None;
    }
    Some((without_route(&inner[..end])?, parameters))
}

/// Where the `>` stands that is not part of a quoted string.
fn end_of_path(inner: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// RFC 5321 appendix C: `@a,@b:user@c` means `user@c`.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    // A colon also stands in address literals of a route: the last one outside brackets before the mailbox counts.
    let colon = path.char_indices().scan(0_i32, |depth, (at, c)| {
        *depth += i32::from(c == '[') - i32::from(c == ']');
        Some((*depth == 0 && c == ':').then_some(at))
    });
    let at = colon.flatten().next()?;
    let route = &path[..at];
    let hops_are_hosts =
        route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|host| Host::parse(host).is_ok()));
    let mailbox = &path[at + 1..];
    (hops_are_hosts && !mailbox.is_empty()).then_some(mailbox)
}

fn read_parameters<C>(command: &mut C, known: &[Parameter<C>], text: &str, offered: Extensions) -> Result<(), Reply> {
    let mut seen = 0_u32;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v)));
        let named = |p: &Parameter<C>| p.keyword.eq_ignore_ascii_case(keyword) && offered.has(p.extension);
        let at = known.iter().position(named).ok_or(answers::UNKNOWN_PARAMETER)?;
        if seen & 1 << at != 0 {
            return Err(answers::REPEATED_PARAMETER);
        }
        seen |= 1 << at;
        (known[at].read)(command, value)?;
    }
    Ok(())
}
