//! A listener as its sessions see it: settings of the protocol by what the client is, networks, mechanisms, texts.
//!
//! Compiled once for each policy. What EHLO offers at a moment is the session's question; here stands what it may offer
//! at all.

use std::net::IpAddr;
use std::sync::Arc;

use angarium_smtp::sasl::{Mechanism, Mechanisms};
use angarium_smtp::{BareNewline, Extensions, ServerSettings, Wording};

use super::networks::Networks;
use super::{Allowance, ClientCertificates, Listener, LoginUse, NewlineMode, Policy, PolicyError, TlsUse};
use crate::traffic::Whose;

/// One listening socket's face.
#[derive(Debug, Clone)]
pub struct Face {
    pub listener: Listener,
    pub tls: TlsUse,
    pub mechanisms: Mechanisms,
    /// By trust, then by whether clear text is as good as TLS.
    settings: [[Arc<ServerSettings>; 2]; 2],
    clear: Networks,
    proxies: Networks,
    proxied: Networks,
    /// Texts of the site's own.
    pub wording: Wording,
    /// Any limit of its own.
    pub is_limited: bool,
}

/// What every listener can do.
const ALWAYS: Extensions =
    Extensions::STANDARD.with(Extensions::CHUNKING).with(Extensions::BINARYMIME).with(Extensions::DSN);
/// For senders whom we know.
const KNOWN_SENDERS: Extensions = Extensions::DELIVERBY.with(Extensions::FUTURERELEASE).with(Extensions::MT_PRIORITY);

/// Offered only when they are named.
const NAMED: [(&str, Extensions); 3] =
    [("PRDR", Extensions::PRDR), ("ETRN", Extensions::ETRN), ("EXPN", Extensions::EXPN)];

impl Face {
    pub fn new(table: &Policy, number: usize) -> Result<Self, PolicyError> {
        let listener = &table.listeners[number];
        let own = |field: &str| format!("listeners[{number}].{field}");
        let logs_in = listener.login() != LoginUse::Off && table.hooks.auth.is_some();
        let mechanisms = if logs_in { mechanisms(listener, &own("mechanisms"))? } else { Mechanisms::NONE };
        let wording = Wording::new(listener.replies.clone());
        let settings = |trusted: bool, clear: bool| {
            let settings = settings(table, listener, mechanisms, trusted, clear);
            Arc::new(ServerSettings { wording: wording.clone(), ..settings })
        };
        let limits = &listener.limits;
        let all = [limits.address, limits.network, limits.login, limits.tenant];
        Ok(Self {
            tls: listener.tls(),
            mechanisms,
            settings: [[settings(false, false), settings(false, true)], [settings(true, false), settings(true, true)]],
            clear: Networks::compile(&own("clear_networks"), &listener.clear_networks)?,
            proxies: Networks::compile(&own("proxy_networks"), &listener.proxy_networks)?,
            proxied: Networks::compile(&own("xclient_networks"), &listener.xclient_networks)?,
            is_limited: all
                .iter()
                .any(|allowance| *allowance != Allowance { per: allowance.per, ..Allowance::default() }),
            wording,
            listener: listener.clone(),
        })
    }

    pub fn settings(&self, trusted: bool, clear: bool) -> &Arc<ServerSettings> {
        &self.settings[usize::from(trusted)][usize::from(clear)]
    }

    /// Is clear text from here as good as TLS?
    pub fn is_clear(&self, peer: IpAddr) -> bool {
        self.clear.contains(peer)
    }

    /// Must this peer begin with a PROXY header?
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.contains(peer)
    }

    /// May this peer say XCLIENT and XFORWARD?
    pub fn may_speak_for_others(&self, peer: IpAddr) -> bool {
        self.proxied.contains(peer)
    }

    pub fn allowance(&self, whose: Whose) -> &Allowance {
        let limits = &self.listener.limits;
        match whose {
            Whose::Address => &limits.address,
            Whose::Network => &limits.network,
            Whose::Login => &limits.login,
            Whose::Tenant => &limits.tenant,
        }
    }

    pub fn offers(&self, named: &str) -> bool {
        self.listener.with.iter().any(|name| name.eq_ignore_ascii_case(named))
    }
}

fn settings(table: &Policy, listener: &Listener, mechanisms: Mechanisms, trusted: bool, clear: bool) -> ServerSettings {
    let mut settings = ServerSettings::new(table.hostname.as_str());
    settings.max_size = listener.max_size;
    settings.max_recipients = listener.max_recipients;
    settings.max_line = listener.max_line;
    settings.max_errors = listener.max_errors;
    if !listener.banner.is_empty() {
        settings.banner.clone_from(&listener.banner);
    }
    if trusted && listener.bare_newline == NewlineMode::Normalise {
        settings.bare_newline = BareNewline::Normalise;
    }
    settings.lmtp = listener.profile.row().lmtp;
    settings.mechanisms = mechanisms;
    settings.tls_required = matches!(listener.tls(), TlsUse::Required | TlsUse::Implicit) && !clear;
    settings.login_required = listener.login() == LoginUse::Required && !trusted;
    settings.limits.mails = table.limits.transactions_per_session;
    settings.limits.recipients = listener.max_recipients;
    settings.deliver_by_minimum = (listener.deliver_by_least / 1_000) as u32;
    settings.hold_maximum = (listener.hold_at_most / 1_000) as u32;
    settings.extensions = extensions(listener, mechanisms);
    settings
}

fn extensions(listener: &Listener, mechanisms: Mechanisms) -> Extensions {
    let mut offered = ALWAYS;
    if listener.profile.row().known_senders {
        offered = offered.with(KNOWN_SENDERS).with(Extensions::LIMITS);
    }
    if listener.tls() != TlsUse::Off {
        offered = offered.with(Extensions::STARTTLS).with(Extensions::REQUIRETLS);
    }
    if !mechanisms.is_empty() {
        offered = offered.with(Extensions::AUTH);
    }
    if !listener.xclient_networks.is_empty() {
        offered = offered.with(Extensions::XCLIENT).with(Extensions::XFORWARD);
    }
    let named = |name: &&str| listener.with.iter().any(|with| with.eq_ignore_ascii_case(name));
    for (_, extension) in NAMED.iter().filter(|(name, _)| named(name)) {
        offered = offered.with(*extension);
    }
    let without = listener.without.iter().filter_map(|name| Extensions::named(name));
    let offered = without.fold(offered, Extensions::without);
    if offered.has(Extensions::CHUNKING) { offered } else { offered.without(Extensions::BINARYMIME) }
}

/// Those that the listener names, else all that show no stored secret to the server.
fn mechanisms(listener: &Listener, path: &str) -> Result<Mechanisms, PolicyError> {
    let unknown = |name: &str| PolicyError::new(path, format!("{name:?} is no mechanism that is known here"));
    let named = |name: &String| Mechanism::named(name).ok_or_else(|| unknown(name));
    if !listener.mechanisms.is_empty() {
        return listener.mechanisms.iter().map(named).collect::<Result<Mechanisms, _>>();
    }
    let all: Mechanisms = Mechanism::ALL.into_iter().collect();
    let usual = all.without(Mechanism::CramMd5);
    let asks = listener.client_certificates != ClientCertificates::Off;
    Ok(if asks { usual } else { usual.without(Mechanism::External) })
}
