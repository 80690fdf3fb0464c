//! How much of what somebody did lately: counts by key over a sliding window, in memory that never grows.
//!
//! A row holds the counts of the window that runs and of the one before; what is told is the running count and the
//! part of the former that still lies within the window's length, so nobody gets twice his due at its seam. Rows lie
//! in sets of eight; in a full set a new key takes the row that was touched longest ago. So a count is never too high
//! but for two keys of one hash, and too low only when more keys come than there are rows.

/// Rows of one set.
const WAYS: usize = 8;

/// Counts of `N` kinds by keys that are hashes already.
#[derive(Debug, Clone)]
pub struct Rates<const N: usize> {
    rows: Vec<Row<N>>,
}

#[derive(Debug, Clone, Copy)]
struct Row<const N: usize> {
    /// 0: free.
    key: u64,
    /// When the running window began, in the caller's time.
    since: u64,
    now: [u64; N],
    before: [u64; N],
}

impl<const N: usize> Row<N> {
    const FREE: Self = Self { key: 0, since: 0, now: [0; N], before: [0; N] };

    /// Lets the time go on to `now`.
    fn turn(&mut self, per: u64, now: u64) {
        let passed = now.saturating_sub(self.since) / per;
        match passed {
            0 => return,
            1 => self.before = self.now,
            _ => self.before = [0; N],
        }
        self.now = [0; N];
        self.since += passed * per;
    }

    fn told(&self, kind: usize, per: u64, now: u64) -> u64 {
        let left = per.saturating_sub(now.saturating_sub(self.since));
        let former = u128::from(self.before[kind]) * u128::from(left) / u128::from(per);
        self.now[kind] + former as u64
    }
}

impl<const N: usize> Rates<N> {
    /// With room for so many keys, rounded up to whole sets.
    pub fn new(keys: usize) -> Self {
        Self { rows: vec![Row::FREE; keys.next_multiple_of(WAYS).max(WAYS)] }
    }

    /// How much of `kind` the last `per` held. A key must always come with the same `per`.
    pub fn count(&self, key: u64, kind: usize, per: u64, now: u64) -> u64 {
        let key = key.max(1);
        let found = self.set(key).iter().find(|row| row.key == key);
        found.map_or(0, |row| {
            let mut row = *row;
            row.turn(per.max(1), now);
            row.told(kind, per.max(1), now)
        })
    }

    /// Counts `amount` more; gives what is told of it now.
    pub fn add(&mut self, key: u64, kind: usize, amount: u64, per: u64, now: u64) -> u64 {
        let (key, per) = (key.max(1), per.max(1));
        let row = self.row(key, now);
        row.turn(per, now);
        row.now[kind] = row.now[kind].saturating_add(amount);
        row.told(kind, per, now)
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: u64) {
        let key = key.max(1);
        let set = self.place(key);
        self.rows[set..set + WAYS].iter_mut().filter(|row| row.key == key).for_each(|row| *row = Row::FREE);
    }

    fn place(&self, key: u64) -> usize {
        let sets = (self.rows.len() / WAYS) as u64;
        (key.rotate_left(17) % sets) as usize * WAYS
    }

    fn set(&self, key: u64) -> &[Row<N>] {
        let at = self.place(key);
        &self.rows[at..at + WAYS]
    }

    fn row(&mut self, key: u64, now: u64) -> &mut Row<N> {
        let at = self.place(key);
        let set = &mut self.rows[at..at + WAYS];
        let own = set.iter().position(|row| row.key == key);
        let place = own.unwrap_or_else(|| (0..WAYS).min_by_key(|&n| set[n].since).unwrap_or(0));
        if own.is_none() {
            set[place] = Row { key, since: now, ..Row::FREE };
        }
        &mut set[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides() {
        let mut rates = Rates::<2>::new(64);
        assert_eq!(rates.add(7, 1, 10, 100, 1_000), 10);
        assert_eq!(rates.add(7, 1, 5, 100, 1_050), 15);
        assert_eq!(rates.count(7, 0, 100, 1_050), 0);
        // The next window: what is left of the former fades.
        for (now, told) in [(1_099, 15), (1_100, 15), (1_150, 7), (1_199, 0), (1_200, 0), (9_000, 0)] {
            assert_eq!(rates.count(7, 1, 100, now), told, "at {now}");
        }
        assert_eq!(rates.add(7, 1, 1, 100, 1_150), 8);
        rates.forget(7);
        assert_eq!(rates.count(7, 1, 100, 1_150), 0);
    }

    #[test]
    fn strangers_push_out_who_was_quiet_longest() {
        let mut rates = Rates::<1>::new(WAYS);
        for key in 1..=WAYS as u64 {
            rates.add(key, 0, key, 1_000, key);
        }
        rates.add(99, 0, 1, 1_000, 50);
        assert_eq!(rates.count(1, 0, 1_000, 50), 0);
        assert!((2..=WAYS as u64).all(|key| rates.count(key, 0, 1_000, 50) == key));
        assert_eq!(rates.count(99, 0, 1_000, 50), 1);
    }
}
