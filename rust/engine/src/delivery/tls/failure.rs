//! Why a connection is not secure enough for its mail: each cause with its rule id and the words for people.

use std::io;

use angarium_nouns::outcome::{Judgement, Reason};
use angarium_nouns::reply::Reply;
use rustls::CertificateError;

use super::super::transaction::{host_failure, rules};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// Where TLS is required this is how a stripped STARTTLS looks (RFC 3207 6).
    #[error("the host does not offer STARTTLS, and the mail may only go over TLS")]
    NotOffered,
    #[error("the host offers STARTTLS and refuses it: {0}")]
    Refused(String),
    /// RFC 3207 6: nothing that was said in the clear may count behind the handshake.
    #[error("the host spoke between its answer to STARTTLS and the handshake")]
    Injected,
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
    #[error("the TLS handshake took too long")]
    Silent,
    #[error("the host's certificate is not good: {0}")]
    Certificate(String),
    #[error("our side of TLS cannot be set up: {0}")]
    Settings(String),
}

/// Of what is wrong with a certificate.
fn words(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".into()
        }
        CertificateError::UnknownIssuer => "nobody whom we trust has signed it".into(),
        CertificateError::Revoked => "it was revoked".into(),
        CertificateError::ApplicationVerificationFailure => "no TLSA record names it".into(),
        other => other.to_string(),
    }
}

impl TlsFailure {
    /// What a handshake's error means.
    pub fn of(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(why)) => Self::Certificate(words(why)),
            Some(cause) => Self::Handshake(cause.to_string()),
            None => Self::Handshake(error.to_string()),
        }
    }

    /// A connection without TLS may do better.
    pub fn is_of_the_handshake(&self) -> bool {
        matches!(self, Self::Handshake(_) | Self::Silent)
    }

    fn rule(&self) -> u16 {
        match self {
            Self::NotOffered => rules::NO_TLS,
            Self::Refused(_) => rules::TLS_REFUSED,
            Self::Injected => rules::TLS_INJECTED,
            Self::Handshake(_) | Self::Silent => rules::TLS_HANDSHAKE,
            Self::Certificate(_) => rules::TLS_CERTIFICATE,
            Self::Settings(_) => rules::TLS_SETTINGS,
        }
    }

    /// It always defers with a reason of its own, and the next host has its turn.
    pub fn judgement(&self) -> Judgement {
        host_failure(Reason::Tls, self.rule())
    }

    /// The words that listings and reports show.
    pub fn reply(&self) -> Reply {
        let text: String = self.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Reply::new(454, (4, 7, 5), "").with_text(text)
    }
}
