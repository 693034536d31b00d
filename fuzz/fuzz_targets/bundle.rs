//! libFuzzer's way into `targets::bundle`.

#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(target) = targets::by_name("bundle") {
        target(data);
    }
});
