#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ringfort_media::bridge::fuzz_bridge(std::time::Instant::now(), data));
