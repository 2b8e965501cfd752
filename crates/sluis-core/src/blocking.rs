//! Whether the present thread may block: then work that would otherwise be handed to a thread of its own is done in place.
//!
//! Handing a read of a small local file over costs more than the read. Who reads thousands of them takes a thread that may block, once,
//! and says so here; who does blocking work asks.

use std::cell::Cell;

thread_local! {
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread may block.
pub fn allowed() -> bool {
    ALLOWED.get()
}

/// Does the work on this thread, which may block meanwhile.
pub fn allow<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ALLOWED.set(self.0);
        }
    }
    let _restore = Restore(ALLOWED.replace(true));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_allowed_within_and_on_this_thread_only() {
        assert!(!allowed());
        allow(|| {
            assert!(allowed());
            allow(|| assert!(allowed()));
            assert!(allowed() && !std::thread::spawn(allowed).join().unwrap());
        });
        assert!(!allowed());
        let caught = std::panic::catch_unwind(|| allow(|| panic!("work fails")));
        assert!(caught.is_err() && !allowed());
    }
}
