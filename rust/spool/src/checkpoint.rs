//! Checkpoints: a snapshot of what the ledger holds, in pages with CRC, under opaque section numbers.
//!
//! A checkpoint is written beside the running logs (fuzzy: later effects may stand in it), and published only when both
//! logs are durable beyond what it reflects: temporary file, sync, rename, sync of the folder. The two newest are kept;
//! what either refers to is not reclaimed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use angarium_nouns::Lsn;

use crate::disk::{Disk, DiskFile, Site};
use crate::error::{CheckpointError, ReadError};
use crate::format::{VERSION, array, u16_at, u32_at, u64_at};
use crate::place::{Family, Marks};
use crate::segment::Segment;
use crate::spool::Shared;
use crate::workshop::write_all;

pub const PAGE: usize = 65_536;
pub const PAGE_HEADER: usize = 32;
const PAGE_MAGIC: [u8; 4] = *b"ANCP";
/// The spool's own section, first in the file: positions and the segment table.
const HEAD_SECTION: u16 = 0;
/// The last page: what is reflected, how many pages there are, and the sum of their sums.
const END_SECTION: u16 = u16::MAX;
const HEAD_LEN: usize = 96;
const ROW_LEN: usize = 56;
const TEMPORARY: &str = "checkpoint.new";
/// Pages after which write-back is asked for: 1 MiB.
const WRITEBACK_PAGES: u32 = 16;

/// Where replay of one log begins: behind `lsn`, in this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    pub lsn: Lsn,
    pub segment: u32,
}

/// One segment as the checkpoint saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub family: Family,
    pub number: u32,
    pub size: u32,
    pub nonce: u64,
    pub first: Lsn,
    pub last: Lsn,
    pub used: u32,
    pub live: u32,
}

/// The spool's own part of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    pub spool: u128,
    pub epoch: u32,
    pub sequence: u64,
    pub content: Position,
    pub journal: Position,
    pub copied: Position,
    pub rows: Vec<Row>,
}

impl Head {
    pub fn position(&self, family: Family) -> Position {
        match family {
            Family::Content => self.content,
            Family::Journal => self.journal,
            Family::Copied => self.copied,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + ROW_LEN * self.rows.len());
        bytes.extend_from_slice(&self.spool.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        for position in [self.content, self.journal, self.copied] {
            bytes.extend_from_slice(&position.segment.to_le_bytes());
            bytes.extend_from_slice(&position.lsn.0.to_le_bytes());
        }
        bytes.resize(HEAD_LEN, 0);
        for row in &self.rows {
            row.encode(&mut bytes);
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let position = |at| Position { segment: u32_at(bytes, at), lsn: Lsn(u64_at(bytes, at + 4)) };
        if bytes.len() < HEAD_LEN {
            return None;
        }
        Some(Self {
            spool: u128::from_le_bytes(array(&bytes[..16])),
            sequence: u64_at(bytes, 16),
            epoch: u32_at(bytes, 24),
            content: position(28),
            journal: position(40),
            copied: position(52),
            rows: bytes[HEAD_LEN..].chunks_exact(ROW_LEN).map(Row::decode).collect::<Option<_>>()?,
        })
    }
}

impl Row {
    pub fn of(segment: &Segment) -> Self {
        use std::sync::atomic::Ordering::Acquire;
        Self {
            family: segment.family,
            number: segment.number,
            size: segment.size,
            nonce: segment.nonce,
            first: segment.first_lsn(),
            last: segment.last_lsn(),
            used: segment.used.load(Acquire),
            live: segment.live.load(Acquire),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.family as u8, 0, 0, 0]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&self.first.0.to_le_bytes());
        out.extend_from_slice(&self.last.0.to_le_bytes());
        out.extend_from_slice(&self.used.to_le_bytes());
        out.extend_from_slice(&self.live.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.resize(start + ROW_LEN, 0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            family: Family::from_number(bytes[0])?,
            number: u32_at(bytes, 4),
            nonce: u64_at(bytes, 8),
            first: Lsn(u64_at(bytes, 16)),
            last: Lsn(u64_at(bytes, 24)),
            used: u32_at(bytes, 32),
            live: u32_at(bytes, 36),
            size: u32_at(bytes, 40),
        })
    }
}

/// What a kept checkpoint still needs.
#[derive(Debug, Clone, Default)]
pub struct References {
    pub sequence: u64,
    live: HashSet<u32>,
    content: u32,
    copied: u32,
    journal: u32,
}

impl References {
    pub fn of(head: &Head) -> Self {
        let live = head.rows.iter().filter(|row| row.family != Family::Journal && row.live > 0);
        Self {
            sequence: head.sequence,
            live: live.map(|row| row.number).collect(),
            content: head.content.segment,
            copied: head.copied.segment,
            journal: head.journal.segment,
        }
    }

    /// True while this segment may be read after a fall back to the checkpoint.
    pub fn refer_to(&self, segment: &Segment) -> bool {
        let from = match segment.family {
            Family::Content => self.content,
            Family::Copied => self.copied,
            Family::Journal => self.journal,
        };
        segment.number >= from || self.live.contains(&segment.number)
    }
}

pub fn checkpoint_name(sequence: u64) -> String {
    format!("checkpoint-{sequence:016x}")
}

pub fn parse_checkpoint_name(name: &str) -> Option<u64> {
    let number = name.strip_prefix("checkpoint-")?;
    if number.len() == 16 { u64::from_str_radix(number, 16).ok() } else { None }
}

/// Writes one checkpoint. Dropped unpublished, nothing remains of it.
pub struct CheckpointWriter {
    shared: Arc<Shared>,
    file: Arc<dyn DiskFile>,
    head: Head,
    pages: u32,
    sums: u32,
    open: BTreeMap<u16, Vec<u8>>,
    published: bool,
}

impl CheckpointWriter {
    /// The largest record: one page less its header.
    pub const MAX_RECORD: usize = PAGE - PAGE_HEADER;

    pub(crate) fn begin(shared: Arc<Shared>, head: Head) -> Result<Self, CheckpointError> {
        let file = shared.disk.create(TEMPORARY)?;
        let mut writer = Self { shared, file, head, pages: 0, sums: 0, open: BTreeMap::new(), published: false };
        let head = writer.head.encode();
        for piece in head.chunks(Self::MAX_RECORD) {
            writer.page(HEAD_SECTION, piece)?;
        }
        Ok(writer)
    }

    /// Appends one record to a section (1 to 65,534). Records are never split over pages; sections may be written in any
    /// order, and each is read back page by page, a page holding whole records in the order written.
    pub fn write(&mut self, section: u16, record: &[u8]) -> Result<(), CheckpointError> {
        if section == HEAD_SECTION || section == END_SECTION {
            return Err(CheckpointError::Section(section));
        }
        if record.len() > Self::MAX_RECORD {
            return Err(CheckpointError::RecordTooLarge(record.len()));
        }
        let open = self.open.entry(section).or_default();
        if open.len() + record.len() > Self::MAX_RECORD {
            let full = std::mem::take(open);
            self.page(section, &full)?;
        }
        self.open.entry(section).or_default().extend_from_slice(record);
        Ok(())
    }

    /// `reflects`: the highest LSNs whose effects may stand in the pages. Refused (and nothing remains) while that is
    /// not durable.
    pub fn publish(mut self, reflects: Marks) -> Result<(), CheckpointError> {
        if !self.shared.durable().covers(reflects) {
            return Err(CheckpointError::NotDurable);
        }
        for (section, bytes) in std::mem::take(&mut self.open) {
            self.page(section, &bytes)?;
        }
        let mut end = Vec::with_capacity(32);
        for lsn in [reflects.content, reflects.journal, reflects.copied] {
            end.extend_from_slice(&lsn.0.to_le_bytes());
        }
        end.extend_from_slice(&self.pages.to_le_bytes());
        end.extend_from_slice(&self.sums.to_le_bytes());
        self.page(END_SECTION, &end)?;
        self.file.sync(Site::CheckpointFile)?;
        let disk = self.shared.disk.clone();
        disk.rename(TEMPORARY, &checkpoint_name(self.head.sequence))?;
        self.published = true;
        disk.sync_folder("", Site::CheckpointFolder)?;
        self.shared.checkpoint_published(References::of(&self.head));
        Ok(())
    }

    fn page(&mut self, section: u16, data: &[u8]) -> Result<(), CheckpointError> {
        let page = encode_page(section, self.pages, self.head.sequence, data);
        self.sums = crc32c::crc32c_append(self.sums, &page[28..32]);
        write_all(&*self.file, &page, u64::from(self.pages) * PAGE as u64)?;
        self.pages += 1;
        if self.pages.is_multiple_of(WRITEBACK_PAGES) {
            let length = u64::from(WRITEBACK_PAGES) * PAGE as u64;
            self.file.start_writeback(u64::from(self.pages) * PAGE as u64 - length, length);
        }
        Ok(())
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if !self.published {
            let _ = self.shared.disk.unlink(TEMPORARY);
        }
    }
}

fn encode_page(section: u16, number: u32, sequence: u64, data: &[u8]) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    page[..4].copy_from_slice(&PAGE_MAGIC);
    page[4] = VERSION;
    page[6..8].copy_from_slice(&section.to_le_bytes());
    page[8..12].copy_from_slice(&number.to_le_bytes());
    page[12..16].copy_from_slice(&(data.len() as u32).to_le_bytes());
    page[16..24].copy_from_slice(&sequence.to_le_bytes());
    page[PAGE_HEADER..][..data.len()].copy_from_slice(data);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&page[..28]), data);
    page[28..32].copy_from_slice(&crc.to_le_bytes());
    page
}

/// Why a checkpoint file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    Broken,
    Newer(u32),
}

/// A checkpoint that was read and found whole.
pub struct Restored {
    pub head: Head,
    pub reflects: Marks,
    name: String,
    file: Arc<dyn DiskFile>,
    /// Page numbers of each section.
    sections: BTreeMap<u16, Vec<u32>>,
}

impl Restored {
    /// Reads every page once and believes none of them unless all are whole.
    pub fn open(disk: &dyn Disk, name: &str) -> Result<Self, Unusable> {
        let file = disk.open(name).map_err(|_| Unusable::Broken)?;
        let count = file.len().map_err(|_| Unusable::Broken)? / PAGE as u64;
        let mut restored = Self {
            head: Head::default(),
            reflects: Marks::default(),
            name: name.to_owned(),
            file,
            sections: BTreeMap::new(),
        };
        let (mut head, mut end, mut sums) = (Vec::new(), Vec::new(), 0);
        for number in 0..u32::try_from(count).map_err(|_| Unusable::Broken)? {
            let (section, data, sum) = restored.page(number)?;
            match section {
                HEAD_SECTION => head.extend_from_slice(&data),
                END_SECTION => end = data,
                _ => restored.sections.entry(section).or_default().push(number),
            }
            if section != END_SECTION {
                sums = crc32c::crc32c_append(sums, &sum);
            }
        }
        restored.head = Head::decode(&head).ok_or(Unusable::Broken)?;
        restored.finish(&end, count, sums)?;
        Ok(restored)
    }

    fn finish(&mut self, end: &[u8], count: u64, sums: u32) -> Result<(), Unusable> {
        let named = parse_checkpoint_name(&self.name);
        let whole = end.len() == 32 && u64::from(u32_at(end, 24)) + 1 == count && u32_at(end, 28) == sums;
        if !whole || named != Some(self.head.sequence) {
            return Err(Unusable::Broken);
        }
        self.reflects =
            Marks { content: Lsn(u64_at(end, 0)), journal: Lsn(u64_at(end, 8)), copied: Lsn(u64_at(end, 16)) };
        Ok(())
    }

    fn page(&self, number: u32) -> Result<(u16, Vec<u8>, [u8; 4]), Unusable> {
        let mut page = vec![0; PAGE];
        let count = self.file.read_at(&mut page, u64::from(number) * PAGE as u64).map_err(|_| Unusable::Broken)?;
        let length = u32_at(&page, 12) as usize;
        if count < PAGE || page[..4] != PAGE_MAGIC || length > PAGE - PAGE_HEADER || u32_at(&page, 8) != number {
            return Err(Unusable::Broken);
        }
        let sum = array(&page[28..32]);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&page[..28]), &page[PAGE_HEADER..PAGE_HEADER + length]);
        if u32::from_le_bytes(sum) != crc {
            return Err(Unusable::Broken);
        }
        if page[4] > VERSION {
            return Err(Unusable::Newer(u32::from(page[4])));
        }
        let section = u16_at(&page, 6);
        page.truncate(PAGE_HEADER + length);
        page.drain(..PAGE_HEADER);
        Ok((section, page, sum))
    }

    pub fn pages(&self, section: u16) -> impl Iterator<Item = Result<Vec<u8>, ReadError>> + '_ {
        let numbers = self.sections.get(&section).map_or(&[][..], Vec::as_slice);
        numbers.iter().map(|&number| match self.page(number) {
            Ok((_, data, _)) => Ok(data),
            Err(_) => Err(ReadError::Damaged {
                file: self.name.clone(),
                offset: u64::from(number) * PAGE as u64,
                what: "a page that was whole a moment ago is broken",
            }),
        })
    }
}
