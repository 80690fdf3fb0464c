//! Authentication-Results (RFC 8601): written, read, and taken away where somebody else wrote it in our name.
//!
//! What is written is within the grammar whatever the message said: values that are no tokens are quoted, control
//! characters never get in. What is read are only fields whose authserv-id the caller trusts; everybody can write any.

use std::fmt::Write;
use std::ops::Range;

use angarium_message::Header;
use angarium_message::line::Line;

use crate::inspection::Report;
use crate::spf::{self, is_within};
use crate::{arc, dkim, dmarc};

/// Results in one field and properties in one result that are read.
pub const MAX_RESULTS: usize = 64;
pub const MAX_PROPERTIES: usize = 32;

/// A field, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    pub authserv_id: String,
    pub results: Vec<MethodResult>,
}

/// `method=result reason="..." ptype.property=value ...`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodResult {
    pub method: String,
    pub result: String,
    pub reason: Option<String>,
    /// (`smtp.mailfrom`, value), in the order they stand there.
    pub properties: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResultsError {
    #[error("a comment or quoted string is not closed")]
    Open,
    #[error("there is no authserv-id")]
    NoId,
    #[error("the version is not 1")]
    Version,
    #[error("a result is not method=result")]
    Result,
    #[error("a property is not type.name=value")]
    Property,
    #[error("there are too many results or properties")]
    TooMany,
}

/// The value of our field: the authserv-id and a result for each method that was tried.
pub fn value(report: &Report, authserv_id: &str) -> String {
    let mut out = quoted(authserv_id);
    if let Some(iprev) = &report.iprev {
        let name = iprev.name.as_deref().map(|name| format!(" ({})", comment(name))).unwrap_or_default();
        let _ = write!(out, "; iprev={}{name} policy.iprev={}", iprev.outcome.as_str(), quoted(&iprev.ip.to_string()));
    }
    spf_result(&mut out, report);
    if report.dkim.is_empty() {
        out.push_str("; dkim=none");
    }
    report.dkim.iter().for_each(|verdict| dkim_result(&mut out, verdict));
    arc_result(&mut out, &report.arc);
    dmarc_result(&mut out, &report.dmarc);
    out
}

/// The whole field with its CRLF, folded.
pub fn field(report: &Report, authserv_id: &str) -> Vec<u8> {
    field_of(&value(report, authserv_id))
}

/// The same of a value that was written already.
pub fn field_of(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    Line::new(&mut out, "Authentication-Results", false).words(value).end();
    out
}

fn spf_result(out: &mut String, report: &Report) {
    for (verdict, always) in [(&report.helo, false), (&report.spf, true)] {
        let Some(verdict) = verdict else { continue };
        // The HELO result stands beside the other only where it says something of its own.
        let tells = verdict.identity == spf::Identity::Helo && !report.sender.is_empty();
        if !always && (!tells || verdict.outcome == spf::Outcome::None) {
            continue;
        }
        let _ = write!(out, "; spf={}{}", verdict.outcome.as_str(), reason(verdict.problem.as_ref()));
        let _ = match verdict.identity {
            spf::Identity::Helo => write!(out, " smtp.helo={}", quoted(&verdict.domain)),
            spf::Identity::MailFrom => write!(out, " smtp.mailfrom={}", quoted(&report.sender)),
        };
    }
}

fn dkim_result(out: &mut String, verdict: &dkim::Verdict) {
    let _ = write!(out, "; dkim={}{}", verdict.outcome.as_str(), reason(verdict.problem.as_ref()));
    let pairs = [
        ("d", &*verdict.domain),
        ("i", &*verdict.identity),
        ("s", &*verdict.selector),
        ("a", verdict.algorithm),
        ("b", &*verdict.tag),
    ];
    for (name, value) in pairs.into_iter().filter(|pair| !pair.1.is_empty()) {
        let _ = write!(out, " header.{name}={}", quoted(value));
    }
}

fn arc_result(out: &mut String, verdict: &arc::Verdict) {
    let _ = write!(out, "; arc={}{}", verdict.outcome.as_str(), reason(verdict.problem.as_ref()));
    if verdict.outcome == arc::Outcome::Pass {
        let _ = write!(out, " header.oldest-pass={}", verdict.oldest_pass);
    }
}

fn dmarc_result(out: &mut String, verdict: &dmarc::Verdict) {
    let _ = write!(out, "; dmarc={}{}", verdict.outcome.as_str(), reason(verdict.problem.as_ref()));
    let same = verdict.authors.iter().find(|author| author.outcome == verdict.outcome);
    if let Some(author) = same.or(verdict.authors.first()) {
        let _ = write!(out, " header.from={}", quoted(author.domain.as_str()));
        if author.record.is_some() {
            let _ = write!(out, " policy.dmarc={}", author.policy.as_str());
        }
    }
}

fn reason(problem: Option<&impl ToString>) -> String {
    problem.map(|problem| format!(" reason={}", quoted_string(&problem.to_string()))).unwrap_or_default()
}

/// A value as a token or an address where it is one, else as a quoted string (RFC 8601 2.2).
fn quoted(value: &str) -> String {
    let token = |text: &str| !text.is_empty() && text.bytes().all(is_token);
    let plain = match value.rsplit_once('@') {
        Some((local, domain)) => (local.is_empty() || token(local)) && token(domain),
        None => token(value),
    };
    if plain { value.to_string() } else { quoted_string(value) }
}

/// RFC 2045 5.1.
fn is_token(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

fn quoted_string(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
    out
}

fn comment(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '!'..='~') && !"()\\".contains(c) { c } else { '?' }).collect()
}

/// What stands between the white space and comments of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Mark(u8),
}

/// Words, quoted strings and the marks `;`, `=` and `/`; comments and folds are left away.
fn tokens(value: &[u8]) -> Result<Vec<Token>, ResultsError> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b'(' => at = comment_end(value, at)?,
            b'"' => {
                let (text, end) = quoted_text(value, at)?;
                found.push(Token::Quoted(text));
                at = end;
            }
            b';' | b'=' | b'/' => {
                found.push(Token::Mark(byte));
                at += 1;
            }
            _ => {
                let is_end =
                    |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'(' | b'"' | b';' | b'=' | b'/');
                let end = value[at..].iter().position(is_end).map_or(value.len(), |length| at + length);
                found.push(Token::Word(String::from_utf8_lossy(&value[at..end]).into_owned()));
                at = end;
            }
        }
    }
    Ok(found)
}

fn comment_end(value: &[u8], start: usize) -> Result<usize, ResultsError> {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&byte) = value.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(ResultsError::Open)
}

fn quoted_text(value: &[u8], start: usize) -> Result<(String, usize), ResultsError> {
    let mut text = Vec::new();
    let mut at = start + 1;
    loop {
        match value.get(at).ok_or(ResultsError::Open)? {
            b'"' => return Ok((String::from_utf8_lossy(&text).into_owned(), at + 1)),
            b'\\' => {
                text.push(*value.get(at + 1).ok_or(ResultsError::Open)?);
                at += 2;
            }
            byte => {
                text.push(*byte);
                at += 1;
            }
        }
    }
}

/// Reads the value of a field.
pub fn parse(value: &[u8]) -> Result<Results, ResultsError> {
    let tokens = tokens(value)?;
    let mut parts = tokens.split(|token| *token == Token::Mark(b';'));
    let authserv_id = match parts.next().unwrap_or_default() {
        [Token::Word(id) | Token::Quoted(id)] => id.clone(),
        [Token::Word(id) | Token::Quoted(id), Token::Word(version)] if version == "1" => id.clone(),
        [] => return Err(ResultsError::NoId),
        _ => return Err(ResultsError::Version),
    };
    let mut results = Vec::new();
    for part in parts {
        // `none` stands for no result at all (RFC 8601 2.2), and a semicolon at the end is common.
        if part.is_empty() || matches!(part, [Token::Word(word)] if word.eq_ignore_ascii_case("none")) {
            continue;
        }
        if results.len() == MAX_RESULTS {
            return Err(ResultsError::TooMany);
        }
        results.push(method_result(part)?);
    }
    Ok(Results { authserv_id, results })
}

fn method_result(part: &[Token]) -> Result<MethodResult, ResultsError> {
    // RFC 8601 2.2: a version of the method may follow it.
    let ([Token::Word(method), Token::Mark(b'/'), Token::Word(_), rest @ ..] | [Token::Word(method), rest @ ..]) = part
    else {
        return Err(ResultsError::Result);
    };
    let [Token::Mark(b'='), Token::Word(result), rest @ ..] = rest else { return Err(ResultsError::Result) };
    let mut found = MethodResult {
        method: method.to_ascii_lowercase(),
        result: result.to_ascii_lowercase(),
        ..MethodResult::default()
    };
    let mut rest = rest;
    while !rest.is_empty() {
        let (name, value, behind) = property(rest)?;
        if name.eq_ignore_ascii_case("reason") {
            found.reason = Some(value);
        } else if !name.contains('.') {
            return Err(ResultsError::Property);
        } else if found.properties.len() == MAX_PROPERTIES {
            return Err(ResultsError::TooMany);
        } else {
            found.properties.push((name.to_ascii_lowercase(), value));
        }
        rest = behind;
    }
    Ok(found)
}

/// One `name=value`. Base64 has the marks `=` and `/`, and many writers do not quote it: a word belongs to the value
/// behind a `/`, and a mark to what stands before it.
fn property(tokens: &[Token]) -> Result<(&str, String, &[Token]), ResultsError> {
    let [Token::Word(name), Token::Mark(b'='), rest @ ..] = tokens else { return Err(ResultsError::Property) };
    let mut value = String::new();
    let mut at = 0;
    let mut open = true;
    while let Some(token) = rest.get(at) {
        match token {
            Token::Mark(mark) => {
                value.push(*mark as char);
                open = *mark == b'/';
            }
            Token::Word(text) | Token::Quoted(text) if open => {
                value.push_str(text);
                // RFC 8601 2.2: a quoted local part may stand before the @.
                let at_domain = matches!(rest.get(at + 1), Some(Token::Word(next)) if next.starts_with('@'));
                open = matches!(token, Token::Quoted(_)) && at_domain;
            }
            Token::Word(_) | Token::Quoted(_) => break,
        }
        at += 1;
    }
    Ok((name, value, &rest[at..]))
}

/// The results that one of `ids` wrote; fields that cannot be read say nothing.
pub fn trusted(header: &Header<'_>, ids: &[&str]) -> Vec<Results> {
    let fields = header.all("Authentication-Results").filter_map(|field| parse(header.value_of(field)).ok());
    fields.filter(|results| ids.iter().any(|id| results.authserv_id.eq_ignore_ascii_case(id))).collect()
}

/// Where fields stand that claim to be from one of `ids` or a name below: nobody but us may write these (RFC 8601 5).
/// A field that cannot be read is among them, because somebody might read it after all.
pub fn forged(header: &Header<'_>, ids: &[&str]) -> Vec<Range<usize>> {
    let claims = |value: &[u8]| match claimed_id(value) {
        Some(id) => ids.iter().any(|own| is_within(&id, own)),
        None => true,
    };
    let fields = header.all("Authentication-Results").filter(|field| claims(header.value_of(field)));
    fields.map(angarium_message::Field::range).collect()
}

fn claimed_id(value: &[u8]) -> Option<String> {
    match tokens(value).ok()?.first()? {
        Token::Word(id) | Token::Quoted(id) => Some(id.clone()),
        Token::Mark(_) => None,
    }
}

/// What our own fields say together, for the ARC-Authentication-Results of a seal: the id once, then all results.
pub fn merged(header: &Header<'_>, id: &str) -> Option<String> {
    let mut out = String::new();
    for field in header.all("Authentication-Results") {
        let value = header.value_of(field);
        if !claimed_id(value).is_some_and(|claimed| claimed.eq_ignore_ascii_case(id)) {
            continue;
        }
        let text = String::from_utf8_lossy(value);
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let words = words.join(" ");
        let Some((own, results)) = words.split_once(';') else { continue };
        let results = results.trim().trim_end_matches(';');
        if out.is_empty() {
            out.push_str(own);
        }
        let _ = write!(out, "; {results}");
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let read = parse(
            b" mx.example.org (it is us) 1;\r\n spf=pass (a (nested) comment) smtp.mailfrom=a@b.example;\r\n \
              dkim=fail reason=\"bad \\\"sig\\\"\" header.d=b.example header.b=ab/c+d== header.i=\"@b.example\";",
        )
        .unwrap();
        assert_eq!(read.authserv_id, "mx.example.org");
        assert_eq!(read.results.len(), 2);
        assert_eq!(read.results[0].properties, [("smtp.mailfrom".into(), "a@b.example".into())]);
        let dkim = &read.results[1];
        assert_eq!((dkim.method.as_str(), dkim.result.as_str()), ("dkim", "fail"));
        assert_eq!(dkim.reason.as_deref(), Some("bad \"sig\""));
        assert_eq!(dkim.properties[1], ("header.b".into(), "ab/c+d==".into()));
        assert_eq!(dkim.properties[2], ("header.i".into(), "@b.example".into()));
        assert!(parse(b"mx.example.org; none").unwrap().results.is_empty());
        assert_eq!(parse(b"mx.example.org 2; none"), Err(ResultsError::Version));
        assert_eq!(parse(b"(open"), Err(ResultsError::Open));
        assert_eq!(parse(b"a; dkim"), Err(ResultsError::Result));
    }

    #[test]
    fn forged_fields_are_found() {
        let message = b"Authentication-Results: other.example; spf=pass\r\n\
            Authentication-Results: (x) MX.example.org; spf=pass\r\n\
            Authentication-Results: sub.mx.example.org; spf=pass\r\n\
            Authentication-Results: \"open\r\n\r\n";
        let header = Header::scan(message);
        assert_eq!(forged(&header, &["mx.example.org"]).len(), 3);
        assert_eq!(trusted(&header, &["other.example"]).len(), 1);
    }

    #[test]
    fn values_are_quoted_where_they_must() {
        assert_eq!(quoted("a@b.example"), "a@b.example");
        assert_eq!(quoted("@b.example"), "@b.example");
        assert_eq!(quoted("ab/c"), "\"ab/c\"");
        assert_eq!(quoted("a b@c"), "\"a b@c\"");
        assert_eq!(quoted("x\r\ny"), "\"x??y\"");
        assert_eq!(quoted(""), "\"\"");
    }
}
