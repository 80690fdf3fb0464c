//! Content as it goes out: dots stuffed, the last line ended, nothing in it that could end it early.
//!
//! What is written never holds a CR or LF outside CRLF, nor NUL: such content is an error of ours and stops the
//! delivery (a lenient peer could read a second message in it). A CR at the end of a chunk waits for the next one.

use crate::client::ClientError;

/// Where the last chunk left us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    LineStart,
    InLine,
    /// A CR is held.
    AfterCr,
}

/// One message's content on its way out.
#[derive(Debug, Default)]
pub(crate) struct Stuffing {
    at: At,
}

impl Stuffing {
    /// Appends `chunk` to `output`; on an error nothing of the chunk is appended.
    pub(crate) fn write(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<(), ClientError> {
        let before = output.len();
        output.reserve(chunk.len() + chunk.len() / 64 + 8);
        let written = self.lines(chunk, output);
        if written.is_err() {
            output.truncate(before);
        }
        written
    }

    fn lines(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<(), ClientError> {
        // `copied`: what of the chunk is in the output already; `from`: where the search goes on.
        let mut copied = self.begin(chunk, output)?;
        let mut from = copied;
        while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &chunk[from..]).map(|at| from + at) {
            match (chunk[at], chunk.get(at + 1)) {
                (b'\r', Some(b'\n')) => from = at + 2,
                (b'\r', None) => {
                    self.pause(At::AfterCr, &chunk[copied..at], output);
                    return Ok(());
                }
                (0, _) => return Err(ClientError::Nul),
                _ => return Err(ClientError::BareNewline),
            }
            match chunk.get(from) {
                Some(b'.') => {
                    output.extend_from_slice(&chunk[copied..from]);
                    output.push(b'.');
                    copied = from;
                }
                Some(_) => {}
                None => {
                    self.pause(At::LineStart, &chunk[copied..], output);
                    return Ok(());
                }
            }
        }
        let at = if from == chunk.len() { self.at } else { At::InLine };
        self.pause(at, &chunk[copied..], output);
        Ok(())
    }

    /// What the first octet decides: a dot to be stuffed, the end of a held CR. Gives how many octets are used up.
    fn begin(&mut self, chunk: &[u8], output: &mut Vec<u8>) -> Result<usize, ClientError> {
        match (self.at, chunk) {
            (At::LineStart, [b'.', ..]) => output.push(b'.'),
            (At::AfterCr, [b'\n', rest @ ..]) => {
                let stuffed = rest.starts_with(b".");
                output.extend_from_slice(if stuffed { b"\r\n." } else { b"\r\n" });
                self.at = At::LineStart;
                return Ok(1);
            }
            (At::AfterCr, [_, ..]) => return Err(ClientError::BareNewline),
            _ => {}
        }
        Ok(0)
    }

    fn pause(&mut self, at: At, rest: &[u8], output: &mut Vec<u8>) {
        output.extend_from_slice(rest);
        self.at = at;
    }

    /// Appends the end: the last line's CRLF if it is missing, and the final dot.
    pub(crate) fn finish(&mut self, output: &mut Vec<u8>) -> Result<(), ClientError> {
        let end: &[u8] = match self.at {
            At::LineStart => b".\r\n",
            At::InLine => b"\r\n.\r\n",
            At::AfterCr => return Err(ClientError::BareNewline),
        };
        output.extend_from_slice(end);
        *self = Self::default();
        Ok(())
    }
}

/// Watches text that goes out in chunks (BDAT), where dots mean nothing and octets are counted: nothing is held back.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    after_cr: bool,
}

impl Lines {
    /// Whether `chunk` may follow what went before.
    pub(crate) fn check(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        let Some(&first) = chunk.first() else { return Ok(()) };
        if self.after_cr && first != b'\n' {
            return Err(ClientError::BareNewline);
        }
        let mut from = usize::from(self.after_cr);
        self.after_cr = false;
        while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, &chunk[from..]).map(|at| from + at) {
            match (chunk[at], chunk.get(at + 1)) {
                (b'\r', Some(b'\n')) => from = at + 2,
                (b'\r', None) => {
                    self.after_cr = true;
                    return Ok(());
                }
                (0, _) => return Err(ClientError::Nul),
                _ => return Err(ClientError::BareNewline),
            }
        }
        Ok(())
    }

    /// Whether the message may end here.
    pub(crate) fn finish(&self) -> Result<(), ClientError> {
        if self.after_cr { Err(ClientError::BareNewline) } else { Ok(()) }
    }
}
