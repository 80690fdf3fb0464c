//! A client and a server speak with each other through two buffers.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use angarium_smtp::{Client, Command, CommandKind, Event, MailParameters, RcptParameters, Server, ServerSettings};

/// Lets the server read what the client wrote, accepting everything; gives the bodies.
fn serve(server: &mut Server, client: &mut Client) -> Vec<u8> {
    let input = std::mem::take(client.output());
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let (used, event) = server.receive(&input[at..]);
        at += used;
        match event {
            Event::Need => break,
            Event::Body(text) => body.extend_from_slice(text),
            _ if server.awaits().is_some() => server.accept(),
            _ => {}
        }
    }
    let answers = std::mem::take(server.output());
    client.receive(&answers).unwrap();
    body
}

fn kinds(client: &mut Client) -> Vec<(CommandKind, u16)> {
    std::iter::from_fn(|| client.next_reply()).map(|(kind, reply)| (kind, reply.code)).collect()
}

#[test]
fn two_messages_pipelined() {
    let mut server = Server::new(Arc::new(ServerSettings::new("mx.example")));
    let mut client = Client::new();
    server.greet();
    serve(&mut server, &mut client);
    client.send(Command::Ehlo("client.example")).unwrap();
    serve(&mut server, &mut client);
    assert_eq!(kinds(&mut client), [(CommandKind::Greeting, 220), (CommandKind::Ehlo, 250)]);
    assert_eq!(client.capabilities().size, Some(50 << 20));

    let envelope = |client: &mut Client| {
        client.send(Command::Mail("a@example.org", MailParameters::default())).unwrap();
        client.send(Command::Rcpt("b@example.org", RcptParameters::default())).unwrap();
        client.send(Command::Data).unwrap();
    };
    envelope(&mut client);
    serve(&mut server, &mut client);
    assert!(client.is_in_content());
    client.body(b"Subject: x\r\n\r\n.dot\r\n..two\r\nend").unwrap();
    client.end_body().unwrap();
    envelope(&mut client);
    let body = serve(&mut server, &mut client);
    assert_eq!(body, b"Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n");
    let codes: Vec<_> = kinds(&mut client).into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, [250, 250, 354, 250, 250, 250, 354]);
    client.end_body().unwrap();
    client.send(Command::Quit).unwrap();
    serve(&mut server, &mut client);
    assert_eq!(kinds(&mut client), [(CommandKind::Content, 250), (CommandKind::Quit, 221)]);
    assert!(server.is_closed());
}
