//! RSA keys of 1024 to 2047 bits to sign with, which RFC 8301 3.2 still allows and old zones still have.
//!
//! aws-lc-rs verifies with such keys but refuses to sign; the library below it signs in constant time, blinded, as it
//! does with longer ones. This is the only file of this room that calls it, and the only one with unsafe code: an
//! owned pointer, used by one call at a time and freed once. Sizes are checked before anything is signed.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use aws_lc_sys::{CBS, EVP_PKEY_free, EVP_PKEY_get1_RSA, EVP_parse_private_key, NID_sha256, OPENSSL_free, RSA};
use aws_lc_sys::{RSA_bits, RSA_free, RSA_private_key_from_bytes, RSA_public_key_to_bytes, RSA_sign, RSA_size};

/// An RSA private key of the library below.
#[derive(Debug)]
pub struct ShortKey(NonNull<RSA>);

// SAFETY: the library locks what it changes inside a key (its blinding), and says that a key may be used by several
// threads at once as long as none frees it; only Drop frees it.
unsafe impl Send for ShortKey {}
// SAFETY: as above.
unsafe impl Sync for ShortKey {}

impl ShortKey {
    /// Reads PKCS#8 or PKCS#1 in DER; the key is checked for consistency.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        Self::from_pkcs8(der).or_else(|| {
            // SAFETY: the bytes live for the call, which keeps nothing of them.
            NonNull::new(unsafe { RSA_private_key_from_bytes(der.as_ptr(), der.len()) }).map(Self)
        })
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let mut bytes = CBS { data: der.as_ptr(), len: der.len() };
        // SAFETY: `bytes` points into `der`, which outlives the calls; the outer key is freed, the inner one is ours.
        unsafe {
            let outer = NonNull::new(EVP_parse_private_key(&raw mut bytes))?;
            let key = NonNull::new(EVP_PKEY_get1_RSA(outer.as_ptr()));
            EVP_PKEY_free(outer.as_ptr());
            key.map(Self)
        }
    }

    pub fn bits(&self) -> usize {
        // SAFETY: the pointer is valid as long as `self` lives.
        unsafe { RSA_bits(self.0.as_ptr()) as usize }
    }

    /// PKCS#1 v1.5 over a SHA-256 digest (RFC 8017 8.2).
    pub fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        // SAFETY: the pointer is valid, and `out` has the room that the library asks for.
        unsafe {
            let mut out = vec![0; RSA_size(self.0.as_ptr()) as usize];
            let mut length = 0;
            let signed = RSA_sign(NID_sha256, digest.as_ptr(), 32, out.as_mut_ptr(), &raw mut length, self.0.as_ptr());
            out.truncate(length as usize);
            (signed == 1).then_some(out)
        }
    }

    /// The public half as `SubjectPublicKeyInfo` in DER, which every verifier reads (RFC 5280 4.1).
    pub fn public_der(&self) -> Option<Vec<u8>> {
        let key = [&[0], &*self.public_key()?].concat();
        Some(element(0x30, &[&RSA_ENCRYPTION, &*element(0x03, &key)].concat()))
    }

    /// The public half as `RSAPublicKey`.
    fn public_key(&self) -> Option<Vec<u8>> {
        let (mut bytes, mut length) = (std::ptr::null_mut(), 0);
        // SAFETY: on success the library hands over `length` bytes that are copied and given back.
        unsafe {
            if RSA_public_key_to_bytes(&raw mut bytes, &raw mut length, self.0.as_ptr()) != 1 {
                return None;
            }
            let copy = std::slice::from_raw_parts(bytes, length).to_vec();
            OPENSSL_free(bytes.cast());
            Some(copy)
        }
    }
}

/// RFC 8017 A.1: the name of the algorithm, without parameters.
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A DER element of up to 64 KiB.
fn element(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let head = match content.len() {
        0..=0x7f => vec![kind, low],
        0x80..=0xff => vec![kind, 0x81, low],
        _ => vec![kind, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

impl Drop for ShortKey {
    fn drop(&mut self) {
        // SAFETY: freed once, by its owner.
        unsafe { RSA_free(self.0.as_ptr()) }
    }
}
