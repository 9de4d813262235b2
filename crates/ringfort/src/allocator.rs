//! How the C library's allocator is set.

/// Blocks of this many octets and more come from the system one by one and go back to it.
const LARGE: std::ffi::c_int = 64 * 1024;

/// Hash tables and file buffers grow by doubling, and each step leaves a hole of half its size. glibc raises the size
/// from which it gives such blocks back up to 32 MiB while a program runs, so that the holes stay; a fixed size keeps
/// them out of the heap, where they took a tenth of the memory of a registration.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers; it is called before any other thread is started.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}
