//! What a server, or the author of a file, may have written, leaves every output harmless.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bench;
use crate::runs::{Shape, write};

/// Markup, terminal escapes, a change of the direction of reading, ends of lines, and much of it.
fn foreign() -> String {
    let evil = "</script><script>alert(1)</script>\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}\r\n<!-- ]]> \"'`| # a,b=\\";
    format!("{evil}{}", "x".repeat(200_000))
}

/// Without the data block, which is base64.
fn visible(page: &str) -> String {
    let (before, after) = page.split_once("<script type=\"application/json\" id=\"connect-bench-data\">").unwrap();
    format!("{before}{}", after.split_once("</script>").unwrap().1)
}

#[test]
fn a_page_of_a_hostile_server_is_only_text_and_not_large() {
    let place = tempfile::tempdir().unwrap();
    let (run, _) = write(place.path(), &Shape { foreign: foreign(), ..Shape::load(30) });
    let output = bench(place.path(), &["report", run.to_str().unwrap(), "--html", "page.html"]);
    assert!(output.status.success());
    let page = visible(&std::fs::read_to_string(place.path().join("page.html")).unwrap());
    assert_eq!(page.matches("<script").count(), 1, "only ours");
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains("alert(1)</script>"));
    assert!(!page.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    assert!(page.len() < 400_000, "{}", page.len());
}

fn refused(place: &Path, page: &[u8], says: &str) {
    std::fs::write(place.join("page.html"), page).unwrap();
    let output = bench(place, &["report", "--from", "page.html"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(104), "{error}");
    assert!(error.contains(says) && !error.contains("panicked"), "{error}");
}

fn with_data(data: &str) -> Vec<u8> {
    format!("<script type=\"application/json\" id=\"connect-bench-data\">\"{data}\"</script>").into_bytes()
}

fn packed(bytes: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    STANDARD.encode(gzip.finish().unwrap())
}

#[test]
fn a_file_that_is_no_page_of_ours_is_refused_with_a_reason() {
    let place = tempfile::tempdir().unwrap();
    refused(place.path(), b"<!DOCTYPE html><p>hello", "no report of connect-bench");
    refused(place.path(), &[0xff; 1000], "no report of connect-bench");
    refused(place.path(), &with_data("not base64!"), "cannot be read");
    refused(place.path(), &with_data("AAAA"), "cannot be read");
    refused(place.path(), &with_data(&packed(b"{\"schema\":1}")), "cannot be read");
    refused(place.path(), &with_data(&packed(b"{\"schema\":1,\"runs\":[]}")), "number of runs");
    refused(place.path(), &with_data(&packed(b"{\"schema\":99,\"runs\":[]}")), "newer connect-bench");
    // A small file that would be a gigabyte.
    refused(place.path(), &with_data(&packed(&vec![b' '; 1 << 30])), "larger than any report");
    refused(place.path(), &vec![b' '; 17 << 20], "larger than any report");
}

/// A page whose data was changed by `change`.
fn changed(place: &Path, change: impl Fn(String) -> String) -> Vec<u8> {
    let (run, _) = write(place, &Shape::load(20));
    let output = bench(place, &["report", run.to_str().unwrap(), "--html", "good.html"]);
    assert!(output.status.success());
    std::fs::remove_dir_all(run).unwrap();
    let page = std::fs::read_to_string(place.join("good.html")).unwrap();
    let data = page.split("id=\"connect-bench-data\">\"").nth(1).unwrap().split('"').next().unwrap();
    let mut json = String::new();
    let bytes = STANDARD.decode(data).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut json).unwrap();
    let altered = change(json.clone());
    assert_ne!(altered, json, "nothing was changed");
    with_data(&packed(altered.as_bytes()))
}

#[test]
fn figures_that_no_run_has_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let huge = |json: String| json.replacen("\"completed\":", "\"completed\":1844674407370", 1);
    refused(place.path(), &changed(place.path(), huge), "not that of a run");
    // A histogram whose header promises four gigabytes.
    let mut plain = vec![0x1c, 0x84, 0x93, 0x13, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 3];
    plain.extend([0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    plain.extend(1_f64.to_be_bytes());
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&plain).unwrap();
    let body = zlib.finish().unwrap();
    let mut bytes = vec![0x1c, 0x84, 0x93, 0x14];
    bytes.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    let bomb = STANDARD.encode(bytes);
    let promise = |json: String| {
        let (before, after) = json.split_once("\"hdr\":\"").unwrap();
        format!("{before}\"hdr\":\"{bomb}{}", &after[after.find('"').unwrap()..])
    };
    refused(place.path(), &changed(place.path(), promise), "no histogram of durations");
}
