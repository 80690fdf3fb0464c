//! Sessions over real sockets: what is answered when, and what bad peers and a bad disk bring about.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use angarium_engine::policy::{Listener, NewlineMode, Profile, TlsUse};
use support::{Client, House, wait_for};

#[test]
fn a_message_is_answered_with_its_id() {
    let house = House::new();
    let mut client = house.client();
    let (code, text) = client.deliver("user@there.example", "Subject: x\r\n\r\nhello");
    assert_eq!(code, 250);
    let id = text.strip_prefix("2.0.0 Queued as ").unwrap();
    assert!(id.parse::<angarium_nouns::MessageId>().is_ok(), "{text}");
    client.expect("QUIT", 221);
    assert_eq!(client.reply().0, 0);
    house.until("received", 1);
    house.until("sessions", 0);
}

#[test]
fn nothing_is_acknowledged_before_its_sync() {
    let house = House::new();
    house.disk.hold();
    let mut client = house.client();
    client.open("user@there.example");
    client.send(b"hello\r\n.\r\n");
    wait_for(|| house.disk.waiting() == 1, "the sync");
    // The answer cannot be there: the sync has not returned.
    client.0.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut nothing = [0; 1];
    assert!(std::io::Read::read(client.0.get_mut(), &mut nothing).is_err());
    client.0.get_ref().set_read_timeout(Some(support::PATIENCE)).unwrap();
    house.disk.release();
    assert_eq!(client.reply().0, 250);
}

#[test]
fn one_sync_for_all_who_wait() {
    let house = House::new();
    house.disk.hold();
    let mut clients: Vec<Client> = (0..20).map(|_| house.client()).collect();
    clients[0].open("user@there.example");
    clients[0].send(b"first\r\n.\r\n");
    wait_for(|| house.disk.waiting() == 1, "the first sync");
    for client in &mut clients[1..] {
        client.open("user@there.example");
        client.send(b"another\r\n.\r\n");
    }
    wait_for(|| house.figure("transactions") == 20, "all of them");
    house.disk.release();
    for client in &mut clients {
        assert_eq!(client.reply().0, 250);
    }
    // The second group may be taken before its last member is there, but twenty syncs it is not.
    assert!(house.disk.synced() <= 6, "{}", house.disk.synced());
}

#[test]
fn a_reset_before_the_group_is_taken_is_not_committed() {
    let house = House::new();
    house.disk.hold();
    let mut first = house.client();
    first.open("user@there.example");
    first.send(b"first\r\n.\r\n");
    wait_for(|| house.disk.waiting() == 1, "the first sync");
    let mut gone = house.client();
    gone.open("user@there.example");
    gone.send(b"gone\r\n.\r\n");
    let mut closed = house.client();
    closed.open("user@there.example");
    closed.send(b"closed\r\n.\r\n");
    wait_for(|| house.figure("bytes_in_flight") > 0 && house.figure("transactions") == 3, "the others");
    // The dots are read when nothing of them is left in the sockets: ask the engine by a fourth session's sync.
    std::thread::sleep(Duration::from_millis(50));
    gone.reset();
    drop(closed);
    house.disk.release();
    assert_eq!(first.reply().0, 250);
    house.until("withdrawn", 1);
    // An end of stream behind a complete message commits (S8).
    house.until("received", 2);
}

#[test]
fn relaying_is_for_those_who_may() {
    let house = House::with(|policy| {
        policy.accept_any = false;
        policy.local_domains = vec!["here.example".into()];
        policy.relay_domains = vec!["partner.example".into()];
    });
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<>", 250);
    assert!(client.expect("RCPT TO:<user@elsewhere.example>", 550).starts_with("5.7.1"));
    client.expect("DATA", 554);
    client.expect("RCPT TO:<user@here.example>", 250);
    client.expect("RCPT TO:<user@partner.example>", 250);
    client.expect("RCPT TO:<Postmaster>", 250);
    client.expect("DATA", 354);
    client.expect("hello\r\n.", 250);
    house.until("received_recipients", 3);
}

#[test]
fn trusted_networks_relay() {
    let house = House::with(|policy| {
        policy.accept_any = false;
        policy.trusted_networks = vec!["127.0.0.0/8".into()];
    });
    assert_eq!(house.client().deliver("user@elsewhere.example", "x").0, 250);
}

#[test]
fn too_many_received_fields_are_a_loop() {
    let house = House::with(|policy| policy.limits.max_received = 30);
    let hops = |count: usize| "Received: from a by b; now\r\n".repeat(count) + "\r\nbody";
    let mut client = house.client();
    assert_eq!(client.deliver("user@there.example", &hops(30)).0, 250);
    let (code, text) = client.deliver("user@there.example", &hops(31));
    assert_eq!((code, &text[..5]), (554, "5.4.6"));
}

#[test]
fn a_large_body_goes_to_a_file_and_its_beginning_is_looked_at() {
    let house = House::with(|policy| policy.limits.max_received = 3);
    let body = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(50_000);
    let mut client = house.client();
    assert_eq!(client.deliver("user@there.example", &format!("Subject: large\r\n\r\n{body}")).0, 250);
    let bodies = std::fs::read_dir(house.folder.0.join("bodies")).unwrap().count();
    assert_eq!(bodies, 1);
    let looping = "Received: x\r\n".repeat(4);
    assert_eq!(client.deliver("user@there.example", &format!("{looping}\r\n{body}")).0, 554);
    assert_eq!(client.deliver("user@there.example", "small").0, 250);
    wait_for(|| std::fs::read_dir(house.folder.0.join("bodies")).unwrap().count() == 1, "the dropped file");
    house.until("bytes_in_flight", 0);
}

#[test]
fn too_large_is_told_at_mail_and_at_the_dot() {
    let house = House::with(|policy| policy.listeners[0].max_size = 100_000);
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<a@b.example> SIZE=100001", 552);
    client.expect("RSET", 250);
    let (code, text) = client.deliver("user@there.example", &"0123456789\r\n".repeat(10_000));
    assert_eq!((code, &text[..5]), (552, "5.3.4"));
    house.until("transactions", 0);
}

#[test]
fn one_megabyte_of_one_header_is_refused_and_the_session_goes_on() {
    let house = House::new();
    let folded = format!("Subject: a\r\n{}", " and so on and on and on and on and on\r\n".repeat(30_000));
    let mut client = house.client();
    let (code, text) = client.deliver("user@there.example", &folded);
    assert_eq!((code, &text[..5]), (552, "5.3.4"));
    let (code, _) = client.deliver("user@there.example", &format!("Subject: {}", "a".repeat(1 << 20)));
    assert_eq!(code, 500);
    assert_eq!(client.deliver("user@there.example", "x").0, 250);
}

#[test]
fn ten_thousand_recipients() {
    let house = House::with(|policy| policy.listeners[0].max_recipients = 10_000);
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<a@b.example>", 250);
    let mut writer = client.0.get_ref().try_clone().unwrap();
    let lines: Vec<String> = (0..10_001).map(|n| format!("RCPT TO:<user{n}@there.example>\r\n")).collect();
    let pipelined = lines.concat();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, pipelined.as_bytes()).unwrap());
    for _ in 0..10_000 {
        assert_eq!(client.reply().0, 250);
    }
    let (code, text) = client.reply();
    assert_eq!((code, &text[..5]), (452, "4.5.3"));
    sender.join().unwrap();
    client.expect("DATA", 354);
    client.expect("hello\r\n.", 250);
    house.until("received_recipients", 10_000);
}

#[test]
fn limits_of_sessions() {
    let house = House::with(|policy| {
        policy.limits.sessions = 4;
        policy.limits.sessions_per_address = 2;
    });
    let held = (house.client(), house.client());
    let (code, text) = house.silent_client().reply();
    assert_eq!((code, text.contains("from your address")), (421, true));
    house.set_policy(|policy| policy.limits.sessions = 2);
    let (code, text) = house.silent_client().reply();
    assert_eq!((code, text.contains("from your address")), (421, false));
    drop(held);
    house.until("sessions", 0);
    house.client();
}

#[test]
fn a_silent_client_hears_421() {
    let house = House::with(|policy| policy.timeouts.command = 300);
    let mut client = house.client();
    let (code, text) = client.reply();
    assert_eq!((code, &text[..5]), (421, "4.4.2"));
    assert_eq!(client.reply().0, 0);
    house.until("timeouts", 1);
}

#[test]
fn a_command_that_drips_does_not_live_longer() {
    let house = House::with(|policy| policy.timeouts.command = 400);
    let mut client = house.client();
    let begun = Instant::now();
    let mut dripped = 0;
    while house.figure("timeouts") == 0 && dripped < 100 {
        let _ = std::io::Write::write_all(client.0.get_mut(), b"N");
        std::thread::sleep(Duration::from_millis(50));
        dripped += 1;
    }
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn content_that_stops_or_drips_ends() {
    let house = House::with(|policy| {
        policy.timeouts.data_block = 300;
        policy.timeouts.data_rate = 1_000;
    });
    let mut stopped = house.client();
    stopped.open("user@there.example");
    stopped.send(b"Subject: half");
    let mut dripping = house.client();
    dripping.open("user@there.example");
    let begun = Instant::now();
    while house.figure("timeouts") < 2 && begun.elapsed() < Duration::from_secs(10) {
        let _ = std::io::Write::write_all(dripping.0.get_mut(), b"x");
        std::thread::sleep(Duration::from_millis(50));
    }
    for client in [&mut stopped, &mut dripping] {
        let (code, text) = client.reply();
        assert_eq!((code, &text[..5]), (421, "4.4.2"));
    }
    house.until("transactions", 0);
    assert_eq!(house.figure("received"), 0);
}

#[test]
fn a_disconnect_in_the_middle_leaves_nothing() {
    let house = House::new();
    let mut client = house.client();
    client.open("user@there.example");
    client.send(b"Subject: half\r\n\r\nand then");
    house.until("transactions", 1);
    drop(client);
    house.until("aborted", 1);
    house.until("bytes_in_flight", 0);
    assert_eq!(house.figure("received"), 0);
}

#[test]
fn a_client_that_does_not_read_is_ended() {
    let house = House::with(|policy| policy.timeouts.write = 300);
    let client = house.client();
    let mut writer = client.0.get_ref().try_clone().unwrap();
    writer.set_write_timeout(Some(support::PATIENCE)).unwrap();
    // Replies pile up until neither buffer takes more.
    while std::io::Write::write_all(&mut writer, &b"HELP\r\n".repeat(1_000)).is_ok() {
        if house.figure("sessions") == 0 {
            break;
        }
    }
    house.until("sessions", 0);
}

#[test]
fn a_full_disk_is_452_and_heals() {
    let house = House::new();
    house.disk.set_full(true);
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcdef0123456789abcdef\r\n".repeat(100_000));
    let (code, text) = client.try_deliver("user@there.example", &large);
    assert_eq!((code, &text[..5]), (452, "4.3.1"));
    house.disk.set_full(false);
    client.expect("RSET", 250);
    let end = Instant::now() + support::PATIENCE;
    while client.say("MAIL FROM:<a@b.example>").0 != 250 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    client.expect("RSET", 250);
    assert_eq!(client.try_deliver("user@there.example", &large).0, 250);
}

#[test]
fn a_failed_sync_stops_intake_and_is_shown() {
    let house = House::new();
    let mut client = house.client();
    assert_eq!(client.deliver("user@there.example", "good").0, 250);
    house.disk.break_content_sync();
    assert_eq!(client.deliver("user@there.example", "bad").0, 451);
    client.expect("MAIL FROM:<a@b.example>", 451);
    let faults = house.engine.faults();
    assert!(faults.iter().any(|fault| fault.kind.stops_intake()), "{faults:?}");
    assert_eq!(house.figure("received"), 1);
}

#[test]
fn stop_lets_messages_in_hand_come_to_their_answer() {
    let house = House::new();
    let mut idle = house.client();
    let mut busy = house.client();
    busy.open("user@there.example");
    house.until("transactions", 1);
    let deadline = house.engine.clock().now() + 10_000;
    let ticket = house.engine.stop(deadline).unwrap();
    let (code, text) = idle.reply();
    assert_eq!((code, &text[..5]), (421, "4.3.2"));
    let (code, _) = house.silent_client().reply();
    assert_eq!(code, 421);
    busy.send(b"the rest\r\n.\r\n");
    assert_eq!(busy.reply().0, 250);
    assert_eq!(busy.reply().0, 421);
    house.done(ticket).result.unwrap();
    assert_eq!(house.figure("received"), 1);
}

#[test]
fn stop_cuts_off_at_its_deadline() {
    let house = House::new();
    let mut slow = house.client();
    slow.open("user@there.example");
    house.until("transactions", 1);
    let ticket = house.engine.stop(house.engine.clock().now() + 200).unwrap();
    let done = house.done(ticket).result.unwrap();
    assert!(!done.result.is_empty());
    assert_eq!(slow.reply().0, 421);
}

#[test]
fn bare_newlines_by_profile() {
    let house = House::with(|policy| {
        policy.listeners[0].bare_newline = NewlineMode::Normalise;
        policy.trusted_networks = vec!["127.0.0.1".into()];
    });
    assert_eq!(house.client().deliver("user@there.example", "a\nb\rc").0, 250);
    house.set_policy(|policy| policy.listeners[0].bare_newline = NewlineMode::Normalise);
    assert_eq!(house.client().deliver("user@there.example", "a\nb").0, 550);
}

#[test]
fn a_transaction_keeps_the_policy_that_it_began_with() {
    let house = House::new();
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.expect("MAIL FROM:<a@b.example>", 250);
    let generation = house.set_policy(|policy| policy.accept_any = false);
    assert_eq!(generation, 2);
    client.expect("RCPT TO:<user@there.example>", 250);
    client.expect("RSET", 250);
    client.expect("MAIL FROM:<a@b.example>", 250);
    client.expect("RCPT TO:<user@there.example>", 550);
}

#[test]
fn pipelined_transactions_in_one_write() {
    let house = House::new();
    let mut client = house.client();
    client.expect("EHLO client.example", 250);
    client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n");
    for code in [250, 250, 354] {
        assert_eq!(client.reply().0, code);
    }
    let next = b"one\r\n.\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n";
    for _ in 0..50 {
        client.send(next);
        for code in [250, 250, 250, 354] {
            assert_eq!(client.reply().0, code);
        }
    }
    client.send(b"last\r\n.\r\nQUIT\r\n");
    assert_eq!((client.reply().0, client.reply().0), (250, 221));
    house.until("received", 51);
}

#[test]
fn bodies_wait_for_the_budget_and_never_lock_up() {
    let house = House::with(|policy| policy.limits.bytes_in_flight = 128 << 10);
    let address = house.address;
    let body = "0123456789abcdef0123456789abcdef\r\n".repeat(20_000);
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
            let mut client = Client(std::io::BufReader::new(stream));
            let body = body.clone();
            std::thread::spawn(move || {
                assert_eq!(client.reply().0, 220);
                client.deliver("user@there.example", &body).0
            })
        })
        .collect();
    for sender in senders {
        assert_eq!(sender.join().unwrap(), 250);
    }
    house.until("bytes_in_flight", 0);
}

#[test]
fn a_submission_listener_adds_what_is_missing() {
    let house = House::with(|policy| {
        policy.listeners = vec![Listener {
            profile: Profile::Submission,
            trusted: true,
            tls: Some(TlsUse::Off),
            ..Listener::default()
        }];
    });
    assert_eq!(house.client().deliver("user@there.example", "Subject: x\r\n\r\nhello").0, 250);
    let kept = support::find_in_spool(&house, b"Message-ID: <");
    assert!(kept && support::find_in_spool(&house, b"\r\nDate: "));
}
