//! Whose certificate is good: anybody's, one by roots that a site gave, or one that TLSA records name (RFC 7671, 7672).
//!
//! A DANE-EE record names the host's own certificate, whatever else that says (names, dates); a DANE-TA record names
//! an authority in the chain, below which everything must be right, names too. Certificates by the system's roots are
//! judged by rustls itself.

use std::sync::Arc;

use angarium_ledger::Pin;
use aws_lc_rs::digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

const TRUST_ANCHOR: u8 = 2;
const END_ENTITY: u8 = 3;
const WHOLE_CERTIFICATE: u8 = 0;
const PUBLIC_KEY: u8 = 1;
const EXACT: u8 = 0;
const SHA256: u8 = 1;
const SHA512: u8 = 2;

/// The records that count. RFC 7672 3.1.3: usages 0 and 1 do not; RFC 7671 9: of one usage and selector the
/// strongest digest alone counts, so that a weaker one cannot be slipped in.
pub fn usable(pins: &[Pin]) -> Vec<Pin> {
    let known = |pin: &&Pin| {
        matches!(pin.usage, TRUST_ANCHOR | END_ENTITY)
            && matches!(pin.selector, WHOLE_CERTIFICATE | PUBLIC_KEY)
            && match pin.matching {
                EXACT => !pin.data.is_empty(),
                SHA256 => pin.data.len() == 32,
                SHA512 => pin.data.len() == 64,
                _ => false,
            }
    };
    let known: Vec<_> = pins.iter().filter(known).collect();
    let stronger = |pin: &Pin| {
        pin.matching == SHA256
            && known.iter().any(|p| (p.usage, p.selector, p.matching) == (pin.usage, pin.selector, SHA512))
    };
    known.iter().filter(|pin| !stronger(pin)).map(|pin| (*pin).clone()).collect()
}

/// Whether the record names this certificate.
fn names(pin: &Pin, certificate: &CertificateDer<'_>) -> bool {
    let subject = match pin.selector {
        WHOLE_CERTIFICATE => certificate.to_vec(),
        _ => match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => parsed.subject_public_key_info().to_vec(),
            Err(_) => return false,
        },
    };
    match pin.matching {
        EXACT => subject == *pin.data,
        SHA256 => digest::digest(&digest::SHA256, &subject).as_ref() == &**pin.data,
        _ => digest::digest(&digest::SHA512, &subject).as_ref() == &**pin.data,
    }
}

/// Whom a connection trusts.
#[derive(Debug)]
enum Whom {
    /// Any certificate will do. Without knowing the peer a signature of its key proves nothing, so it is not looked at,
    /// and peers with odd certificates get TLS too; the handshake still keeps listeners out.
    Anyone,
    /// Roots that a site gave: what they have signed is good, and so is a certificate that stands among them itself, as
    /// a host that signs its own shows it; for the names in it, and dates aside, since the site named this very one.
    Given { certificates: Vec<CertificateDer<'static>>, by_roots: Arc<WebPkiServerVerifier> },
    /// A certificate that the records name.
    Pinned(Vec<Pin>),
}

#[derive(Debug)]
pub struct Verifier {
    whom: Whom,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub fn anyone(provider: Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self { whom: Whom::Anyone, provider })
    }

    pub fn pinned(pins: Vec<Pin>, provider: Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self { whom: Whom::Pinned(pins), provider })
    }

    pub fn given(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let by_roots = by_roots(roots, &provider)?;
        Ok(Arc::new(Self { whom: Whom::Given { certificates, by_roots }, provider }))
    }
}

fn by_roots(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|error| Error::General(error.to_string()))
}

fn of_usage(pins: &[Pin], usage: u8) -> impl Iterator<Item = &Pin> {
    pins.iter().filter(move |pin| pin.usage == usage)
}

/// Authorities that a record names: out of the chain, or given whole by the record.
fn anchors(pins: &[Pin], above: &[CertificateDer<'_>]) -> RootCertStore {
    let mut anchors = RootCertStore::empty();
    for pin in of_usage(pins, TRUST_ANCHOR) {
        for certificate in above.iter().filter(|certificate| names(pin, certificate)) {
            // One that is no authority can anchor nothing; the verification then fails by itself.
            let _ = anchors.add(certificate.clone().into_owned());
        }
        if pin.selector == WHOLE_CERTIFICATE && pin.matching == EXACT {
            let _ = anchors.add(CertificateDer::from(pin.data.to_vec()));
        }
    }
    anchors
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.whom {
            Whom::Anyone => Ok(ServerCertVerified::assertion()),
            Whom::Given { certificates, .. } if certificates.contains(own) => {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            Whom::Given { by_roots, .. } => by_roots.verify_server_cert(own, above, name, ocsp, now),
            Whom::Pinned(pins) if of_usage(pins, END_ENTITY).any(|pin| names(pin, own)) => {
                Ok(ServerCertVerified::assertion())
            }
            Whom::Pinned(pins) => {
                let anchors = anchors(pins, above);
                if anchors.is_empty() {
                    return Err(CertificateError::ApplicationVerificationFailure.into());
                }
                by_roots(anchors, &self.provider)?.verify_server_cert(own, above, name, ocsp, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if matches!(self.whom, Whom::Anyone) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if matches!(self.whom, Whom::Anyone) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_bytes::ByteBuf;

    fn pin(usage: u8, selector: u8, matching: u8, length: usize) -> Pin {
        Pin { usage, selector, matching, data: ByteBuf::from(vec![7; length]) }
    }

    #[test]
    fn the_records_that_count() {
        for (name, given, want) in [
            ("DANE-EE and DANE-TA", vec![pin(3, 1, 1, 32), pin(2, 0, 2, 64)], 2),
            ("usages of the web", vec![pin(0, 1, 1, 32), pin(1, 1, 1, 32)], 0),
            ("unknown selector, matching, length", vec![pin(3, 2, 1, 32), pin(3, 1, 3, 32), pin(3, 1, 1, 31)], 0),
            ("the stronger digest alone", vec![pin(3, 1, 1, 32), pin(3, 1, 2, 64)], 1),
            ("of another selector both", vec![pin(3, 1, 1, 32), pin(3, 0, 2, 64)], 2),
            ("the whole beside a digest", vec![pin(3, 1, 0, 9), pin(3, 1, 2, 64)], 2),
            ("nothing to compare with", vec![pin(3, 1, 0, 0)], 0),
        ] {
            assert_eq!(usable(&given).len(), want, "{name}");
        }
    }
}
