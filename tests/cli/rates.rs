//! A search in the open model as a whole: as short as one can be, with a rate that it may not exceed.

use serde_json::{Value, json};

use crate::support::{Bench, Sandbox, number};

#[tokio::test]
async fn the_highest_rate_is_found_and_held() {
    let sandbox = Sandbox::quick(&[]).await;
    let bench = Bench::on(&sandbox);
    let slo = ["ramp", "--slo", "p(95)<5s", "--slo", "error_rate<1%", "--open", "--max-rate", "10", "--max-vus", "50"];
    let mut running = bench.start(&[&slo[..], &["--no-publish", "--then-load", "5s", "--json"]].concat());
    // A minute of warm-up and as long a stage are more than a run may take otherwise. One that the generator limits is over
    // before.
    running.seconds_or_end(90).await;
    let ended = running.end().await;
    let document = ended.json();
    let step = &document["steps"][0];
    assert_eq!((&document["kind"], &step["rate"]), (&json!("ramp"), &json!(10)), "{document:#}");
    // Ten a second at random times, measured for half a minute or a whole one.
    assert!((5.0..=15.0).contains(&number(step, "/requests_per_second")), "{step:#}");
    assert!(number(step, "/vus") <= 50.0 && number(step, "/latency_ms/p95") > 1.0, "{step:#}");
    if document["result"] == "generator_limited" {
        // This machine was too busy, and says so.
        assert_eq!(ended.code, Some(121), "{ended:#?}");
        return;
    }
    assert_eq!(document["result"], "objectives_kept", "{document:#}");
    assert_eq!(document["saturation"]["vus"], Value::Null, "{document:#}");
    assert_eq!((&document["saturation"]["rate"], &document["objectives"]["rate"]), (&json!(10), &json!(10)));
    assert_eq!(document["objectives"]["broken"], Value::Null, "{document:#}");
    let held = &document["load"];
    assert!((4.0..=18.0).contains(&number(held, "/requests_per_second/fetch")), "{held:#}");
    assert!(matches!(ended.code, Some(0 | 121)), "{ended:#?}");
    assert!(sandbox.items().await.is_empty());
}
