//! What a registration and a call hold in memory, counted octet by octet: while answers still wait for repetitions of
//! their requests (RFC 3261 timer J, RFC 6026), and for good.

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

/// Hash tables double at seven eighths of a power of two: this many fill them well, as many phones and calls do.
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

#[test]
fn a_call_holds_at_most_14000_octets_at_once_and_11500_when_its_transactions_are_over() {
    let mut site = site();
    for extension in site.extensions.values_mut() {
        extension.max_calls = PHONES;
    }
    let mut many = SwitchConfig { max_transactions: 100_000, ..config() };
    many.calls.max_calls = PHONES;
    many.media.ports = (10_000, 59_999);
    let mut world = World::with(many, site);
    let (a, b) = ("198.51.100.7:5060", "198.51.100.8:5060");
    world.register("user-a", a);
    world.register("user-b", b);
    let clear = |world: &mut World| {
        world.journal = Vec::new();
        world.notices = Vec::new();
        world.sent = Default::default();
    };
    clear(&mut world);
    let before = HELD.with(Cell::get);
    let each = || (HELD.with(Cell::get) - before) / i64::from(PHONES);
    for _ in 0..PHONES {
        world.call(a, b);
        clear(&mut world);
    }
    assert_eq!(world.status().calls, PHONES as usize);
    let at_once = each();
    world.pass(Duration::from_secs(40));
    clear(&mut world);
    let for_good = each();
    println!("a call: {at_once} octets at once, {for_good} for good");
    assert!(at_once <= 14_000, "{at_once} octets");
    assert!(for_good <= 11_500, "{for_good} octets");
}
