//! `MurmurHash3`, variant `x64_128` (Appleby, public domain): two 64-bit hashes of a key.
//!
//! Equal to `mmh3.hash64(key, seed, x64arch=True, signed=False)`. Not for secrets: whoever knows the seed can make keys
//! collide, so a filter that strangers may fill gets a seed of its own.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// Both halves of the hash.
#[must_use]
pub fn hash128(key: &[u8], seed: u32) -> (u64, u64) {
    let (mut h1, mut h2) = (u64::from(seed), u64::from(seed));
    let mut blocks = key.chunks_exact(16);
    for block in &mut blocks {
        h1 ^= scramble1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= scramble2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        let split = tail.len().min(8);
        h2 ^= scramble2(word(&tail[split..]));
        h1 ^= scramble1(word(&tail[..split]));
    }
    let length = key.len() as u64;
    finish(h1 ^ length, h2 ^ length)
}

/// Up to eight bytes, little-endian, the missing ones 0.
fn word(bytes: &[u8]) -> u64 {
    let mut padded = [0; 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(padded)
}

fn scramble1(k: u64) -> u64 {
    k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn scramble2(k: u64) -> u64 {
    k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finish(h1: u64, h2: u64) -> (u64, u64) {
    let h1 = h1.wrapping_add(h2);
    let h2 = h2.wrapping_add(h1);
    let (h1, h2) = (mix(h1), mix(h2));
    let h1 = h1.wrapping_add(h2);
    (h1, h2.wrapping_add(h1))
}

fn mix(k: u64) -> u64 {
    let k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ k >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let golden: [(&[u8], u32, u64, u64); 1] =
            [(b"user@example.com", 42, 15_483_754_182_365_076_051, 8_815_224_429_610_043_443)];
        for (key, seed, h1, h2) in golden {
            assert_eq!(hash128(key, seed), (h1, h2));
        }
        assert_eq!(hash128(b"", 0), (0, 0));
    }
}
