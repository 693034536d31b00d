//! What is fuzzed (`fuzz/targets.rs`), with the corpora as they are and with mutations of them: in every test run, on the
//! compiler that everything else is built with. `fuzz/run` lets libFuzzer look for longer.
//!
//! `FUZZ_SECONDS=600 cargo test --test fuzz` goes on for so long with each target.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail where the test does")]

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

#[path = "../fuzz/targets.rs"]
mod targets;

/// Mutations of each target in a test run.
const MUTATIONS: u64 = 400;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "{target} has a corpus of {}", paths.len());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One input of the corpus, with up to eight changes: bytes flipped, numbers made extreme, pieces moved, doubled, left out,
/// taken from another input.
fn mutated(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    const EXTREMES: [&[u8]; 14] = [
        b"0",
        b"-1",
        b"1e999",
        b"18446744073709551615",
        b"18446744073709551616",
        b"9007199254740993",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"\0",
        b"\r\n\r\n",
        b"../",
        b"\"\"",
    ];
    let mut data = corpus[random.random_range(0..corpus.len())].clone();
    for _ in 0..random.random_range(1..=8) {
        let length = data.len().max(1);
        let (a, b) = (random.random_range(0..length), random.random_range(0..length));
        let (from, to) = (a.min(b).min(data.len()), (a.min(b) + random.random_range(1..64)).min(data.len()));
        match random.random_range(0..7) {
            0 => data.iter_mut().skip(a).take(1).for_each(|byte| *byte ^= 1 << (b % 8)),
            1 => drop(data.splice(from..to, EXTREMES[b % EXTREMES.len()].iter().copied())),
            2 => drop(data.drain(from..to)),
            3 => {
                let piece = data[from..to].to_vec();
                drop(data.splice(from..from, piece));
            }
            4 => data.truncate(a),
            5 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let at = random.random_range(0..=other.len());
                data.splice(from..to, other[at..].iter().take(200).copied());
            }
            // A number becomes another one: most fields are numbers.
            _ => {
                let digit = data.iter().enumerate().skip(a).find(|(_, byte)| byte.is_ascii_digit()).map(|(at, _)| at);
                if let Some(at) = digit {
                    let end = data[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(data.len(), |n| at + n);
                    data.splice(at..end, EXTREMES[b % 6].iter().copied());
                }
            }
        }
    }
    data
}

fn fuzz(name: &str) {
    let target = targets::by_name(name).unwrap_or_else(|| panic!("no target {name}"));
    let corpus = corpus(name);
    corpus.iter().for_each(|data| target(data));
    let seconds = std::env::var("FUZZ_SECONDS").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    let (began, mut seed) = (Instant::now(), 0);
    while seconds.map_or(seed < MUTATIONS, |seconds| began.elapsed() < seconds) {
        let data = mutated(&corpus, &mut StdRng::seed_from_u64(seed));
        let found = std::panic::catch_unwind(|| target(&data));
        if found.is_err() {
            panic!("{name}, seed {seed}: {:?}", String::from_utf8_lossy(&data));
        }
        seed += 1;
    }
}

#[test]
fn no_scenario_file_is_a_panic() {
    fuzz("scenario");
}

#[test]
fn no_response_is_a_panic_or_depends_on_how_it_is_cut() {
    fuzz("response");
}

#[test]
fn no_bundle_and_no_manifest_is_a_panic_or_writes_outside() {
    fuzz("bundle");
}

#[test]
fn no_run_directory_is_a_panic() {
    fuzz("rundir");
}

#[test]
fn no_histogram_is_a_panic_or_loses_a_value() {
    fuzz("histogram");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_bytes_are_refused_or_read_by_every_parser(data in prop::collection::vec(any::<u8>(), 0..400)) {
        for name in ["scenario", "response", "bundle", "rundir", "histogram"] {
            targets::by_name(name).unwrap()(&data);
        }
    }
}
