//! Any words as parameters of MAIL and RCPT, and as attributes of XCLIENT: what is read holds nothing that could break a
//! line or a header field, and our own client writes it so that it is read again as the same.
#![no_main]

#[path = "../../core/smtp/tests/play/mod.rs"]
mod play;

use std::sync::Arc;

use angarium_smtp::{Client, Command, Event, MailCommand, MailParameters, RcptCommand, RcptParameters, Server, xtext};
use libfuzzer_sys::fuzz_target;

const EHLO: &[u8] = b"250-mx.example\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-AUTH PLAIN\r\n\
    250-CHUNKING\r\n250-BINARYMIME\r\n250-DSN\r\n250-DELIVERBY\r\n250-FUTURERELEASE\r\n250-MT-PRIORITY\r\n250-REQUIRETLS\r\n\
    250 PRDR\r\n";

fuzz_target!(|data: &[u8]| {
    // One line: what stands behind another is another target's business.
    if data.contains(&b'\n') {
        return;
    }
    let mut server = server();
    if let Some(mail) = ask(&mut server, &[b"MAIL FROM:<a@b.example> ", data, b"\r\n"].concat()).0 {
        again(&mail);
    }
    let mut server = self::server();
    ask(&mut server, b"MAIL FROM:<a@b.example> SMTPUTF8\r\n");
    if let Some(rcpt) = ask(&mut server, &[b"RCPT TO:<c@d.example> ", data, b"\r\n"].concat()).1 {
        recipient_again(&rcpt);
    }
    for verb in ["XCLIENT ", "XFORWARD "] {
        ask(&mut self::server(), &[verb.as_bytes(), data, b"\r\n"].concat());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(xtext::decode(text).is_none_or(|octets| xtext::decode(&xtext::encode(&octets)) == Some(octets)));
    }
});

fn server() -> Server {
    let mut server = Server::new(Arc::new(play::extended()));
    server.set_now(play::NOON);
    server.greet();
    ask(&mut server, b"EHLO c.example\r\n");
    server
}

/// Whether one line was understood.
fn ask(server: &mut Server, line: &[u8]) -> (Option<MailCommand>, Option<RcptCommand>) {
    let (_, event) = server.receive(line);
    let clean = |text: &str| assert!(!text.chars().any(char::is_control), "{text:?}");
    match event {
        Event::Mail(mail) => {
            mail.envid.iter().for_each(|envid| clean(envid));
            server.accept();
            return (Some(mail), None);
        }
        Event::Rcpt(rcpt) => {
            rcpt.orcpt.iter().for_each(|orcpt| clean(orcpt));
            return (None, Some(rcpt));
        }
        Event::Xclient(said) | Event::Xforward(said) => {
            let texts = [said.name, said.helo, said.login, said.ident, said.proto, said.source];
            texts.iter().filter_map(|given| given.value()).for_each(|text| clean(text));
        }
        Event::Hello(_) => server.accept(),
        _ => {}
    }
    (None, None)
}

fn client() -> Client {
    let mut client = Client::new();
    client.receive(play::GREETING).unwrap();
    client.send(Command::Ehlo("c.example")).unwrap();
    client.receive(EHLO).unwrap();
    client.output().clear();
    client
}

fn again(mail: &MailCommand) {
    let auth = mail.auth.as_ref().map(|path| path.as_ref().map_or("", |path| path.as_str()));
    // RFC 6531 has no way to say such an address in AUTH.
    if auth.is_some_and(|auth| !auth.is_ascii()) {
        return;
    }
    let parameters = MailParameters {
        size: mail.size,
        body: mail.body,
        smtputf8: mail.smtputf8,
        ret: mail.ret,
        envid: mail.envid.as_deref(),
        by: mail.by,
        hold: mail.hold,
        priority: mail.priority,
        require_tls: mail.require_tls,
        auth,
        prdr: mail.prdr,
    };
    let mut client = client();
    client.send(Command::Mail("a@b.example", parameters)).unwrap();
    assert_eq!(ask(&mut server(), client.output()).0.as_ref(), Some(mail));
}

fn recipient_again(rcpt: &RcptCommand) {
    let mut client = client();
    client.send(Command::Mail("a@b.example", MailParameters { smtputf8: true, ..MailParameters::default() })).unwrap();
    client.output().clear();
    let parameters = RcptParameters { notify: rcpt.notify, orcpt: rcpt.orcpt.as_deref() };
    client.send(Command::Rcpt("c@d.example", parameters)).unwrap();
    let mut server = server();
    ask(&mut server, b"MAIL FROM:<a@b.example> SMTPUTF8\r\n");
    // Written out in full, characters that came as themselves may be too many for the line.
    if client.output().len() < 500 {
        assert_eq!(ask(&mut server, client.output()).1.as_ref(), Some(rcpt));
    }
}
