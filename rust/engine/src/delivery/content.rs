//! The content of an envelope: read back and verified, then sent with bounded memory.
//!
//! What we wrote just now is in the page cache and read at once; anything else, and every body with a file of its
//! own, is read on the blocking pool. Bodies in files go through one block of memory.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use angarium_ledger::{Content, ContentBody, Lease, LoadError};
use angarium_nouns::Millis;
use tokio::sync::OwnedSemaphorePermit;

use super::desk::Desk;
use super::envelope::Envelope;
use super::render::{self, Rendered};
use super::settle;
use super::wire::{Break, Wire};
use crate::accept::sign_copy;

/// Bytes of a body that are stuffed and written at once.
const BLOCK: usize = 64 * 1024;
/// Bytes read from a body file at once: one trip to the pool for several writes.
const FILE_BLOCK: usize = 256 * 1024;
/// A message younger than this was written by this process just now.
const WARM: Millis = 60_000;
/// The header section of a body in a file, when a variant edits it. Longer ones are refused at accept.
const MAX_HEADER: usize = 1024 * 1024;

/// Whether reading it may wait for the disk.
pub fn is_cold(lease: &Lease, now: Millis) -> bool {
    now.saturating_sub(lease.received) > WARM
}

/// Content in memory, with its share of the memory that deliveries may hold (S7).
pub struct Loaded {
    content: Content,
    _memory: Option<OwnedSemaphorePermit>,
}

impl Deref for Loaded {
    type Target = Content;

    fn deref(&self) -> &Content {
        &self.content
    }
}

/// What came of a load.
pub enum Load {
    Ready(Arc<Loaded>),
    /// It cannot be read. The ledger has closed it as lost (S6), or, where the disk failed to answer, its entries are
    /// deferred.
    Unreadable,
    /// No memory now, and the caller could not wait; the lease was given back.
    NoRoom,
}

/// Reads what a lease is about. `patient`: waits for memory; only for those who hold none.
pub async fn load(desk: &Arc<Desk>, lease: &Arc<Lease>, patient: bool) -> Load {
    let Some(memory) = desk.reserve(lease.record_len(), patient).await else {
        settle::give_back(desk, lease, &lease.entries);
        return Load::NoRoom;
    };
    match read_record(desk, lease).await {
        Some(content) => Load::Ready(Arc::new(Loaded { content, _memory: memory })),
        None => Load::Unreadable,
    }
}

async fn read_record(desk: &Arc<Desk>, lease: &Arc<Lease>) -> Option<Content> {
    let now = desk.now();
    let warm = if is_cold(lease, now) { Ok(None) } else { desk.ledger.load_inline(lease, now) };
    let loaded = match warm {
        Ok(Some(content)) => Some(Ok(content)),
        Err(error) => Some(Err(error)),
        Ok(None) => {
            let (desk_there, lease) = (Arc::clone(desk), Arc::clone(lease));
            desk.block(move || desk_there.ledger.load(&lease, now)).await
        }
    };
    match loaded {
        Some(Ok(content)) => return Some(content),
        Some(Err(LoadError::Unknown | LoadError::Lost(_))) => {}
        Some(Err(_)) => settle::unreadable(desk, lease),
        None => settle::give_back(desk, lease, &lease.entries),
    }
    None
}

/// Makes the variant's edits. `None`: a body file cannot be read. (Substitutions are for bodies in memory.)
pub async fn render(desk: &Desk, envelope: &Envelope) -> Option<Rendered> {
    let Envelope { content, variant, .. } = envelope;
    if !render::changes(&content.head, *variant) {
        return Some(Rendered::default());
    }
    match &content.body {
        ContentBody::Inline(body) => {
            let edited = render::edit(&content.head, *variant, body);
            let first = envelope.recipients.first()?;
            let rendered = render::substitute(&content.head, &first.recipient, edited, body);
            if render::is_personal(&content.head, *variant) {
                signed(desk, content, rendered).await
            } else {
                Some(rendered)
            }
        }
        ContentBody::File(_) => {
            let front = read(desk, content, 0, MAX_HEADER).await?;
            Some(render::edit(&content.head, *variant, &front))
        }
    }
}

/// A copy for one recipient, all of it in front, signed if it is ours. `None`: the engine ends.
async fn signed(desk: &Desk, content: &Arc<Loaded>, rendered: Rendered) -> Option<Rendered> {
    let keys = desk.signing.keys();
    if !keys.signs() {
        return Some(rendered);
    }
    let there = Arc::clone(content);
    let work = move || {
        let front = sign_copy(&keys, &there.head, &rendered.front).unwrap_or(rendered.front);
        Rendered { front, from: rendered.from }
    };
    desk.signing.run(work).await
}

/// Octets on the wire before stuffing, as SIZE wants them (RFC 1870 5).
pub fn size(content: &Content, rendered: &Rendered) -> u64 {
    content.head.body.length - rendered.from + rendered.front.len() as u64
}

/// Whether any octet has its eighth bit set. `None`: a body file cannot be read.
pub async fn has_eighth_bit(desk: &Desk, content: &Arc<Loaded>) -> Option<bool> {
    if let ContentBody::Inline(body) = &content.body {
        return Some(!body.is_ascii());
    }
    let mut at = 0;
    loop {
        let block = read(desk, content, at, FILE_BLOCK).await?;
        if block.is_empty() || !block.is_ascii() {
            return Some(!block.is_empty());
        }
        at += block.len() as u64;
    }
}

/// The message as it goes out, in one piece. `None`: a body file cannot be read.
pub async fn whole(desk: &Desk, content: &Arc<Loaded>, rendered: &Rendered) -> Option<Vec<u8>> {
    let mut whole = rendered.front.clone();
    match &content.body {
        ContentBody::Inline(body) => whole.extend_from_slice(body.get(rendered.from as usize..).unwrap_or_default()),
        ContentBody::File(_) => {
            let left = content.head.body.length.saturating_sub(rendered.from);
            whole.extend(read(desk, content, rendered.from, left as usize).await?);
        }
    }
    Some(whole)
}

/// Sends everything before the final dot; the last block stays in the output. `false`: the peer takes no more.
pub async fn send(
    wire: &mut Wire,
    content: &Arc<Loaded>,
    rendered: &Rendered,
    desk: &Desk,
    patience: Duration,
) -> Result<bool, Break> {
    append(wire, &rendered.front)?;
    if let ContentBody::Inline(body) = &content.body {
        let body = body.get(rendered.from as usize..).unwrap_or_default();
        return send_blocks(wire, body, patience).await;
    }
    let mut at = rendered.from;
    loop {
        let block = read(desk, content, at, FILE_BLOCK).await.ok_or(Break::Local)?;
        at += block.len() as u64;
        let open = send_blocks(wire, &block, patience).await?;
        if block.is_empty() || !open {
            return Ok(open);
        }
    }
}

async fn send_blocks(wire: &mut Wire, body: &[u8], patience: Duration) -> Result<bool, Break> {
    for block in body.chunks(BLOCK) {
        if wire.client.output().len() + block.len() > BLOCK && !wire.flush(patience).await? {
            return Ok(false);
        }
        append(wire, block)?;
    }
    Ok(true)
}

/// As octets of the chunk that was begun, or as content behind DATA.
fn append(wire: &mut Wire, block: &[u8]) -> Result<(), Break> {
    if block.is_empty() {
        return Ok(());
    }
    let chunked = wire.client.chunk_left() > 0;
    let appended = if chunked { wire.client.chunk(block) } else { wire.client.body(block) };
    appended.map_err(Break::Garbage)
}

/// A block of a body file; empty at its end.
pub async fn read(desk: &Desk, content: &Arc<Loaded>, at: u64, length: usize) -> Option<Vec<u8>> {
    let content = Arc::clone(content);
    desk.block(move || read_now(&content, at, length)).await.flatten()
}

/// The same, for those who are on the blocking pool already.
pub fn read_now(content: &Content, at: u64, length: usize) -> Option<Vec<u8>> {
    let ContentBody::File(reader) = &content.body else { return None };
    let room = reader.length().saturating_sub(at).min(length as u64) as usize;
    let mut block = vec![0; room];
    let mut filled = 0;
    while filled < room {
        let count = reader.read_at(&mut block[filled..], at + filled as u64).ok()?;
        if count == 0 {
            return None;
        }
        filled += count;
    }
    Some(block)
}
