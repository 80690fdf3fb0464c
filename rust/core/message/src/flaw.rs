//! What was wrong with an encoding, as a set of notes beside content that was decoded all the same.

/// One thing that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flaw {
    /// Bytes that are neither base64 nor blanks were passed over (RFC 2045 6.8).
    Base64Junk,
    /// Padding is missing, or a last group of one character was dropped.
    Base64Padding,
    /// Content behind padding, decoded too: pieces that were encoded apart and put together.
    Base64AfterPadding,
    /// `=` without two hexadecimal digits, kept as it is (RFC 2045 6.7).
    QuotedEscape,
    /// A line longer than 76 characters, or blanks at its end.
    QuotedLine,
    /// No `begin` line, or no `end` line.
    UuFrame,
    /// A line of uuencode whose length does not fit.
    UuLine,
    /// A Content-Transfer-Encoding that nobody knows; taken as it stands.
    EncodingUnknown,
    /// A charset that nobody knows; UTF-8 or Windows-1252 was taken.
    CharsetUnknown,
    /// Bytes that the charset does not have; U+FFFD stands in their place.
    CharsetMalformed,
    /// No charset, or us-ascii, with bytes outside ASCII; UTF-8 or Windows-1252 was taken.
    CharsetGuessed,
    /// An encoded word that cannot be decoded, kept as it is (RFC 2047 2).
    EncodedWord,
}

const ALL: [(Flaw, &str); 12] = [
    (Flaw::Base64Junk, "base64-junk"),
    (Flaw::Base64Padding, "base64-padding"),
    (Flaw::Base64AfterPadding, "base64-after-padding"),
    (Flaw::QuotedEscape, "quoted-escape"),
    (Flaw::QuotedLine, "quoted-line"),
    (Flaw::UuFrame, "uu-frame"),
    (Flaw::UuLine, "uu-line"),
    (Flaw::EncodingUnknown, "encoding-unknown"),
    (Flaw::CharsetUnknown, "charset-unknown"),
    (Flaw::CharsetMalformed, "charset-malformed"),
    (Flaw::CharsetGuessed, "charset-guessed"),
    (Flaw::EncodedWord, "encoded-word"),
];

/// A set of notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flaws(u16);

impl Flaws {
    pub const NONE: Self = Self(0);

    pub fn add(&mut self, flaw: Flaw) {
        self.0 |= 1 << flaw as u8;
    }

    #[must_use]
    pub fn and(mut self, flaw: Flaw) -> Self {
        self.add(flaw);
        self
    }

    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.0 |= other.0;
        self
    }

    pub fn has(self, flaw: Flaw) -> bool {
        self.0 & (1 << flaw as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The notes by name, such as `base64-junk`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        ALL.iter().filter(move |(flaw, _)| self.has(*flaw)).map(|(_, name)| *name)
    }
}
