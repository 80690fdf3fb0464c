//! What was learned beside the entries and outlives the process: sleeps with their reasons, limiters, last words.
//!
//! A restart goes on at the learned pace and opens slowly: a lane that slept sleeps on, or wakes with a probe; a
//! limiter comes back with one token at most, whatever it had saved. Rows stand in checkpoints, `slept` facts behind
//! them. What no lane came back for within a day is forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use angarium_nouns::record::Slept;
use angarium_nouns::{EnhancedCode, MessageId, Millis, Reason, Scope};
use angarium_queue::{EntryRef, LaneRef, LimiterRef};

use crate::facts::FrameRead;
use crate::route::LaneKey;
use crate::state::State;
use crate::words::Words;

/// Kept for lanes and limiters that may come back.
const KEPT_FOR: Millis = 86_400_000;
/// Lanes and limiters kept so: as many as have a plan at once on a large server.
const MOST: usize = 100_000;
/// Saved tokens that a restart gives back: it opens slowly.
const OPENING_TOKENS: u32 = 1;

/// What a peer said, by its entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WordsRow {
    pub id: MessageId,
    pub number: u32,
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: String,
    host: String,
}

impl WordsRow {
    pub fn of(id: MessageId, number: u32, words: &Words) -> Self {
        let enhanced = words.enhanced.map(|code| (code.0, code.1, code.2));
        Self { id, number, code: words.code, enhanced, text: words.text.to_string(), host: words.host.to_string() }
    }

    pub fn words(self) -> Words {
        let enhanced = self.enhanced.map(|(class, subject, detail)| EnhancedCode(class, subject, detail));
        Words { code: self.code, enhanced, text: self.text.into(), host: self.host.into() }
    }
}

/// A lane that sleeps, failed lately, or has a rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneRow {
    pub key: LaneKey,
    until: Millis,
    /// 0: it does not sleep and did not fail.
    failures: u8,
    reason: Reason,
    code: u16,
    text: String,
    /// Saved in its limiter.
    tokens: Option<u32>,
    /// When it was last there.
    at: Millis,
}

/// A shared limiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LimiterRow {
    key: String,
    tokens: u32,
    at: Millis,
}

/// Of lanes and shared limiters that are not there (yet).
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    lanes: HashMap<LaneKey, LaneRow>,
    limiters: HashMap<String, LimiterRow>,
}

impl Remembered {
    pub fn lane(&mut self, key: &LaneKey) -> Option<LaneRow> {
        if self.lanes.is_empty() { None } else { self.lanes.remove(key) }
    }

    /// Tokens that a shared limiter of this name begins with, if it is remembered.
    pub fn tokens(&mut self, key: &str) -> Option<u32> {
        self.limiters.remove(key).map(|row| opening(row.tokens))
    }

    /// A flush wakes what sleeps.
    pub fn wake_all(&mut self) {
        self.lanes.values_mut().for_each(|row| (row.until, row.failures) = (0, 0));
    }
}

fn opening(tokens: u32) -> u32 {
    tokens.min(OPENING_TOKENS)
}

impl State {
    /// Lanes whose sleep, failures or rate are worth keeping.
    pub fn lane_rows(&self, now: Millis) -> Vec<LaneRow> {
        let there = self.lanes.all().filter_map(|lane| self.lane_row(lane, now));
        let gone = self.remembered.lanes.values().filter(|row| row.at.saturating_add(KEPT_FOR) > now).cloned();
        there.chain(gone).collect()
    }

    fn lane_row(&self, lane: LaneRef, now: Millis) -> Option<LaneRow> {
        let (record, view) = (self.lanes.get(lane)?, self.index.lane(lane)?);
        let tokens = record.limiter.and_then(|limiter| self.index.limiter(limiter, now)).map(|view| view.tokens);
        // What operators or plans suspend, rules and plans suspend again.
        let failed = view.failures > 0 && view.reason != Reason::Suspended;
        if record.refusal.is_some() || !(failed || tokens.is_some()) {
            return None;
        }
        let (until, failures) = if failed { (view.asleep_until, view.failures) } else { (0, 0) };
        let (code, text) = (record.said.code, record.said.text.to_string());
        Some(LaneRow { key: (*record.key).clone(), until, failures, reason: view.reason, code, text, tokens, at: now })
    }

    pub fn limiter_rows(&self, now: Millis) -> Vec<LimiterRow> {
        let row = |(key, limiter): (&Arc<str>, &LimiterRef)| {
            let tokens = self.index.limiter(*limiter, now)?.tokens;
            Some(LimiterRow { key: key.to_string(), tokens, at: now })
        };
        let gone = self.remembered.limiters.values().filter(|row| row.at.saturating_add(KEPT_FOR) > now).cloned();
        self.lanes.shared().filter_map(row).chain(gone).collect()
    }

    /// The last words about this entry, as a checkpoint keeps them.
    pub fn words_row(&self, entry: EntryRef) -> Option<WordsRow> {
        let (words, view) = (self.words.of(entry)?, self.index.view(entry)?);
        Some(WordsRow::of(view.id, view.number, words))
    }

    pub fn restore_words(&mut self, row: WordsRow) {
        if let Some(entry) = self.index.entry(row.id, row.number) {
            self.words.keep(entry, row.words());
        }
    }

    pub fn restore_limiter(&mut self, row: LimiterRow) {
        if self.remembered.limiters.len() < MOST {
            self.remembered.limiters.insert(row.key.clone(), row);
        }
    }

    /// A lane as it was: at once if it is there, else when a route leads to it.
    pub fn restore_lane(&mut self, row: LaneRow) {
        match self.lanes.find(&row.key) {
            Some(lane) => self.recall(lane, row),
            None if self.remembered.lanes.len() < MOST => {
                let before = self.remembered.lanes.remove(&row.key);
                let tokens = row.tokens.or(before.and_then(|before| before.tokens));
                self.remembered.lanes.insert(row.key.clone(), LaneRow { tokens, ..row });
            }
            None => {}
        }
    }

    /// The lane sleeps on where it did; its rate, when the plan comes, begins with what it had.
    pub fn recall(&mut self, lane: LaneRef, row: LaneRow) {
        let Some(record) = self.lanes.get_mut(lane) else { return };
        record.saved = row.tokens.map(opening).or(record.saved);
        if row.failures == 0 {
            return;
        }
        record.asleep = true;
        record.said = Words { code: row.code, text: row.text.into(), ..Words::default() };
        let suspended = self.index.lane(lane).is_some_and(|view| view.asleep_until == Millis::MAX);
        if !suspended {
            let _ = self.index.restore_sleep(lane, row.until, row.failures, row.reason);
        }
    }

    /// A `slept` fact replayed: absolute, so it does not matter whether the checkpoint shows it already.
    pub fn slept_before(&mut self, fact: &Slept, frame: &FrameRead<'_>, now: Millis) {
        if fact.until.saturating_add(KEPT_FOR) <= now {
            return;
        }
        if fact.lane == 0 {
            if fact.scope != Scope::Lane {
                let object = frame.text(fact.object);
                self.asleep.restore(fact.scope, object, fact.until, fact.failures, fact.reason);
            }
            return;
        }
        // A block of strings that was blanked names no lane.
        let Ok(key) = serde_json::from_str::<LaneKey>(frame.text(fact.lane)) else { return };
        let (until, failures, reason, code) = (fact.until, fact.failures, fact.reason, fact.code);
        let text = frame.text(fact.text).to_owned();
        self.restore_lane(LaneRow { key, until, failures, reason, code, text, tokens: None, at: fact.at });
    }

    /// A fact replayed shows that this entry's lane had an answer.
    pub fn answered_before(&mut self, entry: EntryRef) {
        if let Some(lane) = self.index.view(entry).and_then(|view| view.lane) {
            self.lane_answered(lane);
        }
    }
}
