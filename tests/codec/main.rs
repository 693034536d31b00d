//! Two engines, one protocol: the same bytes into hyper and into our own codec must give the same result.
//!
//! Every response of `cases` is sent whole, split at every offset, and byte by byte, over an in-memory pipe in virtual
//! time, and over TLS; so are responses with random faults, cut at random. What is compared is what a VU sees: how it
//! ended, status, body, headers, and whether the connection is kept. Where the engines differ on purpose, the case says
//! so, with the reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bare;
mod cases;
mod hostile;
mod pipe;
mod random;
mod requests;
mod tls;

use connect_bench::plan::Http1Engine::{Hyper, Own};

use cases::{CASES, Case};
use pipe::{Seen, Split, see};

/// What both engines make of a case cut into pieces in one way.
fn both(case: &Case, split: Split) -> (Seen, Seen) {
    (see(Hyper, case, split), see(Own, case, split))
}

/// Offsets at which a response is split: all of them, or of a long one those near its ends and some between.
fn offsets(length: usize) -> impl Iterator<Item = usize> {
    let step = if length > 2000 { length / 40 } else { 1 };
    (1..length).filter(move |at| at % step == 0 || *at < 40 || length - at < 40)
}

/// The one difference that depends on how a response is cut, and so has no case of its own: hyper looks at a head that
/// came in part again only when its end has come. A head that is malformed and never ends is then noticed by the
/// time-out, or called closed; ours says what it is at the end of the line, as both do when it comes in one piece.
fn noticed_early(hyper: &Seen, own: &Seen) -> bool {
    noticed_early_as(&hyper.ended, hyper.status, &own.ended, own.status)
}

fn noticed_early_as(hyper: &str, hyper_status: Option<u16>, own: &str, own_status: Option<u16>) -> bool {
    let late = matches!(hyper, "Failed(Timeout)" | "Failed(Closed)");
    own == "Failed(Protocol)" && late && own_status.is_none() && hyper_status.is_none()
}

/// Over TLS the same end of a connection, before any of a response was understood, has two names: hyper may meet it
/// when it writes, as a reset, where ours meets it when it reads, as closed. Nothing else of the result may differ.
fn ended_alike(hyper: &Seen, own: &Seen) -> bool {
    let ended = |seen: &Seen| matches!(seen.ended.as_str(), "Failed(Reset)" | "Failed(Closed)");
    let nothing = |seen: &Seen| seen.status.is_none() && seen.body.is_empty() && !seen.kept;
    ended(hyper) && ended(own) && nothing(hyper) && nothing(own)
}

fn hold(case: &Case, split: Split) {
    let (hyper, own) = both(case, split);
    match &case.differs {
        None if !matches!(split, Split::Whole) && noticed_early(&hyper, &own) => {}
        None => assert_eq!(hyper, own, "{}: hyper (left) and own (right) differ, {split:?}", case.name),
        Some((expected, why)) => {
            assert!(!why.is_empty());
            assert_eq!(own.ended, *expected, "{}: {split:?}", case.name);
        }
    }
    if let Some(expected) = case.ends {
        assert_eq!(own.ended, expected, "{}: {split:?}", case.name);
    }
    if let Some(body) = case.body {
        assert_eq!(own.body, body, "{}: {split:?}", case.name);
    }
    if let Some(kept) = case.kept {
        assert_eq!(own.kept, kept, "{}: {split:?}", case.name);
    }
}

#[test]
fn the_corpus_is_large_and_its_names_are_unique() {
    let mut names: Vec<&str> = CASES.iter().chain(hostile::CASES).map(|case| case.name).collect();
    assert!(names.len() >= 60, "{}", names.len());
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), CASES.len() + hostile::CASES.len());
}

#[test]
fn correct_responses_whole_and_byte_by_byte() {
    for case in CASES {
        hold(case, Split::Whole);
        hold(case, Split::Bytes);
    }
}

#[test]
fn correct_responses_split_at_every_offset() {
    for case in CASES {
        for at in offsets(case.bytes().len()) {
            hold(case, Split::At(at));
        }
    }
}

#[test]
fn hostile_responses_whole_and_byte_by_byte() {
    for case in hostile::CASES {
        hold(case, Split::Whole);
        hold(case, Split::Bytes);
    }
}

#[test]
fn hostile_responses_split_at_every_offset() {
    for case in hostile::CASES {
        for at in offsets(case.bytes().len()) {
            hold(case, Split::At(at));
        }
    }
}

#[test]
fn every_difference_is_real() {
    for case in CASES.iter().chain(hostile::CASES) {
        let (hyper, own) = both(case, Split::Whole);
        assert_eq!(case.differs.is_some(), hyper != own, "{}: {hyper:?} {own:?}", case.name);
    }
}
