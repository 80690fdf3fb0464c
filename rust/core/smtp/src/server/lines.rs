//! Command lines out of octets. Only CRLF ends a line (RFC 5321 2.3.8), and every LF is answered.
//!
//! A line that LF alone ends, or that is too long, is refused and costs nothing else. What stands between a bare LF and
//! the next CRLF may be a command that somebody put into an address: it is refused too, never silently dropped. A BDAT
//! that cannot be read ends the session, since its octets would be taken for commands.

use angarium_nouns::Reply;
use memchr::{memchr, memchr2};

use super::{Event, Server};
use crate::answers;
use crate::settings::Extensions;
use crate::table::{AUTH_LINE, LONGEST_LINE, State};

/// The first octet of a TLS record that holds a handshake (RFC 8446 5.1); no command begins so.
const TLS_HANDSHAKE: u8 = 0x16;

impl Server {
    /// Takes one line, or as much of it as there is.
    pub(super) fn read_line<'a>(&mut self, input: &[u8]) -> (usize, Option<Event<'a>>) {
        if input[0] == TLS_HANDSHAKE && self.line.is_empty() {
            return (1, Some(self.hang_up(answers::TLS_UNASKED)));
        }
        let room = self.longest_line(input) - self.line.len();
        let window = &input[..input.len().min(room)];
        let end = memchr(b'\n', window).map(|at| at + 1);
        let used = end.unwrap_or(window.len());
        if end.is_none() && window.len() < room {
            self.line.extend_from_slice(window);
            return (used, None);
        }
        if self.line.is_empty() {
            return (used, self.line(&window[..used]));
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&window[..used]);
        (used, self.line(&line))
    }

    /// What is kept of a line that begins like this. It never shrinks while a line grows.
    fn longest_line(&self, input: &[u8]) -> usize {
        const AUTH: &[u8] = b"AUTH ";
        let mut head = self.line.iter().chain(input);
        let auth = self.offered().has(Extensions::AUTH)
            && AUTH.iter().all(|octet| head.next().is_some_and(|seen| seen.eq_ignore_ascii_case(octet)));
        if auth || self.state == State::Authenticating { AUTH_LINE } else { LONGEST_LINE }
    }

    /// Drops the rest of a line that was answered.
    pub(super) fn skip(&mut self, input: &[u8]) -> usize {
        let Some(at) = memchr(b'\n', input) else {
            self.skipping = Skipping::behind(input);
            return input.len();
        };
        let after_cr = if at > 0 { input[at - 1] == b'\r' } else { self.skipping == Skipping::AfterCr };
        self.skipping = if after_cr { Skipping::No } else { Skipping::BareLf };
        at + 1
    }

    /// One whole line with its end, or as much of one as is kept.
    fn line<'a>(&mut self, whole: &[u8]) -> Option<Event<'a>> {
        let Some(line) = whole.strip_suffix(b"\r\n") else { return self.line_without_end(whole) };
        let behind_bare_lf = std::mem::replace(&mut self.skipping, Skipping::No) == Skipping::BareLf;
        let in_exchange = self.state == State::Authenticating;
        if behind_bare_lf || (!in_exchange && memchr2(b'\r', 0, line).is_some()) {
            return self.bad_line(line, &answers::BARE_CONTROL);
        }
        if in_exchange { self.response(line) } else { self.command(line) }
    }

    fn line_without_end<'a>(&mut self, line: &[u8]) -> Option<Event<'a>> {
        if line.ends_with(b"\n") {
            self.skipping = Skipping::BareLf;
            return self.bad_line(line, &answers::BARE_CONTROL);
        }
        self.skipping = Skipping::behind(line);
        let in_exchange = self.state == State::Authenticating;
        let reply = if in_exchange { answers::RESPONSE_TOO_LONG } else { answers::LINE_TOO_LONG };
        self.bad_line(line, &reply)
    }

    /// A line that cannot be read.
    pub(super) fn bad_line<'a>(&mut self, line: &[u8], reply: &Reply) -> Option<Event<'a>> {
        if self.state == State::Authenticating {
            return self.end_exchange(reply);
        }
        let verb = line.get(..4).unwrap_or_default();
        if verb.eq_ignore_ascii_case(b"BDAT") && self.offered().has(Extensions::CHUNKING) {
            return Some(self.hang_up(answers::BAD_CHUNK));
        }
        self.mistake(reply)
    }
}

/// What is left of a line that was answered before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skipping {
    No,
    /// Its rest.
    Text,
    /// The same; the last octet was a CR.
    AfterCr,
    /// It ended with a bare LF: what comes up to CRLF is read and refused.
    BareLf,
}

impl Skipping {
    fn behind(seen: &[u8]) -> Self {
        if seen.ends_with(b"\r") { Self::AfterCr } else { Self::Text }
    }

    /// Octets are dropped unread.
    pub(super) fn drops(self) -> bool {
        matches!(self, Self::Text | Self::AfterCr)
    }
}
