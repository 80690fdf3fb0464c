//! The load generator of the benches: pipelines messages at one server, one round trip a message.
//!
//! `flood PORT SESSIONS MESSAGES SIZE [OPTION VALUE]…` keeps SESSIONS connections to 127.0.0.1:PORT busy, sends MESSAGES
//! in all with bodies of SIZE octets, each body in one write with its final dot and the next MAIL, RCPT and DATA, and
//! prints messages per second. With `messages 0` each session ends after its greeting and MESSAGES counts sessions.
//! Any reply it does not expect ends it with exit code 1. Loopback only; certificates are not checked.
//!
//! Options: `recipients N` of each message; `messages N` of each connection before the next one begins (otherwise a
//! connection lives to the end); `tls FILE` STARTTLS, whole handshakes with the host that shows this certificate (PEM);
//! `login BASE64` AUTH PLAIN; `proxy 1` a PROXY header in front; `xclient 1`; `noops N` and `hellos N`
//! further round trips; `content FILE` a message of its own; `hold 1` opens SESSIONS, prints
//! how many are open and keeps them until its standard input ends.

mod session;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use session::{Failure, Session, Way, connector};

struct Plan {
    port: u16,
    left: AtomicI64,
    sent: AtomicU64,
    body: Vec<u8>,
    recipients: usize,
    /// Messages of one connection; `None`: as many as there are.
    each: Option<u64>,
    way: Way,
}

impl Plan {
    fn take(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// MAIL, RCPT… and DATA of the next message.
    fn envelope(&self, out: &mut Vec<u8>) {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(b"MAIL FROM:<sender@load.example>\r\n");
        for recipient in 0..self.recipients {
            out.extend_from_slice(format!("RCPT TO:<r{number}.{recipient}@sink.example>\r\n").as_bytes());
        }
        out.extend_from_slice(b"DATA\r\n");
    }

    async fn begin(&self) -> Result<Session, Failure> {
        Session::begin(self.port, &self.way).await
    }
}

/// Connections one after the other until nothing is left to send.
async fn work(plan: Arc<Plan>) -> Result<(), Failure> {
    while plan.take() {
        let mut session = plan.begin().await?;
        if plan.each != Some(0) {
            deliver(&plan, &mut session).await?;
        }
        session.end().await?;
    }
    Ok(())
}

/// Messages over this connection; the first one has been taken from the plan already.
async fn deliver(plan: &Plan, session: &mut Session) -> Result<(), Failure> {
    let mut codes = vec!["250"; plan.recipients + 1];
    codes.push("354");
    let mut out = Vec::with_capacity(plan.body.len() + 1024);
    plan.envelope(&mut out);
    session.write(&out).await?;
    let mut done = 0;
    loop {
        session.expect(&codes).await?;
        done += 1;
        out.clear();
        out.extend_from_slice(&plan.body);
        let more = plan.each.is_none_or(|each| done < each) && plan.take();
        if more {
            plan.envelope(&mut out);
        }
        session.write(&out).await?;
        session.expect(&["250"]).await?;
        if !more {
            return Ok(());
        }
    }
}

/// Opens all sessions and keeps them until standard input ends.
async fn hold(plan: Arc<Plan>, sessions: u64) -> Result<(), Failure> {
    let mut held = Vec::new();
    for _ in 0..sessions {
        held.push(plan.begin().await?);
    }
    println!("{} held", held.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A text body of about `size` octets in lines of 72, with header fields and the final dot.
fn body(size: usize) -> Vec<u8> {
    let mut body = b"From: sender@load.example\r\nTo: recipient@sink.example\r\nSubject: load\r\n\r\n".to_vec();
    while body.len() < size {
        let line = size.saturating_sub(body.len() + 2).min(70);
        body.extend(std::iter::repeat_n(b'x', line));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b".\r\n");
    body
}

const USAGE: &str = "usage: flood PORT SESSIONS MESSAGES SIZE [recipients N] [messages N] [tls FILE] [login BASE64] [proxy 1] \
                     [xclient 1] [noops N] [hellos N] [content FILE] [hold 1]";

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, sessions, messages, size, options @ ..] = &words[..] else { return Err(USAGE.into()) };
    let (sessions, messages): (u64, u64) = (sessions.parse()?, messages.parse()?);
    let mut plan = Plan {
        port: port.parse()?,
        left: AtomicI64::new(i64::try_from(messages)?),
        sent: AtomicU64::new(0),
        body: body(size.parse()?),
        recipients: 1,
        each: None,
        way: Way::default(),
    };
    let mut holding = false;
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "recipients" => plan.recipients = value.parse()?,
            // A whole message with CRLF lines, none of which begins with a dot; SIZE counts for nothing then.
            [name, file] if name == "content" => plan.body = [&std::fs::read(file)?[..], b".\r\n"].concat(),
            [name, value] if name == "messages" => plan.each = Some(value.parse()?),
            [name, file] if name == "tls" => plan.way.tls = Some(connector(file.as_ref())?),
            [name, words] if name == "login" => plan.way.login = Some(words.clone()),
            [name, _] if name == "proxy" => plan.way.proxy = true,
            [name, _] if name == "xclient" => plan.way.xclient = true,
            [name, value] if name == "noops" => plan.way.noops = value.parse()?,
            [name, value] if name == "hellos" => plan.way.hellos = value.parse()?,
            [name, _] if name == "hold" => holding = true,
            _ => return Err(USAGE.into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = Arc::new(plan);
    if holding {
        return runtime.block_on(hold(plan, sessions));
    }
    let start = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..sessions).map(|_| tokio::spawn(work(plan.clone()))).collect();
        for task in tasks {
            task.await??;
        }
        Ok::<_, Failure>(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.0} a second, {messages} in {seconds:.2} s", messages as f64 / seconds);
    Ok(())
}
