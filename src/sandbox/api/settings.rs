//! What the server says of itself and of its people.

use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use super::super::cluster::SERVER;
use super::super::error::{NO_ENDPOINT, NO_PERMISSION, NOT_FOUND};
use super::super::launcher::settings::defaults;
use super::super::reply;
use super::super::store::User;
use super::fields::{MAX_PROCESSES_LIMIT, MIN_PROCESSES_LIMIT};
use super::{Answer, Caller, Ctx};
use axum::response::Response;

/// `GET /__api__/server_settings`: for everyone, without a key.
pub(super) async fn server(State(node): Ctx) -> Response {
    let expired = node.shared.config.faults.license_expired;
    reply::ok(&json!({
        "sandbox": true,
        "sandbox_content": if node.shared.launcher.is_some() { "processes" } else { "simulated" },
        "about": SERVER,
        "version": node.shared.config.version,
        "build": if node.shared.config.version.is_empty() { "" } else { "sandbox" },
        "hostname": node.hostname,
        "license": {
            "ts": 0, "status": if expired { "expired" } else { "activated" }, "expiration": null, "days-left": 365,
            "has-key": true, "has-trial": false, "type": "sandbox", "shiny-users": 0, "users": 0, "user-activity-days": 365,
            "users-grace": false, "tier": "sandbox", "anonymous-servers": true, "unrestricted-servers": true,
            "anonymous-branding": false, "enable-launcher": false,
        },
        "runtimes": ["R", "Python"],
        "jump_start_enabled": false,
        "dashboard_path": "/connect",
        "logout_url": "__logout__",
        "maximum_app_image_size": 10_000_000,
        "git_enabled": false,
        "git_available": false,
        "authentication": {"handles_credentials": true, "name": "sandbox"},
    }))
}

/// `GET /__api__/server_settings/applications`.
pub(super) async fn applications(_caller: Caller) -> Response {
    reply::ok(&json!({
        "access_types": ["acl", "logged_in", "all"], "run_as": "rstudio-connect", "run_as_group": "rstudio-connect",
        "run_as_current_user": false,
    }))
}

/// `GET /__api__/server_settings/scheduler[/{mode}]`: the process settings where content sets none.
pub(super) async fn scheduler(_caller: Caller) -> Response {
    let mut json = json!({
        "min_processes_limit": MIN_PROCESSES_LIMIT, "max_processes_limit": MAX_PROCESSES_LIMIT,
        "cpu_request": 0, "max_cpu_request": 0, "cpu_limit": 0, "max_cpu_limit": 0,
        "memory_request": 0, "max_memory_request": 0, "memory_limit": 0, "max_memory_limit": 0,
    });
    if let (Value::Object(json), Value::Object(defaults)) = (&mut json, defaults()) {
        json.extend(defaults);
    }
    reply::ok(&json)
}

/// `GET /__api__/v1/server_settings/python`.
pub(super) async fn python(_caller: Caller) -> Response {
    let mut json = installations(&["3.10.14", "3.11.9", "3.12.4", "3.13.1"]);
    json["api_enabled"] = json!(true);
    reply::ok(&json)
}

/// `GET /__api__/v1/server_settings/r`.
pub(super) async fn r(_caller: Caller) -> Response {
    reply::ok(&installations(&["4.3.3", "4.4.2"]))
}

/// `GET /__api__/v1/server_settings/quarto`.
pub(super) async fn quarto(_caller: Caller) -> Response {
    reply::ok(&installations(&["1.5.57"]))
}

/// `GET /__api__/v1/server_settings/nodejs`: from 2026.04 on.
pub(super) async fn nodejs(State(node): Ctx, _caller: Caller) -> Response {
    if !super::deploy::at_least(&node.shared.config.version, (2026, 4)) {
        return NO_ENDPOINT.into_response();
    }
    let mut json = installations(&["22.11.0"]);
    json["enabled"] = json!(true);
    reply::ok(&json)
}

/// `GET /__api__/v1/user`.
pub(super) async fn me(caller: Caller) -> Response {
    reply::ok(&user_json(&caller.user))
}

/// `GET /__api__/v1/users`.
pub(super) async fn users(State(node): Ctx, caller: Caller) -> Answer {
    if caller.user.role == "viewer" {
        return Err(NO_PERMISSION);
    }
    let users: Vec<Value> = node.shared.users.iter().map(user_json).collect();
    Ok(reply::ok(&json!({"total": users.len(), "current_page": 1, "results": users})))
}

/// `GET /__api__/v1/users/{guid}`.
pub(super) async fn user(State(node): Ctx, Path(guid): Path<String>, _caller: Caller) -> Answer {
    let user = node.shared.users.iter().find(|user| user.guid == guid).ok_or(NOT_FOUND)?;
    Ok(reply::ok(&user_json(user)))
}

/// A person as the API shows them: never with the key.
pub(super) fn user_json(user: &User) -> Value {
    json!({
        "guid": user.guid, "username": user.username, "first_name": user.username, "last_name": "Sandbox",
        "email": format!("{}@example.com", user.username), "user_role": user.role,
        "created_time": user.created_time, "updated_time": user.created_time, "active_time": null,
        "confirmed": true, "locked": false,
    })
}

fn installations(versions: &[&str]) -> Value {
    let list: Vec<Value> = versions
        .iter()
        .map(|version| json!({"version": version, "cluster_name": "Local", "image_name": "Local"}))
        .collect();
    json!({ "installations": list })
}
