//! The index itself.

use angarium_nouns::{Lsn, MessageId, Millis, Reason};

use crate::types::*;

/// All waiting mail of one spool.
#[derive(Debug, Default)]
pub struct Index {}

#[expect(
    unused_variables,
    clippy::needless_pass_by_ref_mut,
    clippy::unused_self,
    reason = "signatures first, bodies follow"
)]
impl Index {
    pub fn new() -> Self {
        Self::default()
    }

    // ── messages and entries ─────────────────────────────────────────────────────────────────────────────────────

    /// The node of this key, made if there is none; `true`: it is new (hold its names). A new node lives until its
    /// last entry closes (see [`Self::freed_nodes`]) and, if it never gets one, until [`Self::drop_node`].
    pub fn node(&mut self, key: NodeKey) -> (NodeRef, bool) {
        todo!()
    }
    pub fn find_node(&self, key: &NodeKey) -> Option<NodeRef> {
        todo!()
    }
    pub fn node_view(&self, node: NodeRef) -> Option<NodeView> {
        todo!()
    }
    /// Frees a node that has no entries; `false` if it has some or is gone.
    pub fn drop_node(&mut self, node: NodeRef) -> bool {
        todo!()
    }
    /// Keys of nodes that went away since the last call: release their names.
    pub fn freed_nodes(&mut self) -> Vec<(NodeRef, NodeKey)> {
        todo!()
    }

    /// A message with its open entries. All or nothing. Live standing rules are applied at once.
    pub fn insert(&mut self, message: &Message, entries: &[NewEntry], now: Millis) -> Result<(), InsertError> {
        todo!()
    }
    /// More entries of a message that waits (recovery reads blocks of recipients one by one).
    pub fn extend(&mut self, id: MessageId, entries: &[NewEntry], now: Millis) -> Result<(), InsertError> {
        todo!()
    }
    /// The content was copied: from now on it lies there. `false`: no such message.
    pub fn set_place(&mut self, id: MessageId, place: Place) -> bool {
        todo!()
    }
    pub fn message(&self, id: MessageId) -> Option<Message> {
        todo!()
    }
    /// Handle of one recipient, if open.
    pub fn entry(&self, id: MessageId, number: u32) -> Option<EntryRef> {
        todo!()
    }
    /// Open entries of a message, in no promised order.
    pub fn entries_of(&self, id: MessageId) -> Vec<EntryRef> {
        todo!()
    }
    pub fn view(&self, entry: EntryRef) -> Option<EntryView> {
        todo!()
    }
    pub fn message_of(&self, entry: EntryRef) -> Option<Message> {
        todo!()
    }

    // ── changes of one entry ─────────────────────────────────────────────────────────────────────────────────────

    /// Delivered, failed, cancelled or lost: the entry is gone. From any state.
    pub fn close(&mut self, entry: EntryRef) -> Result<Closed, Stale> {
        todo!()
    }
    /// Waits again until due. From any state.
    pub fn defer(&mut self, entry: EntryRef, deferral: Deferral, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// Held until the deadline (0: none), then it waits again. In flight: marked, and held when it is given back or deferred.
    pub fn hold(&mut self, entry: EntryRef, until: Millis, reason: Reason) -> Result<Stop, Stale> {
        todo!()
    }
    /// A held entry waits again, due now, its retry clock at step 0 with this new deadline. `false`: it was not held.
    pub fn release(&mut self, entry: EntryRef, expires: Millis, now: Millis) -> Result<bool, Stale> {
        todo!()
    }
    /// A waiting entry is due now. `false`: it does not wait.
    pub fn retry(&mut self, entry: EntryRef, now: Millis) -> Result<bool, Stale> {
        todo!()
    }
    /// Failed, and a report is owed: out of every list until it is closed.
    pub fn owe(&mut self, entry: EntryRef, reason: Reason) -> Result<(), Stale> {
        todo!()
    }
    /// Closes unless it is in flight; then the delivery is asked to stop ([`Self::is_stopped`]).
    pub fn cancel(&mut self, entry: EntryRef) -> Result<Stop, Stale> {
        todo!()
    }
    /// A leased entry comes back with no attempt counted, in front of its node.
    pub fn give_back(&mut self, entry: EntryRef, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// A cancel or hold met the entry while it was leased: do not send the dot.
    pub fn is_stopped(&self, entry: EntryRef) -> bool {
        todo!()
    }

    // ── nodes and routes ─────────────────────────────────────────────────────────────────────────────────────────

    /// Nodes with due entries and no lane, urgent first, then by age. Each is given once: it is asked for until it is
    /// attached or [`Self::want_route`] puts it back.
    pub fn wanted_routes(&mut self, limit: usize) -> Vec<NodeRef> {
        todo!()
    }
    pub fn has_wanted_routes(&self) -> bool {
        todo!()
    }
    pub fn want_route(&mut self, node: NodeRef) -> Result<(), Stale> {
        todo!()
    }
    /// O(1), whatever the node holds. Also moves a node from one lane to another.
    pub fn attach(&mut self, node: NodeRef, lane: LaneRef) -> Result<(), Stale> {
        todo!()
    }
    /// O(1). The node wants a route again as soon as it has due entries.
    pub fn detach(&mut self, node: NodeRef) -> Result<(), Stale> {
        todo!()
    }
    pub fn nodes_of(&self, lane: LaneRef) -> Vec<NodeRef> {
        todo!()
    }

    // ── lanes ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub fn add_lane(&mut self) -> LaneRef {
        todo!()
    }
    /// `false`: it has nodes, leased entries or connections, or is gone.
    pub fn remove_lane(&mut self, lane: LaneRef) -> bool {
        todo!()
    }
    pub fn lane(&self, lane: LaneRef) -> Option<LaneView> {
        todo!()
    }
    /// Lanes with due entries whose plan is missing or no longer valid; each is given once until `set_plan` or `want_plan`.
    pub fn wanted_plans(&mut self, limit: usize) -> Vec<LaneRef> {
        todo!()
    }
    pub fn has_wanted_plans(&self) -> bool {
        todo!()
    }
    pub fn want_plan(&mut self, lane: LaneRef) -> Result<(), Stale> {
        todo!()
    }
    pub fn set_plan(&mut self, lane: LaneRef, plan: &LanePlan, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// Lanes with work, room in their windows and those of their limiters, and tokens. A lane is given again when more
    /// connections become useful, so the caller opens what it is told and reports each with [`Self::connection_opened`].
    pub fn lanes_to_run(&mut self, now: Millis, limit: usize) -> Vec<LaneRun> {
        todo!()
    }
    pub fn connection_opened(&mut self, lane: LaneRef) -> Result<(), Stale> {
        todo!()
    }
    pub fn connection_closed(&mut self, lane: LaneRef, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// The lane failed as a whole: it sleeps on its back-off and wakes with one probe. Gives until when.
    pub fn lane_failed(&mut self, lane: LaneRef, reason: Reason, now: Millis) -> Result<Millis, Stale> {
        todo!()
    }
    /// The same with a given end (an operator's suspension: `Millis::MAX`).
    pub fn sleep_lane(&mut self, lane: LaneRef, until: Millis, reason: Reason) -> Result<(), Stale> {
        todo!()
    }
    /// A connection got through: the back-off is forgotten, the probe is over.
    pub fn lane_worked(&mut self, lane: LaneRef, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// Wakes a sleeping lane now (flush).
    pub fn wake_lane(&mut self, lane: LaneRef, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    pub fn lanes(&self) -> Vec<LaneRef> {
        todo!()
    }

    // ── limiters ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Opens slowly: begins with one token, not with its burst.
    pub fn add_limiter(&mut self, limits: Limits, now: Millis) -> LimiterRef {
        todo!()
    }
    pub fn set_limits(&mut self, limiter: LimiterRef, limits: Limits, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// Until then (`Millis::MAX`: until resumed) no lane behind it sends.
    pub fn suspend(&mut self, limiter: LimiterRef, until: Millis) -> Result<(), Stale> {
        todo!()
    }
    pub fn resume(&mut self, limiter: LimiterRef, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// `false`: lanes hold it, or it is gone.
    pub fn remove_limiter(&mut self, limiter: LimiterRef) -> bool {
        todo!()
    }
    pub fn limiter(&self, limiter: LimiterRef) -> Option<LimiterView> {
        todo!()
    }
    /// A limiter of this node alone, beside those of its lane; `None` takes it away.
    pub fn limit_node(&mut self, node: NodeRef, limiter: Option<LimiterRef>) -> Result<(), Stale> {
        todo!()
    }

    // ── taking ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// The next message of this lane by class shares, flows, age: up to `limit` of its entries that are due on this
    /// lane are leased and pushed to `out`. Takes one token of every limiter.
    pub fn take(&mut self, lane: LaneRef, now: Millis, limit: usize, out: &mut Vec<Leased>) -> Take {
        todo!()
    }

    // ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Brings what became due by `now` into turn: entries, hold deadlines, lanes, limiters; at most `limit` of them.
    /// `true`: there is more.
    pub fn advance(&mut self, now: Millis, limit: usize) -> bool {
        todo!()
    }
    /// No later than the next time at which `advance` has something to do; `None`: never.
    pub fn next_due(&self) -> Option<Millis> {
        todo!()
    }
    /// Looks at `steps` slots for waiting or held entries whose deadline has passed; `None`: the walk is through.
    pub fn expired(&self, now: Millis, from: Cursor, steps: usize, out: &mut Vec<EntryRef>) -> Option<Cursor> {
        todo!()
    }

    // ── controls and search ──────────────────────────────────────────────────────────────────────────────────────

    /// A list of ids is applied at once and never live; the rest is applied as entries are met: by the sweep, or
    /// before they are leased.
    pub fn add_control(&mut self, control: Control, now: Millis) -> Result<(), ControlError> {
        todo!()
    }
    /// Ends a standing rule (or forgets a one-shot). Entries that a suspend stopped wait again; held ones stay held.
    pub fn lift(&mut self, number: u64, now: Millis) -> bool {
        todo!()
    }
    pub fn controls(&self) -> &[Control] {
        todo!()
    }
    /// Tries live controls on the next `steps` slots; `true`: entries are left that have not met them all.
    pub fn sweep(&mut self, now: Millis, steps: usize) -> bool {
        todo!()
    }
    /// What controls met since the last call: journal it, and close what is to be cancelled or expired.
    pub fn touched(&mut self) -> Vec<Touched> {
        todo!()
    }
    pub fn matches(&self, predicate: &Predicate, entry: EntryRef) -> bool {
        todo!()
    }
    /// Entries of the set behind `after`, in the order of their slots: at most `limit`, looking at no more than `steps`
    /// slots. `None`: the listing is through.
    pub fn find(
        &self,
        predicate: &Predicate,
        after: Cursor,
        limit: usize,
        steps: usize,
        out: &mut Vec<EntryRef>,
    ) -> Option<Cursor> {
        todo!()
    }
    pub fn counts(&self) -> Counts {
        todo!()
    }

    // ── checkpoints ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Appends one page of at most `room` bytes with entries from `from` on; `None`: that was the last. Pages may be
    /// written between changes (fuzzy): replaying the logs from before the first page mends them.
    pub fn write_page(&self, from: Cursor, room: usize, out: &mut Vec<u8>) -> Option<Cursor> {
        todo!()
    }
    /// Takes a page in. Numbers of names in it are those of the writer: `names` gives the key with this process's
    /// numbers. An entry that is there already is left as it is; a leased one comes back waiting.
    pub fn read_page(
        &mut self,
        page: &[u8],
        now: Millis,
        names: &mut dyn FnMut(NodeKey) -> NodeKey,
    ) -> Result<PageRead, PageError> {
        todo!()
    }
    /// Sets an entry to what a fact says (replay): absolute, idempotent.
    pub fn set(&mut self, entry: EntryRef, to: &NewEntry, now: Millis) -> Result<(), Stale> {
        todo!()
    }
    /// Memory of all pages and tables.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}
