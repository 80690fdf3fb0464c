//! What a listener's profile fixes for its sessions, and the extensions that both roles know.
//!
//! [`ServerSettings`] is shared by all sessions of a profile (`Arc`) and never changes; a reload makes new ones.
//! Leaves to others: who may relay, time-outs, limits over several sessions.

use angarium_nouns::Host;

use crate::sasl::Mechanisms;
use crate::wording::Wording;

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
    /// RFC 3207.
    pub const STARTTLS: Self = Self(1 << 5);
    /// RFC 4954.
    pub const AUTH: Self = Self(1 << 6);
    /// RFC 3030 2: BDAT.
    pub const CHUNKING: Self = Self(1 << 7);
    /// RFC 3030 3; needs CHUNKING.
    pub const BINARYMIME: Self = Self(1 << 8);
    /// RFC 3461.
    pub const DSN: Self = Self(1 << 9);
    /// RFC 2852.
    pub const DELIVERBY: Self = Self(1 << 10);
    /// RFC 4865.
    pub const FUTURERELEASE: Self = Self(1 << 11);
    /// RFC 6710.
    pub const MT_PRIORITY: Self = Self(1 << 12);
    /// RFC 8689; under TLS only.
    pub const REQUIRETLS: Self = Self(1 << 13);
    /// RFC 9422.
    pub const LIMITS: Self = Self(1 << 14);
    /// RFC 1985.
    pub const ETRN: Self = Self(1 << 15);
    /// draft-hall-prdr: a reply for each recipient.
    pub const PRDR: Self = Self(1 << 16);
    /// As Postfix: a trusted proxy says whom it speaks for.
    pub const XCLIENT: Self = Self(1 << 17);
    /// As Postfix: a trusted filter says where the message came from, for the log.
    pub const XFORWARD: Self = Self(1 << 18);
    /// RFC 5321 3.5.2.
    pub const EXPN: Self = Self(1 << 19);
    /// What a server offers unless told otherwise.
    pub const STANDARD: Self = Self((1 << 5) - 1);
    /// All that this crate knows.
    pub const ALL: Self = Self((1 << 20) - 1);

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
        self.rows().map(|(_, keyword)| keyword)
    }

    /// The extensions of this set one by one, with their keywords, in the order in which they are offered.
    pub(crate) fn rows(self) -> impl Iterator<Item = (Self, &'static str)> {
        KEYWORDS.iter().copied().filter(move |(extension, _)| self.has(*extension))
    }

    /// The extension that an EHLO keyword names.
    pub fn named(keyword: &str) -> Option<Self> {
        KEYWORDS.iter().find(|(_, name)| name.eq_ignore_ascii_case(keyword)).map(|&(extension, _)| extension)
    }
}

/// Extensions and their EHLO keywords, in the order in which we offer them.
pub(crate) const KEYWORDS: [(Extensions, &str); 20] = [
    (Extensions::PIPELINING, "PIPELINING"),
    (Extensions::SIZE, "SIZE"),
    (Extensions::EIGHT_BIT_MIME, "8BITMIME"),
    (Extensions::ENHANCED_STATUS_CODES, "ENHANCEDSTATUSCODES"),
    (Extensions::SMTPUTF8, "SMTPUTF8"),
    (Extensions::STARTTLS, "STARTTLS"),
    (Extensions::AUTH, "AUTH"),
    (Extensions::CHUNKING, "CHUNKING"),
    (Extensions::BINARYMIME, "BINARYMIME"),
    (Extensions::DSN, "DSN"),
    (Extensions::DELIVERBY, "DELIVERBY"),
    (Extensions::FUTURERELEASE, "FUTURERELEASE"),
    (Extensions::MT_PRIORITY, "MT-PRIORITY"),
    (Extensions::REQUIRETLS, "REQUIRETLS"),
    (Extensions::LIMITS, "LIMITS"),
    (Extensions::ETRN, "ETRN"),
    (Extensions::PRDR, "PRDR"),
    (Extensions::XCLIENT, "XCLIENT"),
    (Extensions::XFORWARD, "XFORWARD"),
    (Extensions::EXPN, "EXPN"),
];

/// What LIMITS says (RFC 9422 4); 0: nothing is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// MAILMAX: transactions in one session.
    pub mails: u32,
    /// RCPTMAX: recipients in one transaction.
    pub recipients: u32,
    /// RCPTDOMAINMAX: domains among the recipients of one transaction.
    pub domains: u32,
}

impl Limits {
    /// `MAILMAX=.. RCPTMAX=..`; unknown names and bad numbers count as not said (RFC 9422 3).
    pub(crate) fn read(text: &str) -> Self {
        let mut limits = Self::default();
        for (name, value) in text.split(' ').filter_map(|word| word.split_once('=')) {
            let number = value.parse().unwrap_or(0);
            match name.to_ascii_uppercase().as_str() {
                "MAILMAX" => limits.mails = number,
                "RCPTMAX" => limits.recipients = number,
                "RCPTDOMAINMAX" => limits.domains = number,
                _ => {}
            }
        }
        limits
    }

    pub(crate) fn write(self) -> String {
        let said = [("MAILMAX", self.mails), ("RCPTMAX", self.recipients), ("RCPTDOMAINMAX", self.domains)];
        let words = said.iter().filter(|(_, number)| *number > 0).map(|(name, number)| format!("{name}={number}"));
        words.collect::<Vec<_>>().join(" ")
    }
}

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
    #[error("BINARYMIME needs CHUNKING (RFC 3030 3)")]
    BinaryNeedsChunks,
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
    /// LMTP (RFC 2033): LHLO instead of EHLO, a reply for each recipient.
    pub lmtp: bool,
    /// Mechanisms of AUTH.
    pub mechanisms: Mechanisms,
    /// Nothing but STARTTLS goes on before TLS (RFC 3207 4).
    pub tls_required: bool,
    /// No mail without a login (RFC 4954 6).
    pub login_required: bool,
    /// What LIMITS says; the caller keeps MAILMAX and RCPTDOMAINMAX.
    pub limits: Limits,
    /// DELIVERBY: the shortest time that may be asked for, in seconds; 0: none is named.
    pub deliver_by_minimum: u32,
    /// FUTURERELEASE: how long a message may be held, in seconds; 0: the extension is not offered.
    pub hold_maximum: u32,
    /// Texts of the site's own for what the server says by itself.
    pub wording: Wording,
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
            lmtp: false,
            mechanisms: Mechanisms::NONE,
            tls_required: false,
            login_required: false,
            limits: Limits::default(),
            deliver_by_minimum: 0,
            // A month: what submission servers with "send later" take.
            hold_maximum: 30 * 24 * 3_600,
            wording: Wording::default(),
        }
    }

    /// What a person wrote, looked at before it is used.
    pub fn check(&self) -> Result<(), SettingsError> {
        let plain = |text: &str| !text.chars().any(char::is_control);
        let lonely_binary = self.extensions.has(Extensions::BINARYMIME) && !self.extensions.has(Extensions::CHUNKING);
        match () {
            () if Host::parse(&self.hostname).is_err() => Err(SettingsError::Hostname),
            () if !plain(&self.banner) || !self.help.lines().all(plain) => Err(SettingsError::Text),
            () if self.max_line < MIN_LINE => Err(SettingsError::Line),
            () if lonely_binary => Err(SettingsError::BinaryNeedsChunks),
            () => Ok(()),
        }
    }
}
