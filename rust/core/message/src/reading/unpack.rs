//! gzip and zip, unpacked up to a bound. Of a zip the first file counts; anything else comes back as it is.

use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder};
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
    use std::io::Write;

    #[test]
    fn bombs_stop_at_the_bound() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..70 {
            packer.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(unpack(&packer.finish().unwrap()), Err(ReadError::TooLarge));
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
