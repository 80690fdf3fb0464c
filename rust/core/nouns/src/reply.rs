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

    /// Appends the reply as it goes over the wire, with CRLF at each line's end.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            push(out, format_args!("{}{separator}", self.code));
            if let Some(enhanced) = self.enhanced {
                push(out, format_args!("{enhanced} "));
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn push(out: &mut Vec<u8>, args: fmt::Arguments<'_>) {
    // Writing into a Vec cannot fail.
    let _ = std::io::Write::write_fmt(out, args);
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
    fn checks() {
        assert_eq!(Reply::checked(650, None, String::new()), Err(ReplyError::Code));
        assert_eq!(Reply::checked(550, None, "a\r\n250 ok".into()), Err(ReplyError::Text));
        assert_eq!(Reply::checked(450, Some(EnhancedCode(5, 0, 0)), String::new()), Err(ReplyError::Class));
        assert_eq!(EnhancedCode::split("5.7.1 no"), Some((EnhancedCode(5, 7, 1), "no")));
        assert_eq!(EnhancedCode::split("3.7.1 no"), None);
        assert_eq!(EnhancedCode::split("5.7 no"), None);
    }
}
