//! SPF macros (RFC 7208 7): read once with the record, expanded with the session at hand.

/// One piece of a macro string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Macro(Macro),
}

/// `%{letter digits r delimiters}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macro {
    /// In lower case; `escape` keeps whether it was upper.
    pub letter: u8,
    pub escape: bool,
    /// How many parts from the right are kept; 0: all.
    pub keep: u32,
    pub reverse: bool,
    pub delimiters: Box<str>,
}

/// A macro string, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroText {
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MacroError {
    #[error("a '%' that begins no macro")]
    Percent,
    #[error("a macro without closing brace")]
    Open,
    #[error("an unknown macro letter")]
    Letter,
    #[error("a macro that keeps no part")]
    Zero,
    #[error("a character that no macro string has")]
    Character,
}

const DELIMITERS: &str = ".-+,/_=";
/// More parts than a name can have; a larger number means all.
const MAX_KEEP: u32 = 255;

impl MacroText {
    /// Reads a macro string; `for_people` allows spaces and the letters c, r and t (RFC 7208 7.2).
    pub fn parse(text: &str, for_people: bool) -> Result<Self, MacroError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if c != '%' {
                let allowed = matches!(c, '!'..='~') || (for_people && c == ' ');
                if !allowed {
                    return Err(MacroError::Character);
                }
                literal.push(c);
                rest = &rest[1..];
                continue;
            }
            match rest.as_bytes().get(1) {
                Some(b'%') => literal.push('%'),
                Some(b'_') => literal.push(' '),
                Some(b'-') => literal.push_str("%20"),
                Some(b'{') => {
                    let end = rest.find('}').ok_or(MacroError::Open)?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Macro(Macro::parse(&rest[2..end], for_people)?));
                    rest = &rest[end + 1..];
                    continue;
                }
                _ => return Err(MacroError::Percent),
            }
            rest = &rest[2..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self { pieces })
    }

    /// RFC 7208 7.1 `domain-end`: a macro, or a label that could be a top-level one, perhaps with a final dot.
    pub fn ends_like_a_domain(&self) -> bool {
        match self.pieces.last() {
            None => false,
            Some(Piece::Macro(_)) => true,
            Some(Piece::Text(text)) => {
                let text = text.strip_suffix('.').unwrap_or(text);
                // A text without a dot, as in `%{d}com`, ends with no top label either.
                text.rsplit_once('.').is_some_and(|(_, label)| is_top_label(label))
            }
        }
    }

    pub fn uses(&self, letter: u8) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Macro(found) if found.letter == letter))
    }
}

/// RFC 7208 7.1 `toplabel`: letters, digits and inner hyphens, not digits alone.
fn is_top_label(label: &str) -> bool {
    let ldh = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let edges = !label.starts_with('-') && !label.ends_with('-');
    !label.is_empty() && ldh && edges && !label.bytes().all(|byte| byte.is_ascii_digit())
}

impl Macro {
    fn parse(inside: &str, for_people: bool) -> Result<Self, MacroError> {
        let mut chars = inside.chars();
        let letter = chars.next().ok_or(MacroError::Letter)?;
        let lower = letter.to_ascii_lowercase();
        let known = "slodiphv".contains(lower) || (for_people && "crt".contains(lower));
        if !known {
            return Err(MacroError::Letter);
        }
        let rest = chars.as_str();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let keep = match &rest[..digits] {
            "" => 0,
            number => number.parse().unwrap_or(MAX_KEEP).min(MAX_KEEP),
        };
        if digits > 0 && keep == 0 {
            return Err(MacroError::Zero);
        }
        let rest = &rest[digits..];
        let reverse = rest.starts_with(['r', 'R']);
        let delimiters = &rest[usize::from(reverse)..];
        if !delimiters.chars().all(|c| DELIMITERS.contains(c)) {
            return Err(MacroError::Character);
        }
        let escape = letter.is_ascii_uppercase();
        Ok(Self { letter: lower as u8, escape, keep, reverse, delimiters: delimiters.into() })
    }

    /// The value cut, turned and escaped as the macro says (RFC 7208 7.3).
    pub fn transform(&self, value: &str) -> String {
        let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
        let plain = self.keep == 0 && !self.reverse && delimiters == ".";
        let value = if plain { value.to_string() } else { self.parts(value, delimiters) };
        if self.escape { escaped(&value) } else { value }
    }

    fn parts(&self, value: &str, delimiters: &str) -> String {
        let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let skipped = if self.keep == 0 { 0 } else { parts.len().saturating_sub(self.keep as usize) };
        parts[skipped..].join(".")
    }
}

/// Everything but the unreserved characters of RFC 3986 2.3 as `%XX`.
fn escaped(value: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// An expanded domain within 253 characters: labels are taken away from the left (RFC 7208 7.3).
pub fn shortened(domain: &str) -> &str {
    let mut rest = domain;
    while rest.len() > 253 {
        match rest.split_once('.') {
            Some((_, shorter)) => rest = shorter,
            None => break,
        }
    }
    rest
}
