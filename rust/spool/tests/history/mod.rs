//! One random history of a spool on the simulated disk, told by its seed, and the oracle that watches it.
//!
//! A small ledger (open messages, facts already applied) does what a real one does: submits groups, some with body
//! files, closes messages by facts, checkpoints, copies forward, reclaims, follows the journal. The power fails, the
//! process is killed, calls fail. After each start the oracle compares: everything acknowledged is there, nothing is
//! invented, what was once recovered stays, numbers only grow. A broken promise is an `Err` with a sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use angarium_nouns::{Lsn, MessageId, Millis};
use angarium_spool::sim::{Chance, Failure};
use angarium_spool::{
    BodyFile, CheckpointError, CommitError, Damage, Frame, ReadError, RecoveredFrame, Recovery, SimDisk, Site, Spool,
    SpoolError, SpoolSettings,
};

mod records;

use records::{
    MESSAGE_LEN, Message, decode_message, decode_numbers, encode_fact, encode_message, payload, read_body_reference,
};

pub const SEGMENT: u32 = 64 * 1024;

pub fn settings() -> SpoolSettings {
    SpoolSettings { segment_size: SEGMENT, ready: 1, reserved: 2, free_floor: 0, rest: 20, copy_age: 500, wake: None }
}

/// What kinds of weather a history has.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Calls fail now and then (EIO, ENOSPC, short writes).
    pub failures: bool,
    pub steps: u64,
}

/// What the small ledger holds in memory; lost with the process.
#[derive(Default)]
struct Ledger {
    open: BTreeMap<u64, Message>,
    facts: BTreeSet<u64>,
}

/// What the world has been told.
#[derive(Default)]
struct World {
    /// Submitted, by number; acknowledged or not.
    tried: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    bodies: BTreeMap<u64, BodyFile>,
    /// Facts written, with the messages that each closes.
    facts: BTreeMap<u64, Vec<u64>>,
    durable_facts: BTreeSet<u64>,
    /// Messages whose closing fact is durable, and those of whom it may be.
    closed: BTreeSet<u64>,
    closing: BTreeSet<u64>,
    evidence: BTreeMap<String, Vec<u8>>,
    highest: Lsn,
    epoch: u32,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Told {
    pub starts: u64,
    pub crashes: u64,
    pub crashes_in_recovery: u64,
    pub messages: u64,
    pub facts: u64,
    pub copies: u64,
    pub checkpoints: u64,
    pub recycled: u64,
    pub faults: u64,
    pub tails: u64,
}

pub struct History {
    disk: SimDisk,
    chance: Chance,
    weather: Weather,
    spool: Option<Spool>,
    ledger: Ledger,
    world: World,
    now: Millis,
    next: u64,
    cursor: Lsn,
    followed: BTreeSet<u64>,
    pub told: Told,
}

type Told1 = Result<(), String>;

macro_rules! promise {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}

impl History {
    pub fn new(seed: u64, weather: Weather) -> Self {
        Self {
            disk: SimDisk::new(seed),
            chance: Chance::new(seed ^ 0x5eed),
            weather,
            spool: None,
            ledger: Ledger::default(),
            world: World::default(),
            now: 1_000,
            next: 1,
            cursor: Lsn(0),
            followed: BTreeSet::new(),
            told: Told::default(),
        }
    }

    /// The whole history. `suppress`: a sync that is left out all along.
    pub fn run(mut self, suppress: Option<Site>) -> Result<Told, String> {
        self.disk.suppress(suppress);
        self.start()?;
        for _ in 0..self.weather.steps {
            self.now += self.chance.below(60);
            self.weather_changes();
            self.step()?;
            if self.disk.has_crashed() {
                self.told.crashes += 1;
                self.disk.restart();
                self.start()?;
            }
        }
        self.disk.calm();
        self.spool = None;
        self.disk.restart();
        self.start()?;
        Ok(self.told)
    }

    fn weather_changes(&mut self) {
        if self.chance.percent(12) {
            let calls = 1 + self.chance.below(120);
            self.disk.crash_after(calls);
        }
        if self.weather.failures && self.chance.percent(6) {
            let failure = [Failure::Io, Failure::NoSpace, Failure::ShortWrite][self.chance.below(3) as usize];
            let calls = 1 + self.chance.below(30);
            self.disk.fail_after(calls, failure);
        }
    }

    fn step(&mut self) -> Told1 {
        match self.chance.below(100) {
            0..=34 => return self.submit(),
            35..=59 => return self.close(),
            60..=66 => {
                self.spool().prepare();
            }
            67..=71 => return self.checkpoint(),
            72..=77 => self.reclaim(),
            78..=82 => self.copy_forward(),
            83..=86 => return self.read_some(),
            87..=90 => return self.follow(),
            91..=95 => self.rest(),
            96 => return self.stop_and_start(),
            97 => return self.kill_and_start(),
            _ => return self.power_failure(),
        }
        Ok(())
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("a spool is open between starts")
    }

    /// Group of new messages; some have a body of their own.
    fn submit(&mut self) -> Told1 {
        let count = 1 + self.chance.below(12);
        let mut numbers = Vec::new();
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            if self.chance.percent(8) {
                let Some(body) = self.write_body(number) else { continue };
                self.world.bodies.insert(number, body);
            }
            self.world.tried.insert(number);
            numbers.push(number);
        }
        let payloads: Vec<Vec<u8>> = numbers.iter().map(|n| payload(*n, self.world.bodies.get(n))).collect();
        let parts: Vec<[&[u8]; 2]> = payloads.iter().map(|p| p.split_at(p.len() / 4)).map(|(a, b)| [a, b]).collect();
        let frame = |((number, payload), parts): ((&u64, &Vec<u8>), _)| Frame {
            id: MessageId(u128::from(*number)),
            chunk: 0,
            copy: 0,
            parts,
            payload_crc: crc32c::crc32c(payload),
        };
        let frames: Vec<Frame<'_>> =
            numbers.iter().zip(&payloads).zip(parts.iter().map(|p| &p[..])).map(frame).collect();
        let committed = if self.chance.percent(90) {
            self.spool().commit_content(&frames)
        } else {
            self.spool().commit_reserved(&frames)
        };
        match committed {
            Ok(group) => {
                promise!(
                    numbers.is_empty() || group.first > self.world.highest,
                    "LSN {} was given before",
                    group.first.0
                );
                self.given(group.first, numbers.len());
                for (number, place) in numbers.iter().zip(group.places) {
                    self.world.acknowledged.insert(*number);
                    self.told.messages += 1;
                    let body = self.world.bodies.get(number).cloned();
                    self.ledger.open.insert(*number, Message { place, copy: 0, body });
                }
            }
            Err(error) => self.refused(&error),
        }
        Ok(())
    }

    fn given(&mut self, first: Lsn, count: usize) {
        if count > 0 {
            self.world.highest = self.world.highest.max(Lsn(first.0 + count as u64 - 1));
        }
    }

    fn write_body(&mut self, number: u64) -> Option<BodyFile> {
        let mut writer = self.spool().new_body(MessageId(u128::from(number))).ok()?;
        for piece in 0..=self.chance.below(4) {
            writer.write(&vec![piece as u8 ^ number as u8; 3000]).ok()?;
        }
        writer.finish().ok()
    }

    fn refused(&mut self, error: &CommitError) {
        if let CommitError::Fault(_) = error {
            self.told.faults += 1;
        }
    }

    /// A fact that closes a few open messages.
    fn close(&mut self) -> Told1 {
        let number = self.next;
        self.next += 1;
        let closes: Vec<u64> =
            self.ledger.open.keys().copied().filter(|n| (n ^ number).is_multiple_of(3)).take(9).collect();
        let fact = encode_fact(number, &closes);
        self.world.facts.insert(number, closes.clone());
        self.world.closing.extend(&closes);
        match self.spool().commit_journal(&fact) {
            Ok(lsn) => {
                promise!(lsn > self.world.highest, "LSN {} was given before", lsn.0);
                self.world.highest = lsn;
                self.world.durable_facts.insert(number);
                self.world.closed.extend(&closes);
                self.told.facts += 1;
                self.apply_fact(number, &closes);
            }
            Err(error) => self.refused(&error),
        }
        Ok(())
    }

    fn apply_fact(&mut self, number: u64, closes: &[u64]) {
        self.ledger.facts.insert(number);
        for number in closes {
            let Some(message) = self.ledger.open.remove(number) else { continue };
            let spool = self.spool.as_ref().expect("open");
            spool.release(message.place);
            if let Some(body) = message.body {
                spool.remove_body(&body.name);
            }
        }
    }

    /// Begins a checkpoint, lets more happen, writes what is then true.
    fn checkpoint(&mut self) -> Told1 {
        let Ok(mut writer) = self.spool().begin_checkpoint(self.spool().durable()) else { return Ok(()) };
        for _ in 0..self.chance.below(3) {
            if self.chance.percent(50) { self.submit()? } else { self.close()? }
        }
        let mut write = || {
            for (number, message) in &self.ledger.open {
                writer.write(1, &encode_message(*number, message))?;
            }
            for number in &self.ledger.facts {
                writer.write(2, &number.to_le_bytes())?;
            }
            Ok::<(), CheckpointError>(())
        };
        if write().is_ok() && writer.publish(self.spool().durable()).is_ok() {
            self.told.checkpoints += 1;
        }
        Ok(())
    }

    fn reclaim(&mut self) {
        let floor = self.cursor;
        self.told.recycled += self.spool().reclaim(self.now, floor) as u64;
    }

    fn copy_forward(&mut self) {
        for candidate in self.spool().copy_candidates(self.now, 2) {
            let Ok(frames) = self.spool().frames_in(candidate.segment) else { continue };
            let mut moved = Vec::new();
            for frame in frames {
                let number = frame.id.0 as u64;
                if self.ledger.open.get(&number).is_some_and(|message| message.place == frame.place) {
                    let Ok(bytes) = self.spool().read(frame.place, frame.id) else { continue };
                    moved.push((number, frame, bytes));
                }
            }
            let parts: Vec<[&[u8]; 1]> = moved.iter().map(|row| [&row.2[..]]).collect();
            let copies: Vec<Frame<'_>> = moved
                .iter()
                .zip(&parts)
                .map(|((_, at, bytes), parts)| Frame {
                    id: at.id,
                    chunk: at.chunk,
                    copy: at.copy + 1,
                    parts,
                    payload_crc: crc32c::crc32c(bytes),
                })
                .collect();
            let Ok(group) = self.spool().commit_copies(&copies) else { continue };
            self.given(group.first, copies.len());
            for ((number, at, _), place) in moved.iter().zip(group.places) {
                self.told.copies += 1;
                self.spool().release(at.place);
                let message = self.ledger.open.get_mut(number).expect("it was open a moment ago");
                message.place = place;
                message.copy = at.copy + 1;
            }
        }
    }

    fn read_some(&mut self) -> Told1 {
        let numbers: Vec<u64> = self.ledger.open.keys().copied().collect();
        for _ in 0..numbers.len().min(5) {
            let number = numbers[self.chance.below(numbers.len() as u64) as usize];
            self.check_readable(number)?;
        }
        Ok(())
    }

    fn check_readable(&self, number: u64) -> Told1 {
        let message = &self.ledger.open[&number];
        match self.spool().read(message.place, MessageId(u128::from(number))) {
            Ok(bytes) => {
                promise!(bytes == payload(number, self.world.bodies.get(&number)), "message {number} reads wrong");
            }
            Err(_) if self.disk.has_crashed() => return Ok(()),
            Err(error @ ReadError::Io { .. }) if self.weather.failures => drop(error),
            Err(error) => return Err(format!("message {number} cannot be read: {error}")),
        }
        if let Some(body) = &message.body {
            let verified = self.spool().read_body(body).and_then(|reader| reader.verify());
            promise!(verified.is_ok() || self.disk.has_crashed(), "the body of {number} is gone: {verified:?}");
        }
        Ok(())
    }

    /// The follower sees every durable fact once, in order.
    fn follow(&mut self) -> Told1 {
        let limit = 1 + self.chance.below(40) as usize;
        let Ok(frames) = self.spool().read_journal(self.cursor, limit) else {
            promise!(self.disk.has_crashed() || self.weather.failures, "the journal cannot be read");
            return Ok(());
        };
        for frame in frames {
            promise!(frame.lsn > self.cursor, "the journal goes back to {}", frame.lsn.0);
            self.cursor = frame.lsn;
            let numbers = decode_numbers(&frame.payload);
            promise!(
                self.ledger.facts.contains(&numbers[0]),
                "the follower saw fact {} that is not applied",
                numbers[0]
            );
            self.followed.insert(numbers[0]);
        }
        Ok(())
    }

    fn rest(&mut self) {
        let _ = self.spool().write_mark_if_rested(self.now);
        self.now += 25;
        let _ = self.spool().write_mark_if_rested(self.now);
    }

    fn stop_and_start(&mut self) -> Told1 {
        if let Some(spool) = self.spool.take() {
            let _ = spool.close();
        }
        if self.disk.has_crashed() { Ok(()) } else { self.start() }
    }

    fn kill_and_start(&mut self) -> Told1 {
        self.spool = None;
        if !self.disk.has_crashed() {
            self.disk.kill();
            return self.start();
        }
        Ok(())
    }

    fn power_failure(&mut self) -> Told1 {
        self.spool = None;
        self.told.crashes += 1;
        self.disk.restart();
        self.start()
    }

    /// Opens until it succeeds; the power may fail meanwhile.
    fn start(&mut self) -> Told1 {
        for attempt in 0..40 {
            self.spool = None;
            if attempt < 3 && self.chance.percent(40) {
                let calls = 1 + self.chance.below(90);
                self.disk.crash_after(calls);
            }
            if attempt > 2 {
                self.disk.calm();
            }
            match self.try_start() {
                Ok(()) | Err(Start::Broken(_)) if self.disk.has_crashed() => {}
                Ok(()) => {
                    self.told.starts += 1;
                    return self.compare();
                }
                Err(Start::Broken(why)) => return Err(why),
                Err(Start::Spool(error)) => {
                    let weather = self.disk.has_crashed() || (self.weather.failures && attempt < 3);
                    promise!(weather, "the spool does not open: {error}");
                }
            }
            self.spool = None;
            if self.disk.has_crashed() {
                self.told.crashes_in_recovery += 1;
                self.disk.restart();
            } else {
                self.disk.kill();
            }
        }
        Err("forty starts in a row failed".into())
    }

    fn try_start(&mut self) -> Result<(), Start> {
        let mut recovery = Spool::open(Arc::new(self.disk.clone()), settings())?;
        self.ledger = Ledger::default();
        self.restore(&recovery)?;
        while let Some(frame) = recovery.next()? {
            self.replay(frame)?;
        }
        for message in self.ledger.open.values() {
            recovery.keep(message.place);
            if let Some(body) = &message.body {
                recovery.keep_body(&body.name);
            }
        }
        recovery.raise(self.cursor);
        let damage = recovery.damage().to_vec();
        let (spool, epoch, later) = recovery.finish_with_damage()?;
        for damage in damage.into_iter().chain(later) {
            self.check_damage(damage).map_err(Start::Broken)?;
        }
        if epoch <= self.world.epoch {
            return Err(Start::Broken(format!("epoch {epoch} again")));
        }
        self.world.epoch = epoch;
        self.spool = Some(spool);
        Ok(())
    }

    fn restore(&mut self, recovery: &Recovery) -> Result<(), Start> {
        for page in recovery.section(1) {
            let page = page.map_err(|error| Start::Broken(error.to_string()))?;
            self.ledger.open.extend(page.chunks_exact(MESSAGE_LEN).map(decode_message));
        }
        for page in recovery.section(2) {
            let page = page.map_err(|error| Start::Broken(error.to_string()))?;
            self.ledger.facts.extend(decode_numbers(&page));
        }
        Ok(())
    }

    fn replay(&mut self, frame: RecoveredFrame) -> Result<(), Start> {
        match frame {
            RecoveredFrame::Content { at, start } => {
                let number = at.id.0 as u64;
                let known = self.ledger.open.get_mut(&number);
                match known {
                    Some(message) if at.copy >= message.copy => {
                        message.place = at.place;
                        message.copy = at.copy;
                    }
                    None if at.copy == 0 => {
                        let body = read_body_reference(&start);
                        self.ledger.open.insert(number, Message { place: at.place, copy: 0, body });
                    }
                    _ => {}
                }
            }
            RecoveredFrame::Journal { payload, .. } => {
                let numbers = decode_numbers(&payload);
                if self.world.facts.get(&numbers[0]).is_none_or(|closes| closes[..] != numbers[1..]) {
                    return Err(Start::Broken(format!("fact {} was never written", numbers[0])));
                }
                self.ledger.facts.insert(numbers[0]);
                for number in &numbers[1..] {
                    self.ledger.open.remove(number);
                }
            }
        }
        Ok(())
    }

    /// Nothing but torn ends may be reported, and what was cut stays in evidence.
    fn check_damage(&mut self, damage: Damage) -> Told1 {
        let Damage::Tail { kept, length, .. } = damage else { return Err(format!("{damage:?} after a mere crash")) };
        self.told.tails += 1;
        let Some(name) = kept else {
            promise!(self.weather.failures || self.disk.has_crashed(), "a cut tail was not kept");
            return Ok(());
        };
        let bytes = self.disk.contents(&name).unwrap_or_default();
        promise!(
            bytes.len() as u64 == length || self.disk.has_crashed(),
            "{name} has {} bytes, not {length}",
            bytes.len()
        );
        if !self.disk.has_crashed() {
            self.world.evidence.insert(name, bytes);
        }
        Ok(())
    }

    /// After a start: the promises.
    fn compare(&mut self) -> Told1 {
        let world = &mut self.world;
        for number in &world.acknowledged {
            let open = self.ledger.open.contains_key(number);
            promise!(open || world.closing.contains(number), "message {number} was acknowledged and is lost");
            promise!(!open || !world.closed.contains(number), "message {number} was closed and is open again");
        }
        for number in self.ledger.open.keys() {
            promise!(world.tried.contains(number), "message {number} was never submitted");
        }
        for number in &world.durable_facts {
            promise!(self.ledger.facts.contains(number), "fact {number} was durable and is lost");
        }
        for number in &self.followed {
            promise!(self.ledger.facts.contains(number), "fact {number} was shown and is lost");
        }
        for (name, bytes) in &world.evidence {
            let kept = self.disk.contents(name).unwrap_or_default();
            promise!(kept.len() >= bytes.len(), "the evidence {name} is gone");
        }
        // What is recovered now is seen by followers and delivered: from here on it must stay.
        for number in &self.ledger.facts {
            world.durable_facts.insert(*number);
            world.closed.extend(&world.facts[number]);
        }
        world.acknowledged.extend(self.ledger.open.keys());
        world.closing.extend(world.closed.iter());
        // A message that came back although its closing was tried: the fact is gone for good.
        let gone: Vec<u64> = world.facts.keys().copied().filter(|n| !self.ledger.facts.contains(n)).collect();
        for number in gone {
            world.facts.remove(&number);
        }
        world.closing = world.facts.values().flatten().copied().collect();
        let numbers: Vec<u64> = self.ledger.open.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.check_readable(number))
    }
}

enum Start {
    Spool(SpoolError),
    Broken(String),
}

impl From<SpoolError> for Start {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}
