//! Checkpoints: fuzzy, paged, published only when all that they reflect is durable.
//!
//! Pages of the index are written between changes; replaying both logs from where the checkpoint began mends them.
//! Numbers of names keep their meaning while it is written (nothing is freed), so the names come last. What is
//! small (rules, routes, owed reports, followers, body files) is one section each.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use angarium_nouns::names::NameId;
use angarium_nouns::record::Claim;
use angarium_nouns::{Lsn, MessageId, Millis};
use angarium_queue::{Cursor as Slots, EntryRef, NodeKey};
use angarium_spool::{CheckpointError, CheckpointWriter, Marks, Place, Recovery};

use crate::claims::{Claims, Follower, Hold};
use crate::error::OpenError;
use crate::facts::{KeptBody, Release};
use crate::ledger::Ledger;
use crate::reader::Cursor;
use crate::remember::WordsRow;
use crate::retention::Milestone;
use crate::route::RouteAnswer;
use crate::rules::Rule;
use crate::sleep::NapRow;
use crate::state::{NodeWords, State};

/// Sections, by number; numbers are never reused.
const NAMES: u16 = 1;
const INDEX: u16 = 2;
const OWED: u16 = 3;
const RULES: u16 = 4;
const ROUTES: u16 = 5;
const FOLLOWERS: u16 = 6;
const BODIES: u16 = 7;
const LAST: u16 = 8;
const MILESTONES: u16 = 9;
const KEPT: u16 = 10;
const HOLDS: u16 = 11;
const HELD: u16 = 12;
const PASSING: u16 = 13;
const LANES: u16 = 14;
const LIMITERS: u16 = 15;
const NAPS: u16 = 16;
const WORDS: u16 = 17;

/// Octets of a record in the small sections; a page holds several.
const RECORD: usize = 8 * 1024;
/// Last words written in one step: less than a millisecond of the lock.
const WORDS_AT_ONCE: usize = 1024;

/// A checkpoint on its way.
pub(crate) struct Writing {
    writer: CheckpointWriter,
    at: Option<Slots>,
    /// Entries whose last words are still to be written; `None`: not looked at yet.
    words: Option<Vec<EntryRef>>,
    /// Facts up to here are reflected: they must be durable before it is published.
    facts: Option<u64>,
    reflects: Marks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    /// The facts that it reflects are not durable yet.
    Waits,
    Done,
}

#[derive(Serialize, Deserialize)]
struct NameRow {
    /// 0 domains, 1 tags, 2 tenants, 3 campaigns.
    table: u8,
    number: u32,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct RouteRow {
    domain: String,
    tag: String,
    tls: u8,
    answer: RouteAnswer,
    valid: Millis,
    stale: Millis,
}

#[derive(Serialize, Deserialize)]
struct FollowerRow {
    name: String,
    cursor: Cursor,
    claim: Claim,
    skipped: u64,
}

/// Content of a closed message: that somebody claims, or (`closed` 0) whose closing fact was on its way.
#[derive(Serialize, Deserialize)]
struct KeptRow {
    id: MessageId,
    segment: u32,
    offset: u32,
    length: u32,
    body: Option<KeptBody>,
    closed: u64,
}

#[derive(Serialize, Deserialize)]
struct LastRow {
    order: u64,
    newest_fact: Millis,
}

impl Ledger {
    /// One bounded step of a checkpoint.
    pub(crate) fn checkpoint_step(&self, writing: &mut Option<Writing>, now: Millis) -> Result<Step, CheckpointError> {
        let Some(current) = writing else {
            *writing = Some(self.begin_checkpoint()?);
            return Ok(Step::More);
        };
        if current.at.is_some() {
            return self.write_page(current).map(|()| Step::More);
        }
        if current.words.as_ref().is_none_or(|words| !words.is_empty()) {
            return self.write_words(current).map(|()| Step::More);
        }
        let Some(facts) = current.facts else {
            self.write_small_sections(current, now)?;
            return Ok(Step::More);
        };
        if self.state.lock().facts.durable() < facts {
            return Ok(Step::Waits);
        }
        if let Some(done) = writing.take() {
            self.end_quarantine();
            let reflects = Marks { journal: self.state.lock().facts.flushed(), ..done.reflects };
            done.writer.publish(reflects)?;
        }
        Ok(Step::Done)
    }

    fn begin_checkpoint(&self) -> Result<Writing, CheckpointError> {
        let applied = {
            let mut state = self.state.lock();
            state.quarantine = Some(Vec::new());
            state.marks()
        };
        match self.spool.begin_checkpoint(applied) {
            Ok(writer) => {
                Ok(Writing { writer, at: Some(Slots::default()), words: None, facts: None, reflects: applied })
            }
            Err(error) => {
                self.end_quarantine();
                Err(error)
            }
        }
    }

    /// Names that were kept for the checkpoint's sake are free again.
    pub(crate) fn end_quarantine(&self) {
        let mut state = self.state.lock();
        for key in state.quarantine.take().unwrap_or_default() {
            state.names.release(key);
        }
    }

    fn write_page(&self, writing: &mut Writing) -> Result<(), CheckpointError> {
        let Some(from) = writing.at else { return Ok(()) };
        let mut page = Vec::with_capacity(CheckpointWriter::MAX_RECORD);
        writing.at = self.state.lock().index.write_page(from, CheckpointWriter::MAX_RECORD, &mut page);
        if page.is_empty() { Ok(()) } else { writing.writer.write(INDEX, &page) }
    }

    /// Some of the last words of peers: what was said since the checkpoint began, facts say again.
    fn write_words(&self, writing: &mut Writing) -> Result<(), CheckpointError> {
        let rows = {
            let state = self.state.lock();
            let words = writing.words.get_or_insert_with(|| state.words.entries());
            let some = words.drain(..words.len().min(WORDS_AT_ONCE));
            Rows::of(some.filter_map(|entry| state.words_row(entry)))
        };
        rows.iter().try_for_each(|row| writing.writer.write(WORDS, row))
    }

    fn write_small_sections(&self, writing: &mut Writing, now: Millis) -> Result<(), CheckpointError> {
        let sections = {
            let mut state = self.state.lock();
            writing.facts = Some(state.facts.hurry());
            writing.reflects = state.marks();
            state.small_sections(now)
        };
        for (section, rows) in sections {
            for row in rows {
                writing.writer.write(section, &row)?;
            }
        }
        Ok(())
    }
}

/// Rows gathered into records of some kilobytes: MessagePack values back to back.
#[derive(Default)]
struct Rows(Vec<Vec<u8>>);

impl Rows {
    fn add<T: Serialize>(&mut self, row: &T) {
        // Writing into a Vec cannot fail.
        let _ = rmp_serde::encode::write(self.record(), row);
    }

    /// A row with a predicate: fields that are not given are left out, so the others need their names.
    fn add_named<T: Serialize>(&mut self, row: &T) {
        let _ = rmp_serde::encode::write_named(self.record(), row);
    }

    fn record(&mut self) -> &mut Vec<u8> {
        if self.0.last().is_none_or(|record| record.len() >= RECORD) {
            self.0.push(Vec::new());
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn named<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.add_named(&row));
        all.0
    }

    fn of<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<Vec<u8>> {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.add(&row));
        all.0
    }
}

impl State {
    fn marks(&self) -> Marks {
        Marks { content: self.content_applied, journal: self.facts.flushed(), copied: self.copies_applied }
    }

    fn small_sections(&self, now: Millis) -> Vec<(u16, Vec<Vec<u8>>)> {
        let owed = self.owed.iter().map(|(id, number, words)| WordsRow::of(id, number, words));
        let routes = self.routes.iter().filter_map(|record| {
            Some(RouteRow {
                domain: self.names.domains.text(record.key.domain).to_owned(),
                tag: self.names.tags.text(record.key.tag).to_owned(),
                tls: record.key.tls,
                answer: record.answer.clone()?,
                valid: record.valid,
                stale: record.stale,
            })
        });
        let mut sections = vec![
            (NAMES, self.names.rows()),
            (OWED, Rows::of(owed)),
            (RULES, Rows::named(self.rules.iter())),
            (ROUTES, Rows::of(routes.filter(|route| route.stale > now))),
            (BODIES, Rows::of(self.bodies.iter())),
            (LANES, Rows::of(self.lane_rows(now))),
            (LIMITERS, Rows::of(self.limiter_rows(now))),
            (NAPS, Rows::of(self.asleep.rows(now))),
            (MILESTONES, Rows::of(self.retention.iter())),
            (LAST, Rows::of([LastRow { order: self.rules.last, newest_fact: now }])),
        ];
        sections.extend(self.claims.sections());
        sections.push((PASSING, Rows::of(self.facts.releases().map(|release| KeptRow::of(release, Lsn(0))))));
        sections
    }
}

impl Claims {
    fn sections(&self) -> [(u16, Vec<Vec<u8>>); 4] {
        let followers = self.followers().iter().map(|(name, follower)| FollowerRow {
            name: name.clone(),
            cursor: follower.cursor,
            claim: follower.claim,
            skipped: follower.skipped,
        });
        let kept = self.kept().map(|kept| KeptRow::of(&kept.release, kept.closed));
        let held = self.holds().flat_map(|(hold, messages)| messages.iter().map(|id| (hold.number, *id)));
        [
            (FOLLOWERS, Rows::of(followers)),
            (KEPT, Rows::of(kept)),
            (HOLDS, Rows::named(self.holds().map(|(hold, _)| hold))),
            (HELD, Rows::of(held)),
        ]
    }
}

/// Behind the routes: lanes that they lead to are there.
fn read_learned(recovery: &Recovery, state: &mut State) -> Result<(), OpenError> {
    rows(recovery, LANES)?.into_iter().for_each(|row| state.restore_lane(row));
    rows(recovery, LIMITERS)?.into_iter().for_each(|row| state.restore_limiter(row));
    for NapRow { scope, object, until, failures, reason } in rows(recovery, NAPS)? {
        state.asleep.restore(scope, &object, until, failures, reason);
    }
    Ok(())
}

/// Followers and orders first: they tell who claims what is kept.
fn read_claims(recovery: &Recovery, state: &mut State) -> Result<(), OpenError> {
    rows::<Hold>(recovery, HOLDS)?.into_iter().for_each(|hold| state.begin_hold(hold));
    let claims = &mut state.claims;
    for FollowerRow { name, cursor, claim, skipped } in rows(recovery, FOLLOWERS)? {
        claims.set_follower(&name, Follower { cursor, claim, skipped });
    }
    for (number, id) in rows::<(u64, MessageId)>(recovery, HELD)? {
        claims.hold(number, id);
    }
    for row in rows::<KeptRow>(recovery, KEPT)? {
        let closed = Lsn(row.closed);
        let _unclaimed = claims.pass(row.release(), closed);
    }
    Ok(())
}

/// Messages that were closed when the checkpoint was written, their closing facts on the way to the journal: a page of
/// the index does not show them, the replay of that fact decides whether anybody claims them.
pub(crate) fn read_passing(recovery: &Recovery) -> Result<HashMap<MessageId, Release>, OpenError> {
    let releases = rows::<KeptRow>(recovery, PASSING)?.into_iter().map(KeptRow::release);
    Ok(releases.map(|release| (release.id, release)).collect())
}

impl KeptRow {
    fn of(release: &Release, closed: Lsn) -> Self {
        let Release { id, place, body, .. } = release.clone();
        let Place { segment, offset, length } = place;
        Self { id, segment, offset, length, body, closed: closed.0 }
    }

    fn release(self) -> Release {
        let Self { id, segment, offset, length, body, .. } = self;
        Release { id, place: Place { segment, offset, length }, body, wanted_by_nobody: false }
    }
}

impl crate::state::NameTables {
    fn rows(&self) -> Vec<Vec<u8>> {
        let tables = [&self.domains, &self.tags, &self.tenants, &self.campaigns];
        let rows = tables.into_iter().zip(0u8..).flat_map(|(names, table)| {
            names.iter().map(move |(id, text)| NameRow { table, number: id.0, text: text.to_owned() })
        });
        Rows::of(rows)
    }
}

/// Takes a checkpoint in; gives the time of its newest fact. The spool chose one whose pages are intact; one that is not understood stops the start.
pub(crate) fn read(recovery: &Recovery, state: &mut State, now: Millis) -> Result<Millis, OpenError> {
    let marks = recovery.checkpoint_marks();
    (state.content_applied, state.copies_applied) = (marks.content, marks.copied);
    state.facts.flushed_to(marks.journal);
    let names = read_names(recovery)?;
    read_index(recovery, &names, state, now)?;
    for row in rows::<WordsRow>(recovery, OWED)? {
        if state.index.entry(row.id, row.number).is_some() {
            state.owed.add(row.id, row.number, row.words(), now);
        }
    }
    rows(recovery, WORDS)?.into_iter().for_each(|row| state.restore_words(row));
    for rule in rows::<Rule>(recovery, RULES)? {
        state.stand(rule, now).map_err(|error| OpenError::NotUnderstood(error.to_string()))?;
    }
    for row in rows::<RouteRow>(recovery, ROUTES)?.into_iter().filter(|row| row.stale > now) {
        state.restore_route((&row.domain, &row.tag, row.tls), row.answer, row.valid, row.stale);
    }
    read_learned(recovery, state)?;
    read_claims(recovery, state)?;
    for (id, body) in rows::<(MessageId, KeptBody)>(recovery, BODIES)? {
        if state.index.message(id).is_some() {
            state.bodies.insert(id, body);
        }
    }
    rows::<Milestone>(recovery, MILESTONES)?.into_iter().for_each(|mark| state.retention.restore(mark));
    let mut newest_fact = 0;
    for row in rows::<LastRow>(recovery, LAST)? {
        state.rules.last = state.rules.last.max(row.order);
        newest_fact = row.newest_fact;
    }
    state.tidy();
    Ok(newest_fact)
}

fn rows<T: DeserializeOwned>(recovery: &Recovery, section: u16) -> Result<Vec<T>, OpenError> {
    let mut rows = Vec::new();
    for page in recovery.section(section) {
        let page = page.map_err(|error| OpenError::Unreadable(error.to_string()))?;
        let mut rest = page.as_slice();
        while !rest.is_empty() {
            let row = rmp_serde::decode::from_read(&mut rest);
            rows.push(row.map_err(|error| OpenError::NotUnderstood(format!("checkpoint: {error}")))?);
        }
    }
    Ok(rows)
}

/// The writer's numbers of names, with their texts.
type NumberedNames = [HashMap<u32, String>; 4];

fn read_names(recovery: &Recovery) -> Result<NumberedNames, OpenError> {
    let mut names = NumberedNames::default();
    for row in rows::<NameRow>(recovery, NAMES)? {
        if let Some(table) = names.get_mut(usize::from(row.table)) {
            table.insert(row.number, row.text);
        }
    }
    Ok(names)
}

fn read_index(recovery: &Recovery, names: &NumberedNames, state: &mut State, now: Millis) -> Result<(), OpenError> {
    for page in recovery.section(INDEX) {
        let page = page.map_err(|error| OpenError::Unreadable(error.to_string()))?;
        let tables = &mut state.names;
        // Each key is held once for the page's sake; a new node keeps it, the others give it back.
        let mut held = Vec::new();
        let mut translate = |key: NodeKey| {
            let key = tables.hold(words(names, key));
            held.push(key);
            key
        };
        let read = state.index.read_page(&page, now, &mut translate);
        let read = read.map_err(|error| OpenError::NotUnderstood(format!("checkpoint: {error}")))?;
        for (node, key) in &read.new_nodes {
            if let Some(at) = held.iter().position(|one| one == key) {
                held.swap_remove(at);
            }
            state.join_route(*node, *key);
        }
        for key in held {
            state.names.release(key);
        }
    }
    Ok(())
}

fn words(names: &NumberedNames, key: NodeKey) -> NodeWords<'_> {
    let text = |table: usize, id: NameId| names[table].get(&id.0).map_or("", String::as_str);
    NodeWords {
        domain: text(0, key.domain),
        tag: text(1, key.tag),
        tenant: text(2, key.tenant),
        campaign: text(3, key.campaign),
        tls: key.tls,
        class: key.class,
    }
}
