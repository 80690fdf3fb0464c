//! Checkpoint pages of the index: entries in the order of their slots, each page readable by itself.
//!
//! Little-endian. Page: version u8, nodes u16, then per node its key (domain, tag, tenant, campaign u32; tls, class u8);
//! then, until its end, messages: id 16 bytes, LSN u64, place 3 × u32, sender u32, entries u16, then per entry number
//! u32, node of this page u16, due u64, expires u64, state, attempts, step, reason u8. A message whose entries do not
//! lie together, or do not fit, stands there again. Strange bytes are refused as a whole page before anything is
//! taken in, never misread.

use angarium_nouns::envelope::Class;
use angarium_nouns::names::NameId;
use angarium_nouns::record::EntryState;
use angarium_nouns::{Lsn, MessageId, Millis, Reason};

use crate::index::Index;
use crate::types::{Cursor, MAX_NUMBER, Message, NewEntry, NodeKey, NodeRef, PageError, PageRead, Place};

const VERSION: u8 = 1;
const HEAD: usize = 3;
const NODE: usize = 18;
const MESSAGE: usize = 42;
const ENTRY: usize = 26;
/// No page is smaller than what one entry of a new message and node needs.
const SMALLEST: usize = HEAD + NODE + MESSAGE + ENTRY;

/// A page while it is written: nodes and messages grow apart, and are joined at the end.
#[derive(Default)]
struct Draft {
    nodes: Vec<u32>,
    messages: Vec<u8>,
    /// The message of the last entry, and where its count stands.
    open: Option<(u32, usize)>,
}

impl Draft {
    fn size(&self) -> usize {
        HEAD + self.nodes.len() * NODE + self.messages.len()
    }

    fn node(&mut self, node: u32) -> u16 {
        // The nodes of neighbours are mostly the same; the table is short.
        let at = self.nodes.iter().rposition(|&known| known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        at as u16
    }

    fn entry(&mut self, index: &Index, slot: u32) {
        let entry = &index.entries[slot];
        if self.open.is_none_or(|(message, at)| message != entry.message || self.count(at) == u16::MAX) {
            self.message(index, entry.message);
        }
        if let Some((_, at)) = self.open {
            let count = self.count(at) + 1;
            self.messages[at..at + 2].copy_from_slice(&count.to_le_bytes());
        }
        let node = self.node(entry.node);
        let out = &mut self.messages;
        out.extend(entry.number().to_le_bytes());
        out.extend(node.to_le_bytes());
        out.extend(entry.due().to_le_bytes());
        out.extend(entry.expires().to_le_bytes());
        let state = entry.state().unwrap_or_default();
        out.extend([state as u8, entry.attempts, entry.step, entry.reason() as u8]);
    }

    fn count(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.messages[at], self.messages[at + 1]])
    }

    fn message(&mut self, index: &Index, slot: u32) {
        let Message { id, place, lsn, sender } = index.messages.slots[slot].public();
        let out = &mut self.messages;
        out.extend(id.to_bytes());
        out.extend(lsn.0.to_le_bytes());
        for word in [place.segment, place.offset, place.length, sender] {
            out.extend(word.to_le_bytes());
        }
        self.open = Some((slot, out.len()));
        out.extend([0, 0]);
    }

    fn finish(&self, index: &Index, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend((self.nodes.len() as u16).to_le_bytes());
        for &node in &self.nodes {
            let NodeKey { domain, tag, tenant, campaign, tls, class } = index.nodes.slots[node].key;
            for name in [domain, tag, tenant, campaign] {
                out.extend(name.0.to_le_bytes());
            }
            out.extend([tls, class as u8]);
        }
        out.extend(&self.messages);
    }
}

/// A page while it is read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], PageError> {
        let (front, rest) = self.0.split_first_chunk().ok_or(PageError::Short)?;
        self.0 = rest;
        Ok(*front)
    }

    fn byte(&mut self) -> Result<u8, PageError> {
        self.bytes().map(|[byte]| byte)
    }

    fn short(&mut self) -> Result<u16, PageError> {
        self.bytes().map(u16::from_le_bytes)
    }

    fn word(&mut self) -> Result<u32, PageError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64, PageError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn key(&mut self) -> Result<NodeKey, PageError> {
        let [domain, tag, tenant, campaign] = [self.word()?, self.word()?, self.word()?, self.word()?].map(NameId);
        let (tls, class) = (self.byte()?, Class::try_from(self.byte()?).map_err(|_| PageError::Value)?);
        Ok(NodeKey { domain, tag, tenant, campaign, tls, class })
    }

    fn message(&mut self) -> Result<Message, PageError> {
        let id = MessageId::from_bytes(self.bytes()?);
        let lsn = Lsn(self.long()?);
        let place = Place { segment: self.word()?, offset: self.word()?, length: self.word()? };
        Ok(Message { id, place, lsn, sender: self.word()? })
    }

    fn entry(&mut self, nodes: &[NodeRef]) -> Result<NewEntry, PageError> {
        let number = self.word()?;
        let node = *nodes.get(usize::from(self.short()?)).ok_or(PageError::Value)?;
        let (due, expires) = (self.long()?, self.long()?);
        let state = EntryState::try_from(self.byte()?).map_err(|_| PageError::Value)?;
        let (attempts, step) = (u16::from(self.byte()?), self.byte()?);
        let reason = Reason::try_from(self.byte()?).map_err(|_| PageError::Value)?;
        if number > MAX_NUMBER || state.is_closed() {
            return Err(PageError::Value);
        }
        Ok(NewEntry { number, node, state, due, expires, attempts, step, reason })
    }
}

impl Index {
    /// Appends one page of at most `room` bytes with entries from `from` on; `None`: that was the last. Pages may be
    /// written between changes (fuzzy): replaying the logs from before the first page mends them.
    pub fn write_page(&self, from: Cursor, room: usize, out: &mut Vec<u8>) -> Option<Cursor> {
        let room = room.max(SMALLEST);
        let mut draft = Draft::default();
        let mut slot = from.0;
        while slot < self.entries.end() && draft.size() + NODE + MESSAGE + ENTRY <= room {
            if !self.entries[slot].is_closed() && draft.nodes.len() < usize::from(u16::MAX) {
                draft.entry(self, slot);
            }
            slot += 1;
        }
        draft.finish(self, out);
        (slot < self.entries.end()).then_some(Cursor(slot))
    }

    /// Takes a page in. Numbers of names in it are those of the writer: `names` gives the key with this process's
    /// numbers. An entry that is there already is left as it is; a leased one comes back waiting.
    pub fn read_page(
        &mut self,
        page: &[u8],
        now: Millis,
        names: &mut dyn FnMut(NodeKey) -> NodeKey,
    ) -> Result<PageRead, PageError> {
        let mut reader = Reader(page);
        match reader.byte()? {
            VERSION => {}
            other => return Err(PageError::Version(other)),
        }
        let keys = (0..reader.short()?).map(|_| reader.key()).collect::<Result<Vec<_>, _>>()?;
        check_messages(Reader(reader.0), keys.len())?;
        let mut read = PageRead::default();
        let nodes: Vec<NodeRef> = keys.into_iter().map(|key| self.node_of_page(names(key), &mut read)).collect();
        while !reader.0.is_empty() {
            let message = reader.message()?;
            let entries = (0..reader.short()?).map(|_| reader.entry(&nodes)).collect::<Result<Vec<_>, _>>()?;
            read.entries += self.take_in(&message, &entries, now);
        }
        // A node whose entries were all there already under another key may have stayed empty.
        for (node, _) in read.new_nodes.clone() {
            if self.node_view(node).is_some_and(|view| view.entries == 0) {
                self.drop_node(node);
            }
        }
        Ok(read)
    }

    fn node_of_page(&mut self, key: NodeKey, read: &mut PageRead) -> NodeRef {
        let (node, new) = self.node(key);
        if new {
            read.new_nodes.push((node, key));
        }
        node
    }

    fn take_in(&mut self, message: &Message, entries: &[NewEntry], now: Millis) -> usize {
        if self.messages.find(message.id).is_none() {
            return if self.insert(message, entries, now).is_ok() { entries.len() } else { 0 };
        }
        let is_new = |new: &&NewEntry| self.entry(message.id, new.number).is_none();
        let new: Vec<NewEntry> = entries.iter().filter(is_new).copied().collect();
        if self.extend(message.id, &new, now).is_ok() { new.len() } else { 0 }
    }
}

/// The rest of the page, read once for nothing but errors.
fn check_messages(mut reader: Reader<'_>, nodes: usize) -> Result<(), PageError> {
    let nodes = vec![NodeRef::from_bits(0); nodes];
    while !reader.0.is_empty() {
        reader.message()?;
        let entries = reader.short()?;
        if entries == 0 {
            return Err(PageError::Value);
        }
        for _ in 0..entries {
            reader.entry(&nodes)?;
        }
    }
    Ok(())
}
