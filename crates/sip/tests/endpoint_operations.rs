//! Random lists of operations and messages: nothing panics, and when everything has been let go nothing stays. What is
//! done by which byte stands with the fuzz targets, which look for lists on purpose.

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use ringfort_sip::fuzzing;

/// Runs the target on `rounds` lists of `len` bytes. A list that fails is found again by its seed.
fn random_lists(rounds: u64, len: usize, target: fn(&[u8])) {
    for seed in 0..rounds {
        let mut list = vec![0; len];
        ChaCha12Rng::seed_from_u64(seed).fill_bytes(&mut list);
        println!("seed {seed}");
        target(&list);
    }
}

#[test]
fn no_list_of_operations_makes_an_endpoint_panic_or_keep_anything() {
    random_lists(400, 2800, fuzzing::transactions);
}

#[test]
fn no_list_of_operations_and_losses_makes_two_endpoints_panic_or_keep_anything() {
    random_lists(400, 1200, fuzzing::dialogs);
}
