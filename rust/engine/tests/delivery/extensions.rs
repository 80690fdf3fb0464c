//! What the peer offers and what we make of it: parameters, limits, chunks, conversion, LMTP.
use std::sync::Arc;

use crate::house::{House, plan, quick};
use crate::peer::{self, Offers, Seen};
use angarium_engine::delivery::DeliverySettings;
use angarium_ledger::{Plan, Protocol};
use angarium_nouns::envelope::{BodyType, Class, DsnNotify, DsnReturn};
use angarium_nouns::record::{ContentHead, EntryState, Recipient};

const BODY: &[u8] = b"Subject: hello\r\n\r\nline\r\n";

fn head() -> ContentHead {
    ContentHead { sender: "s@b.example".into(), ..ContentHead::default() }
}

fn to(n: usize) -> Recipient {
    Recipient { address: format!("r{n}@x.example"), ..Recipient::default() }
}

/// Delivers one message to a good peer that offers this; gives what the peer saw.
async fn deliver(offers: Offers, head: ContentHead, recipients: Vec<Recipient>, body: &[u8]) -> Arc<Seen> {
    let peer = peer::start(&["220 sink"], offers).await;
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
    let count = recipients.len();
    if body.len() > 100_000 {
        house.submit_file(&recipients, head, body);
    } else {
        house.submit_all(vec![(head, recipients, body.to_vec())]);
    }
    let (settled, _) = house.wait(count, 0).await;
    assert!(settled.iter().all(|fact| fact.state == EntryState::Delivered), "{settled:#?}");
    house.stop().await;
    peer.seen
}

fn lines(seen: &Seen, verb: &str) -> Vec<String> {
    seen.lines.lock().iter().filter(|line| line.starts_with(verb)).cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_go_where_they_are_understood() {
    let (ret, envid) = (DsnReturn::Headers, "an id+1".to_owned());
    let head = ContentHead { ret, envid, class: Class::Bulk, body_type: BodyType::EightBitMime, ..head() };
    let asked = DsnNotify(DsnNotify::FAILURE | DsnNotify::DELAY);
    let recipient = Recipient { notify: asked, original: "rfc822;first+1@a.example".into(), ..to(1) };
    let seen = deliver(Offers::Careful, head.clone(), vec![recipient.clone()], BODY).await;
    assert_eq!(
        lines(&seen, "MAIL"),
        ["MAIL FROM:<s@b.example> SIZE=24 BODY=8BITMIME RET=HDRS ENVID=an+20id+2B1 MT-PRIORITY=-3"]
    );
    assert_eq!(lines(&seen, "RCPT"), ["RCPT TO:<r1@x.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;first+2B1@a.example"]);
    let seen = deliver(Offers::NoPipelining, head, vec![recipient], BODY).await;
    assert_eq!(lines(&seen, "MAIL"), ["MAIL FROM:<s@b.example> BODY=8BITMIME"]);
    assert_eq!(lines(&seen, "RCPT"), ["RCPT TO:<r1@x.example>"]);
}

/// RFC 2852: what is left of the time, unless it is less than the peer's least.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_passed_on() {
    let now = angarium_engine::clock::Clock::start().now();
    let seen =
        deliver(Offers::Careful, ContentHead { deadline: Some(now + 3_600_000), ..head() }, vec![to(1)], BODY).await;
    let line = lines(&seen, "MAIL").remove(0);
    let seconds = line.split(" BY=").nth(1).and_then(|value| value.strip_suffix(";R")).unwrap();
    assert!((3_500..=3_600).contains(&seconds.parse::<u32>().unwrap()), "{line}");
    let seen =
        deliver(Offers::Careful, ContentHead { deadline: Some(now + 50_000), ..head() }, vec![to(1)], BODY).await;
    assert!(!lines(&seen, "MAIL")[0].contains("BY="));
}

/// RFC 9422: recipients of a transaction, transactions of a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_obeyed() {
    let seen = deliver(Offers::Careful, head(), (0..10).map(to).collect(), BODY).await;
    let taken = seen.taken.lock();
    assert_eq!(taken.iter().map(|one| one.recipients.len()).collect::<Vec<_>>(), [2; 5]);
    assert_eq!(*seen.connections.lock(), 3);
}

/// Large content and binary content go in a chunk, the rest behind DATA.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks() {
    let large = [BODY, ".a line with a dot\r\n".repeat(60_000).as_bytes()].concat();
    let binary = || ContentHead { body_type: BodyType::BinaryMime, ..head() };
    let octets = b"Content-Transfer-Encoding: binary\r\n\r\na\0b\nc\rd";
    for (name, head, body, chunked) in
        [("small", head(), BODY, false), ("large", head(), &large[..], true), ("binary", binary(), &octets[..], true)]
    {
        let seen = deliver(Offers::Chunks, head, vec![to(1), to(2)], body).await;
        assert_eq!(!lines(&seen, "BDAT").is_empty(), chunked, "{name}");
        assert_eq!(seen.taken.lock()[0].body.as_bytes(), body, "{name}");
    }
    let seen = deliver(Offers::Chunks, binary(), vec![to(1)], octets).await;
    assert!(lines(&seen, "MAIL")[0].ends_with(" BODY=BINARYMIME"));
}

/// A refused chunk is reset, and the next message goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_chunk() {
    let peer = peer::start(&["220 !ehlo !mail !rcpt bdat 554 rset 250 sink"], Offers::Chunks).await;
    let settings = DeliverySettings { linger_ms: 60_000, hello_ms: 10_000, dot_ms: 10_000, ..quick() };
    let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), settings);
    let large = [BODY, "line\r\n".repeat(200_000).as_bytes()].concat();
    let refused = house.submit_file(&[to(1)], head(), &large);
    house.wait(1, 0).await;
    house.submit_all(vec![(head(), vec![to(2)], BODY.to_vec())]);
    let (settled, _) = house.wait(2, 0).await;
    let code = |large: bool| settled.iter().find(|fact| (fact.id == refused) == large).unwrap().code;
    assert_eq!((code(true), code(false)), (554, 250), "{settled:#?}");
    house.stop().await;
    assert_eq!(*peer.seen.connections.lock(), 1);
}

/// 8-bit content to a 7-bit peer arrives in another writing; binary content to one that takes 8 bits too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_is_converted() {
    let text = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße an alle, die das noch lesen\r\n";
    let eight = ContentHead { body_type: BodyType::EightBitMime, ..head() };
    let seen = deliver(Offers::OnlyPipelining, eight.clone(), vec![to(1)], text.as_bytes()).await;
    let body = seen.taken.lock()[0].body.clone();
    assert!(
        body.contains("quoted-printable") && body.ends_with("\r\n\r\nGr=C3=BC=C3=9Fe an alle, die das noch lesen\r\n"),
        "{body}"
    );
    assert_eq!(lines(&seen, "MAIL"), ["MAIL FROM:<s@b.example>"]);
    let binary = ContentHead { body_type: BodyType::BinaryMime, ..head() };
    let octets = b"Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\na\0b\nc\rd";
    let seen = deliver(Offers::NoPipelining, binary, vec![to(1)], octets).await;
    let body = seen.taken.lock()[0].body.clone();
    assert!(body.contains("base64") && body.ends_with("YQBiCmMNZA==\r\n"), "{body}");
    let seen = deliver(Offers::Everything, eight, vec![to(1)], text.as_bytes()).await;
    assert_eq!(seen.taken.lock()[0].body, text);
}

/// LMTP over a unix socket: a reply for each recipient that was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lmtp_over_a_socket() {
    let house = House::open(Protocol::Lmtp, Plan::default(), quick());
    let path = house.folder.join("lmtp");
    let mut house = house.with_plan(Plan { unix_path: path.to_string_lossy().into(), ..plan(&[]) });
    let script = "220 !lhlo !mail !rcpt rcpt 550_5.1.1 !rcpt !rcpt !data dot 250 452_4.2.2 550_5.2.1 sink";
    let seen = peer::start_at(&path, &[script], Offers::Lmtp);
    house.submit_all(vec![(head(), (0..4).map(to).collect(), BODY.to_vec()), (head(), vec![to(9)], BODY.to_vec())]);
    let (mut settled, _) = house.wait(5, 0).await;
    settled.sort_by_key(|fact| (fact.id, fact.number));
    let codes: Vec<_> = settled.iter().map(|fact| fact.code).collect();
    assert_eq!(codes, [250, 550, 452, 550, 250]);
    house.stop().await;
    assert_eq!(*seen.connections.lock(), 1);
    assert!(seen.lines.lock().iter().all(|line| !line.starts_with("EHLO") && !line.starts_with("HELO")));
}

/// A socket that is not there puts the lane to sleep like a host that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_socket() {
    let plan = Plan { unix_path: "/nonexistent/lmtp".into(), ..Plan::default() };
    let mut house = House::open(Protocol::Lmtp, plan, quick());
    house.submit("s@b.example", &["r@x.example"], BODY);
    let (settled, slept) = house.wait(0, 1).await;
    assert_eq!((settled.len(), slept[0].reason.name()), (0, "connect"));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lmtp_over_tcp_closes_between_the_replies() {
    let script = "220 !lhlo !mail !rcpt !rcpt !rcpt !data dot 250 close";
    let peer = peer::start(&[script, "220 sink"], Offers::Lmtp).await;
    let mut house = House::open(Protocol::Lmtp, plan(&[peer.port]), quick());
    house.submit_all(vec![(head(), (0..3).map(to).collect(), BODY.to_vec())]);
    let (mut settled, _) = house.wait(3, 0).await;
    settled.sort_by_key(|fact| fact.number);
    let told: Vec<_> = settled.iter().map(|fact| (fact.code, fact.may_repeat)).collect();
    assert_eq!(told, [(250, false), (0, true), (0, true)], "what was answered counts, the rest is uncertain");
    house.stop().await;
}

/// A report of the success is ours where the peer writes none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn successes_are_reported_where_the_peer_does_not() {
    for (offers, asked, may_report, owed) in [
        (Offers::NoPipelining, DsnNotify::SUCCESS, true, true),
        (Offers::Careful, DsnNotify::SUCCESS, true, false),
        (Offers::NoPipelining, DsnNotify::FAILURE, true, false),
        (Offers::NoPipelining, DsnNotify::SUCCESS, false, false),
    ] {
        let peer = peer::start(&["220 sink"], offers).await;
        let mut house = House::open(Protocol::Smtp, plan(&[peer.port]), quick());
        let recipient = Recipient { notify: DsnNotify(asked), may_report, ..to(1) };
        house.submit_all(vec![(head(), vec![recipient], BODY.to_vec())]);
        let (settled, _) = house.wait(1, 0).await;
        assert_eq!(settled[0].state, if owed { EntryState::Owing } else { EntryState::Delivered });
        house.stop().await;
        let reports = house.ledger.reports_due(house.clock.now() + 3_600_000, 10);
        assert_eq!(reports.len(), usize::from(owed));
        if owed {
            let page = house.ledger.commit(&reports, house.clock.now()).map(drop);
            assert_eq!(page, Ok(()));
            let (settled, _) = house.facts();
            assert_eq!(settled.last().unwrap().state, EntryState::Delivered);
        }
    }
}
