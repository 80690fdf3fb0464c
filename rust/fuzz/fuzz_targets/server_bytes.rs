//! Any bytes to a server: every way of cutting them gives the same events and replies, and nothing unbounded is kept.
#![no_main]

#[path = "../../core/smtp/tests/play/mod.rs"]
mod play;

use angarium_smtp::{BareNewline, ServerSettings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first octet says how to cut and which settings, the second where the bytes begin.
    let [how, place, input @ ..] = data else { return };
    let bare_newline = if how & 1 == 0 { BareNewline::Reject } else { BareNewline::Normalise };
    let settings = ServerSettings { bare_newline, ..play::small() };
    let before = if place & 1 == 0 { "" } else { play::TO_CONTENT };
    let input = [before.as_bytes(), input].concat();
    let whole = play::play_whole(&settings, &input);
    assert_eq!(whole, play::play_bytewise(&settings, &input));
    assert_eq!(whole, play::play(&settings, input.chunks(usize::from(*how) / 2 + 1)));
});
