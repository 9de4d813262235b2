//! Programs that are not ours. What is missing makes a test say so and pass, unless `RINGFORT_TEST_PROGRAMS=required` is set.

use std::env;
use std::path::PathBuf;

fn required() -> bool {
    env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required")
}

/// Where a program is: on the path, or among what `scripts/setup.sh` installs for tests.
pub fn program(name: &str) -> Option<PathBuf> {
    let folders: Vec<_> = env::var_os("PATH").iter().flat_map(env::split_paths).chain(installed()).collect();
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        assert!(!required(), "{name} is not installed, and RINGFORT_TEST_PROGRAMS=required");
        println!("skipped: {name} is not installed");
    }
    found
}

/// Whether there is such a program.
pub fn is_installed(name: &str) -> bool {
    program(name).is_some()
}

fn installed() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.map(|cache| cache.join("ringfort/python/bin"))
}

/// The Python with the packages that `scripts/setup.sh` installs for tests.
pub fn python() -> Option<PathBuf> {
    let python = installed().map(|folder| folder.join("python")).filter(|python| python.exists());
    if python.is_none() {
        assert!(
            !required(),
            "scripts/setup.sh has not installed the Python packages, and RINGFORT_TEST_PROGRAMS=required"
        );
        println!("skipped: the Python packages of scripts/setup.sh are not installed");
    }
    python
}
