//! Interned names: string ↔ number with a generation, counted, freed with the last holder.
//!
//! The queue index sees numbers only; the ledger owns one table each for domains, tenants, campaigns and tags and
//! writes them into checkpoints. A number is reused after its last holder is gone, under the next generation.

use std::collections::HashMap;
use std::sync::Arc;

/// A name's number. `0` is the empty name, always there and never freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NameId(pub u32);

#[derive(Debug)]
struct Slot {
    text: Arc<str>,
    generation: u32,
    holders: u32,
}

/// The table. Not shared by itself: whoever owns it holds the lock.
#[derive(Debug)]
pub struct Names {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_text: HashMap<Arc<str>, u32>,
}

impl Default for Names {
    fn default() -> Self {
        let empty: Arc<str> = "".into();
        let slot = Slot { text: empty.clone(), generation: 0, holders: 1 };
        Self { slots: vec![slot], free: Vec::new(), by_text: HashMap::from([(empty, 0)]) }
    }
}

impl Names {
    /// The number of `text`, with one holder more.
    pub fn hold(&mut self, text: &str) -> NameId {
        if let Some(&number) = self.by_text.get(text) {
            self.slots[number as usize].holders += u32::from(number != 0);
            return NameId(number);
        }
        let text: Arc<str> = text.into();
        let number = if let Some(number) = self.free.pop() {
            let slot = &mut self.slots[number as usize];
            *slot = Slot { text: text.clone(), generation: slot.generation.wrapping_add(1), holders: 1 };
            number
        } else {
            self.slots.push(Slot { text: text.clone(), generation: 0, holders: 1 });
            (self.slots.len() - 1) as u32
        };
        self.by_text.insert(text, number);
        NameId(number)
    }

    /// One holder fewer; the last one frees the number.
    pub fn release(&mut self, id: NameId) {
        let slot = &mut self.slots[id.0 as usize];
        if id.0 == 0 || slot.holders == 0 {
            return;
        }
        slot.holders -= 1;
        if slot.holders == 0 {
            let text = std::mem::replace(&mut slot.text, "".into());
            self.by_text.remove(&text);
            self.free.push(id.0);
        }
    }

    pub fn find(&self, text: &str) -> Option<NameId> {
        self.by_text.get(text).map(|&number| NameId(number))
    }

    /// All that end with `end`.
    pub fn ending_with<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a str> {
        self.by_text.keys().map(|text| &**text).filter(move |text| text.ends_with(end))
    }

    pub fn text(&self, id: NameId) -> &str {
        self.slots.get(id.0 as usize).map_or("", |slot| &slot.text)
    }

    /// The same text, to be kept beyond the lock.
    pub fn shared(&self, id: NameId) -> Arc<str> {
        self.slots.get(id.0 as usize).map_or_else(|| "".into(), |slot| slot.text.clone())
    }

    pub fn generation(&self, id: NameId) -> u32 {
        self.slots.get(id.0 as usize).map_or(0, |slot| slot.generation)
    }

    /// All names but the empty one, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (NameId, &str)> {
        self.by_text.iter().filter(|(_, number)| **number != 0).map(|(text, number)| (NameId(*number), &**text))
    }

    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_holders_and_reuses_numbers() {
        let mut names = Names::default();
        let a = names.hold("a.example");
        assert_eq!(names.hold("a.example"), a);
        names.release(a);
        assert_eq!(names.text(a), "a.example");
        names.release(a);
        assert_eq!(names.find("a.example"), None);
        let b = names.hold("b.example");
        assert_eq!((b, names.generation(b)), (a, 1));
        assert_eq!(names.hold(""), NameId(0));
    }
}
