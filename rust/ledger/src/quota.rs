//! S4, "first for the tenant over its quota": while room is short, tenants whose open mail takes more than their share
//! get 452 before anybody else does.
//!
//! Nothing is counted as long as there is room: a walk over the index every few seconds adds up, in bounded steps, what
//! the open mail of each tenant takes. Mail of no tenant has no quota.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use angarium_nouns::names::NameId;
use angarium_nouns::{MessageId, Millis};
use angarium_queue::{Cursor as Slots, Predicate};

use crate::ledger::Ledger;
use crate::maintain::STEPS_AT_ONCE;
use crate::state::{Kept, State};

/// Between two walks while room is short.
const WALK_EVERY: Millis = 5_000;

/// Who is over the quota now.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    any: AtomicBool,
    over: RwLock<HashSet<Arc<str>>>,
}

impl Quotas {
    fn refuses(&self, tenant: &str) -> bool {
        self.any.load(Ordering::Relaxed) && self.over.read().contains(tenant)
    }

    fn set(&self, over: HashSet<Arc<str>>) {
        self.any.store(!over.is_empty(), Ordering::Relaxed);
        *self.over.write() = over;
    }
}

/// A walk over the index under way.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    at: Option<Slots>,
    next: Millis,
    bytes: HashMap<NameId, u64>,
    /// Entries of one message mostly lie side by side: it is counted once.
    last: Option<(MessageId, NameId)>,
}

impl Ledger {
    /// Room is short and this tenant has more than its share of it: its new mail gets 452. Cheap.
    pub fn refuses_tenant(&self, tenant: &str) -> bool {
        self.quotas.refuses(tenant)
    }

    /// One step of the walk. True: there is more to do.
    pub(crate) fn count_tenants(&self, walk: &mut Walk, now: Millis) -> bool {
        let (quota, short_of) = {
            let state = self.state.lock();
            (state.policy.tenant_quota, state.policy.quota_below)
        };
        if walk.at.is_none() {
            if quota == 0 || now < walk.next {
                return false;
            }
            *walk = Walk { next: now.saturating_add(WALK_EVERY), ..Walk::default() };
            if !self.spool.is_short_of_room(short_of) {
                self.quotas.set(HashSet::new());
                return false;
            }
            walk.at = Some(Slots::default());
        }
        let state = self.state.lock();
        state.count_some(walk);
        if walk.at.is_none() {
            let over = walk.bytes.iter().filter(|(tenant, bytes)| tenant.0 != 0 && **bytes > quota);
            self.quotas.set(over.map(|(tenant, _)| state.names.tenants.shared(*tenant)).collect());
        }
        walk.at.is_some()
    }
}

impl State {
    fn count_some(&self, walk: &mut Walk) {
        let mut found = Vec::new();
        let Some(from) = walk.at else { return };
        walk.at = self.index.find(&Predicate::default(), from, STEPS_AT_ONCE, STEPS_AT_ONCE, &mut found);
        for entry in found {
            let (Some(view), Some(message)) = (self.index.view(entry), self.index.message_of(entry)) else { continue };
            let of = (view.id, view.key.tenant);
            if walk.last.replace(of) == Some(of) {
                continue;
            }
            let body = self.bodies.get(&view.id).map_or(0, |body| body.length);
            let bytes = u64::from(Kept::of(&message).place.length) + body;
            let sum = walk.bytes.entry(view.key.tenant).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
}
