//! Standing rules, and predicates looked up: numbers instead of names.
//!
//! A hold or suspend without a list of ids stands until it is lifted; the index tries it on every entry that comes.
//! A suspend of a site puts its lanes to sleep, those too that are made later. Rules are in the journal and in
//! checkpoints, so they stand over restarts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use angarium_nouns::names::{NameId, Names};
use angarium_nouns::record::{Claim, EntryState};
use angarium_nouns::{Class, Lsn, MessageId, Millis, Outcome, Reason, RecipientId};
use angarium_queue::{ControlKind as Order, LaneRef};

use crate::claims::Hold;
use crate::control::{Control, ControlKind, MAX_RULES};
use crate::error::ControlError;
use crate::incoming::sender_hash;
use crate::lanes::Lanes;
use crate::ledger::Ledger;
use crate::predicate::Predicate;
use crate::settle::Change;
use crate::state::{NameTables, State};

/// A rule that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub number: u64,
    pub control: Control,
    /// Where the content log was.
    pub position: u64,
    /// When it was given.
    pub at: Millis,
}

/// An order that stands, as people see it: a hold, a suspend, a legal hold or a pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    /// By which it is lifted.
    pub number: u64,
    pub kind: &'static str,
    #[serde(rename = "where")]
    pub predicate: Predicate,
    pub by: String,
    pub why: String,
    pub at: Millis,
    /// When what a hold holds is released by itself; 0: when the rule is lifted.
    pub until: Millis,
    /// Messages whose content it keeps (legal holds and pins).
    pub messages: u64,
}

impl RuleView {
    fn of_rule(rule: &Rule) -> Self {
        let Control { kind, predicate, by, why, until, .. } = rule.control.clone();
        let (until, messages) = (until.unwrap_or(0), 0);
        Self { number: rule.number, kind: kind.name(), predicate, by, why, at: rule.at, until, messages }
    }

    fn of_hold(hold: &Hold, messages: usize) -> Self {
        let Hold { number, claim, at, by, why, stands } = hold.clone();
        let kind = if claim == Claim::Required { ControlKind::LegalHold } else { ControlKind::Pin }.name();
        let (predicate, until, messages) = (stands.unwrap_or_default(), 0, messages as u64);
        Self { number, kind, predicate, by, why, at, until, messages }
    }
}

impl Ledger {
    /// Every order that stands, by its number.
    pub fn rules(&self) -> Vec<RuleView> {
        let state = self.state.lock();
        let holds = state.claims.holds().map(|(hold, messages)| RuleView::of_hold(hold, messages.len()));
        let mut views: Vec<RuleView> = state.rules.iter().map(RuleView::of_rule).chain(holds).collect();
        views.sort_by_key(|view| view.number);
        views
    }
}

#[derive(Debug, Default)]
pub(crate) struct Rules {
    live: BTreeMap<u64, Rule>,
    /// The number of the last order.
    pub last: u64,
}

impl Rules {
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.live.values()
    }

    pub fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Rules that this order lifts: by number; else those of `kind` with the same predicate, all of them if it says `all`.
    pub fn lifted_by(&self, control: &Control) -> Vec<u64> {
        let everything = control.predicate == Predicate { all: true, ..Predicate::default() };
        let of = |rule: &&Rule| {
            let same = control.rule == 0 && (everything || rule.control.predicate == control.predicate);
            let kind = control.kind == ControlKind::Lift || rule.control.kind == ControlKind::Suspend;
            kind && (same || rule.number == control.rule)
        };
        self.live.values().filter(of).map(|rule| rule.number).collect()
    }
}

/// What a predicate selects.
pub(crate) enum Selected {
    /// A name in it is not known: no entry can match.
    Nothing,
    /// A list.
    Listed(Vec<(MessageId, Option<u32>)>),
    /// Any of these.
    Walk(Vec<angarium_queue::Predicate>),
}

impl Predicate {
    /// Looks the names up. Without any field it selects nothing unless it says `all`.
    pub(crate) fn select(&self, names: &NameTables, lanes: &Lanes) -> Result<Selected, ControlError> {
        if !self.ids.is_empty() {
            return Ok(Selected::Listed(self.ids.iter().map(|id| listed(id)).collect::<Result<_, _>>()?));
        }
        if *self == Self::default() {
            return Err(ControlError::Unbounded);
        }
        let known = |names: &Names, text: &Option<String>| match text {
            None => Some(None),
            Some(text) => names.find(text).map(Some),
        };
        let domain = self.domain.as_ref().map(|domain| domain.to_lowercase());
        let found = (
            known(&names.domains, &domain),
            known(&names.tenants, &self.tenant),
            known(&names.campaigns, &self.campaign),
        );
        let (Some(domain), Some(tenant), Some(campaign)) = found else { return Ok(Selected::Nothing) };
        Ok(self.with_lanes(self.fields(domain, tenant, campaign)?, lanes))
    }

    fn fields(
        &self,
        domain: Option<NameId>,
        tenant: Option<NameId>,
        campaign: Option<NameId>,
    ) -> Result<angarium_queue::Predicate, ControlError> {
        Ok(angarium_queue::Predicate {
            domain,
            tenant,
            campaign,
            sender: self.sender.as_deref().map(sender_hash),
            class: word(self.class.as_deref(), "a class (urgent, high, normal, bulk)", |text| {
                Class::ALL.into_iter().find(|class| class.name() == text)
            })?,
            state: word(self.state.as_deref(), "a state (waiting, held, leased, owing)", |text| {
                (0..4).filter_map(|n| EntryState::try_from(n).ok()).find(|state| state.name() == text)
            })?,
            reason: word(self.reason.as_deref(), "a reason class", |text| {
                (0..=u8::MAX).map_while(|n| Reason::try_from(n).ok()).find(|reason| reason.name() == text)
            })?,
            received_from: self.after,
            received_before: self.before,
            ..angarium_queue::Predicate::default()
        })
    }

    fn with_lanes(&self, fields: angarium_queue::Predicate, lanes: &Lanes) -> Selected {
        let lane = self.lane.map(LaneRef::from_bits);
        let chosen: Vec<LaneRef> = match (&self.site, lane) {
            (None, None) => return Selected::Walk(vec![fields]),
            (None, Some(lane)) => vec![lane],
            (Some(site), lane) => lanes.of_site(site).filter(|one| lane.is_none_or(|lane| lane == *one)).collect(),
        };
        let with = |lane| angarium_queue::Predicate { lane: Some(lane), ..fields.clone() };
        Selected::Walk(chosen.into_iter().map(with).collect())
    }

    /// A suspend that speaks of lanes alone.
    fn is_of_lanes(&self) -> bool {
        self.site.is_some() && *self == Self { site: self.site.clone(), ..Self::default() }
    }

    fn names_site(&self, site: &str) -> bool {
        self.site.as_deref() == Some(site)
    }
}

fn listed(text: &str) -> Result<(MessageId, Option<u32>), ControlError> {
    if let Ok(recipient) = text.parse::<RecipientId>() {
        return Ok((recipient.message, Some(recipient.number)));
    }
    let id = text.parse().map_err(|_| ControlError::Id(text.to_owned()))?;
    Ok((id, None))
}

fn word<T>(
    text: Option<&str>,
    what: &'static str,
    find: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ControlError> {
    text.map(|text| find(text).ok_or(ControlError::Missing(what))).transpose()
}

impl State {
    /// A rule begins to stand. Its names are held until it is lifted.
    pub fn stand(&mut self, rule: Rule, now: Millis) -> Result<(), ControlError> {
        if self.rules.live.len() >= MAX_RULES {
            return Err(ControlError::TooManyRules);
        }
        let predicate = &rule.control.predicate;
        if predicate.lane.is_some() {
            // Numbers of lanes do not last, a rule does.
            return Err(ControlError::Missing("the lane's site: a standing rule outlives lane numbers"));
        }
        if rule.control.kind == ControlKind::Suspend && predicate.is_of_lanes() {
            self.rules.live.insert(rule.number, rule);
            for lane in self.lanes.all().collect::<Vec<_>>() {
                self.suspend_new_lane(lane);
            }
            return Ok(());
        }
        self.names.hold_of(predicate);
        let selected = predicate.select(&self.names, &self.lanes);
        let Selected::Walk(predicates) = selected? else { return Err(ControlError::Missing("a predicate")) };
        let kind = if rule.control.kind == ControlKind::Hold { Order::Hold } else { Order::Suspend };
        // A suspend ends when it is lifted.
        let until = if kind == Order::Hold { rule.control.until.unwrap_or(now + self.policy.hold_after) } else { 0 };
        for (n, predicate) in predicates.into_iter().enumerate() {
            let (number, position) = (index_number(rule.number, n), Lsn(rule.position));
            let control = angarium_queue::Control { number, kind, predicate, position, until };
            self.index.add_control(control, now).map_err(|_| ControlError::TooManyRules)?;
        }
        self.rules.last = self.rules.last.max(rule.number);
        self.rules.live.insert(rule.number, rule);
        self.meet_rules(now);
        Ok(())
    }

    /// The rule stands no more. What it held stays held, what it suspended waits again.
    pub fn lift(&mut self, number: u64) -> bool {
        let Some(rule) = self.rules.live.remove(&number) else { return false };
        let predicate = &rule.control.predicate;
        if rule.control.kind == ControlKind::Suspend && predicate.is_of_lanes() {
            let named = |lane: &LaneRef| predicate.names_site(self.lanes.site(*lane));
            for lane in self.lanes.all().filter(named).collect::<Vec<_>>() {
                let _ = self.index.wake_lane(lane);
            }
        } else {
            for n in 0..MAX_RULES {
                if !self.index.lift(index_number(number, n)) {
                    break;
                }
            }
            self.names.release_of(predicate);
        }
        self.wake = true;
        true
    }

    /// A suspended site's lane sleeps from its first moment.
    pub fn suspend_new_lane(&mut self, lane: LaneRef) {
        let site = self.lanes.site(lane);
        let suspends = |rule: &Rule| {
            let Control { kind, predicate, .. } = &rule.control;
            *kind == ControlKind::Suspend && predicate.is_of_lanes() && predicate.names_site(site)
        };
        if self.rules.iter().any(suspends) {
            let _ = self.index.sleep_lane(lane, Millis::MAX, Reason::Suspended);
        }
    }

    /// What rules and orders held since the last look gets its fact. What is suspended needs none: its rule stands.
    pub fn meet_rules(&mut self, now: Millis) -> u64 {
        let mut met = 0;
        for touched in self.index.touched() {
            met += 1;
            let Some(view) = self.index.view(touched.entry) else { continue };
            if touched.kind == Order::Hold && !touched.in_flight && view.state == EntryState::Held {
                self.tell(&view, Change::of(&view, EntryState::Held, Outcome::Deferred, view.reason), now);
            }
        }
        met
    }
}

/// One rule may be several in the index (a site with several lanes); numbers below 2^56 do not meet.
fn index_number(rule: u64, n: usize) -> u64 {
    rule << 8 | n as u64
}

impl NameTables {
    pub fn hold_of(&mut self, predicate: &Predicate) {
        let lower = predicate.domain.as_deref().map(str::to_lowercase);
        lower.map(|text| self.domains.hold(&text));
        predicate.tenant.as_deref().map(|text| self.tenants.hold(text));
        predicate.campaign.as_deref().map(|text| self.campaigns.hold(text));
    }

    pub fn release_of(&mut self, predicate: &Predicate) {
        let release = |names: &mut Names, text: Option<&str>| {
            if let Some(id) = text.and_then(|text| names.find(text)) {
                names.release(id);
            }
        };
        let lower = predicate.domain.as_deref().map(str::to_lowercase);
        release(&mut self.domains, lower.as_deref());
        release(&mut self.tenants, predicate.tenant.as_deref());
        release(&mut self.campaigns, predicate.campaign.as_deref());
    }
}
