//! What a listener's profile fixes for its sessions, and the extensions that both roles know.
//!
//! [`ServerSettings`] is shared by all sessions of a profile (`Arc`) and never changes; a reload makes new ones.
//! Leaves to others: who may relay, time-outs, limits over several sessions.

use angarium_nouns::Host;

/// RFC 5321 4.5.3.1.6: every server takes text lines of this many octets, CRLF included.
pub const MIN_LINE: u32 = 1_000;

/// A set of SMTP extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions(u32);

impl Extensions {
    pub const NONE: Self = Self(0);
    /// RFC 2920.
    pub const PIPELINING: Self = Self(1);
    /// RFC 1870.
    pub const SIZE: Self = Self(1 << 1);
    /// RFC 6152.
    pub const EIGHT_BIT_MIME: Self = Self(1 << 2);
    /// RFC 6531.
    pub const SMTPUTF8: Self = Self(1 << 3);
    /// RFC 2034.
    pub const ENHANCED_STATUS_CODES: Self = Self(1 << 4);
    /// What a server offers unless told otherwise.
    pub const STANDARD: Self = Self((1 << 5) - 1);

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `other` are in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The EHLO keywords of this set.
    pub fn keywords(self) -> impl Iterator<Item = &'static str> {
        KEYWORDS.iter().filter(move |(extension, _)| self.has(*extension)).map(|&(_, keyword)| keyword)
    }

    /// The extension that an EHLO keyword names.
    pub fn named(keyword: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(_, name)| name.eq_ignore_ascii_case(keyword)).map(|&(extension, _)| extension)
    }
}

/// Extensions and their EHLO keywords, in the order in which we offer them.
pub(crate) const KEYWORDS: [(Extensions, &str); 5] = [
    (Extensions::PIPELINING, "PIPELINING"),
    (Extensions::SIZE, "SIZE"),
    (Extensions::EIGHT_BIT_MIME, "8BITMIME"),
    (Extensions::ENHANCED_STATUS_CODES, "ENHANCEDSTATUSCODES"),
    (Extensions::SMTPUTF8, "SMTPUTF8"),
];

/// What becomes of CR and LF that stand alone in content. NUL is refused always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// Read to the final dot, then 550 5.6.0.
    #[default]
    Reject,
    /// Made CRLF; for trusted networks. They still end no message.
    Normalise,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("the host name is neither a domain nor an address literal")]
    Hostname,
    #[error("banner and help hold no control characters")]
    Text,
    #[error("text lines of {MIN_LINE} octets must be taken (RFC 5321 4.5.3.1.6)")]
    Line,
}

/// Settings of a listener's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Our name in the greeting and in answers to EHLO; also the domain of a bare `<postmaster>`.
    pub hostname: String,
    /// What the greeting says behind the name.
    pub banner: String,
    /// Answer to HELP.
    pub help: String,
    pub extensions: Extensions,
    /// Octets of content, 0 for no limit. RFC 5321 4.5.3.1.7 asks for at least 64 KiB.
    pub max_size: u64,
    /// RFC 5321 4.5.3.1.8 asks for at least 100.
    pub max_recipients: u32,
    /// Octets of a text line with its CRLF. RFC 5321 4.5.3.1.6 asks for at least 1,000.
    pub max_line: u32,
    /// Mistakes of the peer after which the session ends.
    pub max_errors: u32,
    pub bare_newline: BareNewline,
}

impl ServerSettings {
    /// The settings of a public listener.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            banner: "ESMTP Angarium".into(),
            help: "EHLO HELO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT (RFC 5321)".into(),
            extensions: Extensions::STANDARD,
            // 50 MiB: what the large mailbox providers take (25 to 150 MB).
            max_size: 50 << 20,
            // As Postfix: smtpd_recipient_limit.
            max_recipients: 1_000,
            // Senders of HTML in one line exist; the large providers take them.
            max_line: 64 << 10,
            // As Postfix: smtpd_hard_error_limit.
            max_errors: 20,
            bare_newline: BareNewline::Reject,
        }
    }
    /// What a person wrote, looked at before it is used.
    pub fn check(&self) -> Result<(), SettingsError> {
        let plain = |text: &str| !text.chars().any(char::is_control);
        match () {
            () if Host::parse(&self.hostname).is_err() => Err(SettingsError::Hostname),
            () if !plain(&self.banner) || !self.help.lines().all(plain) => Err(SettingsError::Text),
            () if self.max_line < MIN_LINE => Err(SettingsError::Line),
            () => Ok(()),
        }
    }
}
