//! Programs that are not ours. What is missing makes a test say so and pass, unless `RINGFORT_TEST_PROGRAMS=required` is set.

use std::env;
use std::path::PathBuf;

fn required() -> bool {
    env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required")
}

/// Whether a program is on the path.
pub fn is_installed(program: &str) -> bool {
    let found = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        assert!(!required(), "{program} is not installed, and RINGFORT_TEST_PROGRAMS=required");
        println!("skipped: {program} is not installed");
    }
    found
}

/// The Python with the packages that `scripts/setup.sh` installs for tests.
pub fn python() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let python = cache.map(|cache| cache.join("ringfort/python/bin/python")).filter(|python| python.exists());
    if python.is_none() {
        assert!(
            !required(),
            "scripts/setup.sh has not installed the Python packages, and RINGFORT_TEST_PROGRAMS=required"
        );
        println!("skipped: the Python packages of scripts/setup.sh are not installed");
    }
    python
}
