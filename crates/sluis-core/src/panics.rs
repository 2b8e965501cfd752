//! Whether a panic on the present thread is expected: another's decoder over bytes that may contradict themselves, whose panic is caught and
//! becomes an error of the file. Then nobody is told of a bug.

use std::cell::Cell;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is none of ours.
pub fn expected() -> bool {
    EXPECTED.get()
}

/// Does the work on this thread; its panics are expected, and pass through.
pub fn expecting<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            EXPECTED.set(self.0);
        }
    }
    let _restore = Restore(EXPECTED.replace(true));
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_expected_within_and_on_this_thread_only() {
        assert!(!expected());
        let caught = std::panic::catch_unwind(|| {
            expecting(|| {
                assert!(expected() && !std::thread::spawn(expected).join().unwrap());
                panic!("bytes contradict each other");
            })
        });
        assert!(caught.is_err() && !expected());
    }
}
