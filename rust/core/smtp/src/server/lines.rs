//! Command lines out of octets. A line ends at LF; one whose LF has no CR before it, or that is too long, is answered
//! and dropped as a whole, and the next line is read as ever: a mistake costs one line and no more.

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
        let Some(at) = memchr(b'\n', window) else {
            if window.len() == room {
                self.skipping = true;
                return (window.len(), self.bad_line(true));
            }
            self.line.extend_from_slice(window);
            return (window.len(), None);
        };
        let used = at + 1;
        let before = if at > 0 { Some(&window[at - 1]) } else { self.line.last() };
        if before != Some(&b'\r') {
            return (used, self.bad_line(false));
        }
        if self.line.is_empty() {
            return (used, self.line(&window[..at - 1]));
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&window[..used]);
        line.truncate(line.len() - 2);
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
        let end = memchr(b'\n', input);
        self.skipping = end.is_none();
        end.map_or(input.len(), |at| at + 1)
    }

    /// A line that cannot be read.
    fn bad_line<'a>(&mut self, too_long: bool) -> Option<Event<'a>> {
        self.line = Vec::new();
        let in_exchange = self.state == State::Authenticating;
        let reply = match (too_long, in_exchange) {
            (true, true) => answers::RESPONSE_TOO_LONG,
            (true, false) => answers::LINE_TOO_LONG,
            (false, _) => answers::BARE_CONTROL,
        };
        if in_exchange { self.end_exchange(&reply) } else { self.mistake(&reply) }
    }

    /// One whole line without its CRLF.
    fn line<'a>(&mut self, line: &[u8]) -> Option<Event<'a>> {
        if self.state == State::Authenticating {
            return self.response(line);
        }
        if memchr2(b'\r', 0, line).is_some() {
            return self.mistake(&answers::BARE_CONTROL);
        }
        self.command(line)
    }
}
