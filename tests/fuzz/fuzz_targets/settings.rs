//! See [`enroller_fuzz::settings`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| enroller_fuzz::settings::check(data));
