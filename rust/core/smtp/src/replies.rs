//! Replies as they come in: octets to [`Reply`] values, bounded (RFC 5321 4.2).
//!
//! A line is ended by CRLF alone. Text past the limit of a line is dropped, since long lines are common in the field;
//! too many lines, an endless line, or codes that change within a reply are errors.

use angarium_nouns::reply::{MAX_REPLY_LINE, MAX_REPLY_LINES};
use angarium_nouns::{EnhancedCode, Reply};

use crate::client::ClientError;

/// Octets of one reply line that are read at all; past [`MAX_REPLY_LINE`] they are dropped (long lines are common,
/// endless ones are an attack).
pub(crate) const MAX_SKIPPED: usize = 64 << 10;

/// The reply that is being read.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    /// The line so far, at most [`MAX_REPLY_LINE`] octets of it.
    line: Vec<u8>,
    /// Octets of the line, kept or dropped.
    length: usize,
    after_cr: bool,
    code: u16,
    lines: usize,
    enhanced: Option<EnhancedCode>,
    text: String,
}

impl ReplyReader {
    /// Reads on: how many octets were used up, and the reply that they completed.
    pub(crate) fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ClientError> {
        let mut used = 0;
        while used < input.len() {
            let (step, whole) = self.take(&input[used..])?;
            used += step;
            if whole && self.end_line()? {
                let whole = std::mem::take(self);
                let reply = Reply { code: whole.code, enhanced: whole.enhanced, text: whole.text.into() };
                return Ok((used, Some(reply)));
            }
        }
        Ok((used, None))
    }

    /// Takes octets up to the end of a line; true when it was reached.
    fn take(&mut self, input: &[u8]) -> Result<(usize, bool), ClientError> {
        let allowed = &input[..input.len().min(MAX_SKIPPED + 1 - self.length)];
        let end = memchr::memchr(b'\n', allowed);
        let piece = &allowed[..end.map_or(allowed.len(), |at| at + 1)];
        self.length += piece.len();
        if self.length > MAX_SKIPPED {
            return Err(ClientError::LineTooLong);
        }
        let before_end = if piece.len() > 1 { piece[piece.len() - 2] == b'\r' } else { self.after_cr };
        if end.is_some() && !before_end {
            return Err(ClientError::Garbage);
        }
        let room = MAX_REPLY_LINE - self.line.len();
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
        self.after_cr = piece.ends_with(b"\r");
        Ok((piece.len(), end.is_some()))
    }

    /// Reads the whole line; true when it was the reply's last.
    fn end_line(&mut self) -> Result<bool, ClientError> {
        let (code, last, text) = split_line(&self.line).ok_or(ClientError::Garbage)?;
        if self.lines > 0 && code != self.code {
            return Err(ClientError::MixedCodes);
        }
        if self.lines == MAX_REPLY_LINES {
            return Err(ClientError::TooManyLines);
        }
        let text = clean(text);
        let (enhanced, text) = split_enhanced(code, &text);
        if self.lines == 0 {
            self.enhanced = enhanced;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.code = code;
        self.lines += 1;
        self.length = 0;
        self.line.clear();
        Ok(last)
    }
}

/// Code, whether it is the last line, and text. RFC 5321 4.2: `250 text`, `250-text`, and `250` alone.
fn split_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let line = line.strip_suffix(b"\r\n").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(3)?;
    let [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] = digits else { return None };
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, true, rest)),
        Some((b' ', text)) => Some((code, true, text)),
        Some((b'-', text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// Text that a log, a report and a page can bear.
fn clean(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// RFC 2034 4: every line carries the code. One of another class than the reply is text.
fn split_enhanced(code: u16, text: &str) -> (Option<EnhancedCode>, &str) {
    match EnhancedCode::split(text) {
        Some((enhanced, rest)) if u16::from(enhanced.0) == code / 100 => (Some(enhanced), rest),
        _ => (None, text),
    }
}
