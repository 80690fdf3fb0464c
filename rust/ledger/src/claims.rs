//! Content that is closed and still wanted: by followers that have not passed the fact that closed it, by legal
//! holds and by pins (spool.md, "Reclaim").
//!
//! What anybody claims keeps its place in the content log, counted in bytes by its strongest claim. Each class has
//! a limit and does what is stated at it: required (followers, legal holds) refuses new mail with 452, best effort
//! (followers, pins) lets the oldest go and says so in a `gap` fact. Nothing here touches the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included};

use serde::{Deserialize, Serialize};

use angarium_nouns::record::Claim;
use angarium_nouns::{Lsn, MessageId, Millis};
use angarium_spool::Place;

use crate::facts::Release;
use crate::predicate::Predicate;
use crate::reader::Cursor;

/// Messages that one order may claim: 100,000 take about 10 MB.
pub(crate) const MOST_CLAIMED: usize = 100_000;
/// Messages that a legal hold may gather while it stands; then new mail gets 452 rather than go uncovered.
pub(crate) const MOST_GATHERED: usize = 1_000_000;
/// Followers remembered by name.
pub(crate) const MOST_FOLLOWERS: usize = 1_000;
/// At the limit of best effort one part in this many goes at once: a gap is a fact a trim, not a fact a message.
const TRIM: u64 = 8;

/// A follower of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Follower {
    pub cursor: Cursor,
    pub claim: Claim,
    /// The limit of its class took from it what was closed up to here.
    pub skipped: u64,
}

impl Follower {
    /// Everything closed up to here it has passed, or lost.
    pub fn reached(&self) -> u64 {
        self.cursor.lsn.max(self.skipped)
    }
}

/// An order that keeps content: a legal hold (required) or a pin (best effort).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub number: u64,
    pub claim: Claim,
    pub at: Millis,
    pub by: String,
    pub why: String,
    /// A legal hold on mail that comes later too; `None`: on what was there.
    #[serde(default)]
    pub stands: Option<Predicate>,
}

/// Content of a closed message that somebody claims.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub release: Release,
    /// The frame of the fact that closed it.
    pub closed: Lsn,
    claim: Claim,
}

impl Kept {
    fn bytes(&self) -> u64 {
        u64::from(self.release.place.length) + self.release.body.as_ref().map_or(0, |body| body.length)
    }
}

/// Who lost something at the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    Follower(String),
    /// By its order's number.
    Pin(u64),
}

/// What a follower (or pin) lost at the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    pub who: Who,
    pub from: u64,
    pub to: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Claims {
    followers: BTreeMap<String, Follower>,
    holds: BTreeMap<u64, (Hold, BTreeSet<MessageId>)>,
    held: HashMap<MessageId, Vec<u64>>,
    kept: HashMap<MessageId, Kept>,
    by_fact: BTreeSet<(u64, MessageId)>,
    /// Bytes kept, by the strongest claim on them: best effort, required.
    bytes: [u64; 2],
}

impl Claims {
    pub fn followers(&self) -> &BTreeMap<String, Follower> {
        &self.followers
    }

    pub fn holds(&self) -> impl Iterator<Item = (&Hold, &BTreeSet<MessageId>)> {
        self.holds.values().map(|(hold, messages)| (hold, messages))
    }

    pub fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.kept.values()
    }

    pub fn place(&self, id: MessageId) -> Option<Place> {
        self.kept.get(&id).map(|kept| kept.release.place)
    }

    /// Bytes kept as (best effort, required).
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes[0], self.bytes[1])
    }

    /// What the followers of the journal still want of it begins behind this.
    pub fn journal_floor(&self) -> Option<Lsn> {
        let claiming = self.followers.values().filter(|follower| follower.claim != Claim::None);
        claiming.map(|follower| Lsn(follower.reached())).min()
    }

    /// The least that followers of this class have reached.
    fn floor(&self, claim: Claim) -> u64 {
        let class = self.followers.values().filter(|follower| follower.claim == claim);
        class.map(Follower::reached).min().unwrap_or(u64::MAX)
    }

    /// The strongest claim on a message that this frame closed.
    fn claim_on(&self, id: MessageId, closed: Lsn) -> Claim {
        let numbers = self.held.get(&id).map_or(&[][..], Vec::as_slice);
        let held = numbers.iter().filter_map(|number| self.holds.get(number)).map(|(hold, _)| hold.claim).max();
        let behind = [Claim::Required, Claim::BestEffort].into_iter().find(|claim| self.floor(*claim) < closed.0);
        held.max(behind).unwrap_or(Claim::None)
    }

    fn count(&mut self, claim: Claim, bytes: u64, more: bool) {
        let Some(class) = (claim as usize).checked_sub(1).and_then(|n| self.bytes.get_mut(n)) else { return };
        *class = if more { *class + bytes } else { class.saturating_sub(bytes) };
    }

    /// The message is through and the fact that says so is durable: gives its content back unless somebody wants it.
    pub fn pass(&mut self, release: Release, closed: Lsn) -> Option<Release> {
        let (id, claim) = (release.id, self.claim_on(release.id, closed));
        self.forget(id);
        if release.wanted_by_nobody || claim == Claim::None {
            return Some(release);
        }
        self.keep(Kept { release, closed, claim: Claim::None });
        self.weigh(id);
        None
    }

    /// It is not kept (any more): a recovery found that the message closed later.
    pub fn forget(&mut self, id: MessageId) {
        if let Some(before) = self.kept.remove(&id) {
            self.by_fact.remove(&(before.closed.0, id));
            self.count(before.claim, before.bytes(), false);
        }
    }

    fn keep(&mut self, kept: Kept) {
        let id = kept.release.id;
        self.by_fact.insert((kept.closed.0, id));
        self.kept.insert(id, kept);
    }

    /// Looks again at who claims this content; gives it back if nobody does.
    fn weigh(&mut self, id: MessageId) -> Option<Release> {
        let kept = self.kept.get(&id)?;
        let (before, bytes, closed) = (kept.claim, kept.bytes(), kept.closed);
        let claim = self.claim_on(id, closed);
        self.count(before, bytes, false);
        self.count(claim, bytes, true);
        if claim != Claim::None {
            self.kept.get_mut(&id)?.claim = claim;
            return None;
        }
        self.by_fact.remove(&(closed.0, id));
        let release = self.kept.remove(&id)?.release;
        Some(Release { wanted_by_nobody: true, ..release })
    }

    fn weigh_between(&mut self, one: u64, other: u64) -> Vec<Release> {
        let (from, to) = (one.min(other), one.max(other));
        let range = (Excluded((from, MessageId(u128::MAX))), Included((to, MessageId(u128::MAX))));
        let ids: Vec<MessageId> =
            if from < to { self.by_fact.range(range).map(|(_, id)| *id).collect() } else { Vec::new() };
        ids.into_iter().filter_map(|id| self.weigh(id)).collect()
    }

    /// A follower is there now (or gone); gives what nobody wants any more.
    pub fn follow(&mut self, name: &str, cursor: Cursor, claim: Claim) -> Vec<Release> {
        let skipped = self.followers.get(name).map_or(0, |follower| follower.skipped);
        self.set_follower(name, Follower { cursor, claim, skipped })
    }

    pub fn set_follower(&mut self, name: &str, follower: Follower) -> Vec<Release> {
        let floors = |claims: &Self| [claims.floor(Claim::BestEffort), claims.floor(Claim::Required)];
        let before = floors(self);
        if follower.claim == Claim::Gone {
            self.followers.remove(name);
        } else {
            self.followers.insert(name.to_owned(), follower);
        }
        let after = floors(self);
        (0..2).flat_map(|class| self.weigh_between(before[class], after[class])).collect()
    }

    /// This follower lost what was closed up to `to`.
    pub fn miss(&mut self, name: &str, to: u64) -> Vec<Release> {
        let Some(follower) = self.followers.get(name).copied() else { return Vec::new() };
        self.set_follower(name, Follower { skipped: follower.skipped.max(to), ..follower })
    }

    /// An order begins to keep content.
    pub fn begin(&mut self, hold: Hold) {
        let (number, claim) = (hold.number, hold.claim);
        let entry = self.holds.entry(number).or_insert_with(|| (hold.clone(), BTreeSet::new()));
        entry.0 = Hold { claim, ..hold };
    }

    /// False: the order is not there, holds too much, or holds it already.
    pub fn hold(&mut self, number: u64, id: MessageId) -> bool {
        let Some((_, messages)) = self.holds.get_mut(&number) else { return false };
        if messages.len() >= MOST_GATHERED || !messages.insert(id) {
            return false;
        }
        self.held.entry(id).or_default().push(number);
        let _still_claimed = self.weigh(id);
        true
    }

    /// A legal hold that stands cannot cover more.
    pub fn is_full(&self) -> bool {
        self.holds.values().any(|(hold, messages)| hold.stands.is_some() && messages.len() >= MOST_GATHERED)
    }

    /// Orders that keep what is gone (it was lost, or it closed in a run of which this one knows the end only).
    pub fn prune(&mut self, is_there: impl Fn(MessageId) -> bool) {
        for (_, messages) in self.holds.values_mut() {
            messages.retain(|id| self.kept.contains_key(id) || is_there(*id));
        }
        let holds = &self.holds;
        self.held.retain(|id, numbers| {
            numbers.retain(|number| holds.get(number).is_some_and(|(_, messages)| messages.contains(id)));
            !numbers.is_empty()
        });
    }

    pub fn order(&self, number: u64) -> Option<&Hold> {
        self.holds.get(&number).map(|(hold, _)| hold)
    }

    pub fn is_hold(&self, number: u64) -> bool {
        self.holds.contains_key(&number)
    }

    /// The order keeps nothing more; gives what nobody wants any more.
    pub fn lift(&mut self, number: u64) -> Vec<Release> {
        let Some((_, messages)) = self.holds.remove(&number) else { return Vec::new() };
        messages.into_iter().filter_map(|id| self.let_go(number, id)).collect()
    }

    fn let_go(&mut self, number: u64, id: MessageId) -> Option<Release> {
        if let Some(numbers) = self.held.get_mut(&id) {
            numbers.retain(|one| *one != number);
            if numbers.is_empty() {
                self.held.remove(&id);
            }
        }
        self.weigh(id)
    }

    /// A copy of kept content is durable: it lies there now. False: this is not where it was.
    pub fn moved(&mut self, id: MessageId, from: Option<Place>, to: Place) -> bool {
        let Some(kept) = self.kept.get_mut(&id).filter(|kept| from.is_none_or(|from| kept.release.place == from))
        else {
            return false;
        };
        kept.release.place = to;
        true
    }

    /// Best effort above its limit: the oldest goes. Gives who missed what, and the content that is free.
    pub fn trim(&mut self, limit: u64) -> (Vec<Missed>, Vec<Release>) {
        if self.bytes[0] <= limit {
            return (Vec::new(), Vec::new());
        }
        let mut excess = self.bytes[0] - (limit - limit / TRIM);
        let mut to = 0;
        let mut ids = Vec::new();
        for &(closed, id) in &self.by_fact {
            let Some(kept) = self.kept.get(&id).filter(|kept| kept.claim == Claim::BestEffort) else { continue };
            (to, excess) = (closed, excess.saturating_sub(kept.bytes()));
            ids.push(id);
            if excess == 0 {
                break;
            }
        }
        let mut missed = self.unpin(&ids, to);
        let mut free = Vec::new();
        for (name, from) in self.behind(to) {
            free.extend(self.miss(&name, to));
            missed.push(Missed { who: Who::Follower(name), from, to });
        }
        free.extend(ids.into_iter().filter_map(|id| self.weigh(id)));
        (missed, free)
    }

    fn behind(&self, to: u64) -> Vec<(String, u64)> {
        let behind = |follower: &Follower| follower.claim == Claim::BestEffort && follower.reached() < to;
        let all = self.followers.iter().filter(|(_, follower)| behind(follower));
        all.map(|(name, follower)| (name.clone(), follower.reached())).collect()
    }

    /// Pins let these go.
    fn unpin(&mut self, ids: &[MessageId], to: u64) -> Vec<Missed> {
        let mut missed: BTreeMap<u64, u64> = BTreeMap::new();
        for id in ids {
            for number in self.held.remove(id).unwrap_or_default() {
                let Some((_, messages)) = self.holds.get_mut(&number) else { continue };
                messages.remove(id);
                let from = self.kept.get(id).map_or(to, |kept| kept.closed.0.saturating_sub(1));
                missed.entry(number).and_modify(|first| *first = from.min(*first)).or_insert(from);
            }
        }
        let told = |(number, from)| Missed { who: Who::Pin(number), from, to };
        missed.into_iter().map(told).collect()
    }

    /// A pin lost what it kept of what was closed up to `to` (a `gap` fact replayed).
    pub fn unpin_up_to(&mut self, number: u64, to: u64) -> Vec<Release> {
        let Some((_, messages)) = self.holds.get(&number) else { return Vec::new() };
        let closed = |id: &&MessageId| self.kept.get(id).is_some_and(|kept| kept.closed.0 <= to);
        let gone: Vec<MessageId> = messages.iter().filter(closed).copied().collect();
        if let Some((_, messages)) = self.holds.get_mut(&number) {
            messages.retain(|id| !gone.contains(id));
        }
        gone.into_iter().filter_map(|id| self.let_go(number, id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(n: u32) -> Release {
        let place = Place { segment: 1, offset: n * 64, length: 100 };
        Release { id: MessageId(u128::from(n)), place, body: None, wanted_by_nobody: false }
    }

    fn at(lsn: u64) -> Cursor {
        Cursor { spool: 1, epoch: 1, lsn }
    }

    fn order(number: u64, claim: Claim) -> Hold {
        Hold { number, claim, at: 0, by: String::new(), why: String::new(), stands: None }
    }

    fn numbers(releases: &[Release]) -> Vec<u128> {
        releases.iter().map(|release| release.id.0).collect()
    }

    #[test]
    fn keeps_what_is_not_passed() {
        let mut claims = Claims::default();
        assert!(claims.pass(release(1), Lsn(10)).is_some());
        assert!(claims.follow("archive", at(10), Claim::Required).is_empty());
        assert!(claims.pass(release(1), Lsn(10)).is_some(), "passed already");
        for n in 2..5 {
            assert!(claims.pass(release(n), Lsn(u64::from(n) * 10)).is_none());
        }
        assert_eq!(claims.bytes(), (0, 300));
        assert!(claims.follow("index", at(0), Claim::BestEffort).is_empty());
        assert!(claims.follow("archive", at(30), Claim::Required).is_empty(), "the other one claims them");
        assert_eq!(claims.bytes(), (200, 100));
        assert_eq!(numbers(&claims.follow("index", at(20), Claim::BestEffort)), [2]);
        assert_eq!(numbers(&claims.follow("index", at(20), Claim::Gone)), [3]);
        assert_eq!(numbers(&claims.follow("archive", at(40), Claim::Required)), [4]);
        assert_eq!((claims.bytes(), claims.kept().count()), ((0, 0), 0));
    }

    #[test]
    fn best_effort_loses_the_oldest() {
        let mut claims = Claims::default();
        claims.follow("index", at(5), Claim::BestEffort);
        claims.begin(order(7, Claim::Required));
        claims.begin(order(8, Claim::BestEffort));
        assert!(claims.hold(7, MessageId(2)) && claims.hold(8, MessageId(1)) && !claims.hold(9, MessageId(1)));
        for n in 1..=10 {
            assert!(claims.pass(release(n), Lsn(u64::from(n) * 10)).is_none());
        }
        assert_eq!(claims.bytes(), (900, 100));
        assert_eq!(claims.trim(900), (vec![], vec![]));
        let (missed, free) = claims.trim(800);
        let pin = Missed { who: Who::Pin(8), from: 9, to: 30 };
        assert_eq!(missed, [pin, Missed { who: Who::Follower("index".into()), from: 5, to: 30 }]);
        assert_eq!((numbers(&free), claims.bytes()), (vec![1, 3], (700, 100)));
        assert_eq!(numbers(&claims.lift(7)), [2]);
        assert_eq!(claims.journal_floor(), Some(Lsn(30)));
    }
}
