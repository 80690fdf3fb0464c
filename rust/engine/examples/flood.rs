//! The load generator of the benches: pipelines messages at one server, one round trip a message.
//!
//! `flood PORT SESSIONS MESSAGES SIZE [RECIPIENTS]` opens SESSIONS connections to 127.0.0.1:PORT, sends MESSAGES in all
//! with bodies of SIZE octets, each body in one write with its final dot and the next MAIL, RCPT and DATA, and prints
//! messages per second. Any reply it does not expect ends it with exit code 1. Loopback only.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Plan {
    port: u16,
    left: AtomicI64,
    sent: AtomicU64,
    body: Vec<u8>,
    recipients: usize,
}

impl Plan {
    /// MAIL, RCPT… and DATA of the next message, or QUIT when none is left.
    fn next_envelope(&self, out: &mut Vec<u8>) -> bool {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            out.extend_from_slice(b"QUIT\r\n");
            return false;
        }
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(b"MAIL FROM:<sender@load.example>\r\n");
        for recipient in 0..self.recipients {
            out.extend_from_slice(format!("RCPT TO:<r{number}.{recipient}@sink.example>\r\n").as_bytes());
        }
        out.extend_from_slice(b"DATA\r\n");
        true
    }
}

/// Reads whole replies until `wanted` of them have come; each must begin with the digit given for its place.
struct Replies {
    buffer: Vec<u8>,
    at: usize,
}

impl Replies {
    async fn expect(&mut self, stream: &mut TcpStream, codes: &[&str]) -> Result<(), Failure> {
        for code in codes {
            loop {
                let line = self.line(stream).await?;
                if !line.starts_with(code) {
                    return Err(format!("expected {code}, got {line:?}").into());
                }
                if line.as_bytes().get(3) != Some(&b'-') {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn line(&mut self, stream: &mut TcpStream) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer[self.at..].iter().position(|&b| b == b'\n') {
                let line = String::from_utf8_lossy(&self.buffer[self.at..self.at + end]).into_owned();
                self.at += end + 1;
                return Ok(line);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

async fn session(plan: Arc<Plan>) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(("127.0.0.1", plan.port)).await?;
    stream.set_nodelay(true)?;
    let mut replies = Replies { buffer: Vec::with_capacity(8192), at: 0 };
    replies.expect(&mut stream, &["220"]).await?;
    stream.write_all(b"EHLO load.example\r\n").await?;
    replies.expect(&mut stream, &["250"]).await?;
    let mut envelope = vec!["250"; plan.recipients + 1];
    envelope.push("354");
    let mut out = Vec::with_capacity(plan.body.len() + 1024);
    let mut more = plan.next_envelope(&mut out);
    stream.write_all(&out).await?;
    while more {
        replies.expect(&mut stream, &envelope).await?;
        out.clear();
        out.extend_from_slice(&plan.body);
        more = plan.next_envelope(&mut out);
        stream.write_all(&out).await?;
        replies.expect(&mut stream, &["250"]).await?;
    }
    replies.expect(&mut stream, &["221"]).await
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

fn main() -> Result<(), Failure> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    let [port, sessions, messages, size, rest @ ..] = &numbers[..] else {
        return Err("usage: flood PORT SESSIONS MESSAGES SIZE [RECIPIENTS]".into());
    };
    let plan = Arc::new(Plan {
        port: u16::try_from(*port)?,
        left: AtomicI64::new(i64::try_from(*messages)?),
        sent: AtomicU64::new(0),
        body: body(usize::try_from(*size)?),
        recipients: rest.first().map_or(Ok(1), |&n| usize::try_from(n))?,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..*sessions).map(|_| tokio::spawn(session(plan.clone()))).collect();
        for task in tasks {
            task.await??;
        }
        Ok::<_, Failure>(())
    })?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{:.0} messages/s, {} messages in {seconds:.2} s", *messages as f64 / seconds, messages);
    Ok(())
}
