//! The API around publishing: refusals, settings, access.

use std::time::Duration;

use connect_bench::posit_connect::{Client, ClientConfig, Route, ServerAddress};
use connect_bench::sandbox::{Config, ExtraUser, Sandbox};
use connect_bench::secret::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

#[tokio::test]
async fn everything_says_that_it_is_a_sandbox() {
    let sandbox = Sandbox::start(quick()).unwrap();
    for path in ["/__ping__", "/__api__/server_settings", "/__api__/nothing", "/content/x/", "/", "/__sandbox__/stats"]
    {
        let response = reqwest::get(format!("{}{path}", sandbox.url())).await.unwrap();
        let server = response.headers()["server"].to_str().unwrap();
        assert!(
            server.starts_with("connect-bench-sandbox/") && server.contains("not Posit Connect"),
            "{path}: {server}"
        );
    }
    let settings: Value =
        reqwest::get(format!("{}/__api__/server_settings", sandbox.url())).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&settings["sandbox"], &settings["version"], &settings["hostname"]),
        (&json!(true), &json!("2025.09.0"), &json!("sandbox-1"))
    );
    let ping = reqwest::get(format!("{}/__ping__", sandbox.url())).await.unwrap();
    assert_eq!(ping.headers()["content-type"], "application/json; charset=utf-8");
    assert_eq!(ping.text().await.unwrap(), "{}");
}

#[tokio::test]
async fn refusals_have_connects_codes() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let nobody = api.with_key("");
    assert_eq!(nobody.refusal(Method::GET, "/user", Value::Null).await, (401, 24));
    assert_eq!(api.with_key("wrong").refusal(Method::GET, "/user", Value::Null).await, (401, 30));
    assert_eq!(api.refusal(Method::GET, "/nothing", Value::Null).await, (404, 2));
    assert_eq!(api.refusal(Method::GET, "/content/nothing", Value::Null).await, (404, 4));
    assert_eq!(api.refusal(Method::POST, "/content", json!({"name": "x"})).await, (400, 5));
    assert_eq!(api.refusal(Method::POST, "/content", json!([])).await, (400, 121));
    assert_eq!(api.refusal(Method::GET, "/tasks/nothing", Value::Null).await, (404, 141));
    let (one, bundle) = api.published("one", "acl", flask()).await;
    assert_eq!(api.refusal(Method::POST, "/content", json!({"name": "one"})).await, (409, 26));
    let two = api.create(json!({"name": "two"})).await;
    let deploy = |guid: &str| format!("/content/{guid}/deploy");
    assert_eq!(api.refusal(Method::POST, &deploy(&two), json!({})).await, (404, 28));
    assert_eq!(api.refusal(Method::POST, &deploy(&two), json!({ "bundle_id": bundle })).await, (400, 82));
    assert_eq!(api.refusal(Method::POST, &deploy(&one), json!({"bundle_id": "x"})).await, (400, 3));
    let other = api.upload(&one, plumber()).await;
    assert_eq!(api.refusal(Method::POST, &deploy(&one), json!({ "bundle_id": other })).await, (403, 48));
    let active = format!("/content/{one}/bundles/{bundle}");
    assert_eq!(api.refusal(Method::DELETE, &active, Value::Null).await, (400, 75));
    let inactive = format!("/content/{one}/bundles/{other}");
    assert_eq!(api.call(Method::DELETE, &inactive, Value::Null).await.0, 204);
    assert_eq!(api.refusal(Method::GET, &inactive, Value::Null).await, (404, 4));
    assert_eq!(api.refusal(Method::GET, &format!("/content/{one}?include=x"), Value::Null).await, (400, 161));
    assert_eq!(api.call(Method::DELETE, &format!("/content/{one}"), Value::Null).await.0, 204);
    assert_eq!(api.refusal(Method::GET, &format!("/content/{one}"), Value::Null).await, (404, 4));
    assert_eq!(api.fetch(&format!("/content/{one}/")).await.0, 404);
    assert_eq!(api.post("/content", json!({"name": "one"})).await.0, 200, "the name is free again");
}

#[tokio::test]
async fn process_settings_are_kept_and_checked() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let guid = api.create(json!({"name": "app", "max_processes": 5})).await;
    let path = format!("/content/{guid}");
    let (status, content) =
        api.call(Method::PATCH, &path, json!({"min_processes": 2, "title": "Title", "load_factor": 0.0})).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&content["max_processes"], &content["min_processes"], &content["title"]),
        (&json!(5), &json!(2), &json!("Title"))
    );
    assert_eq!(api.refusal(Method::PATCH, &path, json!({"min_processes": 6})).await, (400, 114));
    assert_eq!(api.refusal(Method::PATCH, &path, json!({"idle_timeout": -1})).await, (400, 151));
    assert_eq!(api.call(Method::PATCH, &path, json!({})).await.0, 200);
    let (_, found) = api.get("/content?name=app").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(api.get("/content?name=ap").await.1, json!([]));
    assert_eq!(api.get("/search/content?q=TIT").await.1["total"], 1);
    let settings = api.fetch("/__api__/server_settings/scheduler/python-api").await.1;
    assert!(settings.contains("\"max_processes\":3"), "{settings}");
    assert!(api.fetch("/__api__/server_settings/applications").await.1.contains("logged_in"));
    for (name, status) in [("python", 200), ("r", 200), ("quarto", 200), ("nodejs", 404)] {
        assert_eq!(api.get(&format!("/server_settings/{name}")).await.0, status, "{name}");
    }
    assert_eq!(api.get("/user").await.1["user_role"], "administrator");
}

#[tokio::test]
async fn environment_vanity_and_tags() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (guid, _) = api.published("app", "all", flask()).await;
    let environment = format!("/content/{guid}/environment");
    let set = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    assert_eq!(api.call(Method::PATCH, &environment, set).await, (200, json!(["A", "B"])));
    assert_eq!(api.call(Method::PATCH, &environment, json!([{"name": "A", "value": null}])).await.1, json!(["B"]));
    assert_eq!(api.call(Method::PUT, &environment, json!([{"name": "C", "value": "3"}])).await.1, json!(["C"]));
    assert_eq!(api.get(&environment).await.1, json!(["C"]));

    let vanity = format!("/content/{guid}/vanity");
    assert_eq!(api.refusal(Method::GET, &vanity, Value::Null).await, (404, 4));
    assert_eq!(api.call(Method::PUT, &vanity, json!({"path": "/shares"})).await.1["path"], "/shares/");
    assert_eq!(api.fetch("/shares/stocks/").await.0, 200);
    assert_eq!(api.fetch("/shares").await.0, 200, "redirected to the slash");
    let other = api.create(json!({})).await;
    let theirs = format!("/content/{other}/vanity");
    assert_eq!(api.refusal(Method::PUT, &theirs, json!({"path": "/shares/"})).await, (409, 51));
    assert_eq!(api.refusal(Method::PUT, &theirs, json!({"path": "/content/"})).await, (400, 52));
    assert_eq!(api.call(Method::PUT, &theirs, json!({"path": "/shares/", "force": true})).await.0, 200);
    assert_eq!(api.get("/vanities").await.1[0]["content_guid"], json!(other));
    assert_eq!(api.call(Method::DELETE, &theirs, Value::Null).await.0, 204);
    assert_eq!(api.fetch("/shares/stocks/").await.0, 404);

    let (status, tag) = api.post("/tags", json!({"name": "bench"})).await;
    assert_eq!(status, 201);
    api.post(&format!("/content/{guid}/tags"), json!({"tag_id": tag["id"]})).await;
    let (_, content) = api.get(&format!("/content/{guid}?include=owner,tags,vanity_url")).await;
    assert_eq!((&content["tags"][0]["name"], &content["owner"]["username"]), (&json!("bench"), &json!("admin")));
}

#[tokio::test]
async fn who_may_fetch_and_change_what() {
    let user = |name: &str, role: &str| ExtraUser {
        name: name.to_owned(),
        role: role.to_owned(),
        api_key: Some(format!("key-of-{name}")),
    };
    let config = Config { extra_users: vec![user("pat", "publisher"), user("vic", "viewer")], ..quick() };
    let sandbox = Sandbox::start(config).unwrap();
    let admin = Api::of(&sandbox);
    let (pat, vic, nobody) = (admin.with_key("key-of-pat"), admin.with_key("key-of-vic"), admin.with_key(""));
    for (access, key, without) in [("all", 200, 200), ("logged_in", 200, 401), ("acl", 403, 401)] {
        let (guid, _) = pat.published(&format!("app-{access}"), access, flask()).await;
        let path = format!("/content/{guid}/stocks/");
        assert_eq!((pat.fetch(&path).await.0, admin.fetch(&path).await.0), (200, 200), "{access}");
        assert_eq!((vic.fetch(&path).await.0, nobody.fetch(&path).await.0), (key, without), "{access}");
    }
    assert_eq!(vic.refusal(Method::POST, "/content", json!({})).await, (403, 22));
    let (_, mine) = pat.get("/content?name=app-acl").await;
    let guid = mine[0]["guid"].as_str().unwrap();
    let path = format!("/content/{guid}");
    assert_eq!(vic.refusal(Method::GET, &path, Value::Null).await, (404, 4));
    let (_, people) = pat.get("/users").await;
    let people = people["results"].as_array().unwrap();
    let vics = &people.iter().find(|person| person["username"] == "vic").unwrap()["guid"];
    let grant = json!({"principal_guid": vics, "principal_type": "user", "role": "viewer"});
    let (status, permission) = pat.post(&format!("{path}/permissions"), grant).await;
    assert_eq!(status, 200, "{permission}");
    assert_eq!(vic.get(&path).await.1["app_role"], "viewer");
    assert_eq!(vic.refusal(Method::PATCH, &path, json!({})).await, (403, 22));
    assert_eq!(vic.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
    let permission = format!("{path}/permissions/{}", id_of(&permission));
    assert_eq!(pat.call(Method::DELETE, &permission, Value::Null).await.0, 204);
    assert_eq!(vic.fetch(&format!("/content/{guid}/stocks/")).await.0, 403);
}

#[tokio::test]
async fn hits_on_content_are_told_one_by_one() {
    let (name, role) = ("vic".to_owned(), "viewer".to_owned());
    let viewer = ExtraUser { name, role, api_key: Some("view".to_owned()) };
    let sandbox = Sandbox::start(Config { extra_users: vec![viewer], ..quick() }).unwrap();
    let api = Api::of(&sandbox);
    let (one, _) = api.published("one", "all", flask()).await;
    let (two, _) = api.published("two", "acl", flask()).await;
    let before = jiff::Timestamp::now().to_string();
    for _ in 0..3 {
        assert_eq!(api.with_key("").fetch(&format!("/content/{one}/stocks/")).await.0, 200);
    }
    assert_eq!(api.fetch(&format!("/content/{two}/stocks/")).await.0, 200);
    // Refused, so nobody used it.
    assert_eq!(api.with_key("").fetch(&format!("/content/{two}/stocks/")).await.0, 401);
    let hits = async |query: &str| {
        let (status, hits) = api.get(&format!("/instrumentation/content/hits?{query}")).await;
        assert_eq!(status, 200, "{hits}");
        let of = |hit: &Value| (hit["content_guid"].as_str().unwrap().to_owned(), hit["user_guid"].is_string());
        hits.as_array().unwrap().iter().map(of).collect::<Vec<_>>()
    };
    let (nobody, somebody) = ((one.clone(), false), (two.clone(), true));
    assert_eq!(hits(&format!("from={before}")).await, [nobody.clone(), nobody.clone(), nobody, somebody.clone()]);
    assert_eq!(hits(&format!("from={before}&content_guid={two}")).await, [somebody]);
    assert_eq!(hits(&format!("from={before}&to={before}")).await, []);
    let of_viewer = api.with_key("view").refusal(Method::GET, "/instrumentation/content/hits", Value::Null).await;
    assert_eq!(of_viewer.0, 403);
    assert_eq!(api.refusal(Method::GET, "/instrumentation/content/hits?from=noon", Value::Null).await, (400, 3));
}

#[tokio::test]
async fn people_at_work_are_seen_by_the_requests_to_their_content() {
    let sandbox = Sandbox::start(quick()).unwrap();
    let api = Api::of(&sandbox);
    let (theirs, _) = api.published("dashboard", "all", flask()).await;
    let (ours, _) = api.published("connect-bench-of-a-run", "all", flask()).await;
    let client = Client::new(ClientConfig {
        server: ServerAddress::parse(&sandbox.url()).unwrap(),
        key: ApiKey::new(sandbox.api_key()),
        cacert: None,
        insecure: false,
        timeout: Duration::from_secs(60),
        allow_http: false,
        route: Route::default(),
    });
    let client = client.unwrap();
    let began = jiff::Timestamp::now();
    assert_eq!(client.activity(began, jiff::Timestamp::now()).await, (Some(1), Some(0)));
    for guid in [&theirs, &ours, &theirs] {
        assert_eq!(api.fetch(&format!("/content/{guid}/stocks/")).await.0, 200);
    }
    assert_eq!(client.activity(began, jiff::Timestamp::now()).await, (Some(1), Some(2)));
}
