//! Answers by question, until their time is over: two generations, of which the older one goes when the younger is full.
//!
//! What is asked for again moves to the younger one, so the memory holds what is in use and never more than its room.

use std::collections::HashMap;

use angarium_auth::{Answer, Question};
use angarium_nouns::Millis;

struct Kept {
    answer: Answer,
    until: Millis,
}

pub(super) struct Memory {
    young: HashMap<Question, Kept>,
    old: HashMap<Question, Kept>,
    /// Of one generation.
    room: usize,
}

impl Memory {
    pub fn new(room: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), room: (room / 2).max(1) }
    }

    pub fn get(&mut self, question: &Question, now: Millis) -> Option<Answer> {
        if let Some(kept) = self.young.get(question) {
            return (kept.until > now).then(|| kept.answer.clone());
        }
        let kept = self.old.remove(question).filter(|kept| kept.until > now)?;
        let answer = kept.answer.clone();
        self.put(question.clone(), kept.answer, kept.until);
        Some(answer)
    }

    pub fn put(&mut self, question: Question, answer: Answer, until: Millis) {
        if self.young.len() >= self.room && !self.young.contains_key(&question) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, Kept { answer, until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: usize) -> Question {
        Question::txt(&format!("{n}.example"))
    }

    #[test]
    fn keeps_what_is_used_and_no_more_than_its_room() {
        let mut memory = Memory::new(8);
        memory.put(question(0), Answer::Temporary, 1_000);
        for n in 1..100 {
            memory.put(question(n), Answer::Temporary, 1_000);
            assert_eq!(memory.get(&question(0), 10), Some(Answer::Temporary), "used all the time, {n}");
            assert!(memory.young.len() + memory.old.len() <= 8);
        }
        assert_eq!(memory.get(&question(50), 10), None);
        assert_eq!(memory.get(&question(99), 1_000), None, "its time is over");
    }
}
