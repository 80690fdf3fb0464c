//! Questions to hooks over real sockets: verdicts, deadlines, defaults, and what they do to a message.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;

use angarium_engine::asks::{Ask, AskPhase, View};
use angarium_engine::event::Event;
use angarium_engine::policy::{Hook, HookDefault, Hooks, Policy};
use angarium_engine::tables::{Decision, Verdict};
use support::{House, table};

fn hooked(change: impl FnOnce(&mut Hooks)) -> House {
    House::with(|policy: &mut Policy| change(&mut policy.hooks))
}

fn asked(house: &House) -> Box<Ask> {
    match house.event(|event| matches!(event, Event::Ask(_))) {
        Event::Ask(ask) => ask,
        _ => unreachable!("only that was looked for"),
    }
}

fn answer(house: &House, ask: &Ask, verdict: &Verdict) {
    assert!(house.engine.answer(ask.number, &table(verdict)).unwrap());
}

fn decided(decision: Decision) -> Verdict {
    Verdict { decision, ..Verdict::default() }
}

#[test]
fn connect_is_asked_before_the_banner() {
    let house = hooked(|hooks| hooks.connect = Some(Hook::default()));
    let mut client = house.silent_client();
    let ask = asked(&house);
    assert_eq!(ask.question.phase, AskPhase::Connect);
    answer(&house, &ask, &Verdict { text: "not you".into(), ..decided(Decision::Reject) });
    let (code, text) = client.reply();
    assert!(code == 554 && text.starts_with("5.7.1 not you ["), "{code} {text}");
    client.expect("QUIT", 221);
    let mut welcome = house.silent_client();
    answer(&house, &asked(&house), &Verdict::default());
    assert_eq!(welcome.reply().0, 220);
}

#[test]
fn mail_and_rcpt_are_judged() {
    let house = hooked(|hooks| (hooks.mail, hooks.rcpt) = (Some(Hook::default()), Some(Hook::default())));
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.send(b"MAIL FROM:<bad@b.example>\r\n");
    answer(&house, &asked(&house), &decided(Decision::Defer));
    assert_eq!(client.reply().0, 451);
    client.send(b"MAIL FROM:<good@b.example>\r\nRCPT TO:<one@c.example>\r\nRCPT TO:<two@c.example>\r\n");
    answer(&house, &asked(&house), &Verdict::default());
    answer(&house, &asked(&house), &decided(Decision::Reject));
    let second = asked(&house);
    assert_eq!(second.question.recipients, ["two@c.example"]);
    assert_eq!(second.question.hello, "client.example");
    answer(&house, &second, &Verdict::default());
    assert_eq!([client.reply().0, client.reply().0, client.reply().0], [250, 550, 250]);
    client.expect("DATA", 354);
    client.expect("x\r\n.", 250);
    house.until("received_recipients", 1);
}

#[test]
fn the_message_hook_sees_the_content_without_our_trace() {
    let house = hooked(|hooks| hooks.message = Some(Hook::default()));
    let mut client = house.client();
    client.open("user@there.example");
    client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n");
    let ask = asked(&house);
    let Some(View::Memory(bytes, from)) = &ask.question.view else { panic!("a small body is in memory") };
    assert_eq!(&bytes[*from..], b"Subject: x\r\n\r\nhello\r\n");
    assert_eq!((ask.question.size, ask.question.recipients.len()), (21, 1));
    answer(&house, &ask, &Verdict { edits: vec![(0, b"X-Seen: yes".to_vec().into())], ..Verdict::default() });
    // Somebody may look at the bytes for longer than the message is on its way.
    assert_eq!(client.reply().0, 250);
    assert_eq!(&bytes[*from..*from + 7], b"Subject");
    house.until("received", 1);
}

#[test]
fn verdicts_of_single_recipients_are_folded() {
    let house = hooked(|hooks| hooks.message = Some(Hook::default()));
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    for (first, second, code, kept) in [
        (Decision::Accept, Decision::Reject, 250, 2),
        (Decision::Reject, Decision::Reject, 550, 2),
        (Decision::Reject, Decision::Defer, 451, 2),
        (Decision::Discard, Decision::Accept, 250, 3),
        (Decision::Discard, Decision::Discard, 250, 3),
    ] {
        client.expect("MAIL FROM:<a@b.example>", 250);
        client.expect("RCPT TO:<one@c.example>", 250);
        client.expect("RCPT TO:<two@c.example>", 250);
        client.expect("DATA", 354);
        client.send(b"x\r\n.\r\n");
        let recipients = BTreeMap::from([(0, decided(first)), (1, decided(second))]);
        answer(&house, &asked(&house), &Verdict { recipients, ..Verdict::default() });
        assert_eq!(client.reply().0, code, "{first:?} {second:?}");
        house.until("received_recipients", kept);
    }
    // The refused one of the first message is in quarantine.
    house.until("state_held", 1);
}

#[test]
fn without_an_answer_the_default_holds_and_a_late_answer_is_told_so() {
    for (otherwise, code) in [(HookDefault::Defer, 451), (HookDefault::Accept, 250)] {
        let house = hooked(|hooks| hooks.message = Some(Hook { deadline: 100, otherwise }));
        let mut client = house.client();
        assert_eq!(client.deliver("user@there.example", "x").0, code);
        let ask = asked(&house);
        assert!(!house.engine.answer(ask.number, b"").unwrap());
        assert_eq!(house.figure("asks_late"), 1);
    }
}

#[test]
fn a_large_body_is_shown_as_its_file() {
    let house = hooked(|hooks| hooks.message = Some(Hook::default()));
    let mut client = house.client();
    client.open("user@there.example");
    let line = b"0123456789abcdef0123456789abcdef\r\n";
    client.send(b"Subject: x\r\n\r\n");
    client.send(&line.repeat(60_000));
    client.send(b".\r\n");
    let ask = asked(&house);
    let Some(View::File(name, from)) = &ask.question.view else { panic!("a large body is a file") };
    let bytes = std::fs::read(house.folder.0.join(name)).unwrap();
    assert_eq!(&bytes[*from..*from + 10], b"Subject: x");
    assert_eq!((bytes.len() - from) as u64, ask.question.size);
    answer(
        &house,
        &ask,
        &Verdict { body: Some(b"Subject: other\r\n\r\nshort\r\n".to_vec().into()), ..Verdict::default() },
    );
    assert_eq!(client.reply().0, 250);
}
