//! Controls: predicates that meet entries, each entry once per control.
//!
//! A control gets a sequence number; an entry remembers the last one that it was checked against (16 bits of it). It is
//! checked when the sweep passes, and before it is leased, so that nothing is sent that a control should have stopped.
//! A one-shot lives until the sweep has passed over all slots once, a standing rule until it is lifted. New entries
//! meet the standing rules when they come in. What cancel, expire and reroute ask for is left to the caller, who has
//! to write it down: see [`Touched`].

use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, Millis, Reason};

use crate::entry::Spot;
use crate::index::Index;
use crate::types::{Control, ControlError, ControlKind, MAX_CONTROLS, Touched};

/// Sequence numbers that may be given before the sweep has passed: half of what 16 bits can tell apart.
const MAX_UNSWEPT: u64 = 1 << 15;

/// What met an entry while it was leased, to be done when it comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped {
    kind: ControlKind,
    control: u64,
    until: Millis,
    reason: Reason,
}

impl Stopped {
    pub fn hold(until: Millis, reason: Reason) -> Self {
        Self { kind: ControlKind::Hold, control: 0, until, reason }
    }

    pub fn cancel() -> Self {
        Self { kind: ControlKind::Cancel, control: 0, until: 0, reason: Reason::Cancelled }
    }

    fn of(control: &Control) -> Self {
        let reason = match control.kind {
            ControlKind::Cancel => Reason::Cancelled,
            ControlKind::Expire => Reason::Expired,
            ControlKind::Suspend => Reason::Suspended,
            _ => Reason::Policy,
        };
        Self { kind: control.kind, control: control.number, until: control.until, reason }
    }
}

/// Live controls.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    live: Vec<Control>,
    /// Their sequence numbers, rising.
    sequences: Vec<u64>,
    newest: u64,
    /// All entries have met the controls up to this.
    swept: u64,
    /// The pass that is under way: where it is, and up to which control it counts.
    at: u32,
    target: u64,
    touched: Vec<Touched>,
}

impl Rules {
    pub fn are_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// What an entry that has met them all remembers.
    pub fn mark(&self) -> u16 {
        self.newest as u16
    }

    fn push(&mut self, control: Control) {
        self.newest += 1;
        self.live.push(control);
        self.sequences.push(self.newest);
    }

    fn remove(&mut self, at: usize) -> Control {
        self.sequences.remove(at);
        self.live.remove(at)
    }

    /// The pass is through: one-shots that it counted are over.
    fn end_pass(&mut self) {
        self.swept = self.target;
        let mut at = 0;
        while at < self.live.len() {
            if self.sequences[at] <= self.swept && !self.live[at].kind.is_standing() {
                self.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

impl Index {
    /// A list of ids is applied at once and never live; the rest is applied as entries are met: by the sweep, or before
    /// they are leased. A predicate by lane speaks of the lanes that entries have when they are met: to stop a whole
    /// lane, put it to sleep.
    pub fn add_control(&mut self, control: Control, now: Millis) -> Result<(), ControlError> {
        if !control.predicate.ids.is_empty() {
            self.apply_to_list(&control, now);
            return Ok(());
        }
        if self.rules.live.iter().any(|live| live.number == control.number) {
            return Err(ControlError::Duplicate);
        }
        if self.rules.live.len() >= MAX_CONTROLS || self.rules.newest - self.rules.swept >= MAX_UNSWEPT {
            return Err(ControlError::TooMany);
        }
        self.rules.push(control);
        Ok(())
    }

    fn apply_to_list(&mut self, control: &Control, now: Millis) {
        for &id in &control.predicate.ids {
            for entry in self.entries_of(id) {
                self.meet(entry.slot, control, now);
            }
        }
    }

    /// Ends a standing rule (or forgets a one-shot). Entries that a suspend stopped wait again as the sweep passes (it
    /// goes on as a release of what is suspended); held ones stay held.
    pub fn lift(&mut self, number: u64) -> bool {
        let Some(at) = self.rules.live.iter().position(|live| live.number == number) else { return false };
        let mut control = self.rules.remove(at);
        if control.kind == ControlKind::Suspend {
            control.kind = ControlKind::Release;
            control.position = Lsn(u64::MAX);
            control.predicate.state = Some(EntryState::Held);
            control.predicate.reason = Some(Reason::Suspended);
            self.rules.push(control);
        }
        true
    }

    /// In the order in which they came.
    pub fn controls(&self) -> &[Control] {
        &self.rules.live
    }

    /// Tries live controls on the next `steps` slots; `true`: entries are left that have not met them all.
    pub fn sweep(&mut self, now: Millis, steps: usize) -> bool {
        if self.rules.swept == self.rules.newest {
            return false;
        }
        if self.rules.at == 0 {
            self.rules.target = self.rules.newest;
        }
        let end = self.entries.end();
        let until = self.rules.at.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX)).min(end);
        for slot in self.rules.at..until {
            if !self.entries[slot].is_closed() {
                self.meet_rules(slot, now);
            }
        }
        self.rules.at = until;
        if until == end {
            self.rules.at = 0;
            self.rules.end_pass();
        }
        self.rules.swept != self.rules.newest
    }

    /// What controls met since the last call: journal it, and close what is to be cancelled or expired.
    pub fn touched(&mut self) -> Vec<Touched> {
        std::mem::take(&mut self.rules.touched)
    }

    /// The entry meets the controls that it has not met yet. `true`: it stands in no node's list (any more).
    pub(crate) fn meet_rules(&mut self, slot: u32, now: Millis) -> bool {
        let behind = self.rules.mark().wrapping_sub(self.entries[slot].control);
        if behind != 0 {
            self.meet_since(slot, self.rules.newest.saturating_sub(u64::from(behind)), now);
        }
        self.entries[slot].spot() != Spot::Ready
    }

    /// A new entry meets all live controls.
    pub(crate) fn meet_since(&mut self, slot: u32, since: u64, now: Millis) {
        self.entries[slot].control = self.rules.mark();
        let from = self.rules.sequences.partition_point(|&sequence| sequence <= since);
        let live = std::mem::take(&mut self.rules.live);
        for control in &live[from..] {
            // Another suspend may still want what this lifted one held.
            let lifted = control.kind == ControlKind::Release && control.predicate.reason == Some(Reason::Suspended);
            if lifted && live.iter().any(|one| one.kind == ControlKind::Suspend && self.suits(slot, one)) {
                continue;
            }
            self.meet(slot, control, now);
        }
        self.rules.live = live;
    }

    fn suits(&self, slot: u32, control: &Control) -> bool {
        let before = self.messages.slots[self.entries[slot].message].lsn() <= control.position;
        (control.kind.is_standing() || before) && self.matches_slot(&control.predicate, slot)
    }

    fn meet(&mut self, slot: u32, control: &Control, now: Millis) {
        if !self.suits(slot, control) || self.awaits_close(slot) {
            return;
        }
        let (kind, state) = (control.kind, self.state(slot));
        let in_flight = state == EntryState::Leased;
        let done = match (kind, state) {
            (_, EntryState::Owing) | (ControlKind::Hold | ControlKind::Suspend, EntryState::Held) => false,
            (ControlKind::Reroute, _) => true,
            (ControlKind::Release, EntryState::Held) => {
                self.release_slot(slot, now);
                true
            }
            (ControlKind::Retry, _) => self.retry_slot(slot, now),
            (ControlKind::Release, _) => false,
            _ if in_flight => {
                self.stop_in_flight(slot, Stopped::of(control));
                true
            }
            _ => {
                let stop = Stopped::of(control);
                self.hold_slot(slot, stop.until, stop.reason);
                true
            }
        };
        if done {
            self.touch(slot, control.number, kind, in_flight);
        }
    }

    /// It was cancelled or has expired by a control, and the caller has yet to close it.
    fn awaits_close(&self, slot: u32) -> bool {
        let held = self.state(slot) == EntryState::Held;
        held && matches!(self.entries[slot].reason(), Reason::Cancelled | Reason::Expired)
    }

    fn touch(&mut self, slot: u32, control: u64, kind: ControlKind, in_flight: bool) {
        let entry = self.entries.reference(slot);
        self.rules.touched.push(Touched { entry, control, kind, in_flight });
    }

    pub(crate) fn stop_in_flight(&mut self, slot: u32, stop: Stopped) {
        self.entries[slot].set_stopped(true);
        // A cancel is not weakened by a hold that comes later.
        let entry = self.stopped.entry(slot).or_insert(stop);
        if entry.kind.is_standing() {
            *entry = stop;
        }
    }

    pub(crate) fn forget_stop(&mut self, slot: u32) {
        if self.entries[slot].is_stopped() {
            self.entries[slot].set_stopped(false);
            self.stopped.remove(&slot);
        }
    }

    /// The lease is over and the entry is back: what met it in flight happens now.
    pub(crate) fn meet_stop(&mut self, slot: u32) {
        if !self.entries[slot].is_stopped() {
            return;
        }
        self.entries[slot].set_stopped(false);
        if let Some(stop) = self.stopped.remove(&slot) {
            self.hold_slot(slot, stop.until, stop.reason);
            self.touch(slot, stop.control, stop.kind, false);
        }
    }
}
