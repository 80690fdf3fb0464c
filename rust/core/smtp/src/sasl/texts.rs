//! The texts that mechanisms exchange: names of SCRAM, the GS2 header, PLAIN's three parts, key-value lists of OAuth.

use std::borrow::Cow;

use super::{Credentials, Identity, Secret};

/// Octets of a login or of whom it acts for: an address is at most this long.
pub(super) const MAX_NAME: usize = 255;
/// Octets of a password: what password stores take.
pub(super) const MAX_PASSWORD: usize = 1_024;

/// As `SASLprep` has it (RFC 4013): one of several ways to write the same characters. ASCII stays as it is; so does
/// what the profile knows nothing of (characters newer than Unicode 3.2, as RFC 8265 allows them).
pub fn prepared(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    stringprep::saslprep(text).unwrap_or(Cow::Borrowed(text))
}

/// A login, prepared, as a name that logs and fields can bear.
pub(super) fn name(octets: &[u8]) -> Option<Box<str>> {
    let text = prepared(std::str::from_utf8(octets).ok()?);
    let good = text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    good.then(|| text.into())
}

pub(super) fn login(octets: &[u8]) -> Option<Box<str>> {
    name(octets).filter(|name| !name.is_empty())
}

pub(super) fn password(octets: &[u8]) -> Option<Secret> {
    let good = (1..=MAX_PASSWORD).contains(&octets.len()) && !octets.contains(&0);
    good.then(|| prepared_secret(octets)).filter(|secret| !secret.as_bytes().is_empty())
}

/// A password, prepared; octets that are no UTF-8 stay as they are.
pub(super) fn prepared_secret(octets: &[u8]) -> Secret {
    match std::str::from_utf8(octets) {
        Ok(text) => Secret::new(prepared(text).as_bytes()),
        Err(_) => Secret::new(octets),
    }
}

/// RFC 4616 2: `authzid NUL login NUL password`.
pub(super) fn plain(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.split(|octet| *octet == 0);
    let (authzid, who, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let identity = Identity { login: login(who)?, authzid: name(authzid)? };
    Some(Credentials::Password { identity, password: password(secret)? })
}

/// RFC 5801 4: what a client says of channel binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding<'a> {
    /// `n`: it cannot.
    No,
    /// `y`: it could, but saw no offer.
    Unoffered,
    /// `p=name`.
    Named(&'a str),
}

/// RFC 5801 4: the header (with its last comma), what it says, and what stands behind it.
pub(super) struct Gs2<'a> {
    pub header: &'a str,
    pub binding: Binding<'a>,
    pub authzid: Box<str>,
    pub rest: &'a str,
}

pub(super) fn gs2(message: &[u8]) -> Option<Gs2<'_>> {
    let text = std::str::from_utf8(message).ok()?;
    let (flag, behind) = text.split_once(',')?;
    let (authzid, rest) = behind.split_once(',')?;
    let binding = match flag {
        "n" => Binding::No,
        "y" => Binding::Unoffered,
        _ => Binding::Named(flag.strip_prefix("p=").filter(|name| !name.is_empty())?),
    };
    let authzid = if authzid.is_empty() { "".into() } else { decode_name(authzid.strip_prefix("a=")?)? };
    Some(Gs2 { header: &text[..text.len() - rest.len()], binding, authzid, rest })
}

/// RFC 5802 5.1: `=2C` is a comma, `=3D` an equals sign, no other `=` may come.
pub(super) fn decode_name(text: &str) -> Option<Box<str>> {
    let mut parts = text.split('=');
    let mut decoded = parts.next()?.to_owned();
    for part in parts {
        let (mark, rest) = match part.as_bytes() {
            [b'2', b'C', ..] => (',', &part[2..]),
            [b'3', b'D', ..] => ('=', &part[2..]),
            _ => return None,
        };
        decoded.push(mark);
        decoded.push_str(rest);
    }
    login(decoded.as_bytes())
}

pub(super) fn encode_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// RFC 7628 3.1: `n,a=login,^Ahost=..^Aport=..^Aauth=Bearer token^A^A`.
pub(super) fn oauth_bearer(message: &[u8]) -> Option<Credentials> {
    let gs2 = gs2(message)?;
    if matches!(gs2.binding, Binding::Named(_)) {
        return None;
    }
    let pairs = gs2.rest.strip_prefix('\x01')?;
    let identity = Identity { login: gs2.authzid, authzid: "".into() };
    Some(Credentials::Token { identity, token: token(pairs)? })
}

/// `user=login^Aauth=Bearer token^A^A`.
pub(super) fn xoauth2(message: &[u8]) -> Option<Credentials> {
    let text = std::str::from_utf8(message).ok()?;
    let (user, pairs) = text.strip_prefix("user=")?.split_once('\x01')?;
    let identity = Identity { login: login(user.as_bytes())?, authzid: "".into() };
    Some(Credentials::Token { identity, token: token(pairs)? })
}

/// The bearer token in a list of `key=value^A`, ended by another `^A`.
fn token(pairs: &str) -> Option<Secret> {
    let pairs = pairs.strip_suffix("\x01\x01")?;
    let mut found = None;
    for pair in pairs.split('\x01') {
        let (key, value) = pair.split_once('=')?;
        if key.eq_ignore_ascii_case("auth") && found.replace(value).is_some() {
            return None;
        }
    }
    let (scheme, token) = found?.split_once(' ')?;
    let token = token.trim_matches(' ');
    let good =
        scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    good.then(|| Secret::new(token.as_bytes()))
}

/// RFC 2195 2: `login digest`, the digest in 32 hexadecimal digits.
pub(super) fn cram(message: &[u8]) -> Option<(Box<str>, [u8; 16])> {
    let text = std::str::from_utf8(message).ok()?;
    let (who, digits) = text.rsplit_once(' ')?;
    if digits.len() != 32 {
        return None;
    }
    let mut digest = [0; 16];
    for (octet, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *octet = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some((login(who.as_bytes())?, digest))
}
