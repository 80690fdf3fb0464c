//! The bytes of segment headers, frames and the identity file, version 1. `docs/spool-format.md` says the same in
//! prose for other readers; change both or neither. All numbers are little-endian. Nothing here does I/O.

use angarium_nouns::{Lsn, MessageId};

use crate::place::Family;

/// The version this house writes, and the highest it reads.
pub const VERSION: u8 = 1;
/// Groups begin and end at multiples of this, so that a write never has to read a page first.
pub const BLOCK: u32 = 4096;
/// Bytes before the first frame of a segment.
pub const SEGMENT_HEADER: u32 = BLOCK;
/// The segment header is repeated in each sector of its block: one bad sector does not cost a segment.
const HEADER_COPY: usize = 512;

const SEGMENT_MAGIC: [u8; 8] = *b"ANGARSEG";
const IDENTITY_MAGIC: [u8; 8] = *b"ANGARIDE";
const FRAME_MAGIC: [u8; 4] = *b"ANFR";

/// Frame header in the journal.
pub const JOURNAL_HEADER: usize = 40;
/// Frame header in content: the same and id, chunk, copy.
pub const CONTENT_HEADER: usize = 64;
/// CRC32C of the payload, behind it.
pub const TRAILER: usize = 4;
/// What stands before the ledger's bytes in a journal payload: content mark, copied mark, epoch, zero.
pub const JOURNAL_PREFIX: usize = 24;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// Not ours, or broken.
    Bad,
    /// Intact, and from a later version than this one knows.
    Newer(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub family: Family,
    pub number: u32,
    pub size: u32,
    pub epoch: u32,
    pub spool: u128,
    pub nonce: u64,
    /// No frame of this use has a smaller LSN.
    pub first: Lsn,
}

impl SegmentHeader {
    /// The whole 4 KiB block.
    pub fn encode(&self) -> Vec<u8> {
        let mut copy = [0u8; HEADER_COPY];
        copy[..8].copy_from_slice(&SEGMENT_MAGIC);
        copy[8] = VERSION;
        copy[9] = self.family as u8;
        // 10..12: flags. Bit 0 is kept for sealed segments compressed with zstd.
        copy[12..16].copy_from_slice(&self.number.to_le_bytes());
        copy[16..20].copy_from_slice(&self.size.to_le_bytes());
        copy[20..24].copy_from_slice(&self.epoch.to_le_bytes());
        copy[24..40].copy_from_slice(&self.spool.to_le_bytes());
        copy[40..48].copy_from_slice(&self.nonce.to_le_bytes());
        copy[48..56].copy_from_slice(&self.first.0.to_le_bytes());
        let crc = crc32c::crc32c(&copy[..60]);
        copy[60..64].copy_from_slice(&crc.to_le_bytes());
        copy.repeat(SEGMENT_HEADER as usize / HEADER_COPY)
    }

    /// The first intact copy for this family and number.
    pub fn decode(block: &[u8], family: Family, number: u32) -> Result<Self, Misfit> {
        let copies = block.chunks_exact(HEADER_COPY).map(Self::decode_copy);
        let mut answer = Err(Misfit::Bad);
        for copy in copies {
            match copy {
                Ok(header) if header.family == family && header.number == number => return Ok(header),
                Err(Misfit::Newer(version)) => answer = Err(Misfit::Newer(version)),
                _ => {}
            }
        }
        answer
    }

    fn decode_copy(copy: &[u8]) -> Result<Self, Misfit> {
        if copy[..8] != SEGMENT_MAGIC || u32_at(copy, 60) != crc32c::crc32c(&copy[..60]) {
            return Err(Misfit::Bad);
        }
        if copy[8] > VERSION || copy[10..12] != [0, 0] {
            return Err(Misfit::Newer(u32::from(copy[8]).max(u32::from(VERSION) + 1)));
        }
        Ok(Self {
            family: Family::from_number(copy[9]).ok_or(Misfit::Bad)?,
            number: u32_at(copy, 12),
            size: u32_at(copy, 16),
            epoch: u32_at(copy, 20),
            spool: u128::from_le_bytes(array(&copy[24..40])),
            nonce: u64_at(copy, 40),
            first: Lsn(u64_at(copy, 48)),
        })
    }
}

impl Family {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Content, Self::Journal, Self::Copied].into_iter().find(|&family| family as u8 == number)
    }

    pub(crate) fn header_len(self) -> usize {
        if self == Self::Journal { JOURNAL_HEADER } else { CONTENT_HEADER }
    }

    /// Frames begin at multiples of this.
    pub(crate) fn alignment(self) -> u32 {
        if self == Self::Journal { 8 } else { 64 }
    }

    /// Bytes a frame takes in its segment, padding to the alignment included.
    pub(crate) fn frame_len(self, payload: u64) -> u64 {
        (self.header_len() as u64 + payload + TRAILER as u64).next_multiple_of(u64::from(self.alignment()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Content = 1,
    Facts = 2,
    /// Both durable marks, written after a rest or at the start of an epoch.
    Mark = 3,
    /// A clean stop.
    End = 4,
    /// Covers a hole that recovery left in a tail; readers step over it. Bears the LSN of the frame before it.
    Gap = 5,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Content, Self::Facts, Self::Mark, Self::End, Self::Gap].into_iter().find(|&kind| kind as u8 == number)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    pub kind: Kind,
    pub length: u32,
    pub nonce: u64,
    pub lsn: Lsn,
    /// The highest LSN of this log that was durable when the frame was written.
    pub durable: Lsn,
    pub id: MessageId,
    pub chunk: u32,
    pub copy: u32,
}

impl FrameHeader {
    /// Appends the header of a frame that stands at `offset` of segment `number`.
    pub fn encode(&self, family: Family, number: u32, offset: u32, out: &mut Vec<u8>) {
        let mut bytes = [0u8; CONTENT_HEADER];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind as u8;
        // 6..8: flags. Bit 0 is kept for compressed payloads, bit 1 for encrypted strings.
        bytes[8..12].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.nonce.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&(self.lsn.0 - self.durable.0).to_le_bytes());
        bytes[40..56].copy_from_slice(&self.id.to_bytes());
        bytes[56..60].copy_from_slice(&self.chunk.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.copy.to_le_bytes());
        let bytes = &mut bytes[..family.header_len()];
        let crc = header_crc(bytes, number, offset);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(bytes);
    }

    /// Reads a header that must belong to this use (nonce), segment and offset.
    pub fn decode(bytes: &[u8], family: Family, number: u32, offset: u32, nonce: u64) -> Result<Self, Misfit> {
        let bytes = bytes.get(..family.header_len()).ok_or(Misfit::Bad)?;
        if bytes[..4] != FRAME_MAGIC
            || u64_at(bytes, 16) != nonce
            || u32_at(bytes, 12) != header_crc(bytes, number, offset)
        {
            return Err(Misfit::Bad);
        }
        let kind = Kind::from_number(bytes[5]);
        let (true, Some(kind), [0, 0]) = (bytes[4] <= VERSION, kind, [bytes[6], bytes[7]]) else {
            return Err(Misfit::Newer(u32::from(bytes[4]).max(u32::from(VERSION) + 1)));
        };
        let lsn = Lsn(u64_at(bytes, 24));
        let durable = Lsn(lsn.0.checked_sub(u64_at(bytes, 32)).ok_or(Misfit::Bad)?);
        let mut header =
            Self { kind, length: u32_at(bytes, 8), nonce, lsn, durable, id: MessageId::default(), chunk: 0, copy: 0 };
        if family != Family::Journal {
            header.id = MessageId::from_bytes(array(&bytes[40..56]));
            header.chunk = u32_at(bytes, 56);
            header.copy = u32_at(bytes, 60);
        }
        Ok(header)
    }
}

/// Over the header without its CRC field, then segment number and offset: a frame counts only where it was written.
fn header_crc(header: &[u8], number: u32, offset: u32) -> u32 {
    let mut crc = crc32c::crc32c(&header[..12]);
    crc = crc32c::crc32c_append(crc, &header[16..]);
    let place = (u64::from(offset) << 32 | u64::from(number)).to_le_bytes();
    crc32c::crc32c_append(crc, &place)
}

/// What precedes the ledger's bytes in every journal payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalPrefix {
    pub content: Lsn,
    pub copied: Lsn,
    pub epoch: u32,
}

impl JournalPrefix {
    pub fn encode(self) -> [u8; JOURNAL_PREFIX] {
        let mut bytes = [0; JOURNAL_PREFIX];
        bytes[..8].copy_from_slice(&self.content.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.copied.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.epoch.to_le_bytes());
        bytes
    }

    pub fn decode(payload: &[u8]) -> Option<Self> {
        let bytes = payload.get(..JOURNAL_PREFIX)?;
        Some(Self { content: Lsn(u64_at(bytes, 0)), copied: Lsn(u64_at(bytes, 8)), epoch: u32_at(bytes, 16) })
    }
}

/// The file `identity`: which spool this is, and what must never be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub spool: u128,
    pub epoch: u32,
    /// Every LSN of earlier epochs is at most this.
    pub highest: Lsn,
}

impl Identity {
    pub const LEN: usize = 64;
    /// Two slots of a block each, written in turn.
    pub const FILE_LEN: u64 = 2 * BLOCK as u64;

    /// Where the identity of this epoch is written.
    pub fn slot(epoch: u32) -> u64 {
        u64::from(epoch % 2) * u64::from(BLOCK)
    }

    /// The later of the two slots.
    pub fn decode_file(bytes: &[u8]) -> Result<Self, Misfit> {
        let slots = bytes.chunks(BLOCK as usize).map(Self::decode);
        let mut latest: Result<Self, Misfit> = Err(Misfit::Bad);
        for slot in slots {
            match (slot, latest) {
                (Err(Misfit::Newer(version)), _) => return Err(Misfit::Newer(version)),
                (Ok(slot), Ok(best)) if slot.epoch <= best.epoch => {}
                (Ok(slot), _) => latest = Ok(slot),
                (Err(Misfit::Bad), _) => {}
            }
        }
        latest
    }

    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&IDENTITY_MAGIC);
        bytes[8] = VERSION;
        bytes[12..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.spool.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.highest.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Misfit> {
        if bytes.len() < Self::LEN || bytes[..8] != IDENTITY_MAGIC || u32_at(bytes, 60) != crc32c::crc32c(&bytes[..60])
        {
            return Err(Misfit::Bad);
        }
        if bytes[8] > VERSION {
            return Err(Misfit::Newer(u32::from(bytes[8])));
        }
        Ok(Self {
            spool: u128::from_le_bytes(array(&bytes[16..32])),
            epoch: u32_at(bytes, 12),
            highest: Lsn(u64_at(bytes, 32)),
        })
    }
}

/// Callers pass exactly `N` bytes.
pub fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    out
}

pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(&bytes[at..at + 2]))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(&bytes[at..at + 4]))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(&bytes[at..at + 8]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segment_header() -> SegmentHeader {
        SegmentHeader {
            family: Family::Copied,
            number: 7,
            size: 1 << 20,
            epoch: 3,
            spool: 9 << 90,
            nonce: 77,
            first: Lsn(5),
        }
    }

    #[test]
    fn a_segment_header_survives_any_seven_bad_sectors() {
        let block = segment_header().encode();
        assert_eq!(block.len(), 4096);
        for good in 0..8 {
            let mut broken = vec![0xa5; 4096];
            broken[good * 512..][..512].copy_from_slice(&block[good * 512..][..512]);
            assert_eq!(SegmentHeader::decode(&broken, Family::Copied, 7), Ok(segment_header()));
            assert_eq!(SegmentHeader::decode(&broken, Family::Copied, 8), Err(Misfit::Bad));
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut block = segment_header().encode();
        block.truncate(512);
        block[8] = 2;
        assert_eq!(SegmentHeader::decode(&block, Family::Copied, 7), Err(Misfit::Bad));
        let crc = crc32c::crc32c(&block[..60]);
        block[60..64].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&block, Family::Copied, 7), Err(Misfit::Newer(2)));
    }

    #[test]
    fn identity_round_trip() {
        let identity = Identity { spool: 1 << 100, epoch: 4, highest: Lsn(99) };
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity));
        assert_eq!(Identity::decode(b"ANGARIDE"), Err(Misfit::Bad));
        let mut file = vec![0; Identity::FILE_LEN as usize];
        assert_eq!(Identity::decode_file(&file), Err(Misfit::Bad));
        for epoch in [4, 5, 6] {
            let identity = Identity { epoch, ..identity };
            let at = Identity::slot(epoch) as usize;
            file[at..at + Identity::LEN].copy_from_slice(&identity.encode());
            assert_eq!(Identity::decode_file(&file), Ok(identity));
        }
    }

    proptest! {
        #[test]
        fn a_frame_counts_only_where_it_was_written(
            lsn in 1u64.., back in 0u64..99, length: u32, nonce: u64, id: u128, chunk: u32, copy: u32,
            number: u32, offset: u32, flip in 0usize..512, journal: bool,
        ) {
            let family = if journal { Family::Journal } else { Family::Content };
            let (id, chunk, copy) = if journal { (0, 0, 0) } else { (id, chunk, copy) };
            let durable = Lsn(lsn.saturating_sub(back));
            let header = FrameHeader { kind: Kind::Facts, length, nonce, lsn: Lsn(lsn), durable, id: MessageId(id), chunk, copy };
            let mut bytes = Vec::new();
            header.encode(family, number, offset, &mut bytes);
            prop_assert_eq!(bytes.len(), family.header_len());
            prop_assert_eq!(FrameHeader::decode(&bytes, family, number, offset, nonce), Ok(header));
            prop_assert_eq!(FrameHeader::decode(&bytes, family, number, offset ^ 64, nonce), Err(Misfit::Bad));
            prop_assert_eq!(FrameHeader::decode(&bytes, family, number ^ 1, offset, nonce), Err(Misfit::Bad));
            prop_assert_eq!(FrameHeader::decode(&bytes, family, number, offset, !nonce), Err(Misfit::Bad));
            let bit = flip % (8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(FrameHeader::decode(&bytes, family, number, offset, nonce), Err(Misfit::Bad));
        }
    }
}
