//! Messages as they lie in memory: 40 bytes, and 8 beside them (sender, open entries).
//!
//! All fields are 32-bit words, so that nothing is lost to alignment.

use angarium_nouns::{Lsn, MessageId};

use crate::slab::{NONE, Slab, Slot};
use crate::table::{Table, mix};
use crate::types::{Message, Place};

/// What a message is.
#[derive(Debug, Clone)]
struct Core {
    id: [u32; 4],
    lsn: [u32; 2],
    place: Place,
    /// The last of its entries; the others are in its ring.
    last: u32,
}

const _: () = assert!(size_of::<Core>() == 40);

#[derive(Debug, Clone)]
pub(crate) struct MessageSlot {
    core: Core,
    sender: u32,
    /// Open entries; 0: the slot is free.
    pub open: u32,
}

const _: () = assert!(size_of::<MessageSlot>() == 48);

impl Slot for MessageSlot {
    const EMPTY: Self = Self {
        core: Core { id: [0; 4], lsn: [0; 2], place: Place { segment: 0, offset: 0, length: 0 }, last: NONE },
        sender: 0,
        open: 0,
    };

    /// Messages have no handles: they are known by id.
    fn keep_generation(&mut self, _before: &Self, _by: u16) {}

    fn free_link(&mut self) -> &mut u32 {
        &mut self.core.last
    }
}

impl MessageSlot {
    pub fn id(&self) -> MessageId {
        let [a, b, c, d] = self.core.id.map(u128::from);
        MessageId(a << 96 | b << 64 | c << 32 | d)
    }

    pub fn lsn(&self) -> Lsn {
        Lsn(u64::from(self.core.lsn[0]) << 32 | u64::from(self.core.lsn[1]))
    }

    pub fn sender(&self) -> u32 {
        self.sender
    }

    /// The last entry of its ring.
    pub fn last(&self) -> u32 {
        self.core.last
    }

    pub fn set_last(&mut self, entry: u32) {
        self.core.last = entry;
    }

    pub fn public(&self) -> Message {
        Message { id: self.id(), place: self.core.place, lsn: self.lsn(), sender: self.sender }
    }
}

fn hash(id: MessageId) -> u64 {
    mix(id.0 as u64 ^ ((id.0 >> 64) as u64).rotate_left(32))
}

/// All messages, findable by id.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    pub slots: Slab<MessageSlot, 1024>,
    table: Table,
}

impl Messages {
    pub fn find(&self, id: MessageId) -> Option<u32> {
        self.table.find(hash(id), |slot| self.slots[slot].id() == id)
    }

    pub fn add(&mut self, message: &Message) -> u32 {
        let id = message.id.0;
        let lsn = message.lsn.0;
        let core = Core {
            id: [(id >> 96) as u32, (id >> 64) as u32, (id >> 32) as u32, id as u32],
            lsn: [(lsn >> 32) as u32, lsn as u32],
            place: message.place,
            last: NONE,
        };
        let slot = self.slots.add(MessageSlot { core, sender: message.sender, open: 0 });
        self.table.insert(hash(message.id), slot);
        slot
    }

    pub fn remove(&mut self, slot: u32) -> Message {
        let message = self.slots[slot].public();
        self.table.remove(hash(message.id), slot);
        self.slots.free(slot);
        message
    }

    pub fn set_place(&mut self, slot: u32, place: Place) {
        self.slots[slot].core.place = place;
    }

    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.table.bytes()
    }
}
