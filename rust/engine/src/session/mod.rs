//! A session: one client's connection from the banner to the last reply.
//!
//! The loop in [`Session::run`] is the whole life: read into the thread's scratch, let `dialogue` work the bytes off
//! until it must wait for something, wait for that, write what is to be said, read on. One write for each read; no
//! buffer is held while the client is silent. What an event means stands in `dialogue`, what a message becomes in
//! `accept`; TLS in `secure`, logins in `login`, limits in `limits`. Deadlines are numbers in the session's mark (`registry`); nothing waits without one.

mod arrive;
mod asides;
mod begin;
mod body;
pub mod budget;
mod dialogue;
mod hooks;
mod limits;
mod login;
mod more;
pub mod registry;
mod secure;
mod stream;
mod transaction;

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use angarium_nouns::{MessageId, Millis, Reply};
use angarium_smtp::{Cut, Server};
use tokio::io::ReadBuf;

use crate::accept::{Answer, Message, accept};
use crate::admission::Seat;
use crate::intake::{Intake, SHUTTING_DOWN};
use crate::policy::compiled::Compiled;
use crate::traffic::Measure;
use more::More;
use registry::{Ended, Entry, NEVER};
use stream::Stream;
use transaction::Transaction;

pub use begin::{Adopted, adopt};

/// What one read brings at most. One scratch for each worker, so its size costs nothing; 64 KiB is what a kernel
/// hands over at once for a body that keeps coming.
const SCRATCH: usize = 64 << 10;
/// Replies of one read are nearly always shorter; a longer buffer is given back.
const KEPT_OUTPUT: usize = 512;

const TIMED_OUT: Reply = Reply::new(421, (4, 4, 2), "Timeout, closing; connect again");

thread_local! {
    static BYTES: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// What the session must do before it reads on.
pub(crate) enum Step {
    /// The input is used up.
    Read,
    /// There is input left behind an answer.
    Resume,
    /// A body wants to begin and the budget is used up (S7).
    Charge,
    /// The body is too large for the memory.
    Spill,
    /// A hook must be asked; the command waits for its answer.
    AskMail,
    AskRcpt,
    /// A login must be judged.
    AskAuth,
    /// 220 was said to STARTTLS.
    Secure,
    /// The answer in the output is to come late.
    Pause,
    /// A message is complete.
    Accept,
    /// The last word is in the output.
    Close,
}

/// Go on with the input, or do this first.
type Flow = ControlFlow<Step>;

const ON: Flow = ControlFlow::Continue(());

fn first(step: Step) -> Flow {
    ControlFlow::Break(step)
}

pub(crate) struct Session {
    /// First, so that it leaves the registry before the socket is closed.
    entry: Entry,
    intake: Arc<Intake>,
    stream: Stream,
    server: Server,
    peer: SocketAddr,
    number: u64,
    /// The policy of the connection; a transaction has its own.
    policy: Arc<Compiled>,
    hello: Box<str>,
    transaction: Option<Box<Transaction>>,
    /// Input behind a command that waits, and how much of it is used.
    rest: Vec<u8>,
    rest_used: usize,
    transactions: u32,
    more: Option<Box<More>>,
    listener: u16,
    trusted: bool,
    /// Clear text is as good as TLS where the client is.
    is_clear: bool,
    /// XCLIENT and XFORWARD may be said.
    speaks_for_others: bool,
    /// The banner went out before the task began.
    greeted_at_once: bool,
    seat: Seat,
}

impl Session {
    pub(crate) async fn run(mut self) {
        let mut step = if self.greeted_at_once { Step::Read } else { Box::pin(self.begin()).await };
        loop {
            step = match step {
                Step::Read => self.write_and_read().await,
                Step::Resume => self.resume(),
                Step::Charge => self.wait_for_room().await,
                Step::Spill => Box::pin(self.spill()).await,
                Step::AskMail => Box::pin(self.ask_mail()).await,
                Step::AskRcpt => Box::pin(self.ask_rcpt()).await,
                Step::AskAuth => Box::pin(self.ask_auth()).await,
                Step::Secure => Box::pin(self.secure()).await,
                Step::Pause => Box::pin(self.pause()).await,
                Step::Accept => self.accept().await,
                Step::Close => break,
            };
        }
        self.write().await;
        if self.secured().is_some() {
            Box::pin(self.goodbye()).await;
        }
        self.abort();
    }

    /// The answer comes late: who errs much or guesses passwords has time.
    async fn pause(&mut self) -> Step {
        let pause = std::mem::take(&mut self.more().pause);
        self.entry.mark().set_deadline(NEVER);
        let rest = tokio::time::sleep(Duration::from_millis(pause));
        tokio::select! { () = rest => {}, () = self.intake.told_to_stop() => {} }
        if self.server.is_closed() { Step::Close } else { Step::Resume }
    }

    async fn write_and_read(&mut self) -> Step {
        // A command that comes in drips gets no new time: only an answer, or content, moves the deadline.
        let answered = !self.server.output().is_empty();
        if answered && !self.write().await {
            return Step::Close;
        }
        if answered || self.server.is_in_content() {
            self.entry.mark().set_deadline(self.deadline());
        }
        self.read().await
    }

    async fn read(&mut self) -> Step {
        poll_fn(|context| {
            BYTES.with_borrow_mut(|bytes| {
                let mut buffer = ReadBuf::new(bytes);
                let read = ready!(self.stream.poll_read(context, &mut buffer));
                Poll::Ready(match read {
                    Ok(()) if buffer.filled().is_empty() => self.ended(),
                    Ok(()) => self.arrived(buffer.filled()),
                    Err(_) => self.broken_off(),
                })
            })
        })
        .await
    }

    fn arrived(&mut self, input: &[u8]) -> Step {
        let (used, step) = self.work(input);
        if used < input.len() {
            self.rest = input[used..].to_vec();
            self.rest_used = 0;
        }
        step
    }

    /// Works off what was read behind a command that had to wait.
    fn resume(&mut self) -> Step {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            // BDAT LAST with nothing behind it: its end comes without an octet.
            return self.work(&[]).1;
        }
        let (used, step) = self.work(&rest[self.rest_used..]);
        self.rest_used += used;
        if self.rest_used < rest.len() {
            self.rest = rest;
        }
        step
    }

    /// Says everything that is to be said; false: nobody is there to hear it.
    async fn write(&mut self) -> bool {
        let mut written = 0;
        let mark = self.entry.mark();
        let deadline = self.intake.clock.now() + self.policy.table.timeouts.write;
        let output = std::mem::take(self.server.output());
        let stream = &mut self.stream;
        let whole = poll_fn(|context| {
            while written < output.len() {
                match stream.poll_write(context, &output[written..]) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                    Poll::Ready(Ok(more)) => written += more,
                    Poll::Pending => {
                        mark.set_writing(true);
                        mark.set_deadline(deadline);
                        return Poll::Pending;
                    }
                }
            }
            match stream.poll_flush(context) {
                Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
                Poll::Pending => {
                    mark.set_writing(true);
                    mark.set_deadline(deadline);
                    Poll::Pending
                }
            }
        })
        .await;
        mark.set_writing(false);
        self.keep_output(output);
        whole
    }

    fn keep_output(&mut self, mut output: Vec<u8>) {
        if output.capacity() <= KEPT_OUTPUT {
            output.clear();
            *self.server.output() = output;
        }
    }

    /// The connection ended without its proper end: under TLS that is how a shut socket looks.
    fn broken_off(&mut self) -> Step {
        if self.entry.mark().ended().is_some() {
            return self.ended();
        }
        if self.server.is_in_content() {
            self.intake.counters.aborted.one_more();
        }
        Step::Close
    }

    /// The client's side is closed: by itself, or by us through the registry.
    fn ended(&mut self) -> Step {
        match self.entry.mark().ended() {
            Some(Ended::Timeout) => {
                self.intake.counters.timeouts.one_more();
                self.hang_up(&TIMED_OUT);
            }
            Some(Ended::Stop) => self.hang_up(&SHUTTING_DOWN),
            None => {
                if matches!(self.server.eof(), Cut::Content | Cut::Transaction) {
                    self.intake.counters.aborted.one_more();
                }
            }
        }
        Step::Close
    }

    /// When the client must have said the next thing.
    fn deadline(&self) -> Millis {
        let now = self.intake.clock.now();
        let timeouts = &self.policy.table.timeouts;
        match &self.transaction {
            Some(transaction) if self.server.is_in_content() => transaction.deadline(now),
            _ => now + self.intake.stress.patience(timeouts.command),
        }
    }

    async fn accept(&mut self) -> Step {
        let Some(transaction) = self.transaction.take() else { return Step::Resume };
        let message = transaction.into_message(self);
        if let Some(more) = &mut self.more {
            more.forwarded = None;
        }
        if let Ok(message) = &message {
            // Too much shows at the next MAIL.
            let _next_time = self.happened(Measure::Bytes, message.size());
        }
        // What was pipelined in front is told before we wait.
        if !self.server.output().is_empty() && !self.write().await {
            return Step::Close;
        }
        self.entry.mark().set_deadline(NEVER);
        let answer = self.accept_message(message).await;
        self.entry.mark().set_busy(false);
        self.intake.counters.transactions.one_less();
        match answer {
            Answer::Accepted(id) | Answer::Discarded(id) => {
                self.say_of(&Reply::new(250, (2, 0, 0), "").with_text(format!("Queued as {id}")), id);
            }
            Answer::Each(id, refused) => self.say_each(id, &refused),
            Answer::Refusals(refused) => self.say_each(MessageId::default(), &refused),
            Answer::Refused(reply) => self.say(&reply),
            Answer::Gone => return Step::Close,
        }
        self.after_transaction()
    }

    async fn accept_message(&mut self, message: Result<Box<Message>, Reply>) -> Answer {
        let socket: RawFd = self.stream.socket();
        match message {
            Ok(message) => accept(&self.intake, message, socket).await,
            Err(reply) => Answer::Refused(reply),
        }
    }

    fn say_of(&mut self, reply: &Reply, id: MessageId) {
        let reply = self.worded_for(reply, Some(id));
        self.server.reply(&reply);
    }

    /// A reply for each recipient (RFC 2033 4.2, PRDR): those not named were taken.
    fn say_each(&mut self, id: MessageId, refused: &[(u32, Reply)]) {
        let taken = Reply::new(250, (2, 0, 0), "").with_text(format!("Queued as {id}"));
        let mut replies = vec![self.worded_for(&taken, Some(id)); self.server.recipients() as usize];
        for (number, reply) in refused {
            if let Some(place) = replies.get_mut(*number as usize) {
                *place = self.worded_for(reply, None);
            }
        }
        self.server.reply_each(&replies);
    }

    /// Between two messages: a stop or the limit of transactions ends the session here.
    fn after_transaction(&mut self) -> Step {
        if self.intake.is_stopping() {
            self.hang_up(&SHUTTING_DOWN);
            return Step::Close;
        }
        Step::Resume
    }

    /// Forgets an open transaction.
    fn abort(&mut self) {
        if self.transaction.take().is_some() {
            self.entry.mark().set_busy(false);
            self.intake.counters.transactions.one_less();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abort();
        self.intake.counters.sessions.one_less();
    }
}
