//! A decaying mark for every address that failed us, so that the next connection tries the others first.
//!
//! A mark never forbids an address: it only moves it behind the unmarked ones. Marks fade by half each minute and
//! are forgotten when they no longer count, or when the address works.

use std::collections::HashMap;

use angarium_nouns::Millis;
use parking_lot::Mutex;

use super::hosts::Place;

/// Addresses remembered at once; above this, faded marks are swept and, if none is, new ones are not kept.
const MAX_MARKS: usize = 65_536;
/// A mark halves in this time.
const HALF_LIFE: Millis = 60_000;
/// One failure weighs this much; a mark counts while it weighs more than one.
const WEIGHT: u32 = 8;
/// Failures in a row past this add nothing: an address that was down for a day is tried first again within minutes.
const MAX_WEIGHT: u32 = WEIGHT * 16;

#[derive(Debug, Default)]
pub struct Health {
    marks: Mutex<HashMap<Place, Mark>>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    weight: u32,
    at: Millis,
}

impl Mark {
    fn weight(self, now: Millis) -> u32 {
        let halvings = now.saturating_sub(self.at) / HALF_LIFE;
        self.weight.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0)
    }
}

impl Health {
    pub fn failed(&self, place: &Place, now: Millis) {
        let mut marks = self.marks.lock();
        if marks.len() >= MAX_MARKS {
            marks.retain(|_, mark| mark.weight(now) > 1);
        }
        let weight = marks.get(place).map_or(0, |mark| mark.weight(now)) + WEIGHT;
        if marks.len() < MAX_MARKS || marks.contains_key(place) {
            marks.insert(place.clone(), Mark { weight: weight.min(MAX_WEIGHT), at: now });
        }
    }

    pub fn worked(&self, place: &Place) {
        let mut marks = self.marks.lock();
        if !marks.is_empty() {
            marks.remove(place);
        }
    }

    /// How much stands against the address now; 0 for nothing.
    pub fn weight(&self, place: &Place, now: Millis) -> u32 {
        let weight = self.marks.lock().get(place).map_or(0, |mark| mark.weight(now));
        if weight > 1 { weight } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_fade_and_are_lifted() {
        let health = Health::default();
        let address = &Place::Tcp("192.0.2.1:25".parse().unwrap());
        assert_eq!(health.weight(address, 0), 0);
        health.failed(address, 1_000);
        assert_eq!(health.weight(address, 1_000), WEIGHT);
        assert_eq!(health.weight(address, 1_000 + HALF_LIFE), WEIGHT / 2);
        assert_eq!(health.weight(address, 1_000 + 3 * HALF_LIFE), 0);
        for _ in 0..100 {
            health.failed(address, 1_000);
        }
        assert_eq!(health.weight(address, 1_000 + 8 * HALF_LIFE), 0);
        health.failed(address, 1_000);
        health.worked(address);
        assert_eq!(health.weight(address, 1_000), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let health = Health::default();
        for n in 0..MAX_MARKS as u32 + 10 {
            health.failed(&Place::Tcp((std::net::Ipv4Addr::from(n), 25).into()), 0);
        }
        assert_eq!(health.marks.lock().len(), MAX_MARKS);
        health.failed(&Place::Tcp("192.0.2.1:26".parse().unwrap()), 10 * HALF_LIFE);
        assert_eq!(health.marks.lock().len(), 1);
    }
}
