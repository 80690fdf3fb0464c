//! What only some sessions have: TLS, a login, places that count, words of a proxy. Boxed, so that a plain idle
//! session stays small; and what follows from it for what is offered and who is trusted.

use std::sync::Arc;

use angarium_smtp::sasl::{Mechanism, Mechanisms};
use angarium_smtp::{Extensions, ProxiedCommand};

use super::Session;
use super::login::Ongoing;
use crate::logins::Login;
use crate::tls::Secured;
use crate::traffic::Place;

#[derive(Default)]
pub(crate) struct More {
    pub secured: Option<Box<Secured>>,
    pub login: Option<Arc<Login>>,
    /// A login that is under way.
    pub ongoing: Option<Box<Ongoing>>,
    /// What XFORWARD said of the message to come.
    pub forwarded: Option<Box<ProxiedCommand>>,
    /// The TLS that a proxy in front has ended, in its words.
    pub proxy_tls: Box<str>,
    /// Places among the sessions at once of a network, a login, a tenant.
    pub places: Vec<Place>,
    /// Refusals so far, for the tarpit.
    pub refusals: u32,
    /// This long before the next word.
    pub pause: u64,
}

/// They are for clients whom we know.
const FOR_KNOWN: Extensions = Extensions::ETRN.with(Extensions::EXPN);
const FOR_PROXIES: Extensions = Extensions::XCLIENT.with(Extensions::XFORWARD);
const UNDER_TLS: Extensions = Extensions::REQUIRETLS;

impl Session {
    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    pub(super) fn login(&self) -> Option<&Arc<Login>> {
        self.more.as_ref()?.login.as_ref()
    }

    pub(super) fn secured(&self) -> Option<&Secured> {
        self.more.as_ref()?.secured.as_deref()
    }

    /// By its network or by its login.
    pub(super) fn is_known(&self) -> bool {
        self.trusted || self.login().is_some()
    }

    /// The TLS of the client in words; empty in the clear.
    pub(super) fn tls_words(&self) -> &str {
        let Some(more) = &self.more else { return "" };
        more.secured.as_ref().map_or(&*more.proxy_tls, |secured| &*secured.words)
    }

    /// What EHLO may offer at this moment.
    pub(super) fn offer_now(&mut self) {
        let settings = self.server.settings().clone();
        let policy = self.policy.clone();
        let face = self.face(&policy);
        let mut offered = settings.extensions;
        if !self.intake.tls.serves(face.listener.client_certificates) {
            offered = offered.without(Extensions::STARTTLS);
        }
        if self.secured().is_none() {
            offered = offered.without(UNDER_TLS);
        }
        if !self.is_known() {
            offered = offered.without(FOR_KNOWN);
        }
        if !self.speaks_for_others {
            offered = offered.without(FOR_PROXIES);
        }
        let mechanisms = self.mechanisms_now(face.mechanisms);
        self.server.withdraw(Extensions::ALL);
        self.server.offer(offered);
        self.server.offer_mechanisms(mechanisms);
    }

    /// RFC 4954 4: clear passwords go under TLS only, and so goes everything else here; but where the network is as
    /// good as TLS.
    fn mechanisms_now(&self, all: Mechanisms) -> Mechanisms {
        let Some(secured) = self.secured() else {
            return if self.is_clear {
                all.without(Mechanism::ScramSha256Plus).without(Mechanism::External)
            } else {
                Mechanisms::NONE
            };
        };
        if secured.certificate.is_some() { all } else { all.without(Mechanism::External) }
    }
}
