//! What a run makes on a server, and that it is removed whatever happens.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::cleanup::{CleanupOptions, cleanup};
use super::super::fixtures::Fixture;
use super::super::manifest::Runtimes;
use super::super::stub::{ME, Shared, over};
use super::*;

fn plan(fetch: FetchTarget) -> ProvisionPlan {
    ProvisionPlan {
        run_id: "r1".into(),
        fetch,
        path: "/stocks/AAPL".into(),
        expected: Expected::Stock,
        publish: Some(PublishTarget::OneItem(Access::Everyone)),
        deploy_within: Duration::from_secs(5),
        answer_within: Duration::from_millis(100),
    }
}

fn flask(access: Access) -> FetchTarget {
    let bundle = Bundle::fixture(Fixture::FlaskStocks, &Runtimes::default()).unwrap();
    let runtime = RuntimeSettings { min_processes: Some(2), ..RuntimeSettings::default() };
    FetchTarget::Publish { bundle: Box::new(bundle), runtime, access }
}

fn theirs(reference: &str) -> FetchTarget {
    FetchTarget::Existing { reference: reference.to_owned(), runtime: RuntimeSettings::default() }
}

fn journal() -> (tempfile::TempDir, Journal) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    (folder, journal)
}

#[tokio::test]
async fn what_a_run_needs_is_made_journalled_and_removed() {
    let store = Shared::default();
    let stub = over(Arc::clone(&store)).await;
    let (_folder, mut journal) = journal();
    let client = stub.client();
    let made = provision(&client, &mut journal, &plan(flask(Access::Everyone))).await.unwrap();
    assert_eq!(made.fetch.target, "/content/guid-0/stocks/AAPL");
    assert_eq!(made.fetch.content.runtime.min_processes, Some(2));
    assert!(!made.fetch.with_key);
    assert_eq!(made.fetch.probe.marker.as_deref(), Some("\"ticker\":\"AAPL\""));
    assert_eq!((made.fetch.probe.status, made.fetch.probe.content_type.as_str()), (200, "application/json"));
    let name = "connect-bench-r1-publish".to_owned();
    assert_eq!(made.publish, Some(PublishItem::One { guid: "guid-1".into(), name }));
    assert_eq!(journal.remaining().len(), 2);
    store.lock().unwrap().refuse_deletions = 1;
    let left = deprovision(&client, &mut journal, Duration::from_secs(10)).await;
    assert!(left.is_empty() && journal.remaining().is_empty() && store.lock().unwrap().items.is_empty());
    assert_eq!(client.counts().read().sent, stub.calls().len() as u64, "the server counted the same");
}

#[tokio::test]
async fn an_application_that_does_not_answer_as_it_should_is_an_error_and_is_removed() {
    let cases = [
        (500, "crashed", "did not start: crashed"),
        (404, "", "no such path"),
        (200, "<html>log in", "not answered by the application"),
        (200, "{\"ticker\":\"AAPL\",\"price\":\"1\"}", "no number \"price\""),
    ];
    for (status, body, expected) in cases {
        let store = Shared::default();
        store.lock().unwrap().application = (status, body.to_owned());
        let stub = over(Arc::clone(&store)).await;
        let (_folder, mut journal) = journal();
        let client = stub.client();
        let error = provision(&client, &mut journal, &plan(flask(Access::Everyone))).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        deprovision(&client, &mut journal, Duration::from_secs(5)).await;
        assert!(store.lock().unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn an_existing_item_is_used_and_not_deleted() {
    let store = Shared::default();
    store.lock().unwrap().add("theirs-1", "app", "d", "other");
    let stub = over(Arc::clone(&store)).await;
    let client = stub.client();
    for reference in ["theirs-1".to_owned(), format!("{}content/theirs-1/x", stub.url)] {
        let (_folder, mut journal) = journal();
        let existing = ProvisionPlan { publish: None, ..plan(theirs(&reference)) };
        let made = provision(&client, &mut journal, &existing).await.unwrap();
        assert!(made.fetch.with_key, "its access_type is acl");
        assert!(deprovision(&client, &mut journal, Duration::from_secs(1)).await.is_empty());
    }
    assert_eq!(store.lock().unwrap().items.len(), 1);
    for wrong in ["https://c.example/content/theirs-1/", "https://c.example/", "a b", ""] {
        let (_folder, mut journal) = journal();
        let error = provision(&client, &mut journal, &plan(theirs(wrong))).await.unwrap_err();
        assert!(matches!(error, ProvisionError::Reference { .. }), "{error}");
    }
    let (_folder, mut journal) = journal();
    let outside = ProvisionPlan { path: "/../../__api__/v1/user".into(), ..plan(theirs("theirs-1")) };
    assert!(matches!(provision(&client, &mut journal, &outside).await, Err(ProvisionError::Path(_))));
}

#[tokio::test]
async fn what_was_made_without_our_learning_of_it_is_removed_by_name() {
    let store = Shared::default();
    {
        let mut store = store.lock().unwrap();
        store.add("lost", "connect-bench-r1-fetch", &description("r1"), ME);
        store.add("loop-1", "connect-bench-r1-publish-1", &description("r1"), ME);
        store.add("named-so", "connect-bench-r1-publish-2", "somebody's own words", ME);
        store.add("theirs", "connect-bench-r1-publish-3", &description("r1"), "other");
    }
    let stub = over(Arc::clone(&store)).await;
    let server = stub.client().server().to_string();
    let (_folder, mut journal) = journal();
    journal.intent(Kind::Content, "connect-bench-r1-fetch", "r1", &server).unwrap();
    journal.intent(Kind::Content, "connect-bench-r1-never", "r1", &server).unwrap();
    journal.intent(Kind::ContentPrefix, "connect-bench-r1-publish-", "r1", &server).unwrap();
    journal.intent(Kind::Content, "elsewhere", "r1", "https://c.example/").unwrap();
    let left = deprovision(&stub.client(), &mut journal, Duration::from_secs(60)).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].reason.contains("another server"));
    let guids: Vec<String> = store.lock().unwrap().items.keys().cloned().collect();
    assert_eq!(guids, ["named-so", "theirs"]);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_listed_with_the_reason() {
    let store = Shared::default();
    store.lock().unwrap().add("g", "connect-bench-r1-fetch", &description("r1"), ME);
    store.lock().unwrap().refuse_deletions = 1000;
    let stub = over(store).await;
    let (_folder, mut journal) = journal();
    journal.intent(Kind::Content, "connect-bench-r1-fetch", "r1", &stub.url).unwrap();
    journal.created("connect-bench-r1-fetch", "g").unwrap();
    let left = deprovision(&stub.client(), &mut journal, Duration::from_millis(200)).await;
    assert!(left[0].reason.contains("database is locked"), "{left:?}");
    assert_eq!(journal.remaining().len(), 1);
}

fn options(dry_run: bool, older_than: Option<u64>) -> CleanupOptions {
    let now: Timestamp = "2025-06-01T10:00:00Z".parse().unwrap();
    CleanupOptions { dry_run, older_than: older_than.map(|hours| Duration::from_secs(3600 * hours)), now }
}

#[tokio::test]
async fn a_clean_up_deletes_ours_and_nothing_else() {
    let store = Shared::default();
    {
        let mut store = store.lock().unwrap();
        store.add("journalled", "connect-bench-r1-fetch", "changed by hand", ME);
        store.add("by-name", "connect-bench-r0-publish-7", &description("r0"), ME);
        store.add("running", "connect-bench-r2-publish-1", &description("r2"), ME);
        store.add("not-ours", "connect-bench-notes", "my notes", ME);
        store.add("theirs", "connect-bench-r9-fetch", &description("r9"), "other");
        store.add("unrelated", "sales", "", ME);
    }
    let stub = over(Arc::clone(&store)).await;
    let (ended, mut first) = journal();
    first.intent(Kind::Content, "connect-bench-r1-fetch", "r1", &stub.url).unwrap();
    first.created("connect-bench-r1-fetch", "journalled").unwrap();
    first.intent(Kind::Content, "connect-bench-r1-gone", "r1", &stub.url).unwrap();
    first.created("connect-bench-r1-gone", "gone").unwrap();
    drop(first);
    let (going, mut second) = journal();
    second.intent(Kind::ContentPrefix, "connect-bench-r2-publish-", "r2", &stub.url).unwrap();
    let directories = [ended.path().to_owned(), going.path().to_owned()];
    let client = stub.client();

    let young = cleanup(&client, &directories, &options(false, Some(24))).await.unwrap();
    assert!(young.deleted.is_empty(), "{young:?}");
    let dry = cleanup(&client, &directories, &options(true, Some(1))).await.unwrap();
    assert_eq!(store.lock().unwrap().items.len(), 6);
    let done = cleanup(&client, &directories, &options(false, None)).await.unwrap();
    assert_eq!(dry.deleted, done.deleted, "a dry run says what is then done");
    let guids: Vec<String> = store.lock().unwrap().items.keys().cloned().collect();
    assert_eq!(guids, ["not-ours", "running", "theirs", "unrelated"]);
    assert!(done.failed.is_empty());
    let reasons: Vec<_> = done.kept.iter().map(|item| item.reason.as_deref().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("still going")), "{reasons:?}");
    assert!(super::super::journal::peek(ended.path()).is_empty());
}

#[tokio::test]
async fn the_loops_own_items_are_intended_before_the_run() {
    let stub = over(Shared::default()).await;
    let (_folder, mut journal) = journal();
    let new_items = ProvisionPlan { publish: Some(PublishTarget::NewItems), ..plan(flask(Access::WithKey)) };
    let made = provision(&stub.client(), &mut journal, &new_items).await.unwrap();
    assert!(made.fetch.with_key);
    assert_eq!(made.publish, Some(PublishItem::New { prefix: "connect-bench-r1-publish-".into() }));
    assert_eq!(journal.remaining()[1].kind, Kind::ContentPrefix);
}
