//! A connection's bytes: the sans-I/O client of `core/smtp` over a stream, with a bound on every wait.
//!
//! TLS is the same code, and can begin in the middle. A write that fails says nothing yet: the peer may have
//! answered before it closed, so reading goes on and finds the answer or the end. What was handed to the kernel is
//! counted, so that it can be told whether a final dot has left us.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use angarium_nouns::outcome::Reason;
use angarium_nouns::reply::Reply;
use angarium_smtp::{Client, ClientError};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until};

use super::stream::Stream;
use super::tls::TlsFailure;

/// Replies are short; an EHLO answer of 20 lines fits.
const READ_BUFFER: usize = 4096;
/// The timer's first aim, far beyond any phase; it is moved when a wait needs it.
const FAR: Duration = Duration::from_hours(1);

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    #[error("the peer closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Failed(std::io::ErrorKind),
    #[error("the peer did not answer in time")]
    Silent,
    #[error("the peer's answer cannot be read: {0}")]
    Garbage(ClientError),
    #[error("the body's own file cannot be read")]
    Local,
}

impl Break {
    pub fn reason(&self) -> Reason {
        match self {
            Self::Closed | Self::Failed(_) => Reason::Connect,
            Self::Silent => Reason::Timeout,
            Self::Garbage(_) => Reason::Protocol,
            Self::Local => Reason::LocalDisk,
        }
    }
}

pub struct Wire {
    stream: Stream,
    pub client: Client,
    input: Box<[u8]>,
    /// One timer for all waits: it is only moved when it rings or must ring earlier.
    timer: Pin<Box<Sleep>>,
    /// Bytes handed to the kernel so far.
    sent: u64,
    write_failed: bool,
}

impl Wire {
    pub fn new(stream: Stream, client: Client) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + FAR));
        Self { stream, client, input: vec![0; READ_BUFFER].into(), timer, sent: 0, write_failed: false }
    }

    /// Where in the stream of bytes the end of the pending output stands.
    pub fn position(&mut self) -> u64 {
        self.sent + self.client.output().len() as u64
    }

    /// Bytes handed to the kernel so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Writes the pending output. `false`: the peer takes nothing more; read on to learn why.
    pub async fn flush(&mut self, patience: Duration) -> Result<bool, Break> {
        let deadline = Instant::now() + patience;
        let mut output = std::mem::take(self.client.output());
        let mut written = 0;
        while written < output.len() && !self.write_failed {
            let write = self.stream.write(&output[written..]);
            match within(&mut self.timer, deadline, write).await {
                None => return Err(Break::Silent),
                Some(Ok(0) | Err(_)) => self.write_failed = true,
                Some(Ok(count)) => {
                    written += count;
                    self.sent += count as u64;
                }
            }
        }
        if !self.write_failed && written > 0 {
            // TLS holds records back until then.
            match within(&mut self.timer, deadline, self.stream.flush()).await {
                None => return Err(Break::Silent),
                Some(flushed) => self.write_failed = flushed.is_err(),
            }
        }
        output.clear();
        *self.client.output() = output;
        Ok(!self.write_failed)
    }

    /// The TLS handshake, and whatever was said before it is forgotten.
    pub async fn secure(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        patience: Duration,
    ) -> Result<(), TlsFailure> {
        let deadline = Instant::now() + patience;
        match within(&mut self.timer, deadline, self.stream.secure(config, name)).await {
            None => Err(TlsFailure::Silent),
            Some(Err(error)) => Err(TlsFailure::of(&error)),
            Some(Ok(())) => {
                self.client.secured();
                Ok(())
            }
        }
    }

    /// The TLS connection, if there is one.
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        self.stream.tls()
    }

    /// Waits for the next reply, all of it within `patience`: a peer that drips is bounded too.
    pub async fn reply(&mut self, patience: Duration) -> Result<Reply, Break> {
        let mut deadline = None;
        loop {
            if let Some((_, reply)) = self.client.next_reply() {
                return Ok(reply);
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
            let count = match within(&mut self.timer, deadline, self.stream.read(&mut self.input)).await {
                None => return Err(Break::Silent),
                Some(Err(error)) => return Err(Break::Failed(error.kind())),
                Some(Ok(0)) => return Err(Break::Closed),
                Some(Ok(count)) => count,
            };
            self.client.receive(&self.input[..count]).map_err(Break::Garbage)?;
        }
    }

    /// Waits until the peer says or does something of its own accord, which on an idle connection is its end.
    pub async fn disturbed(&mut self) {
        let _ = self.stream.read(&mut self.input).await;
    }
}

/// The work's result, or `None` at the deadline. The timer is touched only when it rings or would ring too late.
async fn within<F: Future>(timer: &mut Pin<Box<Sleep>>, deadline: Instant, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(None);
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_end_at_their_own_deadline_whatever_the_timer_was_set_to() {
        let mut timer = Box::pin(sleep_until(Instant::now() + FAR));
        let start = Instant::now();
        for (seconds, total) in [(600, 600), (5, 605), (300, 905), (7_200, 8_105)] {
            let deadline = Instant::now() + Duration::from_secs(seconds);
            assert_eq!(within(&mut timer, deadline, std::future::pending::<()>()).await, None);
            assert_eq!(start.elapsed().as_secs(), total);
        }
        assert_eq!(within(&mut timer, Instant::now(), async { 7 }).await, Some(7));
    }
}
