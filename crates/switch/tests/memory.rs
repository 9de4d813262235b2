//! What a registration holds in memory, counted octet by octet: while its answer still waits for repetitions of the
//! request (RFC 3261 timer J), and for good.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::*;
use ringfort_switch::config::SwitchConfig;
use ringfort_switch::model::*;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; beside that only a thread-local counter is touched.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as i64));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as i64));
        // SAFETY: `ptr` came from `alloc` above with that layout.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Hash tables double at seven eighths of a power of two: this many fill them well, as many phones do.
const PHONES: u32 = 3_500;

fn user(index: u32) -> String {
    format!("u{index:05}")
}

fn phones() -> Site {
    let mut site = site();
    let model = site.extensions[&ExtensionId(1)].clone();
    let extension = |index: u32| {
        let (id, user) = (ExtensionId(index + 1), user(index));
        let credentials = SipCredentials { password: Secret::new(format!("pw of {user}")), user };
        (id, Extension { id, number: format!("7{index:05}"), credentials, ..model.clone() })
    };
    site.extensions = (0..PHONES).map(extension).collect();
    site
}

#[test]
fn a_registration_holds_at_most_1200_octets_at_once_and_600_when_its_transaction_is_over() {
    let mut world = World::with(SwitchConfig { max_transactions: 100_000, ..config() }, phones());
    let clear = |world: &mut World| {
        world.journal = Vec::new();
        world.notices = Vec::new();
    };
    let before = HELD.with(Cell::get);
    let each = || (HELD.with(Cell::get) - before) / i64::from(PHONES);
    for index in 0..PHONES {
        assert_eq!(world.register(&user(index), "198.51.100.7:5060").status(), 200);
        clear(&mut world);
    }
    let at_once = each();
    world.pass(Duration::from_secs(33));
    world.sent.clear();
    clear(&mut world);
    let for_good = each();
    println!("a registration: {at_once} octets at once, {for_good} for good");
    assert!(at_once <= 1200, "{at_once} octets");
    assert!(for_good <= 600, "{for_good} octets");
}
