//! The bounded queue by which the engine's threads tell the control plane what happened, and its eventfd.
//!
//! Producers are any threads; there is one consumer. Nothing is lost and nothing grows without bound: a finished
//! ticket goes into a [`Slot`] that was reserved when the ticket was issued, a question needs a [`Credit`], the
//! rest is refused when [`Bounds::plain`] events wait, and what may be told late is a [`Level`]: one bit, its
//! content pulled by the consumer. Pushing never waits; only [`EventQueue::credit`] does.
//!
//! The consumer: wait until [`EventQueue::fd`] is readable, then [`EventQueue::drain`]. A full batch (its length is
//! the limit): let others run, drain again without waiting. A shorter batch has emptied the queue and cleared the
//! descriptor under the lock that producers take, so waiting after it cannot miss anything. Never read the
//! descriptor: `drain` does.

mod permits;
mod queue;
mod signal;
mod sync;

pub use permits::{Credit, CreditWait};
pub use queue::{Bounds, EventQueue, Level, Slot};
