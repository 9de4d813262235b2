//! A test's own folder and its own loopback addresses, so that tests run side by side.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// Addresses of one place.
const ADDRESSES: u32 = 8;

/// A folder that is removed at the end, and eight addresses in 127.0.0.0/8.
pub struct Place {
    dir: PathBuf,
    first: u32,
}

impl Place {
    /// A fresh place. Addresses come from the process id: each test is a process of its own under nextest, and a
    /// counter keeps those of one process apart.
    pub fn new() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("ringfort-interop-{id}-{count}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // 2^20 places in 127.128.0.0/9.
        let place = id.wrapping_mul(31).wrapping_add(count) % (1 << 20);
        let first = 0x7F80_0000 + place * ADDRESSES;
        Ok(Self { dir, first })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The address with that index, 0 to 6.
    pub fn ip(&self, index: u32) -> IpAddr {
        assert!(index < ADDRESSES - 1, "a place has seven addresses");
        // The first one could end in .0, which some programs take for a network.
        Ipv4Addr::from_bits(self.first + 1 + index).into()
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::env::var_os("RINGFORT_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
