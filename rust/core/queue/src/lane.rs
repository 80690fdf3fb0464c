//! Lanes as they lie in memory: the fair order of their nodes, a plan, connections, sleep.
//!
//! A lane stands in the line of lanes to run when it has due entries, is awake, has a plan, waits for no limiter and
//! another connection (or an idle one) could work. Whatever changes one of these calls `Index::update_lane`.

use angarium_nouns::envelope::Class;
use angarium_nouns::{Millis, Reason};

use crate::flow::Fair;
use crate::slab::{Linked, NONE, Slab, Slot};
use crate::types::{BackOff, LIMITERS_PER_LANE, LaneRef};

#[derive(Debug, Clone)]
pub(crate) struct Lane {
    generation: u16,
    pub used: bool,
    pub has_plan: bool,
    /// The plan has been asked for, or stands in the line to be asked for.
    pub plan_asked: bool,
    /// Awake to find out: one connection, one message at a time.
    pub probing: bool,
    /// That message is out.
    pub probe_out: bool,
    /// A connection asked for work since the lane was last run, and there was none.
    pub hungry: bool,
    pub failures: u8,
    pub reason: Reason,
    /// Line of lanes to run in which it stands, by class; 4: none.
    pub line: u8,
    pub window: u32,
    pub limiters: [u32; LIMITERS_PER_LANE],
    pub valid: Millis,
    pub stale: Millis,
    pub back_off: BackOff,
    /// 0: awake.
    pub asleep_until: Millis,
    pub fair: Fair,
    pub nodes: u32,
    pub ready: u32,
    pub leased: u32,
    /// Envelopes that the leased entries make up.
    pub sending: u32,
    pub connections: u32,
    /// Its turn at the limiter that it waits for.
    pub parked: u32,
    /// The most urgent class it had work in when it took that place.
    pub parked_top: Class,
    /// Each of its limiters keeps a token for it.
    pub tokens_kept: bool,
    /// Each of its limiters keeps room for a connection of it.
    pub room_kept: bool,
    /// In the line of lanes to run, or in its turn at the limiter: never both.
    prev: u32,
    next: u32,
}

/// queue-and-delivery: an idle lane costs at most 256 bytes.
const _: () = assert!(size_of::<Lane>() <= 256);

/// [`Lane::line`] of a lane that stands in none.
pub(crate) const NO_LINE: u8 = 4;

impl Slot for Lane {
    const EMPTY: Self = Self {
        generation: 0,
        used: false,
        has_plan: false,
        plan_asked: false,
        probing: false,
        probe_out: false,
        hungry: false,
        failures: 0,
        reason: Reason::Other,
        line: NO_LINE,
        window: 0,
        limiters: [NONE; LIMITERS_PER_LANE],
        valid: 0,
        stale: 0,
        back_off: BackOff { first: 60_000, most: 3_600_000 },
        asleep_until: 0,
        fair: Fair::EMPTY,
        nodes: 0,
        ready: 0,
        leased: 0,
        sending: 0,
        connections: 0,
        parked: NONE,
        parked_top: Class::Bulk,
        tokens_kept: false,
        room_kept: false,
        prev: NONE,
        next: NONE,
    };

    fn keep_generation(&mut self, before: &Self, by: u16) {
        self.generation = before.generation.wrapping_add(by);
    }

    fn free_link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Lane {
    fn prev(&mut self) -> &mut u32 {
        &mut self.prev
    }

    fn next(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Lane {
    pub fn new() -> Self {
        Self { used: true, ..Self::EMPTY }
    }

    /// Connections that may be open at once now.
    pub fn allowed(&self) -> u32 {
        if self.probing { 1 } else { self.window }
    }

    /// Open connections that carry no envelope.
    pub fn idle(&self) -> u32 {
        self.connections.saturating_sub(self.sending)
    }

    /// Further connections that would find something to do.
    pub fn useful(&self) -> u32 {
        self.allowed().saturating_sub(self.connections).min(self.ready.saturating_sub(self.idle()))
    }

    /// Whether it cannot go on with the connections that it has.
    pub fn needs_room(&self) -> bool {
        !(self.hungry && self.idle() > 0)
    }

    pub fn limiters(&self) -> impl Iterator<Item = u32> + use<> {
        self.limiters.into_iter().filter(|&limiter| limiter != NONE)
    }
}

pub(crate) type LaneSlab = Slab<Lane, 64>;

impl LaneSlab {
    pub fn reference(&self, slot: u32) -> LaneRef {
        LaneRef { slot, generation: self[slot].generation }
    }

    pub fn get(&self, lane: LaneRef) -> Option<u32> {
        let there = lane.slot < self.end() && self[lane.slot].generation == lane.generation;
        (there && self[lane.slot].used).then_some(lane.slot)
    }
}
