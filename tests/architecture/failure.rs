//! The whole chain: PostgreSQL, two nodes, HAProxy, and on the nodes real Flask and real Plumber in processes. A load with
//! a publish loop, one node killed and back in the middle of it: what the result says, and whether everybody counted the
//! same.

use serde_json::{Value, json};

use crate::rehearsal::{QUICK, Rehearsal};

/// The result of a load of so long, with what is done in it.
fn load(rehearsal: &Rehearsal, duration: &str, at: &[[&str; 2]]) -> (Value, String) {
    // On each node the application starts with its first request, which takes seconds where others have the machine.
    let mut args =
        vec!["load", "-u", "6", "-d", duration, "--warmup", "6s", "--quiet", "--json", "--html", "--runs-dir", "runs"];
    at.iter().for_each(|[time, action]| args.extend(["--at", time, action]));
    let output = rehearsal.run(&args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    // 121: the machine was too busy to judge a server by; what was counted was counted.
    assert!(matches!(output.status.code(), Some(0 | 121)), "{:?} {said} {document}", output.status);
    (document, said)
}

/// Requests that the balancer logged, and those of them that nodes count as its own checks. Those it does not log.
fn logged(rehearsal: &Rehearsal) -> (u64, u64) {
    let log = std::fs::read_to_string(rehearsal.root().join("balancer.log")).unwrap();
    let requests: Vec<&str> = log.lines().filter(|line| line.contains("request ")).collect();
    (requests.len() as u64, requests.iter().filter(|line| line.contains("/__ping__")).count() as u64)
}

/// What each node says of itself.
fn stats(rehearsal: &Rehearsal) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |address: &String| -> Value {
        let url = format!("http://{address}/__sandbox__/stats");
        runtime.block_on(async { reqwest::get(url).await.unwrap().json().await.unwrap() })
    };
    rehearsal.addresses().iter().map(ask).collect()
}

/// Requests that the nodes counted, and the content of them.
fn counted(rehearsal: &Rehearsal) -> (u64, Vec<u64>) {
    let stats = stats(rehearsal);
    let requests = |stats: &Value, class: &str| stats["requests"][class].as_u64().unwrap();
    let all = stats.iter().map(|stats| requests(stats, "api") + requests(stats, "content")).sum();
    (all, stats.iter().map(|stats| requests(stats, "content")).collect())
}

/// Requests without an answer by node, and what the balancer logged of requests that did not end as they should.
fn unusual(rehearsal: &Rehearsal) -> (Vec<Value>, Vec<String>) {
    let log = std::fs::read_to_string(rehearsal.root().join("balancer.log")).unwrap();
    let lines = log.lines().filter(|line| !line.contains(" ---- ")).map(str::to_owned);
    (stats(rehearsal).into_iter().map(|mut stats| stats["unanswered"].take()).collect(), lines.collect())
}

/// A load, and what was counted of it: sent by the generator; by the balancer in all, and without what asked after its
/// health; by the nodes.
fn counts_of_a_load(rehearsal: &Rehearsal) -> [u64; 4] {
    let ((all, pings), (nodes, _)) = (logged(rehearsal), counted(rehearsal));
    let (document, said) = load(rehearsal, "5s", &[]);
    let requests = &document["requests"];
    assert_eq!(requests["failed"], 0, "{said} {document}");
    let sent = requests["sent"].as_u64().unwrap() + requests["api_sent"].as_u64().unwrap();
    let (after, content) = counted(rehearsal);
    assert!(content.iter().all(|served| *served > 0), "both serve: {content:?}");
    let now = || {
        let (all_now, pings_now) = logged(rehearsal);
        [sent, all_now - all, all_now - pings_now - (all - pings), after - nodes]
    };
    // A poll that was cut off is logged when the node has answered it.
    for _ in 0..500 {
        let [sent, all, without_pings, nodes] = now();
        if sent == all && without_pings == nodes {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    now()
}

#[test]
fn everybody_counts_the_same() {
    let Some(rehearsal) = Rehearsal::real(QUICK, &[]) else { return };
    // At its end a load cuts off what is under way. HAProxy logs no request that follows others on its connection and whose
    // node closes without an answer: what that would look like is told. Counts that are wrong are wrong three times.
    let mut loads = Vec::new();
    loop {
        let [sent, all, without_pings, nodes] = counts_of_a_load(&rehearsal);
        if sent == all && without_pings == nodes {
            break;
        }
        loads.push(([sent, all, without_pings, nodes], unusual(&rehearsal)));
        assert!(loads.len() < 3, "sent, logged, logged without pings, counted by the nodes: {loads:#?}");
    }
    rehearsal.down();
}

#[test]
fn a_node_that_is_killed_disrupts_its_own_sessions_and_not_the_service() {
    let Some(rehearsal) = Rehearsal::real(QUICK, &[]) else { return };
    let at = [["6s", "node kill 2"], ["14s", "node start 2"], ["15s", "exec exit 3"]];
    let (document, said) = load(&rehearsal, "22s", &at);
    let told = document["rehearsal"].as_array().unwrap();
    assert_eq!(told.len(), 3, "{said} {document}");
    let (kill, start, exec) = (&told[0], &told[1], &told[2]);
    let killed = (&kill["action"], &kill["node"]);
    assert_eq!(killed, (&json!("node kill 2"), &json!("node-2")), "{kill} {:#?}", unusual(&rehearsal));
    // VUs that share the two nodes in turn: three of six, and whoever publishes.
    assert!(kill["lost"].as_u64().unwrap() > 0 && kill["vus_moved"].as_u64().unwrap() >= 3, "{kill}");
    assert_eq!((&kill["others_failed"], &kill["others_left"]), (&json!(0), &json!(0)), "{kill}");
    assert!(kill["first_success_s"].as_f64().is_some(), "moved VUs recover: {kill}");
    // Which of the two depends on whether a request came before the balancer knew.
    // 404 is what the publish loop hears of its task from the node that did not make it.
    let kinds = ["connection closed before the response was complete", "status 502", "status 404"];
    assert!(kill["lost_by_kind"].as_object().unwrap().keys().all(|kind| kinds.contains(&kind.as_str())), "{kill}");
    // Whether it became steady enough in these few seconds is up to the machine.
    let claim = kill["claim"].as_str().unwrap();
    let reason = kill["claim_reason"].as_str().unwrap_or_default();
    assert!(claim == "held" || reason == "there was no steady state after it", "{kill}");
    assert_eq!((&start["action"], &start["claim"]), (&json!("node start 2"), &json!("not_judged")));
    assert!(start["took_s"].as_f64().is_some(), "{start}");
    assert!(exec["error"].as_str().unwrap().contains("exit status: 3"), "{exec}");
    assert!(document["publish"]["completed"].as_u64().unwrap() >= 2, "{document}");
    // The run directory tells the same.
    let run = std::fs::read_dir(rehearsal.home.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let text = rehearsal.run(&["report", run.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("node kill 2, done after") && text.contains("VUs moved to another node"), "{text}");
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("node kill 2") && page.contains("either node disrupts the user sessions"));
    rehearsal.down();
}

#[test]
fn what_cannot_be_done_is_said_before_the_run() {
    let Some(rehearsal) = Rehearsal::up(QUICK) else { return };
    for (at, code, says) in [
        (["60s", "node kill 1"], 2, "the load is over after 5 s"),
        (["1s", "node explode 1"], 2, "an action is"),
        (["1", "node kill 1"], 2, "which unit?"),
    ] {
        let output = rehearsal.run(&["load", "-u", "1", "-d", "5s", "--at", at[0], at[1]]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && said.contains(says), "{at:?}: {:?} {said}", output.status);
    }
    let nowhere = ["load", "-u", "1", "-d", "5s", "--at", "1s", "node kill 1", "--cluster", "nowhere.sock"];
    let output = rehearsal.run(&nowhere);
    assert_eq!(output.status.code(), Some(122), "{}", String::from_utf8_lossy(&output.stderr));
    rehearsal.down();
}
