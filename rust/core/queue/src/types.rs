//! The words in which the index is spoken to: handles, what goes in, what comes out, why it is refused.
//!
//! Handles ([`EntryRef`], [`NodeRef`], [`LaneRef`], [`LimiterRef`]) are a slot and its generation. They are for the
//! life of the process; checkpoints hold message ids, recipient numbers and node keys instead.

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            pub(crate) slot: u32,
            pub(crate) generation: u16,
        }

        impl $name {
            /// As one number, to be carried through other rooms.
            pub fn to_bits(self) -> u64 {
                u64::from(self.generation) << 32 | u64::from(self.slot)
            }

            pub fn from_bits(bits: u64) -> Self {
                Self { slot: bits as u32, generation: (bits >> 32) as u16 }
            }
        }
    };
}

handle! {
    /// One recipient of one message.
    EntryRef
}
handle! {
    /// Entries with the same [`NodeKey`].
    NodeRef
}
handle! {
    /// A set of nodes plus connections.
    LaneRef
}
handle! {
    /// A window, a rate and a suspension that lanes share.
    LimiterRef
}

/// The handle's object is gone (or never was): nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the handle is stale: its object is gone")]
pub struct Stale;

/// What entries of one node have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct NodeKey {
    pub domain: NameId,
    pub tag: NameId,
    pub tenant: NameId,
    pub campaign: NameId,
    /// TLS demand of the message.
    pub tls: u8,
    pub class: Class,
}

/// Where content lies in the spool; opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    pub segment: u32,
    pub offset: u32,
    pub length: u32,
}

/// A message as the index keeps it. Its time of receipt is in its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Message {
    pub id: MessageId,
    pub place: Place,
    /// Of its content record: controls apply by it.
    pub lsn: Lsn,
    /// Hash of the envelope sender, for search and controls.
    pub sender: u32,
}

/// An entry as it enters: new, or with what a log says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewEntry {
    /// The recipient's number in its message, below [`MAX_NUMBER`].
    pub number: u32,
    pub node: NodeRef,
    /// Waiting, held or owing; leased enters as waiting.
    pub state: EntryState,
    /// Due (waiting), hold deadline (held, 0 for none).
    pub due: Millis,
    /// Deadline of the entry, 0 for none. Kept in whole seconds, rounded up.
    pub expires: Millis,
    /// Kept up to 255.
    pub attempts: u16,
    pub step: u8,
    pub reason: Reason,
}

/// Recipient numbers are kept in 22 bits.
pub const MAX_NUMBER: u32 = (1 << 22) - 1;
/// Live controls (queue-and-delivery: controls). Each is tried on every entry once, so they must stay few.
pub const MAX_CONTROLS: usize = 256;
/// Limiters of one lane: (source, provider), (pool, provider), (tenant, provider), later the cluster's.
pub const LIMITERS_PER_LANE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    #[error("a message with this id waits already")]
    Duplicate,
    #[error("no message with this id waits")]
    Unknown,
    #[error("a node's handle is stale")]
    Stale,
    #[error("a closed entry does not wait")]
    Closed,
    #[error("a message without an open entry does not wait")]
    Empty,
    #[error("a recipient's number is above 4194303")]
    Number,
    #[error("the index is full: 4 billion slots")]
    Full,
}

/// All about one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView {
    pub entry: EntryRef,
    pub id: MessageId,
    pub number: u32,
    pub node: NodeRef,
    pub key: NodeKey,
    pub lane: Option<LaneRef>,
    pub state: EntryState,
    pub due: Millis,
    pub expires: Millis,
    pub attempts: u16,
    pub step: u8,
    pub reason: Reason,
    pub lsn: Lsn,
    pub sender: u32,
}

/// All about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeView {
    pub node: NodeRef,
    pub key: NodeKey,
    pub lane: Option<LaneRef>,
    pub entries: u32,
    /// Of these due now.
    pub ready: u32,
}

/// An entry that a delivery has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    pub entry: EntryRef,
    pub number: u32,
    pub node: NodeRef,
    pub attempts: u16,
    pub step: u8,
    pub expires: Millis,
    /// Why the last attempt was deferred.
    pub reason: Reason,
}

/// The answer to [`crate::Index::take`].
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The leased entries stand in the caller's vector; all are of this message.
    Message(Message),
    /// Nothing is ready on this lane.
    Nothing,
    /// A limiter is exhausted: the lane waits in its fair order and comes back by `lanes_to_run`, about then.
    Later(Millis),
    /// The lane sleeps or is suspended until then (`Millis::MAX`: until it is woken).
    Asleep(Millis),
    /// A probe is under way: one message at a time until it is settled.
    Probing,
    /// The lane has no valid plan.
    NoPlan,
    /// No such lane.
    Stale,
}

/// What became of the message when one of its entries closed.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The message, if this was its last open entry: it is gone from the index and its content may be released.
    pub message: Option<Message>,
}

/// The answer to a cancel (and to a hold of an entry that is in flight).
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Stopped: closed (cancel) or held (hold).
    Done(Closed),
    /// Leased: the delivery is asked to stop before the dot; its settle decides.
    InFlight,
}

/// How a lane's connections are bounded and how it backs off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePlan {
    /// Connections at once.
    pub window: u32,
    pub limiters: [Option<LimiterRef>; LIMITERS_PER_LANE],
    /// The plan is wanted anew at this time (it is served until `stale`).
    pub valid: Millis,
    /// Not served any more from this time.
    pub stale: Millis,
    pub back_off: BackOff,
}

/// Sleep after failures of an object: doubles from `first` to `most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    pub first: Millis,
    pub most: Millis,
}

impl Default for BackOff {
    /// A minute to an hour, as Postfix' `minimal_backoff_time` and exim's host retries are in the field.
    fn default() -> Self {
        Self { first: 60_000, most: 3_600_000 }
    }
}

/// A lane with work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneRun {
    pub lane: LaneRef,
    /// Connections that would be useful beyond those that are open; may be 0.
    pub connections: u32,
    /// Open connections that carry nothing and would find something to do.
    pub wake: u32,
    /// The one connection that finds out whether the lane is awake again.
    pub probe: bool,
}

/// All about one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneView {
    pub lane: LaneRef,
    pub nodes: u32,
    pub ready: u32,
    pub leased: u32,
    /// Open connections.
    pub in_use: u32,
    pub window: u32,
    pub has_plan: bool,
    /// 0: awake.
    pub asleep_until: Millis,
    pub failures: u8,
    pub reason: Reason,
}

/// What a limiter allows. `tokens` per `period`, at most `burst` saved up; `window` connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// 0: no rate.
    pub tokens: u32,
    pub period: Millis,
    pub burst: u32,
    /// `u32::MAX`: no window.
    pub window: u32,
}

impl Limits {
    pub const NONE: Self = Self { tokens: 0, period: 1000, burst: 0, window: u32::MAX };
}

/// A limiter as checkpoints keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimiterView {
    pub limiter: LimiterRef,
    pub limits: Limits,
    /// Whole tokens now.
    pub tokens: u32,
    pub in_use: u32,
    /// 0: not suspended.
    pub suspended_until: Millis,
    /// Lanes and nodes that wait for it.
    pub waiting: u32,
}

/// A set of entries by indexed fields; `None` and empty match all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Predicate {
    /// Messages by id; sorted by [`Predicate::with_ids`].
    pub ids: Vec<MessageId>,
    pub tenant: Option<NameId>,
    pub campaign: Option<NameId>,
    pub domain: Option<NameId>,
    pub lane: Option<LaneRef>,
    pub class: Option<Class>,
    pub state: Option<EntryState>,
    pub reason: Option<Reason>,
    pub sender: Option<u32>,
    /// Received at or after, by the id.
    pub received_from: Option<Millis>,
    /// Received before, by the id.
    pub received_before: Option<Millis>,
}

/// What a control does to the entries it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlKind {
    /// One-shots: entries whose content stands before the control in the log.
    Cancel,
    Expire,
    Reroute,
    Release,
    Retry,
    /// Standing rules, until lifted.
    Hold,
    Suspend,
}

impl ControlKind {
    pub fn is_standing(self) -> bool {
        matches!(self, Self::Hold | Self::Suspend)
    }
}

/// Predicate and log position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The caller's number for it, unique among the live.
    pub number: u64,
    pub kind: ControlKind,
    pub predicate: Predicate,
    pub position: Lsn,
    /// Deadline of the holds that it makes; 0 for none.
    pub until: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    #[error("256 controls are live: lift one, or wait until one-shots have passed over the queue")]
    TooMany,
    #[error("a control of this number is live")]
    Duplicate,
}

/// A control met an entry. Hold, suspend, release and retry are done; cancel, expire and reroute are the caller's:
/// the entry stands still (held) until it is closed or released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touched {
    pub entry: EntryRef,
    pub control: u64,
    pub kind: ControlKind,
    /// The entry was leased: hold and cancel can only ask the delivery to stop before the dot.
    pub in_flight: bool,
}

/// Where a walk goes on. Made by the index; as a number it may cross doors (`after` of a listing).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor(pub u32);

/// Figures, kept as entries move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub messages: u64,
    pub nodes: u32,
    pub lanes: u32,
    /// By class, then by state (waiting, held, leased, owing).
    pub entries: [[u64; 4]; 4],
    /// Waiting entries that are due, by class.
    pub ready: [u64; 4],
    /// When the oldest message with an open entry of this class was received, whole seconds in milliseconds.
    pub oldest: [Option<Millis>; 4],
}

/// Why a checkpoint page is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    #[error("the page of the index ends early")]
    Short,
    #[error("the page of the index holds a value that no index writes")]
    Value,
    #[error("the page of the index is of version {0}")]
    Version(u8),
}

/// What came in with a checkpoint page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageRead {
    pub entries: usize,
    /// Nodes that the page made: hold their names.
    pub new_nodes: Vec<(NodeRef, NodeKey)>,
}

/// What is done to an entry with a [`crate::Index::defer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deferral {
    pub due: Millis,
    pub step: u8,
    pub reason: Reason,
    /// Counts as an attempt.
    pub attempted: bool,
}
