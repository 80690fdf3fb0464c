//! Controls on the naive model: what a predicate selects, what a rule does to whom it meets, and lifting it.

use super::*;

impl Pair {
    pub fn matches(row: &Row, predicate: &Predicate) -> bool {
        predicate.tenant.is_none_or(|tenant| key(row.node).tenant == tenant)
            && predicate.class.is_none_or(|class| key(row.node).class == class)
            && predicate.domain.is_none_or(|domain| key(row.node).domain == domain)
            && predicate.sender.is_none_or(|sender| row.id.sequence() as u32 % 3 == sender)
            && predicate.reason.is_none_or(|reason| row.reason == reason)
            && predicate.state.is_none_or(|state| row.state == state)
    }

    pub fn meet(&mut self, at: usize, control: &Control) {
        let row = &self.rows[at];
        let closing = row.state == EntryState::Held && matches!(row.reason, Reason::Cancelled | Reason::Expired);
        if row.state == EntryState::Owing || closing || !Self::matches(row, &control.predicate) {
            return;
        }
        let stop = match control.kind {
            ControlKind::Cancel => (0, Reason::Cancelled),
            ControlKind::Suspend => (control.until, Reason::Suspended),
            _ => (control.until, Reason::Policy),
        };
        match (control.kind, row.state) {
            (ControlKind::Release, EntryState::Held) => self.release(at),
            (ControlKind::Retry, EntryState::Waiting) if !row.ready => {
                self.rows[at].due = self.now;
                self.join(at, false);
            }
            (ControlKind::Release | ControlKind::Retry, _)
            | (ControlKind::Hold | ControlKind::Suspend, EntryState::Held) => {}
            (_, EntryState::Leased) => self.stop(at, stop.0, stop.1),
            _ => {
                self.hold(at, stop.0, stop.1);
                self.rows[at].closing = control.kind == ControlKind::Cancel;
            }
        }
    }

    pub fn control(&mut self, kind: u8, by: u8, value: u32) {
        use ControlKind::{Cancel, Hold, Release, Retry, Suspend};
        let kind = [Hold, Suspend, Release, Retry, Cancel, Hold][usize::from(kind)];
        let mut predicate = Predicate::default();
        match by {
            0 => predicate.tenant = Some(NameId(value % 2)),
            1 => predicate.class = Some(Class::ALL[value as usize]),
            2 => predicate.domain = Some(NameId(value)),
            _ => predicate.sender = Some(value % 3),
        }
        self.sequence += 1;
        let control = Control { number: self.sequence, kind, predicate, position: Lsn(self.sequence), until: 0 };
        self.index.add_control(control.clone(), self.now).unwrap();
        self.sweep();
        // In the order of the index's slots, since joining a node is.
        for at in self.in_slot_order() {
            self.meet(at, &control);
        }
        if kind.is_standing() {
            self.rules.push(control);
        }
    }

    pub fn in_slot_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&at| self.handle(at).slot);
        order
    }

    pub fn sweep(&mut self) {
        while self.index.sweep(self.now, 7) {}
    }

    pub fn lift(&mut self) {
        if self.rules.is_empty() {
            return;
        }
        let rule = self.rules.remove(0);
        assert!(self.index.lift(rule.number));
        self.sweep();
        if rule.kind != ControlKind::Suspend {
            return;
        }
        for at in self.in_slot_order() {
            let row = &self.rows[at];
            let suspended = row.state == EntryState::Held && row.reason == Reason::Suspended;
            let other =
                self.rules.iter().any(|one| one.kind == ControlKind::Suspend && Self::matches(row, &one.predicate));
            if suspended && !other && Self::matches(row, &rule.predicate) {
                self.release(at);
            }
        }
    }
}
