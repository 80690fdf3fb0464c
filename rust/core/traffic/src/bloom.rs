//! A blocked bloom filter (Putze, Sanders, Singler 2007): all bits of a key lie in one cache line of 64 bytes.
//!
//! With `(h1, h2)` the hash of the key, its block is the upper half of `h1 * blocks` (128-bit product), and its bits in
//! that block come from `h1' + i * h2` for i = 1..=hashes, where h1' is h1 with its halves swapped and nine bits are
//! mixed out of each sum. The image is a header of 64 bytes and the blocks; docs/bloom-format.md has it all. A filter
//! answers "perhaps" or "certainly not": it fails by saying "perhaps" too often when more keys are added than it was
//! laid out for, never by forgetting one.

use crate::murmur::hash128;

/// A cache line on every machine that we know.
pub const BLOCK: usize = 64;
const BLOCK_BITS: u32 = 512;
/// Bits that name one of 512.
const BIT_NUMBER: u32 = 9;
/// 2^64 divided by the golden ratio (Knuth 6.4). Nine bits of plain sums form arithmetic progressions, which in a block
/// this small meet each other so often that a filter for 0.1 % gives 0.15 %.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
pub const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"ANGBLOOM";
const VERSION: u32 = 1;
/// More bits for a key would fill blocks faster than they tell keys apart.
pub const MAX_HASHES: u32 = 24;
/// Keys that are hashed before the first is looked up, so that the fetches of their cache lines overlap.
const BATCH: usize = 16;

/// Size and hashing of a filter. Filters of one layout can be united.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub blocks: u64,
    pub hashes: u32,
    pub seed: u32,
}

/// Why there is no filter here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BloomError {
    #[error("the expected number of keys must be at least 1")]
    NoItems,
    #[error("the rate of false positives must lie between 0.000001 and 0.5")]
    Rate,
    #[error("the filter would be larger than this machine can address")]
    TooLarge,
    #[error("a filter has 1 to 24 hashes and at least one block")]
    Layout,
    #[error("the file is no bloom filter")]
    Magic,
    #[error("the filter is of version {0}, this program reads version 1")]
    Version(u32),
    #[error("the filter has {actual} bytes, its header says {expected}")]
    Length { expected: u64, actual: u64 },
    #[error("the checksum of the filter's header is wrong")]
    HeaderSum,
    #[error("the checksum of the filter's bits is wrong")]
    BitsSum,
    #[error("the filters differ in size, hashes or seed")]
    Differ,
}

impl Layout {
    pub fn new(blocks: u64, hashes: u32, seed: u32) -> Result<Self, BloomError> {
        if blocks == 0 || !(1..=MAX_HASHES).contains(&hashes) {
            return Err(BloomError::Layout);
        }
        let layout = Self { blocks, hashes, seed };
        layout.image_bytes().map(|_| layout)
    }

    /// The smallest filter whose rate of false positives stays at or below `rate` with so many keys.
    pub fn for_items(items: u64, rate: f64, seed: u32) -> Result<Self, BloomError> {
        if items == 0 {
            return Err(BloomError::NoItems);
        }
        if !(1e-6..=0.5).contains(&rate) {
            return Err(BloomError::Rate);
        }
        // Begin with the size of a filter without blocks, and grow by steps of 1 %: blocks fill unevenly and so need
        // more (a tenth at 1 %, half as much again at 0.01 %).
        let bits_per_key = -rate.ln() / std::f64::consts::LN_2.powi(2);
        let mut blocks = (items as f64 * bits_per_key / f64::from(BLOCK_BITS)).ceil().max(1.0);
        loop {
            if blocks >= 9e15 {
                return Err(BloomError::TooLarge);
            }
            let best = best_hashes(items as f64 / blocks);
            if best.1 <= rate {
                return Self::new(blocks as u64, best.0, seed);
            }
            blocks = (blocks * 1.01).ceil();
        }
    }

    /// Header and blocks.
    pub fn image_bytes(&self) -> Result<usize, BloomError> {
        let bits = self.blocks.checked_mul(BLOCK as u64).and_then(|bytes| bytes.checked_add(HEADER as u64));
        let bytes = bits.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| isize::try_from(*bytes).is_ok());
        bytes.ok_or(BloomError::TooLarge)
    }

    /// The rate of false positives with so many keys in it.
    pub fn rate(&self, items: u64) -> f64 {
        blocked_rate(items as f64 / self.blocks as f64, self.hashes)
    }

    fn locate(&self, key: &[u8]) -> Spot {
        let (h1, h2) = hash128(key, self.seed);
        let block = (u128::from(h1) * u128::from(self.blocks)) >> 64;
        Spot { at: HEADER + block as usize * BLOCK, h1, h2 }
    }
}

/// The number of hashes with the lowest rate, and that rate.
fn best_hashes(load: f64) -> (u32, f64) {
    let rates = (1..=MAX_HASHES).map(|hashes| (hashes, blocked_rate(load, hashes)));
    rates.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, 1.0))
}

/// Blocks hold a number of keys that is Poisson distributed around `load`; each then is a small filter of its own.
fn blocked_rate(load: f64, hashes: u32) -> f64 {
    // Beyond ten deviations above the mean the weight is below anything that matters.
    let most = (load + 10.0 * load.sqrt() + 20.0) as u32;
    let (mut weight, mut rate) = ((-load).exp(), 0.0);
    let empty_share = 1.0 - 1.0 / f64::from(BLOCK_BITS);
    if weight == 0.0 {
        // So many keys in a block that e^-load is no number: all bits are set.
        return 1.0;
    }
    for keys in 0..=most {
        let set = 1.0 - empty_share.powf(f64::from(keys) * f64::from(hashes));
        rate += weight * set.powf(f64::from(hashes));
        weight *= load / f64::from(keys + 1);
    }
    rate.min(1.0)
}

/// Where a key's bits are.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    /// First byte of its block in the image.
    at: usize,
    h1: u64,
    h2: u64,
}

impl Spot {
    /// Byte in the block, and mask, of each of the key's bits.
    fn bits(self, hashes: u32) -> impl Iterator<Item = (usize, u8)> {
        let start = self.h1.rotate_left(32);
        (1..=u64::from(hashes)).map(move |i| {
            let step = start.wrapping_add(self.h2.wrapping_mul(i));
            let bit = (step ^ step >> 32).wrapping_mul(SPREAD) >> (64 - BIT_NUMBER);
            ((bit >> 3) as usize, 1 << (bit & 7))
        })
    }
}

/// A filter over an image: a vector, a borrowed slice, a mapped file.
#[derive(Debug, Clone)]
pub struct Bloom<B> {
    layout: Layout,
    /// Keys added that were new.
    added: u64,
    image: B,
}

impl Bloom<Vec<u8>> {
    /// An empty filter in memory.
    pub fn new(layout: Layout) -> Result<Self, BloomError> {
        let image = vec![0; layout.image_bytes()?];
        Ok(Self { layout, added: 0, image })
    }
}

impl Bloom<Vec<u8>> {
    /// A copy in memory, as it is: not sealed, not checked.
    pub fn copy_of<B: AsRef<[u8]>>(other: &Bloom<B>) -> Self {
        Self { layout: other.layout, added: other.added, image: other.image().to_vec() }
    }
}

impl<B: AsRef<[u8]>> Bloom<B> {
    /// A filter from its image. The header is always checked; the bits only when asked, since that reads them all.
    pub fn open(image: B, check_bits: bool) -> Result<Self, BloomError> {
        let bytes = image.as_ref();
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or(BloomError::Magic)?;
        if !header.starts_with(MAGIC) {
            return Err(BloomError::Magic);
        }
        if word(header, 8) != VERSION {
            return Err(BloomError::Version(word(header, 8)));
        }
        if word(header, 60) != crc32c::crc32c(&header[..60]) {
            return Err(BloomError::HeaderSum);
        }
        let layout = Layout::new(long(header, 16), word(header, 12), word(header, 24))?;
        let (expected, actual) = (layout.image_bytes()? as u64, bytes.len() as u64);
        if expected != actual {
            return Err(BloomError::Length { expected, actual });
        }
        if check_bits && word(header, 40) != crc32c::crc32c(&bytes[HEADER..]) {
            return Err(BloomError::BitsSum);
        }
        Ok(Self { layout, added: long(header, 32), image })
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Keys that were new when they were added; after a union an upper bound.
    pub fn added(&self) -> u64 {
        self.added
    }

    pub fn image(&self) -> &[u8] {
        self.image.as_ref()
    }

    /// `false`: the key was certainly never added.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.has(self.layout.locate(key))
    }

    fn has(&self, spot: Spot) -> bool {
        let block = &self.image.as_ref()[spot.at..spot.at + BLOCK];
        spot.bits(self.layout.hashes).all(|(byte, mask)| block[byte & (BLOCK - 1)] & mask != 0)
    }

    /// One answer for each key, in their order.
    pub fn contains_many<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>, answers: &mut Vec<bool>) {
        let mut keys = keys.into_iter();
        loop {
            let mut batch = [Spot::default(); BATCH];
            let mut filled = 0;
            for (spot, key) in batch.iter_mut().zip(&mut keys) {
                *spot = self.layout.locate(key);
                filled += 1;
            }
            answers.extend(batch[..filled].iter().map(|spot| self.has(*spot)));
            if filled < BATCH {
                return;
            }
        }
    }

    /// Share of bits that are set: half, when the filter is as full as it was laid out for. Reads all bits.
    pub fn fill(&self) -> f64 {
        let bits = &self.image.as_ref()[HEADER..];
        let set: u64 = bits.iter().map(|byte| u64::from(byte.count_ones())).sum();
        set as f64 / (bits.len() as f64 * 8.0)
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Bloom<B> {
    /// `true`: the key was certainly not there before.
    pub fn add(&mut self, key: &[u8]) -> bool {
        let spot = self.layout.locate(key);
        self.set(spot)
    }

    fn set(&mut self, spot: Spot) -> bool {
        let block = &mut self.image.as_mut()[spot.at..spot.at + BLOCK];
        let mut new = false;
        for (byte, mask) in spot.bits(self.layout.hashes) {
            let byte = &mut block[byte & (BLOCK - 1)];
            new |= *byte & mask == 0;
            *byte |= mask;
        }
        self.added += u64::from(new);
        new
    }

    /// Adds all; gives how many were certainly new.
    pub fn add_many<'a>(&mut self, keys: impl IntoIterator<Item = &'a [u8]>) -> u64 {
        let before = self.added;
        for key in keys {
            self.add(key);
        }
        self.added - before
    }

    /// From now on this filter also contains what the other does.
    pub fn union<C: AsRef<[u8]>>(&mut self, other: &Bloom<C>) -> Result<(), BloomError> {
        if self.layout != other.layout {
            return Err(BloomError::Differ);
        }
        let (own, others) = (&mut self.image.as_mut()[HEADER..], &other.image.as_ref()[HEADER..]);
        for (own, other) in own.iter_mut().zip(others) {
            *own |= other;
        }
        self.added = self.added.saturating_add(other.added);
        Ok(())
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.image.as_mut()[HEADER..].fill(0);
        self.added = 0;
    }

    /// Writes the header with its checksums: from now on, until the next change, [`Self::image`] is what a file holds.
    pub fn seal(&mut self) {
        let bits_sum = crc32c::crc32c(&self.image.as_ref()[HEADER..]);
        let Layout { blocks, hashes, seed } = self.layout;
        let added = self.added;
        let header = &mut self.image.as_mut()[..HEADER];
        header.fill(0);
        header[..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&hashes.to_le_bytes());
        header[16..24].copy_from_slice(&blocks.to_le_bytes());
        header[24..28].copy_from_slice(&seed.to_le_bytes());
        header[32..40].copy_from_slice(&added.to_le_bytes());
        header[40..44].copy_from_slice(&bits_sum.to_le_bytes());
        let header_sum = crc32c::crc32c(&header[..60]);
        header[60..].copy_from_slice(&header_sum.to_le_bytes());
    }
}

fn word(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn long(header: &[u8; HEADER], at: usize) -> u64 {
    u64::from(word(header, at)) | u64::from(word(header, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(items: u64, rate: f64) -> Bloom<Vec<u8>> {
        let mut bloom = Bloom::new(Layout::for_items(items, rate, 42).unwrap()).unwrap();
        for n in 0..items {
            bloom.add(format!("user{n}@example.org").as_bytes());
        }
        bloom
    }

    #[test]
    fn false_positives_stay_below_what_was_asked() {
        for (items, rate, strangers) in
            [(100_000, 0.01, 200_000), (100_000, 0.001, 400_000), (200_000, 0.0001, 2_000_000)]
        {
            let bloom = filled(items, rate);
            let wrong = (0..strangers).filter(|n| bloom.contains(format!("other{n}@example.org").as_bytes())).count();
            let measured = wrong as f64 / f64::from(strangers);
            assert!(measured <= rate * 1.15, "{measured} where {rate} was asked");
            assert!(measured >= rate * 0.5, "{measured}: the filter is larger than {rate} needs");
            assert!(
                (bloom.layout().rate(items) - measured).abs() < rate * 0.25,
                "{} {measured}",
                bloom.layout().rate(items)
            );
        }
    }

    #[test]
    fn sizes_are_64_bit() {
        let layout = Layout::for_items(20_000_000_000, 0.01, 0).unwrap();
        assert!(layout.image_bytes().unwrap() as u64 > 1 << 34);
        // The last block is reached.
        let large = Layout::new(1 << 40, 7, 0).unwrap();
        let highest = (0..1000u32).map(|n| large.locate(&n.to_le_bytes()).at).max().unwrap();
        assert!(highest > 60 << 40);
        assert_eq!(Layout::new(u64::MAX / 2, 7, 0), Err(BloomError::TooLarge));
        assert_eq!(Layout::for_items(u64::MAX, 1e-6, 0), Err(BloomError::TooLarge));
    }

    #[test]
    fn images_are_checked() {
        let mut bloom = filled(1000, 0.01);
        bloom.seal();
        let image = bloom.image().to_vec();
        assert!(Bloom::open(&image[..], true).unwrap().contains(b"user7@example.org"));
        let damaged = |at: usize| {
            let mut copy = image.clone();
            copy[at] ^= 1;
            Bloom::open(copy, true).map(|_| ()).unwrap_err()
        };
        assert_eq!(damaged(0), BloomError::Magic);
        assert_eq!(damaged(8), BloomError::Version(0));
        assert_eq!(damaged(17), BloomError::HeaderSum);
        assert_eq!(damaged(100), BloomError::BitsSum);
        assert!(matches!(Bloom::open(&image[..900], true), Err(BloomError::Length { .. })));
        assert!(matches!(Bloom::open(&image[..9], true), Err(BloomError::Magic)));
    }

    #[test]
    fn asks_for_sense() {
        assert_eq!(Layout::for_items(0, 0.01, 0), Err(BloomError::NoItems));
        for rate in [0.0, 0.9, -1.0, f64::NAN] {
            assert_eq!(Layout::for_items(10, rate, 0), Err(BloomError::Rate));
        }
        assert_eq!(Layout::new(0, 3, 0), Err(BloomError::Layout));
        assert_eq!(Layout::new(3, 0, 0), Err(BloomError::Layout));
        let (mut a, b) = (Bloom::new(Layout::new(3, 3, 0).unwrap()).unwrap(), Layout::new(3, 3, 1).unwrap());
        assert_eq!(a.union(&Bloom::new(b).unwrap()), Err(BloomError::Differ));
    }

    proptest! {
        #[test]
        fn never_forgets(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..200), seed: u32) {
            let layout = Layout::for_items(100, 0.01, seed).unwrap();
            let (mut one, mut two) = (Bloom::new(layout).unwrap(), Bloom::new(layout).unwrap());
            for (n, key) in keys.iter().enumerate() {
                let half = if n % 2 == 0 { &mut one } else { &mut two };
                let (there, new) = (half.contains(key), half.add(key));
                prop_assert_eq!(there, !new);
            }
            let mut answers = Vec::new();
            one.contains_many(keys.iter().map(Vec::as_slice), &mut answers);
            let singly: Vec<bool> = keys.iter().map(|key| one.contains(key)).collect();
            prop_assert_eq!(answers, singly);
            one.union(&two).unwrap();
            prop_assert!(keys.iter().all(|key| one.contains(key)));
            one.seal();
            let again = Bloom::open(one.image(), true).unwrap();
            prop_assert!(keys.iter().all(|key| again.contains(key)));
            prop_assert_eq!(again.added(), one.added());
            one.clear();
            prop_assert!(keys.iter().all(|key| !one.contains(key)));
        }
    }
}
