//! Any bytes to a client: every way of cutting them gives the same replies or the same error; what is given as content
//! goes out with nothing bare in it, and one end, or not at all.
#![no_main]

#[path = "../../core/smtp/tests/play/mod.rs"]
mod play;

use angarium_smtp::{Client, Command};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [how, input @ ..] = data else { return };
    let size = usize::from(*how) / 2 + 1;
    let whole = play::listen([input]);
    assert_eq!(whole, play::listen(input.chunks(1)));
    assert_eq!(whole, play::listen(input.chunks(size)));
    send(input, size);
});

fn send(content: &[u8], size: usize) {
    let mut client = Client::new();
    client.receive(play::GREETING).unwrap();
    client.send(Command::Data).unwrap();
    client.receive(b"354 go\r\n").unwrap();
    client.output().clear();
    let written = content.chunks(size).try_for_each(|chunk| client.body(chunk));
    let ended = written.and_then(|()| client.end_body());
    let sent = String::from_utf8_lossy(client.output()).into_owned();
    assert!(!sent.replace("\r\n", "").contains(['\r', '\n', '\0']));
    if ended.is_ok() {
        assert_eq!(format!("\r\n{sent}").find("\r\n.\r\n"), Some(sent.len() - 3));
    }
}
