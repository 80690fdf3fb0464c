//! Any bytes behind an envelope, with BDAT, LMTP and PRDR: every way of cutting them gives the same events and replies;
//! chunks of any sizes keep what was sent and nothing else; a client's chunks hold nothing bare.
#![no_main]

#[path = "../../core/smtp/tests/play/mod.rs"]
mod play;

use angarium_smtp::{Client, Command, MailParameters, ServerSettings};
use libfuzzer_sys::fuzz_target;

const ENVELOPE: &str =
    " c.example\r\nMAIL FROM:<a@b.example> PRDR\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\n";

fuzz_target!(|data: &[u8]| {
    let [how, size, input @ ..] = data else { return };
    let settings = if how & 1 == 0 { play::extended() } else { play::lmtp() };
    let hello = if how & 1 == 0 { "EHLO" } else { "LHLO" };
    let commands = [hello.as_bytes(), ENVELOPE.as_bytes(), input].concat();
    let size = usize::from(*size) + 1;
    same_however_cut(&settings, &commands, size);
    let chunked = [hello.as_bytes(), ENVELOPE.as_bytes(), &in_chunks(input, size), b"QUIT\r\n"].concat();
    let transcript = same_however_cut(&settings, &chunked, size);
    assert_eq!(transcript.codes().last(), Some(&"221"), "content became a command");
    client(input, size);
});

fn same_however_cut(settings: &ServerSettings, input: &[u8], size: usize) -> play::Transcript {
    let whole = play::play_whole(settings, input);
    assert_eq!(whole, play::play_bytewise(settings, input));
    assert_eq!(whole, play::play(settings, input.chunks(size)));
    whole
}

fn in_chunks(content: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in content.chunks(size) {
        out.extend([format!("BDAT {}\r\n", chunk.len()).as_bytes(), chunk].concat());
    }
    out.extend(b"BDAT 0 LAST\r\n");
    out
}

fn client(content: &[u8], size: usize) {
    let mut client = Client::new();
    client.receive(play::GREETING).unwrap();
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(b"250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n").unwrap();
    client.send(Command::Mail("a@b.example", MailParameters::default())).unwrap();
    client.output().clear();
    let mut sent = Vec::new();
    for chunk in content.chunks(size) {
        client.send(Command::Bdat { size: chunk.len() as u64, last: false }).unwrap();
        client.output().clear();
        if client.chunk(chunk).is_err() {
            return;
        }
        sent.append(client.output());
    }
    let ended = client.send(Command::Bdat { size: 0, last: true });
    let text = String::from_utf8_lossy(&sent).replace("\r\n", "");
    assert!(ended.is_err() || !text.contains(['\r', '\n', '\0']));
    assert_eq!(sent, content);
}
