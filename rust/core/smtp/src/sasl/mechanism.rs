//! The mechanisms of AUTH by name, and sets of them. What each says stands in `server` and `client`.

/// A mechanism, the strong ones in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mechanism {
    /// RFC 7677 with channel binding.
    ScramSha256Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 4422 appendix A: who one is, TLS says.
    External,
    /// RFC 7628.
    OauthBearer,
    /// What Google and Microsoft used before OAUTHBEARER.
    Xoauth2,
    /// RFC 2195.
    CramMd5,
    /// RFC 4616.
    Plain,
    /// draft-murchison-sasl-login: old clients know nothing else.
    Login,
}

impl Mechanism {
    pub const ALL: [Self; 8] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::External,
        Self::OauthBearer,
        Self::Xoauth2,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// As it is registered.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::External => "EXTERNAL",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// The mechanism of this name, in any case of letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether who listens learns the secret: it goes only under TLS.
    pub fn shows_secret(self) -> bool {
        matches!(self, Self::Plain | Self::Login | Self::Xoauth2 | Self::OauthBearer)
    }
}

/// A set of mechanisms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mechanisms(u16);

impl Mechanisms {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub const fn with(self, mechanism: Mechanism) -> Self {
        Self(self.0 | 1 << mechanism as u16)
    }

    #[must_use]
    pub const fn without(self, mechanism: Mechanism) -> Self {
        Self(self.0 & !(1 << mechanism as u16))
    }

    #[must_use]
    pub const fn with_all(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn has(self, mechanism: Mechanism) -> bool {
        self.0 & (1 << mechanism as u16) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its mechanisms, the strong ones first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.has(*mechanism))
    }

    /// Those of `text` that this crate knows, as EHLO lists them.
    pub fn read(text: &str) -> Self {
        text.split(' ').filter_map(Mechanism::named).collect()
    }

    /// As EHLO lists them.
    pub fn write(self) -> String {
        self.iter().map(Mechanism::name).collect::<Vec<_>>().join(" ")
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<T: IntoIterator<Item = Mechanism>>(mechanisms: T) -> Self {
        mechanisms.into_iter().fold(Self::NONE, Self::with)
    }
}
