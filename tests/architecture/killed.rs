//! Two nodes with real processes on one database and one folder: whose processes are whose, and what is left when a node
//! is killed in the middle of a deploy.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;

use md5::{Digest as _, Md5};
use reqwest::Method;
use serde_json::{Value, json};

use crate::parts::until;
use crate::rehearsal::{QUICK, Rehearsal, gone, lives};
use crate::support::{Api, FLASK, tarball};

/// Says its version, its value and its process. Does not start while there is a file of the name in `HOLD`.
const APP: &str = r#"
import os, time
while os.path.exists(os.environ["HOLD"]):
    time.sleep(0.01)
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"VERSION {os.environ['VALUE']} {os.getppid()}".encode()]
"#;

fn version(number: &str) -> Vec<u8> {
    tarball(&[("manifest.json", FLASK), ("requirements.txt", ""), ("app.py", &APP.replace("VERSION", number))])
}

/// What it says: version and value; and the guard of its process.
async fn said(api: &Api, guid: &str) -> (String, u32) {
    let (status, text) = api.fetch(&format!("/content/{guid}/")).await;
    assert_eq!(status, 200, "{text}");
    let (rest, pid) = text.rsplit_once(' ').unwrap();
    (rest.to_owned(), pid.parse().unwrap())
}

async fn set(api: &Api, guid: &str, variables: Value) {
    let (status, answer) = api.call(Method::PATCH, &format!("/content/{guid}/environment"), variables).await;
    assert_eq!(status, 200, "{answer}");
}

/// Whether what the database and the folder have of the item is whole: each bundle's file has the bytes that its row
/// says, all nodes say the same, and nothing is half done.
async fn whole(nodes: &[&Api], guid: &str, data: &Path) {
    let mut lists = Vec::new();
    for api in nodes {
        let (_, list) = api.get(&format!("/content/{guid}/bundles")).await;
        for bundle in list.as_array().unwrap() {
            let path = format!("/__api__/v1/content/{guid}/bundles/{}/download", bundle["id"].as_str().unwrap());
            let bytes = api.send(Method::GET, &path, "", None).await.bytes().await.unwrap();
            let md5: String = Md5::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(json!(md5), bundle["metadata"]["archive_md5"], "{bundle}");
        }
        lists.push(list);
    }
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]), "{lists:#?}");
    for node in ["node-1", "node-2"] {
        assert_eq!(std::fs::read_dir(data.join("incoming").join(node)).unwrap().count(), 0, "{node}");
    }
    for app in std::fs::read_dir(data.join("apps").join(guid)).unwrap() {
        let files = std::fs::read_dir(app.unwrap().path()).unwrap().count();
        assert_eq!(files, 3, "manifest, packages, application");
    }
}

/// An upload to a node that never ends.
fn half_an_upload(address: &str, key: &str, guid: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /__api__/v1/content/{guid}/bundles HTTP/1.1\r\nHost: x\r\nAuthorization: Key {key}\r\n\
         Content-Length: 100000\r\n\r\nhalf"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test]
async fn a_node_that_is_killed_in_the_middle_of_a_deploy_leaves_nothing_half_done() {
    let Some(rehearsal) = Rehearsal::real(QUICK, &[]) else { return };
    let (one, two, data) = (rehearsal.node(1), rehearsal.node(2), rehearsal.root().join("data"));
    let hold = rehearsal.home.path().join("hold");
    let guid = one.create(json!({"name": "held", "access_type": "all"})).await;
    set(&one, &guid, json!([{"name": "HOLD", "value": hold}, {"name": "VALUE", "value": "a"}])).await;
    let first = one.upload(&guid, version("1")).await;
    assert_eq!(one.deploy(&guid, json!({ "bundle_id": first })).await["code"], 0);
    let (here, there) = (said(&one, &guid).await, said(&two, &guid).await);
    assert!(here.0 == "1 a" && there.0 == "1 a" && here.1 != there.1, "each node its own: {here:?} {there:?}");

    // A deploy that does not come to its end, and an upload that does not either.
    std::fs::write(&hold, "").unwrap();
    let second = two.upload(&guid, version("2")).await;
    let (_, task) = two.post(&format!("/content/{guid}/deploy"), json!({ "bundle_id": second })).await;
    let task = task["task_id"].as_str().unwrap().to_owned();
    let launching = async || two.get(&format!("/tasks/{task}")).await.1.to_string().contains("Launching");
    until("the second version is started", launching).await;
    assert_eq!(
        one.refusal(Method::GET, &format!("/tasks/{task}"), Value::Null).await,
        (404, 141),
        "known on its node only"
    );
    let upload = half_an_upload(&rehearsal.addresses()[1], &two.key, &guid);
    let incoming = data.join("incoming/node-2");
    until("half an upload is there", async || std::fs::read_dir(&incoming).unwrap().count() == 1).await;
    let (_, jobs) = two.get(&format!("/content/{guid}/jobs")).await;
    let pids: Vec<u32> =
        jobs.as_array().unwrap().iter().map(|job| job["pid"].as_str().unwrap().parse().unwrap()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| lives(*pid)), "one serves, one starts: {jobs}");
    rehearsal.tell("node kill 2");
    drop(upload);

    // Its processes end with it, the other's do not. Its task is gone with it, which is what the other node says.
    gone(&pids.iter().map(|pid| ("process of node-2".to_owned(), Some(*pid))).collect::<Vec<_>>());
    assert!(!rehearsal.root().join("tmp-node-2").exists());
    assert_eq!(one.refusal(Method::GET, &format!("/tasks/{task}"), Value::Null).await, (404, 141));
    assert_eq!(said(&one, &guid).await, here);
    let (_, content) = one.get(&format!("/content/{guid}")).await;
    assert_eq!(content["bundle_id"], json!(first), "nothing was activated");

    // The next publish succeeds; the node that is back has it, and deploys what it did not.
    std::fs::remove_file(&hold).unwrap();
    let third = one.upload(&guid, version("3")).await;
    assert_eq!(one.deploy(&guid, json!({ "bundle_id": third })).await["code"], 0);
    rehearsal.tell("node start 2");
    let (now, back) = (said(&one, &guid).await, said(&two, &guid).await);
    assert_eq!((now.0.as_str(), back.0.as_str()), ("3 a", "3 a"));
    whole(&[&one, &two], &guid, &data).await;
    assert_eq!(two.deploy(&guid, json!({ "bundle_id": second })).await["code"], 0);
    until("the first node has it, too", async || said(&one, &guid).await.0 == "2 a").await;
    whole(&[&one, &two], &guid, &data).await;
    let pair = (said(&one, &guid).await.1, said(&two, &guid).await.1);
    follows(&rehearsal, &guid, pair).await;
    rehearsal.down();
}

/// What is changed through one node the processes of the other follow.
async fn follows(rehearsal: &Rehearsal, guid: &str, (here, there): (u32, u32)) {
    let (one, two) = (rehearsal.node(1), rehearsal.node(2));
    set(&one, guid, json!([{"name": "VALUE", "value": "b"}])).await;
    until("the other node's processes have the new value", async || said(&two, guid).await.0 == "2 b").await;
    gone(&[here, there].map(|pid| ("process with the old value".to_owned(), Some(pid))));
    let pids = [said(&one, guid).await.1, said(&two, guid).await.1];
    let database = rehearsal.run(&["sandbox", "tell", "database", "restart"]);
    assert!(database.status.success());
    assert_eq!([said(&one, guid).await.1, said(&two, guid).await.1], pids, "content does not need the database");
    until("it hears of changes again", async || {
        let (status, _) = one.call(Method::PATCH, &format!("/content/{guid}"), json!({"min_processes": 1})).await;
        status == 200
    })
    .await;
    assert_eq!(one.call(Method::DELETE, &format!("/content/{guid}"), Value::Null).await.0, 204);
    gone(&pids.map(|pid| ("process of deleted content".to_owned(), Some(pid))));
}
