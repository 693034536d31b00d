//! What is fuzzed: each target takes any bytes, hands them to a parser of ours, and holds what comes out against what
//! must be true of it. The same functions run under libFuzzer (`fuzz/run`) and, with the corpora and mutations of them,
//! in `cargo test --test fuzz`.

#![expect(clippy::unwrap_used, reason = "a finding is a panic")]

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use connect_bench::histogram::Latency;
use connect_bench::http::codec::{Fault, Head, MAX_HEAD, MAX_HEADERS, Parser, Sink};
use connect_bench::plan::Plan;
use connect_bench::posit_connect::bundle::{Bundle, BundleOptions};
use connect_bench::posit_connect::journal;
use connect_bench::{report, rundir, sandbox, scenario, summary};

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// A target by its name.
pub(crate) fn by_name(name: &str) -> Option<Target> {
    let all: [(&str, Target); 5] = [
        ("scenario", scenario),
        ("response", response),
        ("bundle", bundle),
        ("rundir", rundir),
        ("histogram", histogram),
    ];
    all.into_iter().find(|(known, _)| *known == name).map(|(_, target)| target)
}

/// A scenario file: read or refused with a place in it, and what is read can be planned.
fn scenario(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match scenario::read(text) {
        Ok(load_test) => {
            let _ = (load_test.duration(), load_test.max_vus());
            for scenario in load_test.scenarios.values() {
                assert!(scenario.executor.start_vus() <= scenario.executor.max_vus());
                let _ = scenario.executor.iterations();
                let _ = scenario.executor.vus_at(1);
            }
        }
        Err(faults) => assert!(!faults.0.is_empty() && !faults.to_string().is_empty()),
    }
}

/// What a parser told of a response.
#[derive(Default, PartialEq, Debug)]
struct Told {
    heads: Vec<(u16, usize)>,
    body: Vec<u8>,
}

impl Sink for Told {
    fn head(&mut self, head: &Head<'_>) -> Result<(), Fault> {
        assert!(head.headers.len() <= MAX_HEADERS);
        self.heads.push((head.status, head.headers.len()));
        Ok(())
    }

    fn data(&mut self, data: &[u8]) {
        self.body.extend_from_slice(data);
    }
}

fn parse(data: &[u8], to_head: bool, piece: usize) -> (Told, bool, bool, usize) {
    let (mut parser, mut told, mut used) = (Parser::default(), Told::default(), 0);
    parser.start(to_head);
    for piece in data.chunks(piece.max(1)) {
        let Ok(taken) = parser.feed(piece, &mut told) else { return (told, false, false, 0) };
        assert!(taken <= piece.len());
        assert!(parser.buffered() <= MAX_HEAD + piece.len(), "what is kept is bounded");
        used += taken;
        if parser.is_done() {
            break;
        }
    }
    let ended = parser.end().is_ok();
    (told, ended, parser.keeps_alive(), used)
}

/// An HTTP response: the same whole and in pieces of any length, in bounded memory.
fn response(data: &[u8]) {
    let [flags, bytes @ ..] = data else { return };
    let (to_head, piece) = (flags & 1 == 1, usize::from(flags >> 1) + 1);
    let (whole, cut) = (parse(bytes, to_head, bytes.len()), parse(bytes, to_head, piece));
    assert!(whole.0.heads.len() <= 1, "one response has one head");
    // Where it is refused, how much was told before depends on the pieces; that it is refused does not.
    assert_eq!(whole.1, cut.1, "pieces of {piece}");
    if whole.1 {
        assert_eq!(whole, cut, "pieces of {piece}");
    }
}

/// A bundle that somebody uploads to the sandbox, and a manifest that somebody has in a directory.
fn bundle(data: &[u8]) {
    let place = tempfile::tempdir().unwrap();
    let (archive, into) = (place.path().join("archive"), place.path().join("apps").join("1"));
    // Fuzzers cannot make checksums: without the last bit set, the rest is a list of entries.
    if let [1, entries @ ..] = data {
        std::fs::write(&archive, packed(entries)).unwrap();
    } else {
        std::fs::write(&archive, data).unwrap();
    }
    let unpacked = sandbox::unpack_bundle(&archive, &into);
    let mut names: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert!(names.iter().all(|name| name == "archive" || name == "apps"), "something was written outside: {names:?}");
    let apps = std::fs::read_dir(place.path().join("apps")).into_iter().flatten().count();
    assert!(apps <= usize::from(unpacked.is_ok()), "what failed leaves nothing");

    let folder = place.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), data).unwrap();
    std::fs::write(folder.join("app.py"), "import flask\napp = flask.Flask(__name__)\n").unwrap();
    if let Ok(bundle) = Bundle::from_directory(&folder, &BundleOptions::default()) {
        assert!(bundle.files >= 1 && bundle.md5.len() == 32 && !bundle.bytes.is_empty());
    }
}

/// Entries from bytes: a kind, the length of a name, the name, the length of the content, the content.
fn packed(mut data: &[u8]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    while let [kind, name, rest @ ..] = data {
        let (name, rest) = rest.split_at(usize::from(*name % 100).min(rest.len()));
        let length = rest.first().copied().map_or(0, usize::from);
        let (content, rest) = rest.get(1..).unwrap_or_default().split_at(length.min(rest.len().saturating_sub(1)));
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(tar::EntryType::new(if *kind == 0 { b'0' } else { *kind }));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let _ = tar.append(&header, content);
        data = rest;
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Between the files of a run directory in an input.
const BETWEEN: &[u8] = b"\n%%\n";
/// Those files, in the order of an input.
const FILES: [&str; 4] = ["plan.json", "windows.ndjson", "events.ndjson", "journal.ndjson"];

/// A run directory: whatever is in its files, it is reported or refused.
fn rundir(data: &[u8]) {
    let place = tempfile::tempdir().unwrap();
    let mut rest = data;
    for name in FILES {
        let at = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
        let (text, after) = at.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + BETWEEN.len()..]));
        std::fs::File::create(place.path().join(name)).unwrap().write_all(text).unwrap();
        rest = after;
    }
    let _ = journal::peek(place.path()).len();
    if let Ok(summary) = rundir::read(place.path()) {
        reported(&summary, place.path());
    }
    // The same bytes as a summary.
    std::fs::write(place.path().join("summary.json"), data).unwrap();
    if let Ok(summary) = rundir::read(place.path()) {
        reported(&summary, place.path());
    }
    let _: Option<Plan> = serde_json::from_slice(data).ok();
}

fn reported(summary: &summary::Summary, place: &Path) {
    let text = report::text::load(summary, &[], place);
    assert!(!text.is_empty());
    let document = report::json::load(summary, &[], place);
    serde_json::to_string(&document).unwrap();
}

/// A histogram as it is in a run directory, and merged with another.
fn histogram(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<Latency>(data) else { return };
    let again: Latency = serde_json::from_slice(&serde_json::to_vec(&read).unwrap()).unwrap();
    assert_eq!(read, again, "what is written is read back");
    let mut both = read.clone();
    both.record(Duration::from_millis(20));
    both.merge(&read);
    assert_eq!(both.count(), 2 * read.count() + 1);
    assert_eq!(both.pack().unpack(), both);
    let quantiles: Vec<f64> = [0.0, 0.5, 0.99, 1.0].iter().filter_map(|q| both.quantile_ms(*q)).collect();
    assert!(quantiles.is_sorted(), "{quantiles:?}");
    let _ = (both.mean_ms(), both.stdev_ms(), both.longer_than(Duration::from_millis(1)));
    let _ = report::export::percentiles(&both);
}
