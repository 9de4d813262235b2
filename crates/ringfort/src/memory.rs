//! What the process keeps of the machine's memory: how the C library's allocator is set, and what a start leaves behind.

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

/// Lets go of the pages of program code that are mapped: reading arguments and configuration, key file and database takes
/// 4 MiB of code and more that an idle server does not come by again. What is used once more comes back by itself, from the
/// page cache. Nothing is done where the system does not say where the code lies.
pub fn drop_code_of_the_start() {
    #[cfg(target_os = "linux")]
    for range in std::fs::read_to_string("/proc/self/maps").iter().flat_map(|maps| code(maps)) {
        // SAFETY: the range is a mapping of this program that can be read and executed, not written, and so holds nothing but
        // what is in the file; `madvise` unmaps its pages, and each is mapped again when it is next used.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Where code lies that came from files, as `/proc/self/maps` (proc_pid_maps(5)) tells it.
fn code(maps: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let is_code = rest.starts_with("r-xp ") && rest.contains(" /");
        let (start, end) = range.split_once('-').filter(|_| is_code)?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_can_be_executed_and_not_written_and_comes_from_a_file() {
        let maps = "55c1015d6000-55c101e45000 r--p 00000000 fe:00 5309906    /usr/bin/ringfort\n\
                    55c101e45000-55c103462000 r-xp 0086e000 fe:00 5309906    /usr/bin/ringfort\n\
                    55c103462000-55c103558000 rw-p 01e8a000 fe:00 5309906    /usr/bin/ringfort\n\
                    55c103558000-55c103559000 rwxp 01e8a000 fe:00 5309906    /usr/bin/ringfort\n\
                    7f0000001000-7f0000002000 r-xp 00000000 fe:00 11         /usr/lib/libc.so.6\n\
                    7ffc75fc2000-7ffc75fc4000 r-xp 00000000 00:00 0          [vdso]\n";
        assert_eq!(
            code(maps).collect::<Vec<_>>(),
            [0x55c1_01e4_5000..0x55c1_0346_2000, 0x7f00_0000_1000..0x7f00_0000_2000]
        );
    }

    /// Whoever is dropped comes back: the very code that does it goes on.
    #[test]
    fn a_program_goes_on_without_its_pages_of_code() {
        for _ in 0..3 {
            drop_code_of_the_start();
            assert_eq!(format!("{:?}", "ünïcode".to_uppercase()), "\"ÜNÏCODE\"");
        }
    }
}
