//! The lock of this room: `parking_lot`'s, or loom's in a model. Both without poisoning, so that the room reads the
//! same under either.

#[cfg(not(loom))]
pub use parking_lot::Mutex;
#[cfg(loom)]
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        self.0.lock().expect("a model's thread panicked with the lock held")
    }
}
