//! Sender authentication without look-ups: asks questions, takes answers, judges; signs and seals.
#![forbid(unsafe_code)]
