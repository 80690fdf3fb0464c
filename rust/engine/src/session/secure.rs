//! From clear text to TLS: STARTTLS (RFC 3207) and implicit TLS (RFC 8314 3.3).
//!
//! The handshake runs on threads of its own and has its own time. While it runs nobody else touches the socket; when it
//! fails the session ends without a word, as the alert is the word. What came behind STARTTLS in the clear was refused
//! by `smtp::Server` before.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::stream::Stream;
use super::{Session, Step};
use crate::tls::{self, Secured, TlsStream};

impl Session {
    /// Behind 220 to STARTTLS.
    pub(super) async fn secure(&mut self) -> Step {
        self.abort();
        if !self.write().await {
            return Step::Close;
        }
        if !self.shake_hands().await {
            return Step::Close;
        }
        // RFC 3207 4.2: nothing from before counts.
        self.hello = Box::default();
        let more = self.more();
        (more.login, more.ongoing, more.forwarded) = (None, None, None);
        self.rest = Vec::new();
        self.server.secured();
        self.offer_now();
        self.entry.mark().set_deadline(self.deadline());
        Step::Read
    }

    /// Shakes hands; false: there is no connection any more.
    pub(super) async fn shake_hands(&mut self) -> bool {
        let Some((stream, secured)) = self.handshake().await else {
            self.intake.counters.tls_failed.add(u64::from(!self.intake.is_stopping()));
            return false;
        };
        self.entry.hold_socket(stream.get_ref().0);
        self.stream = Stream::Tls(stream);
        self.intake.counters.tls.one_more();
        let challenge = secured.challenge;
        self.more().secured = Some(secured);
        if challenge {
            // RFC 8737 3: the certificate was the whole answer.
            self.goodbye().await;
        }
        !challenge
    }

    async fn handshake(&mut self) -> Option<(Box<TlsStream>, Box<Secured>)> {
        let policy = self.policy.clone();
        let face = self.face(&policy).clone();
        let listener = &face.listener;
        // The handshake may close the socket: it must not be shut by its number any more.
        self.entry.let_socket_go();
        let stream = self.stream.take_clear()?;
        let shaking =
            tls::handshake(self.intake.tls.clone(), listener.tls_version, listener.client_certificates, stream);
        let time = Duration::from_millis(policy.table.timeouts.handshake);
        let mut shaking = self.intake.handshakes.spawn(tokio::time::timeout(time, shaking));
        tokio::select! {
            shaken = &mut shaking => shaken.ok()?.ok()?.ok(),
            // No message is in hand: the connection ends at once.
            () = self.intake.told_to_stop() => {
                shaking.abort();
                None
            }
        }
    }

    /// Ends TLS properly, so that the client knows that nothing was cut off.
    pub(super) async fn goodbye(&mut self) {
        if matches!(self.stream, Stream::Tls(_)) {
            let deadline = self.intake.clock.now() + self.policy.table.timeouts.write;
            let mark = Arc::clone(self.entry.shared_mark());
            mark.set_writing(true);
            mark.set_deadline(deadline);
            let _nobody_hears = poll_fn(|context| self.stream.poll_goodbye(context)).await;
        }
    }
}
