//! See [`enroller_fuzz::event`].
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| enroller_fuzz::event::check(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    enroller_fuzz::mutation::mutate(data, size, max_size, seed)
});
