//! Arguments of commands, read into nouns. A function here gets the text behind the verb and gives a value or the
//! reply that the mistake deserves.
//!
//! Strict where leniency opens doors (brackets, characters, parameters), lenient where the field needs it: a blank
//! behind `FROM:` or `TO:` and blanks at the line's end are forgiven; source routes are read and ignored (RFC 5321
//! appendix C).

use angarium_nouns::{Address, BodyType, DsnNotify, DsnReturn, Host, Reply, ReversePath};

use crate::answers;
use crate::parameters::{self, MAIL_PARAMETERS, RCPT_PARAMETERS, Terms};
use crate::sasl::Mechanism;
use crate::sasl::Mechanisms;
use crate::settings::Extensions;

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
    /// RET (RFC 3461 4.3).
    pub ret: DsnReturn,
    /// ENVID, decoded: printable ASCII (RFC 3461 4.4).
    pub envid: Option<Box<str>>,
    /// AUTH: who first submitted the message, as the client says; `Some(None)` is `<>`, unknown (RFC 4954 5).
    pub auth: Option<ReversePath>,
    /// BY (RFC 2852).
    pub by: Option<DeliverBy>,
    /// HOLDFOR or HOLDUNTIL, not above the limit (RFC 4865).
    pub hold: Option<Hold>,
    /// MT-PRIORITY, -9 to 9 (RFC 6710).
    pub priority: Option<i8>,
    /// REQUIRETLS (RFC 8689).
    pub require_tls: bool,
    /// A reply for each recipient is wanted.
    pub prdr: bool,
}

/// BY: by when a message must be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliverBy {
    /// From now; above 0 when the mode is [`ByMode::Return`].
    pub seconds: i32,
    pub mode: ByMode,
    /// Relays report that they passed it on.
    pub trace: bool,
}

/// What becomes of a message that was not delivered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByMode {
    /// Returned.
    Return,
    /// Its sender is told; delivery goes on.
    Notify,
}

/// When a message is released for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Seconds from now.
    For(u32),
    /// Seconds since 1970.
    Until(u64),
}

/// RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptCommand {
    /// For `<postmaster>` without a domain: postmaster at our own name.
    pub path: Address,
    /// It was `<postmaster>`: must be accepted (RFC 5321 4.5.1).
    pub bare_postmaster: bool,
    /// NOTIFY (RFC 3461 4.1).
    pub notify: DsnNotify,
    /// ORCPT, as an Original-Recipient field has it: `rfc822;address`, decoded (RFC 3461 4.2).
    pub orcpt: Option<Box<str>>,
}

/// BDAT (RFC 3030 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkCommand {
    pub size: u64,
    pub last: bool,
    /// No chunk of this message came before.
    pub first: bool,
}

/// AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthCommand {
    /// One of those that are offered.
    pub mechanism: Mechanism,
    /// The initial response, decoded; `Some` and empty for `=`.
    pub initial: Option<Vec<u8>>,
}

/// ETRN (RFC 1985 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtrnCommand {
    pub scope: EtrnScope,
    /// A domain (or address literal), or for [`EtrnScope::Queue`] one word.
    pub name: Box<str>,
}

/// What ETRN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtrnScope {
    Domain,
    /// `@`: the domain and all below it.
    Subdomains,
    /// `#`: a queue by our own name for it.
    Queue,
}

pub(crate) fn hello(argument: &[u8], extended: bool) -> Result<HelloCommand, Reply> {
    let good = |b: &u8| b.is_ascii_graphic() && !b"()<>@,;\"\\".contains(b);
    if argument.is_empty() || argument.len() > MAX_HOST || !argument.iter().all(good) {
        return Err(answers::BAD_HELLO);
    }
    let name = String::from_utf8_lossy(argument).into_owned().into_boxed_str();
    Ok(HelloCommand { name, extended })
}

pub(crate) fn mail(argument: &[u8], terms: &Terms<'_>) -> Result<MailCommand, Reply> {
    let rest = behind_label(argument, b"FROM:").ok_or(answers::MAIL_SYNTAX)?;
    let text = std::str::from_utf8(rest).map_err(|_| answers::BAD_SENDER)?;
    let (path, words) = split_path(text).ok_or(answers::BAD_SENDER)?;
    let mut mail = MailCommand::default();
    parameters::read(&mut mail, &MAIL_PARAMETERS, words, terms)?;
    if !path.is_empty() {
        let address = Address::parse(path).map_err(|_| answers::BAD_SENDER)?;
        if !address.is_ascii() && !mail.smtputf8 {
            return Err(answers::NEEDS_SMTPUTF8);
        }
        mail.path = Some(address);
    }
    Ok(mail)
}

pub(crate) fn rcpt(argument: &[u8], terms: &Terms<'_>) -> Result<RcptCommand, Reply> {
    let rest = behind_label(argument, b"TO:").ok_or(answers::RCPT_SYNTAX)?;
    let text = std::str::from_utf8(rest).map_err(|_| answers::BAD_RECIPIENT)?;
    let (path, words) = split_path(text).ok_or(answers::BAD_RECIPIENT)?;
    let bare_postmaster = path.eq_ignore_ascii_case("postmaster");
    let our_name = &terms.settings.hostname;
    let address = if bare_postmaster { Address::parse(&format!("{path}@{our_name}")) } else { Address::parse(path) };
    let path = address.map_err(|_| answers::BAD_RECIPIENT)?;
    if !path.is_ascii() && !terms.smtputf8 {
        return Err(answers::NEEDS_SMTPUTF8);
    }
    let mut rcpt = RcptCommand { path, bare_postmaster, notify: DsnNotify::default(), orcpt: None };
    parameters::read(&mut rcpt, &RCPT_PARAMETERS, words, terms)?;
    Ok(rcpt)
}

/// `1000`, `86 LAST`; `None` when it says no size.
pub(crate) fn chunk(argument: &[u8]) -> Option<(u64, bool)> {
    let mut words = argument.split(|&b| b == b' ').filter(|word| !word.is_empty());
    let digits = words.next().filter(|word| word.iter().all(u8::is_ascii_digit))?;
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match (words.next(), words.next()) {
        (None, _) => Some((size, false)),
        (Some(word), None) if word.eq_ignore_ascii_case(b"LAST") => Some((size, true)),
        _ => None,
    }
}

/// RFC 4954 4: a mechanism and perhaps an initial response.
pub(crate) fn auth(argument: &[u8], offered: Mechanisms) -> Result<AuthCommand, Reply> {
    let mut words = argument.split(|&b| b == b' ');
    let name = words.next().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let mechanism = Mechanism::named(name).filter(|mechanism| offered.has(*mechanism));
    let mechanism = mechanism.ok_or(answers::UNKNOWN_MECHANISM)?;
    let initial = match (words.next(), words.next()) {
        (None, _) => None,
        (Some(b"="), None) => Some(Vec::new()),
        (Some(text), None) if !text.is_empty() => Some(base64(text)?),
        _ => return Err(answers::BAD_BASE64),
    };
    Ok(AuthCommand { mechanism, initial })
}

/// RFC 4954 4: strict, nothing but the alphabet and its padding.
pub(crate) fn base64(text: &[u8]) -> Result<Vec<u8>, Reply> {
    base64_simd::STANDARD.decode_to_vec(text).map_err(|_| answers::BAD_BASE64)
}

pub(crate) fn etrn(argument: &[u8]) -> Result<EtrnCommand, Reply> {
    let text = std::str::from_utf8(argument).map_err(|_| answers::BAD_NODE)?;
    let (scope, name) = match text.as_bytes().first() {
        Some(b'@') => (EtrnScope::Subdomains, &text[1..]),
        Some(b'#') => (EtrnScope::Queue, &text[1..]),
        _ => (EtrnScope::Domain, text),
    };
    let word = !name.is_empty() && name.len() <= MAX_HOST && name.bytes().all(|b| b.is_ascii_graphic());
    let good = if scope == EtrnScope::Queue { word } else { Host::parse(name).is_ok() };
    if good { Ok(EtrnCommand { scope, name: name.into() }) } else { Err(answers::BAD_NODE) }
}

/// RFC 6531 3.7.4: VRFY and EXPN may end with SMTPUTF8, which lets the answer hold UTF-8. Gives the text, and whether.
pub(crate) fn verify(argument: &[u8], offered: Extensions) -> Result<(Box<str>, bool), Reply> {
    let text = std::str::from_utf8(argument).map_err(|_| answers::BAD_RECIPIENT)?;
    let parameter = text.rsplit_once(' ').filter(|(_, word)| word.eq_ignore_ascii_case("SMTPUTF8"));
    let (text, smtputf8) = match parameter.filter(|_| offered.has(Extensions::SMTPUTF8)) {
        Some((text, _)) => (text.trim_end(), true),
        None => (text, false),
    };
    if text.is_ascii() || smtputf8 { Ok((text.into(), smtputf8)) } else { Err(answers::NEEDS_SMTPUTF8) }
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
