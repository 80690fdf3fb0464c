//! Keys: public ones as DNS publishes them (RFC 6376 3.6.1, RFC 8463 4.2), private ones to sign with.
//!
//! A record is read strictly: version first, known key type, allowed hash and service, no revoked key. RSA keys have
//! 1024 to 4096 bits for DKIM and ARC (RFC 8301 3.2); the caller may allow more. `generate` is the one place of this
//! room where chance comes in, from the crypto library's own source.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_SHA256,
    UnparsedPublicKey,
};

use crate::short::ShortKey;
use crate::tags::{self, TagError, Tags};

/// RFC 8301 3.2: verifiers must not take less.
pub const MIN_RSA_BITS: usize = 1024;
/// RFC 8301 3.2 asks for keys up to 4096 bits; a longer one only costs.
pub const MAX_RSA_BITS: usize = 4096;
/// A public exponent longer than this makes verifying slow; `BoringSSL` draws the line there as well.
const MAX_EXPONENT_BITS: usize = 33;
/// RFC 8032 5.1.5.
const ED25519_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    RsaSha256,
    Ed25519Sha256,
}

impl Algorithm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"rsa-sha256" => Some(Self::RsaSha256),
            b"ed25519-sha256" => Some(Self::Ed25519Sha256),
            _ => None,
        }
    }
}

/// A public key and what its owner allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    pub bits: usize,
    /// `t=y`: the domain tests; failures should not be held against it.
    pub testing: bool,
    /// `t=s`: the identity must be of this very domain.
    pub strict_identity: bool,
    bytes: Vec<u8>,
}

/// Why a key record or key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key record is no tag list: {0}")]
    Tags(#[from] TagError),
    #[error("the key record is of another version than DKIM1")]
    Version,
    #[error("the key record has no key (p=)")]
    NoKey,
    #[error("the key was revoked (empty p=)")]
    Revoked,
    #[error("the key is of an unknown type (k=)")]
    Type,
    #[error("the key may not be used with SHA-256 (h=)")]
    Hash,
    #[error("the key is not for mail (s=)")]
    Service,
    #[error("the key cannot be read")]
    Malformed,
    #[error("the RSA key has {0} bits, too few")]
    TooShort(usize),
    #[error("the RSA key has {0} bits, too many")]
    TooLong(usize),
    #[error("the RSA key has an exponent that costs too much")]
    Exponent,
}

impl PublicKey {
    /// Reads a TXT record below `_domainkey`.
    pub fn parse(record: &[u8], max_rsa_bits: usize) -> Result<Self, KeyError> {
        let tags = Tags::parse_record(record)?;
        // RFC 6376 3.6.1: v= may be left away, else it comes first.
        if tags.get("v").is_some() && tags.first() != Some(("v", b"DKIM1")) {
            return Err(KeyError::Version);
        }
        let p = tags.get("p").ok_or(KeyError::NoKey)?;
        if p.is_empty() {
            return Err(KeyError::Revoked);
        }
        if tags.get("h").is_some_and(|hashes| !tags::items(hashes).any(|hash| hash == b"sha256")) {
            return Err(KeyError::Hash);
        }
        if tags.get("s").is_some_and(|services| !tags::items(services).any(|s| matches!(s, b"*" | b"email"))) {
            return Err(KeyError::Service);
        }
        let flag = |name: &[u8]| tags.get("t").is_some_and(|flags| tags::items(flags).any(|flag| flag == name));
        let bytes = tags::base64(p).ok_or(KeyError::Malformed)?;
        let (algorithm, bits) = match tags.get("k").unwrap_or(b"rsa") {
            b"rsa" => (Algorithm::RsaSha256, rsa_bits(&bytes, max_rsa_bits)?),
            b"ed25519" => (Algorithm::Ed25519Sha256, ed25519_bits(&bytes)?),
            _ => return Err(KeyError::Type),
        };
        Ok(Self { algorithm, bits, testing: flag(b"y"), strict_identity: flag(b"s"), bytes })
    }

    /// Whether `signature` signs what `digest` (SHA-256) was made of.
    #[must_use]
    pub fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::RsaSha256 => {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, &self.bytes);
                key.verify_digest(digest, signature).is_ok()
            }
            // RFC 8463 3: PureEdDSA over the hash.
            Algorithm::Ed25519Sha256 => {
                UnparsedPublicKey::new(&ED25519, &self.bytes).verify(digest.as_ref(), signature).is_ok()
            }
        }
    }
}

fn ed25519_bits(bytes: &[u8]) -> Result<usize, KeyError> {
    if bytes.len() == ED25519_BYTES { Ok(256) } else { Err(KeyError::Malformed) }
}

/// The size of an RSA key, `SubjectPublicKeyInfo` or `RSAPublicKey`, within the bounds.
fn rsa_bits(der: &[u8], max_bits: usize) -> Result<usize, KeyError> {
    let (modulus, exponent) = rsa_numbers(der).ok_or(KeyError::Malformed)?;
    let bits = bit_length(modulus);
    if bits < MIN_RSA_BITS {
        return Err(KeyError::TooShort(bits));
    }
    if bits > max_bits {
        return Err(KeyError::TooLong(bits));
    }
    if bit_length(exponent) > MAX_EXPONENT_BITS {
        return Err(KeyError::Exponent);
    }
    Ok(bits)
}

fn bit_length(number: &[u8]) -> usize {
    let number = &number[number.iter().position(|byte| *byte != 0).unwrap_or(number.len())..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

fn rsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, _) = element(der, SEQUENCE)?;
    if let Some((modulus, rest)) = element(inside, INTEGER) {
        return Some((modulus, element(rest, INTEGER)?.0));
    }
    let (_algorithm, rest) = element(inside, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (inside, _) = element(bits.get(1..)?, SEQUENCE)?;
    let (modulus, rest) = element(inside, INTEGER)?;
    Some((modulus, element(rest, INTEGER)?.0))
}

/// The content of the DER element at the front, if it is of this kind, and what follows it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != kind {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (first as usize, rest),
        0x81 => (*rest.first()? as usize, rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    (length <= rest.len()).then(|| rest.split_at(length))
}

/// A private key.
#[derive(Debug)]
pub enum SigningKey {
    Rsa(Box<KeyPair>),
    /// 1024 to 2047 bits, which RFC 8301 3.2 still lets sign; for old zones only.
    Short(ShortKey),
    Ed25519(Box<Ed25519KeyPair>),
}

/// Why a private key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("no PEM block with a private key, no base64 of one")]
    Pem,
    #[error("the private key cannot be read: PKCS#8, PKCS#1 or an Ed25519 seed is expected")]
    Rejected,
    #[error("an RSA key to sign with must have 1024 to 4096 bits, this has {0}")]
    Size(usize),
    #[error("the crypto library could not do it")]
    Failed,
}

/// What kind of key to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    Ed25519,
}

impl SigningKey {
    /// Reads PEM (PKCS#8 or PKCS#1), or base64 of DER or of an Ed25519 seed.
    pub fn parse(text: &[u8]) -> Result<Self, SigningKeyError> {
        let der = pem_content(text).ok_or(SigningKeyError::Pem)?;
        Self::from_der(&der)
    }

    pub fn from_der(der: &[u8]) -> Result<Self, SigningKeyError> {
        if der.len() == ED25519_BYTES {
            return Self::ed25519(Ed25519KeyPair::from_seed_unchecked(der));
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(Box::new(pair)));
        }
        let pair = KeyPair::from_pkcs8(der).or_else(|_| KeyPair::from_der(der));
        let Ok(pair) = pair else { return Self::short(der) };
        let bits = pair.public_modulus_len() * 8;
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(SigningKeyError::Size(bits));
        }
        Ok(Self::Rsa(Box::new(pair)))
    }

    fn short(der: &[u8]) -> Result<Self, SigningKeyError> {
        let key = ShortKey::from_der(der).ok_or(SigningKeyError::Rejected)?;
        let bits = key.bits();
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(SigningKeyError::Size(bits));
        }
        Ok(Self::Short(key))
    }

    fn ed25519<E>(pair: Result<Ed25519KeyPair, E>) -> Result<Self, SigningKeyError> {
        pair.map(|pair| Self::Ed25519(Box::new(pair))).map_err(|_| SigningKeyError::Rejected)
    }

    /// Makes a new key and its PKCS#8 form as PEM.
    pub fn generate(kind: Kind) -> Result<(Self, String), SigningKeyError> {
        let size = match kind {
            Kind::Ed25519 => return Self::generate_ed25519(),
            Kind::Rsa2048 => KeySize::Rsa2048,
            Kind::Rsa3072 => KeySize::Rsa3072,
            Kind::Rsa4096 => KeySize::Rsa4096,
        };
        let pair = KeyPair::generate(size).map_err(|_| SigningKeyError::Failed)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| SigningKeyError::Failed)?;
        let pem = pem(der.as_ref());
        Ok((Self::Rsa(Box::new(pair)), pem))
    }

    fn generate_ed25519() -> Result<(Self, String), SigningKeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SigningKeyError::Failed)?;
        let der = pair.to_pkcs8v1().map_err(|_| SigningKeyError::Failed)?;
        let pem = pem(der.as_ref());
        Ok((Self::Ed25519(Box::new(pair)), pem))
    }

    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa(_) | Self::Short(_) => Algorithm::RsaSha256,
            Self::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa(pair) => pair.public_modulus_len() * 8,
            Self::Short(key) => key.bits(),
            Self::Ed25519(_) => 256,
        }
    }

    /// The TXT record that publishes the public half.
    pub fn record(&self) -> String {
        let (kind, bytes) = match self {
            Self::Rsa(pair) => {
                let der = pair.public_key().as_der();
                let bytes = der.map_or_else(|_| pair.public_key().as_ref().to_vec(), |der| der.as_ref().to_vec());
                ("rsa", bytes)
            }
            Self::Short(key) => ("rsa", key.public_der().unwrap_or_default()),
            Self::Ed25519(pair) => ("ed25519", pair.public_key().as_ref().to_vec()),
        };
        format!("v=DKIM1; k={kind}; p={}", base64_simd::STANDARD.encode_to_string(&bytes))
    }

    /// Signs a SHA-256 digest.
    pub fn sign(&self, digest: &Digest) -> Result<Vec<u8>, SigningKeyError> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign_digest(&RSA_PKCS1_SHA256, digest, &mut signature);
                signed.map_err(|_| SigningKeyError::Failed)?;
                Ok(signature)
            }
            Self::Short(key) => {
                let digest = digest.as_ref().try_into().map_err(|_| SigningKeyError::Failed)?;
                key.sign(digest).ok_or(SigningKeyError::Failed)
            }
            Self::Ed25519(pair) => Ok(pair.sign(digest.as_ref()).as_ref().to_vec()),
        }
    }
}

fn pem_content(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let inside = match text.split_once("PRIVATE KEY-----") {
        Some((_, rest)) => rest.split_once("-----END")?.0,
        None => text,
    };
    tags::base64(inside.as_bytes()).filter(|der| !der.is_empty())
}

fn pem(der: &[u8]) -> String {
    let encoded = base64_simd::STANDARD.encode_to_string(der);
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in encoded.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::digest::{SHA256, digest};

    #[test]
    fn made_keys_sign_what_their_records_verify() {
        for kind in [Kind::Rsa2048, Kind::Ed25519] {
            let (key, pem) = SigningKey::generate(kind).unwrap();
            let again = SigningKey::parse(pem.as_bytes()).unwrap();
            assert_eq!(again.record(), key.record());
            let public = PublicKey::parse(key.record().as_bytes(), MAX_RSA_BITS).unwrap();
            let hash = digest(&SHA256, b"hello");
            let signature = again.sign(&hash).unwrap();
            assert!(public.verifies(&hash, &signature));
            assert!(!public.verifies(&digest(&SHA256, b"Hello"), &signature));
            assert_eq!((public.algorithm, public.bits), (key.algorithm(), key.bits()));
        }
    }

    /// A key of 1024 bits that was made for this test and signs nothing else.
    const SHORT: &str = include_str!("../tests/keys/rsa1024.pem");

    #[test]
    fn short_keys_sign_too() {
        let key = SigningKey::parse(SHORT.as_bytes()).unwrap();
        assert!(matches!(key, SigningKey::Short(_)));
        let public = PublicKey::parse(key.record().as_bytes(), MAX_RSA_BITS).unwrap();
        assert_eq!((public.bits, key.bits(), key.algorithm()), (1024, 1024, Algorithm::RsaSha256));
        let threads: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let sign = || (0..50).map(|_| key.sign(&digest(&SHA256, b"hello")).unwrap()).max().unwrap();
            let running: Vec<_> = (0..4).map(|_| scope.spawn(sign)).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(threads.iter().all(|signature| public.verifies(&digest(&SHA256, b"hello"), signature)));
        assert!(!public.verifies(&digest(&SHA256, b"Hello"), &threads[0]));
    }

    #[test]
    fn keys_under_1024_bits_are_refused() {
        let der = SHORT.replacen("\nMIIC", "\nMIID", 1);
        assert!(matches!(SigningKey::parse(der.as_bytes()), Err(SigningKeyError::Rejected)));
        let tiny = include_str!("../tests/keys/rsa768.pem");
        assert!(matches!(SigningKey::parse(tiny.as_bytes()), Err(SigningKeyError::Size(768))));
    }

    #[test]
    fn records_that_cannot_be_used() {
        let key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let ask = |record: &str| PublicKey::parse(record.as_bytes(), MAX_RSA_BITS).map(|key| key.bits);
        assert_eq!(ask(&format!("k=ed25519; p={key}")), Ok(256));
        assert_eq!(ask("v=DKIM1; k=ed25519; p="), Err(KeyError::Revoked));
        assert_eq!(ask("v=DKIM1; k=ed25519"), Err(KeyError::NoKey));
        assert_eq!(ask(&format!("k=ed25519; v=DKIM1; p={key}")), Err(KeyError::Version));
        assert_eq!(ask(&format!("k=ed25519; s=tlsrpt; p={key}")), Err(KeyError::Service));
        assert_eq!(ask(&format!("k=ed25519; h=sha1; p={key}")), Err(KeyError::Hash));
        assert_eq!(ask(&format!("k=dsa; p={key}")), Err(KeyError::Type));
        assert_eq!(ask("p=AAAA"), Err(KeyError::Malformed));
    }
}
