//! Fetches as a load test makes them: nobody looks at headers or body, and one response is like the last. Our codec
//! takes short cuts then; they must lead to the same place.

use std::rc::Rc;

use bytes::Bytes;
use connect_bench::engine::program::{Exchange, Expect};
use connect_bench::http::{Client, Guard};
use connect_bench::plan::Http1Engine::{self, Hyper, Own};
use proptest::prelude::*;

use super::cases::{After, CASES, Case};
use super::pipe::{Scripted, Split, config, exchange, in_virtual_time, swept};
use super::{hostile, noticed_early_as};

/// What a fetch tells: how it ended, the status, and whether the connection is kept.
type Told = (String, Option<u16>, bool, u64);

fn bare(case: &Case, expect: Expect) -> Exchange {
    Exchange { keep_body: 0, expect, ..exchange(case.method()) }
}

fn fetch(engine: Http1Engine, case: &Case, split: Split, expect: &Expect) -> Told {
    in_virtual_time(async {
        let server = Scripted::new(split.pieces(&case.bytes()), case.after);
        let mut client = Client::new(Rc::new(server.clone()), Rc::new(config(engine)));
        let guard = Guard::default();
        let done = swept(&guard, client.exchange(&Rc::new(bare(case, expect.clone())), &guard)).await;
        assert!(done.headers.is_none());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let dials = server.dials.get();
        let _ = swept(&guard, client.exchange(&Rc::new(exchange(http::Method::GET)), &guard)).await;
        // What is read when a connection fails depends on who looks first.
        let received = if done.status.is_some() && case.differs.is_none() { done.bytes.1 } else { 0 };
        (format!("{:?}", done.ended), done.status, server.dials.get() == dials, received)
    })
}

fn expectations() -> [Expect; 4] {
    let text = || Some(Bytes::from_static(b"ab"));
    [
        Expect::default(),
        Expect { statuses: vec![200], ..Expect::default() },
        Expect { content_type: Some("text/plain".to_owned()), ..Expect::default() },
        Expect { body_contains: text(), ..Expect::default() },
    ]
}

#[test]
fn every_response_twice_in_a_row_and_after_every_other() {
    let all: Vec<&Case> = CASES.iter().chain(hostile::CASES).filter(|case| case.bytes().len() < 4000).collect();
    for expect in expectations() {
        for (at, case) in all.iter().enumerate() {
            let hyper = fetch(Hyper, case, Split::Whole, &expect);
            for split in [Split::Whole, Split::Whole, Split::Bytes, Split::Whole] {
                let own = fetch(Own, case, split, &expect);
                let early = matches!(split, Split::Bytes) && noticed_early_as(&hyper.0, hyper.1, &own.0, own.1);
                if case.differs.is_none() && !early {
                    assert_eq!(
                        (&hyper.0, hyper.1, hyper.2),
                        (&own.0, own.1, own.2),
                        "{}: {split:?} {expect:?}",
                        case.name
                    );
                }
            }
            // The thread remembers another head now.
            fetch(Own, all[(at * 7 + 3) % all.len()], Split::Whole, &expect);
        }
    }
}

/// One head, and one that is nearly the same.
fn nearly() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (0..CASES.len(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(case, at, byte)| {
        let bytes = CASES[case].bytes();
        let mut other = bytes.clone();
        let at = at.index(other.len().min(300));
        other[at] = byte;
        (bytes, other)
    })
}

fn told(engine: Http1Engine, bytes: &[u8], head: bool) -> (String, Option<u16>) {
    in_virtual_time(async {
        let server = Scripted::new(vec![bytes.to_vec()], After::Close);
        let mut client = Client::new(Rc::new(server), Rc::new(config(engine)));
        let guard = Guard::default();
        let method = if head { http::Method::HEAD } else { http::Method::GET };
        let x = Exchange { keep_body: 0, ..exchange(method) };
        let done = swept(&guard, client.exchange(&Rc::new(x), &guard)).await;
        (format!("{:?}", done.ended), done.status)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_head_that_is_nearly_the_last_one_is_another((bytes, other) in nearly(), head in any::<bool>()) {
        told(Own, &bytes, false);
        let own = told(Own, &other, head);
        let hyper = told(Hyper, &other, head);
        if !noticed_early_as(&hyper.0, hyper.1, &own.0, own.1) {
            prop_assert_eq!(&hyper, &own, "{}", String::from_utf8_lossy(&other[..other.len().min(400)]));
        }
    }
}
