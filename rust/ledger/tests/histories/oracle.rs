//! What must be true, whatever happened: the promises S1 and S2 entry by entry.
//!
//! For each entry the oracle knows the last state that was answered for (durable) and the states since then whose
//! facts may or may not have reached the disk. After a crash the entry must be in one of them. What is read back is
//! then the truth to go on from.

use std::collections::{BTreeMap, BTreeSet};

use angarium_nouns::MessageId;

pub type Entry = (MessageId, u32);

/// Where an entry can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Waiting { attempts: u16 },
    Held,
    Owing,
    Closed,
}

/// Of one entry.
#[derive(Debug, Clone)]
struct Known {
    durable: Fate,
    since: Vec<Fate>,
}

/// Of one message.
#[derive(Debug, Clone)]
pub struct Promise {
    pub recipients: u32,
    /// 250 was said.
    pub acknowledged: bool,
    pub starts: Fate,
    /// Entries that its record closes.
    pub closes: Vec<Entry>,
}

#[derive(Default)]
pub struct Oracle {
    pub promises: BTreeMap<MessageId, Promise>,
    entries: BTreeMap<Entry, Known>,
    /// Times each entry was delivered, and how often a crash may have forgotten that.
    pub delivered: BTreeMap<Entry, u32>,
    pub forgivable: BTreeMap<Entry, u32>,
    /// Deliveries whose fact is not durable yet.
    unsure: Vec<Entry>,
    /// Entries that ended otherwise: cancelled or failed.
    pub ended: BTreeSet<Entry>,
}

impl Oracle {
    /// A message is about to be committed.
    pub fn offer(&mut self, id: MessageId, promise: Promise) {
        self.promises.insert(id, promise);
    }

    /// Its 250 was said.
    pub fn acknowledge(&mut self, id: MessageId) {
        let promise = self.promises.get_mut(&id).expect("offered");
        promise.acknowledged = true;
        let (recipients, starts, closes) = (promise.recipients, promise.starts, promise.closes.clone());
        for number in 0..recipients {
            self.entries.entry((id, number)).or_insert(Known { durable: starts, since: Vec::new() });
        }
        for entry in closes {
            self.entries.insert(entry, Known { durable: Fate::Closed, since: Vec::new() });
        }
    }

    pub fn change(&mut self, entry: Entry, fate: Fate) {
        if let Some(known) = self.entries.get_mut(&entry) {
            known.since.push(fate);
        }
    }

    pub fn fate(&self, entry: Entry) -> Option<Fate> {
        let known = self.entries.get(&entry)?;
        Some(known.since.last().copied().unwrap_or(known.durable))
    }

    pub fn deliver(&mut self, entry: Entry) {
        *self.delivered.entry(entry).or_default() += 1;
        self.unsure.push(entry);
        self.change(entry, Fate::Closed);
    }

    /// All facts so far are durable.
    pub fn flushed(&mut self) {
        self.unsure.clear();
        for known in self.entries.values_mut() {
            if let Some(last) = known.since.pop() {
                known.durable = last;
                known.since.clear();
            }
        }
    }

    /// After a crash: what is there must be what was promised.
    pub fn compare(&mut self, found: &BTreeMap<Entry, Fate>, context: &str) {
        for entry in found.keys() {
            assert!(self.promises.contains_key(&entry.0), "{context}: {entry:?} was invented");
        }
        let ids: Vec<MessageId> = self.promises.keys().copied().collect();
        for id in ids {
            self.adopt(id, found, context);
        }
        for entry in std::mem::take(&mut self.unsure) {
            *self.forgivable.entry(entry).or_default() += 1;
        }
        for (entry, known) in &mut self.entries {
            let now = found.get(entry).copied().unwrap_or(Fate::Closed);
            let allowed = known.durable == now || known.since.contains(&now);
            assert!(allowed, "{context}: {entry:?} is {now:?}, promised {:?} or {:?}", known.durable, known.since);
            *known = Known { durable: now, since: Vec::new() };
        }
    }

    /// A message whose 250 was not said may be there, but then whole, and what its record closes is closed.
    fn adopt(&mut self, id: MessageId, found: &BTreeMap<Entry, Fate>, context: &str) {
        let promise = &self.promises[&id];
        if promise.acknowledged {
            return;
        }
        let there = (0..promise.recipients).filter(|number| found.contains_key(&(id, *number))).count() as u32;
        if there == 0 {
            self.promises.remove(&id);
            return;
        }
        assert_eq!(there, promise.recipients, "{context}: {id} came back in part");
        for (id, number) in promise.closes.clone() {
            assert!(!found.contains_key(&(id, number)), "{context}: {id}.{number} is open beside its successor");
        }
        self.acknowledge(id);
    }

    /// Everything was delivered that had to be, and nothing more often than S2 allows.
    pub fn finish(&self, context: &str) {
        for (id, promise) in self.promises.iter().filter(|(_, promise)| promise.acknowledged) {
            for number in 0..promise.recipients {
                let entry = (*id, number);
                let times = self.delivered.get(&entry).copied().unwrap_or(0);
                let forgiven = self.forgivable.get(&entry).copied().unwrap_or(0);
                assert!(times >= 1 || self.ended.contains(&entry), "{context}: {entry:?} was never delivered");
                assert!(times <= 1 + forgiven, "{context}: {entry:?} was delivered {times} times, {forgiven} forgiven");
            }
        }
    }
}
