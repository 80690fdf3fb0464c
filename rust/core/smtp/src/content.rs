//! Content as it comes behind 354: finds the final dot, takes stuffed dots out, watches what may not be in it.
//!
//! [`Content::scan`] gives slices of its input and copies nothing; one `memchr3` per line. Only CRLF ends a line and
//! only CRLF.CRLF ends the message (RFC 5321 4.1.1.4). Across reads it remembers where in a line it is; a CR at the
//! end of a read is held until the next octet shows what it was. A breach is reported at the first octet that proves
//! it, so that every way of cutting the input gives the same events; afterwards only the final dot is looked for.
//! Content of BDAT has no dots: its end is counted outside, [`Content::finish`] says what is missing there. It keeps the
//! same rules of lines, since the next host may be reached with DATA only.

use angarium_nouns::Reply;

use crate::answers;
use crate::settings::{BareNewline, MIN_LINE, ServerSettings};

/// Where in the text the last octet left us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Behind CRLF (that of the DATA line too).
    #[default]
    LineStart,
    InLine,
    /// A CR is held.
    AfterCr,
    /// A dot at the start of a line was taken out.
    Dot,
    /// Behind that dot a CR is held.
    DotCr,
}

/// Why content is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breach {
    BareNewline,
    Nul,
    LineTooLong,
    TooLarge,
}

impl Breach {
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::BareNewline | Self::Nul => answers::BAD_CONTENT,
            Self::LineTooLong => answers::LINE_TOO_LONG,
            Self::TooLarge => answers::TOO_LARGE,
        }
    }
}

/// One finding of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// All input is used up, nothing to hand out.
    Nothing,
    Text(&'a [u8]),
    End,
    Breach(Breach),
}

/// What is allowed.
#[derive(Debug, Clone, Copy)]
struct Rules {
    normalise: bool,
    /// NUL, lengths and sizes do not matter any more.
    draining: bool,
    /// Octets of a line without its CRLF.
    line: u64,
    /// Octets that may still come.
    size_left: u64,
}

/// The state of one message's content.
#[derive(Debug, Default)]
pub(crate) struct Content {
    at: At,
    draining: bool,
    eight_bit: bool,
    /// Of BDAT: dots mean nothing.
    chunked: bool,
    /// Octets of the current line so far.
    line: u64,
    size: u64,
}

impl Content {
    /// Octets handed out.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether an octet above 127 was handed out.
    pub(crate) fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// From now on only the final dot is looked for.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// The content of a message that comes in chunks.
    pub(crate) fn chunked() -> Self {
        Self { chunked: true, ..Self::default() }
    }

    /// Octets that are handed out as they are (BINARYMIME).
    pub(crate) fn count_raw(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
    }

    /// Behind the last chunk: a CR that is still held is bare, and a last line without its end gets it, as DATA has
    /// it (RFC 3030 2 leaves it open).
    pub(crate) fn finish<'a>(&mut self, settings: &ServerSettings) -> Piece<'a> {
        let rules = self.rules(settings);
        let piece = match self.at {
            At::AfterCr => self.bare(0, &rules).1,
            At::InLine => Piece::Text(b"\r\n"),
            _ => return Piece::End,
        };
        self.at = At::LineStart;
        self.checked(piece, &Rules { size_left: u64::MAX, ..rules })
    }

    /// Reads on; gives how many octets were used up and the first finding.
    pub(crate) fn scan<'a>(&mut self, input: &'a [u8], settings: &ServerSettings) -> (usize, Piece<'a>) {
        let rules = self.rules(settings);
        let mut used = 0;
        while used < input.len() {
            let (step, piece) = match self.at {
                At::InLine => self.lines(&input[used..], &rules),
                _ => self.edge(input[used], &rules),
            };
            used += step;
            match self.checked(piece, &rules) {
                Piece::Nothing => {}
                Piece::Text(_) if self.draining => {}
                piece => return (used, piece),
            }
        }
        (used, Piece::Nothing)
    }

    fn rules(&self, settings: &ServerSettings) -> Rules {
        let limited = settings.max_size != 0 && !self.draining;
        Rules {
            normalise: self.draining || settings.bare_newline == BareNewline::Normalise,
            draining: self.draining,
            line: u64::from(settings.max_line.max(MIN_LINE)) - 2,
            size_left: if limited { settings.max_size.saturating_sub(self.size) } else { u64::MAX },
        }
    }

    /// Counts what is handed out, and turns a breach into draining.
    fn checked<'a>(&mut self, piece: Piece<'a>, rules: &Rules) -> Piece<'a> {
        let piece = match piece {
            Piece::Text(text) if !rules.draining && text.len() as u64 > rules.size_left => {
                Piece::Breach(Breach::TooLarge)
            }
            piece => piece,
        };
        match piece {
            Piece::Text(text) if !rules.draining => {
                self.size += text.len() as u64;
                self.eight_bit = self.eight_bit || !text.is_ascii();
            }
            Piece::Breach(_) => self.draining = true,
            _ => {}
        }
        piece
    }

    /// One octet where something may begin or end; everything but the inside of a line.
    fn edge<'a>(&mut self, octet: u8, rules: &Rules) -> (usize, Piece<'a>) {
        match (self.at, octet) {
            (At::LineStart, b'.') if !self.chunked => self.go(At::Dot, 1, Piece::Nothing),
            (At::Dot, b'\r') => self.go(At::DotCr, 1, Piece::Nothing),
            (At::DotCr, b'\n') => self.go(At::LineStart, 1, Piece::End),
            (At::AfterCr, b'\n') => self.go(At::LineStart, 1, Piece::Text(b"\r\n")),
            (At::AfterCr | At::DotCr, _) => self.bare(0, rules),
            _ => self.go(At::InLine, 0, Piece::Nothing),
        }
    }

    fn go<'a>(&mut self, at: At, used: usize, piece: Piece<'a>) -> (usize, Piece<'a>) {
        if at == At::LineStart || at == At::Dot {
            self.line = 0;
        }
        self.at = at;
        (used, piece)
    }

    /// A CR or LF outside CRLF. Made CRLF or refused; what follows is not at the start of a line as SMTP knows it, so
    /// a dot there is text and never ends the message.
    fn bare<'a>(&mut self, used: usize, rules: &Rules) -> (usize, Piece<'a>) {
        self.at = At::InLine;
        self.line = 0;
        let piece = if rules.normalise { Piece::Text(b"\r\n") } else { Piece::Breach(Breach::BareNewline) };
        (used, piece)
    }

    /// The inside of a line and as many whole lines behind it as there are: up to a stuffed dot, a breach or the end.
    fn lines<'a>(&mut self, input: &'a [u8], rules: &Rules) -> (usize, Piece<'a>) {
        // One octet more than may come shows that there are too many.
        let window =
            usize::try_from(rules.size_left).map_or(input.len(), |left| input.len().min(left.saturating_add(1)));
        let input = &input[..window];
        let mut begin = 0;
        let mut from = 0;
        loop {
            let hit = memchr::memchr3(b'\r', b'\n', 0, &input[from..]).map(|at| from + at);
            let end = hit.unwrap_or(input.len());
            let line = self.line + (end - begin) as u64;
            if line > rules.line && !rules.draining {
                return (end, Piece::Breach(Breach::LineTooLong));
            }
            let Some(at) = hit else {
                self.line = line;
                return (end, text(input));
            };
            match (input[at], input.get(at + 1)) {
                (b'\r', Some(b'\n')) => {
                    self.line = 0;
                    (begin, from) = (at + 2, at + 2);
                    match input.get(from) {
                        Some(b'.') if !self.chunked => return self.go(At::Dot, from + 1, text(&input[..from])),
                        Some(_) => {}
                        None => return self.go(At::LineStart, from, text(input)),
                    }
                }
                (0, _) if rules.draining => from = at + 1,
                (0, _) => return (at + 1, Piece::Breach(Breach::Nul)),
                // What stands before it goes out first; the CR or LF is looked at again from there.
                (_, _) if at > 0 => return self.before(at, line, text(&input[..at])),
                (b'\r', None) => return self.go(At::AfterCr, 1, Piece::Nothing),
                _ => return self.bare(1, rules),
            }
        }
    }

    fn before<'a>(&mut self, used: usize, line: u64, piece: Piece<'a>) -> (usize, Piece<'a>) {
        self.line = line;
        (used, piece)
    }
}

fn text(octets: &[u8]) -> Piece<'_> {
    if octets.is_empty() { Piece::Nothing } else { Piece::Text(octets) }
}
