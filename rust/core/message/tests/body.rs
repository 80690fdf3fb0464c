//! Bodies: the high bit, and CRLF to LF in any chunking.

use angarium_message::body::{ToLf, has_8bit, has_line_over, lf_pieces};
use proptest::prelude::*;

fn lines() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), any::<u8>()], 0..60)
}

fn plain(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, byte) in data.iter().enumerate() {
        if *byte != b'\r' || data.get(at + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out
}

proptest! {
    #[test]
    fn pieces_are_the_text(data in lines()) {
        prop_assert_eq!(lf_pieces(&data).collect::<Vec<_>>().concat(), plain(&data));
    }

    #[test]
    fn chunks_do_not_matter(data in lines(), size in 1usize..7) {
        let mut out = Vec::new();
        let mut to_lf = ToLf::default();
        for chunk in data.chunks(size) {
            to_lf.feed(chunk, &mut out);
            to_lf.feed(b"", &mut out);
        }
        to_lf.finish(&mut out);
        prop_assert_eq!(out, plain(&data));
    }

    #[test]
    fn long_lines(lengths in proptest::collection::vec(0usize..9, 0..9), limit in 1usize..9, last in 0usize..9) {
        let mut data: Vec<u8> = lengths.iter().flat_map(|length| [vec![b'x'; *length], b"\r\n".to_vec()].concat()).collect();
        data.extend(vec![b'x'; last]);
        prop_assert_eq!(has_line_over(limit, &data), lengths.iter().chain([&last]).any(|length| *length > limit));
    }

    #[test]
    fn eight_bit(data: Vec<u8>) {
        prop_assert_eq!(has_8bit(&data), data.iter().any(|byte| *byte > 127));
    }
}
