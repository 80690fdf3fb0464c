//! Two generations of a bloom filter: what was added lately is remembered, what is old goes away as a whole.
//!
//! Keys go into the younger generation. When that is full, or when its owner says so (once a day, say), it becomes the
//! older one and an empty one takes its place. A key is remembered for at least one whole generation and at most two.
//! Its image is those of both, the younger first.

use crate::bloom::{Bloom, BloomError, Layout};

#[derive(Debug, Clone)]
pub struct Rotation {
    younger: Bloom<Vec<u8>>,
    older: Bloom<Vec<u8>>,
    /// Keys that a generation takes.
    capacity: u64,
}

impl Rotation {
    pub fn new(layout: Layout, capacity: u64) -> Result<Self, BloomError> {
        if capacity == 0 {
            return Err(BloomError::NoItems);
        }
        Ok(Self { younger: Bloom::new(layout)?, older: Bloom::new(layout)?, capacity })
    }

    /// From an image of both generations.
    pub fn open(image: &[u8], capacity: u64) -> Result<Self, BloomError> {
        if capacity == 0 {
            return Err(BloomError::NoItems);
        }
        let (younger, older) = image.split_at(image.len() / 2);
        let younger = Bloom::open(younger.to_vec(), true)?;
        let older = Bloom::open(older.to_vec(), true)?;
        if younger.layout() != older.layout() {
            return Err(BloomError::Differ);
        }
        Ok(Self { younger, older, capacity })
    }

    pub fn layout(&self) -> Layout {
        self.younger.layout()
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Keys in the younger and in the older generation.
    pub fn added(&self) -> (u64, u64) {
        (self.younger.added(), self.older.added())
    }

    /// `true`: the key is certainly in neither generation yet. Known to the older one only, it is renewed.
    pub fn add(&mut self, key: &[u8]) -> bool {
        if self.younger.added() >= self.capacity && !self.younger.contains(key) {
            self.rotate();
        }
        let known = self.older.contains(key);
        self.younger.add(key) && !known
    }

    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.younger.contains(key) || self.older.contains(key)
    }

    /// The younger generation becomes the older one; what was that is forgotten.
    pub fn rotate(&mut self) {
        std::mem::swap(&mut self.younger, &mut self.older);
        self.younger.clear();
    }

    /// Both images, sealed.
    pub fn images(&mut self) -> [&[u8]; 2] {
        self.younger.seal();
        self.older.seal();
        [self.younger.image(), self.older.image()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_after_two_generations() {
        let layout = Layout::for_items(100, 0.001, 7).unwrap();
        let mut rotation = Rotation::new(layout, 100).unwrap();
        assert!(rotation.add(b"first"));
        assert!(!rotation.add(b"first"));
        rotation.rotate();
        assert!(rotation.contains(b"first"));
        rotation.rotate();
        assert!(!rotation.contains(b"first"));
    }

    #[test]
    fn rotates_when_full_and_comes_back_from_its_image() {
        let layout = Layout::for_items(100, 0.001, 7).unwrap();
        let mut rotation = Rotation::new(layout, 100).unwrap();
        for n in 0..150u32 {
            rotation.add(&n.to_le_bytes());
        }
        let (younger, older) = rotation.added();
        assert_eq!(older, 100);
        assert!((45..=50).contains(&younger));
        let image = rotation.images().concat();
        let again = Rotation::open(&image, 100).unwrap();
        assert!((0..150u32).all(|n| again.contains(&n.to_le_bytes())));
        assert!(Rotation::open(&image[..image.len() - 64], 100).is_err());
        assert!(Rotation::open(&image, 0).is_err());
    }
}
