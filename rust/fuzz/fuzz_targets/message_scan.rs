//! Any bytes: the tree covers them, and everything that can be asked of its parts is answered.
#![no_main]

use angarium_message::{Tree, bounce, convert, findings, rewrite::Rewrite, union};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let tree = Tree::scan(data);
    assert_eq!(tree.root(data).range(), 0..data.len());
    for part in tree.parts(data) {
        let _ = (part.decode(), part.text(), part.file_name(), part.disposition(), part.is_attachment());
        for field in part.fields() {
            let value = part.value_of(field);
            let _ = angarium_message::words::decode(value);
            let _ = angarium_message::address::parse_list(value);
            let _ = angarium_message::date::parse(value);
        }
    }
    let _ = (findings::findings(&tree, data), bounce::read(data));
    if let Ok(Some(converted)) = convert::seven_bit(data) {
        assert!(convert::is_seven_bit(&converted));
    }
    assert_eq!(Rewrite::new(data).finish(), data);
    let _ = union::union(data);
    let mut rewrite = Rewrite::new(data);
    rewrite.append_footer("f\u{fc}r", "<p>\u{20ac}</p>");
    let _ = rewrite.finish();
});
