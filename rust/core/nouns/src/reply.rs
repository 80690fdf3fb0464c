//! Replies of SMTP: three digits, an enhanced code, lines of text (RFC 5321 4.2, RFC 3463).

use std::borrow::Cow;
use std::fmt;

/// RFC 5321 4.5.3.1.5: a reply line has 512 octets with code and CRLF.
pub const MAX_REPLY_LINE: usize = 512;
/// Lines of one reply that we read; Postfix and Exim stop near here too, an EHLO answer has about 20.
pub const MAX_REPLY_LINES: usize = 128;

/// An enhanced status code, `class.subject.detail` (RFC 3463 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl EnhancedCode {
    /// Reads the code at the front of `text`; gives it with the rest behind one space.
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = code.split('.');
        let class = parts.next()?.parse().ok().filter(|c| matches!(c, 2 | 4 | 5))?;
        let small = |part: &str| part.parse::<u16>().ok().filter(|n| *n < 1000 && !part.starts_with('+'));
        let subject = small(parts.next()?)?;
        let detail = small(parts.next()?)?;
        parts.next().is_none().then_some((Self(class, subject, detail), rest))
    }
}

/// One reply, sent or received. Text lines hold no CR, LF or NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub enhanced: Option<EnhancedCode>,
    /// Lines joined by `\n`, without codes.
    pub text: Cow<'static, str>,
}

/// Why a reply cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("a reply code lies between 200 and 599")]
    Code,
    #[error("the text of a reply holds a control character")]
    Text,
    #[error("the class of the enhanced code does not match the reply code")]
    Class,
}

impl Reply {
    /// A reply of ours, known good at compile time.
    pub const fn new(code: u16, enhanced: (u8, u16, u16), text: &'static str) -> Self {
        let enhanced = Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2));
        Self { code, enhanced, text: Cow::Borrowed(text) }
    }

    /// A reply without an enhanced code (greeting, HELO, EHLO, 354: RFC 2034 4).
    pub const fn plain(code: u16, text: &'static str) -> Self {
        Self { code, enhanced: None, text: Cow::Borrowed(text) }
    }

    /// A reply from outside (a hook, a configuration), checked.
    pub fn checked(code: u16, enhanced: Option<EnhancedCode>, text: String) -> Result<Self, ReplyError> {
        if !(200..600).contains(&code) {
            return Err(ReplyError::Code);
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(ReplyError::Text);
        }
        if enhanced.is_some_and(|e| u16::from(e.0) != code / 100) {
            return Err(ReplyError::Class);
        }
        Ok(Self { code, enhanced, text: Cow::Owned(text) })
    }

    #[must_use]
    pub fn with_text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = text.into();
        self
    }

    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Appends the reply as it goes over the wire, with CRLF at each line's end; text too long for a line goes on in
    /// the next.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let enhanced = self.enhanced.map(|code| format!("{code} ")).unwrap_or_default();
        // Three digits, the separator and CRLF.
        let room = MAX_REPLY_LINE - enhanced.len() - 6;
        let mut lines = self.text.split('\n').flat_map(|line| Folded(Some(line), room)).peekable();
        while let Some(line) = lines.next() {
            out.extend([self.code / 100, self.code / 10 % 10, self.code % 10].map(|digit| b'0' + digit as u8));
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            for part in [&enhanced, line, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
}

/// A line of text in pieces of at most so many octets, cut at blanks where there are some, never within a character.
struct Folded<'a>(Option<&'a str>, usize);

impl<'a> Iterator for Folded<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let line = self.0.take()?;
        if line.len() <= self.1 {
            return Some(line);
        }
        let limit = line.floor_char_boundary(self.1);
        let end = line[..limit].rfind(' ').filter(|&blank| blank > 0).unwrap_or(limit);
        self.0 = Some(line[end..].trim_start_matches(' '));
        Some(&line[..end])
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        write!(f, " {}", self.text.replace('\n', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes() {
        let mut out = Vec::new();
        Reply::new(550, (5, 1, 1), "one\ntwo").write_to(&mut out);
        Reply::plain(220, "mx.example ESMTP").write_to(&mut out);
        assert_eq!(out, b"550-5.1.1 one\r\n550 5.1.1 two\r\n220 mx.example ESMTP\r\n");
    }

    #[test]
    fn long_lines_go_on_in_the_next() {
        for (text, lines) in [
            ("x".repeat(500), 1),
            ("x".repeat(501), 2),
            ("x".repeat(1_501), 4),
            ("word ".repeat(200), 2),
            ("\u{fc}".repeat(400), 2),
            (" ".repeat(600), 2),
        ] {
            let mut out = Vec::new();
            Reply::new(550, (5, 7, 1), "").with_text(text.clone()).write_to(&mut out);
            let out = String::from_utf8(out).unwrap();
            assert!(out.split_inclusive("\r\n").all(|line| line.len() <= MAX_REPLY_LINE), "{out}");
            assert_eq!(out.lines().count(), lines, "{out}");
            let words = out.lines().map(|line| &line[10..]).collect::<String>();
            assert_eq!(words.replace(' ', ""), text.replace(' ', ""));
        }
    }

    #[test]
    fn checks() {
        assert_eq!(Reply::checked(650, None, String::new()), Err(ReplyError::Code));
        assert_eq!(Reply::checked(550, None, "a\r\n250 ok".into()), Err(ReplyError::Text));
        assert_eq!(Reply::checked(450, Some(EnhancedCode(5, 0, 0)), String::new()), Err(ReplyError::Class));
        assert_eq!(EnhancedCode::split("5.7.1 no"), Some((EnhancedCode(5, 7, 1), "no")));
        assert_eq!(EnhancedCode::split("3.7.1 no"), None);
        assert_eq!(EnhancedCode::split("5.7 no"), None);
    }
}
