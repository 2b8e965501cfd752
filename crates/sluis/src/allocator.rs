//! How memory that was freed is kept for its next use (glibc).
//!
//! Blocks of text and columns of batches are between 100 KiB and some MiB. By default glibc takes each from the kernel and gives it back,
//! and the kernel clears every page anew (decision 6 has what was measured). Deliberately not here: another allocator.

/// Sets the limits; called once, while there is one thread.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        // Fewer arenas than by default (8 a core): what one thread frees serves the others.
        let arenas = i32::try_from(2 * cores).unwrap_or(i32::MAX);
        // SAFETY: `mallopt` sets numbers of the allocator, and no other thread allocates yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 256 << 20);
            libc::mallopt(libc::M_ARENA_MAX, arenas);
        }
    }
}
