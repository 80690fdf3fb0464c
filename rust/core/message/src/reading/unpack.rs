//! gzip and zip, unpacked up to a bound, and gzip written. Of a zip the first file counts; anything else comes back as it is.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;
use memchr::memmem;

use super::ReadError;

/// Unpacked reports that are read. The largest aggregates of large receivers have some ten megabytes.
pub const MAX_UNPACKED: usize = 64 << 20;
/// Fixed part of a local file header of a zip.
const LOCAL_HEADER: usize = 30;

pub(super) fn is_packed(data: &[u8]) -> bool {
    data.starts_with(b"\x1f\x8b") || data.starts_with(b"PK\x03\x04")
}

/// Unpacks what is packed.
pub fn unpack(data: &[u8]) -> Result<Vec<u8>, ReadError> {
    if data.starts_with(b"\x1f\x8b") {
        return bounded(MultiGzDecoder::new(data));
    }
    if data.starts_with(b"PK\x03\x04") { first_of_zip(data) } else { Ok(data.to_vec()) }
}

/// Packs a document.
pub(super) fn gzip(document: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::with_capacity(document.len() / 8), Compression::default());
    // Writing into a Vec cannot fail.
    let _ = packer.write_all(document);
    packer.finish().unwrap_or_default()
}

fn bounded(mut reader: impl Read) -> Result<Vec<u8>, ReadError> {
    let mut out = Vec::new();
    let limit = MAX_UNPACKED as u64 + 1;
    let read = reader.by_ref().take(limit).read_to_end(&mut out);
    if out.len() > MAX_UNPACKED {
        return Err(ReadError::TooLarge);
    }
    // A checksum or a tail that is missing does not take away what was read.
    if read.is_err() && out.is_empty() { Err(ReadError::Packed("nothing can be unpacked")) } else { Ok(out) }
}

fn first_of_zip(data: &[u8]) -> Result<Vec<u8>, ReadError> {
    let cut = ReadError::Packed("the zip is cut off");
    let number = |at: usize, width: usize| -> Option<usize> {
        let bytes = data.get(at..at + width)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (Some(method), Some(name), Some(extra)) = (number(8, 2), number(26, 2), number(28, 2)) else { return Err(cut) };
    let content = data.get(LOCAL_HEADER + name + extra..).ok_or(cut)?;
    match method {
        8 => bounded(DeflateDecoder::new(content)),
        0 => {
            // Sizes may stand behind the content; the directory's signature ends it in any case.
            let size = number(22, 4).filter(|size| *size > 0).or_else(|| memmem::find(content, b"PK\x01\x02"));
            let end = size.unwrap_or(content.len()).min(content.len());
            if end > MAX_UNPACKED { Err(ReadError::TooLarge) } else { Ok(content[..end].to_vec()) }
        }
        _ => Err(ReadError::Packed("the zip uses a method that is not deflate")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_stop_at_the_bound() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..70 {
            packer.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(unpack(&packer.finish().unwrap()), Err(ReadError::TooLarge));
    }

    /// A zip with one file, its sizes in front as most writers have them.
    fn zip(method: u8, content: &[u8], size: u32) -> Vec<u8> {
        let mut out = b"PK\x03\x04\x14\0\0\0".to_vec();
        out.extend_from_slice(&[method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&(content.len() as u32).to_le_bytes());
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&[5, 0, 0, 0]);
        out.extend_from_slice(b"a.xml");
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn zips_are_bounded_whatever_they_say_of_their_size() {
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        for _ in 0..70 {
            packer.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(unpack(&zip(8, &packer.finish().unwrap(), 10)), Err(ReadError::TooLarge));
        assert_eq!(unpack(&zip(0, &vec![b'x'; MAX_UNPACKED + 1], u32::MAX)), Err(ReadError::TooLarge));
        assert_eq!(unpack(&zip(0, b"<feedback/>", 11)), Ok(b"<feedback/>".to_vec()));
        assert_eq!(unpack(&zip(9, b"?", 1)), Err(ReadError::Packed("the zip uses a method that is not deflate")));
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        assert_eq!(unpack(&gzip(b"<feedback/>")), Ok(b"<feedback/>".to_vec()));
        // Several members behind one another are one document (RFC 1952 2.2).
        assert_eq!(unpack(&[gzip(b"<feed"), gzip(b"back/>")].concat()), Ok(b"<feedback/>".to_vec()));
    }

    #[test]
    fn damage_is_an_error_or_what_can_be_read() {
        assert!(matches!(unpack(b"\x1f\x8bxx"), Err(ReadError::Packed(_))));
        assert!(matches!(unpack(b"PK\x03\x04"), Err(ReadError::Packed(_))));
        assert_eq!(unpack(b"plain"), Ok(b"plain".to_vec()));
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(b"some content").unwrap();
        let packed = packer.finish().unwrap();
        assert_eq!(unpack(&packed[..packed.len() - 4]), Ok(b"some content".to_vec()));
    }
}
