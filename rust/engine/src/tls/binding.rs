//! Channel bindings (RFC 5056): what ties a login to the TLS connection that it came over.
//!
//! tls-exporter (RFC 9266) for whoever speaks TLS 1.3 or extended master secrets, tls-server-end-point (RFC 5929 4) for
//! both versions. Pure functions over the handshake's results.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use rustls::ServerConnection;

/// RFC 9266 2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The value of tls-exporter.
pub(super) fn exporter(connection: &ServerConnection) -> Option<Box<[u8; 32]>> {
    connection.export_keying_material([0; 32], LABEL, Some(b"")).ok().map(Box::new)
}

/// The DER of signature algorithms that hash with something else than SHA-256, and their hashes.
const HASHES: [(&[u8], &aws_lc_rs::digest::Algorithm); 4] = [
    // sha384WithRSAEncryption, sha512WithRSAEncryption
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C], &SHA384),
    (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0D], &SHA512),
    // ecdsa-with-SHA384, ecdsa-with-SHA512
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03], &SHA384),
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04], &SHA512),
];

/// The hash of the certificate by the hash of its signature; MD5, SHA-1 and what names none: SHA-256 (RFC 5929 4.1).
pub(super) fn server_end_point(certificate: &[u8]) -> Vec<u8> {
    let named = signature_algorithm(certificate).unwrap_or_default();
    let hash = HASHES.iter().find(|(oid, _)| *oid == named).map_or(&SHA256, |&(_, hash)| hash);
    digest(hash, certificate).as_ref().to_vec()
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER .. } .. } (RFC 5280 4.1).
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (whole, _) = element(certificate)?;
    let (_, rest) = element(whole)?;
    let (algorithm, _) = element(rest)?;
    Some(element(algorithm)?.0)
}

/// One DER element: its content, and what stands behind it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7F).min(4))?;
        (octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), rest)
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as the hash is concerned: a short body, the algorithm, a signature.
    fn with_algorithm(oid: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let algorithm = wrap(0x30, &wrap(0x06, oid));
        wrap(0x30, &[wrap(0x30, b"body"), algorithm, wrap(0x03, b"\0signature")].concat())
    }

    #[test]
    fn hashes_as_the_signature_does() {
        for (oid, length) in
            [(HASHES[0].0, 48), (HASHES[1].0, 64), (HASHES[2].0, 48), (HASHES[3].0, 64), (b"\x2A\x03".as_slice(), 32)]
        {
            let certificate = with_algorithm(oid);
            assert_eq!(signature_algorithm(&certificate), Some(oid));
            assert_eq!(server_end_point(&certificate).len(), length, "{oid:?}");
        }
        for cut in 0..20 {
            assert_eq!(server_end_point(&with_algorithm(HASHES[0].0)[..cut]).len(), 32);
        }
    }
}
