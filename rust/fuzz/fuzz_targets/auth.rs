//! Any bytes to logins: the server's exchange never accepts what nobody judged, the client's never trusts a server without
//! proof, and AUTH lines read the same however they are cut.
#![no_main]

#[path = "../../core/smtp/tests/play/mod.rs"]
mod play;

use angarium_smtp::sasl::{ClientExchange, ClientLogin, Exchange, Mechanism, Secret, Setting, Step, StoredKeys};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [how, input @ ..] = data else { return };
    let mechanism = Mechanism::ALL[usize::from(*how) % Mechanism::ALL.len()];
    let messages: Vec<&[u8]> = input.split(|octet| *octet == b'\n').collect();
    server(mechanism, how & 0x80 != 0, &messages);
    client(mechanism, &messages);
    let lines = [b"EHLO c.example\r\nAUTH ", mechanism.name().as_bytes(), b"\r\n", input].concat();
    let whole = play::play_whole(&play::extended(), &lines);
    assert_eq!(whole, play::play_bytewise(&play::extended(), &lines));
});

fn server(mechanism: Mechanism, initial: bool, messages: &[&[u8]]) {
    let setting =
        Setting { hostname: "mx.example", nonce: "nonce", exporter: Some(b"x"), end_point: None, plus_offered: true };
    let mut messages = messages.iter();
    let first = if initial { messages.next().copied() } else { None };
    let (mut exchange, mut step) = Exchange::start(mechanism, first, setting);
    loop {
        step = match step {
            Step::Challenge(_) => match messages.next() {
                Some(message) => exchange.respond(message, setting),
                None => return,
            },
            // Nobody knows anybody here.
            Step::Check(_) => exchange.verdict(false),
            Step::Keys { login, .. } => exchange.keys(StoredKeys::fake(b"key", &login, 4_096)),
            Step::Accepted(identity) => panic!("accepted {identity:?}"),
            Step::Refused(_) => return,
        };
    }
}

fn client(mechanism: Mechanism, messages: &[&[u8]]) {
    let secret = Secret::from("secret");
    let channel = Some(("tls-exporter", b"x".as_slice()));
    let login = ClientLogin {
        login: "user",
        authzid: "",
        secret: &secret,
        server: ("mx.example", 25),
        nonce: "nonce",
        channel,
    };
    let Ok((mut exchange, _)) = ClientExchange::start(mechanism, login) else { return };
    // A server that asks for many rounds costs the fuzzer its time.
    let cheap = |message: &&[u8]| !message.windows(2).any(|pair| pair == b"i=") || message.ends_with(b"i=4096");
    for message in messages.iter().filter(|message| cheap(message)) {
        if exchange.answer(message).is_err() {
            break;
        }
    }
    if matches!(mechanism, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus) {
        assert!(exchange.finish().is_err(), "no server knows the secret");
    }
}
