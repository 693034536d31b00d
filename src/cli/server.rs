//! Which server is loaded, with what content, as whom.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::runtime::RuntimeArgs;
use super::sandbox::ContentKind;
use crate::rails::CapList;
use crate::secret::KeyText;

/// Which server, and as whom. Letters as in rsconnect-python. Has no `Debug`: it may hold a key.
#[derive(Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// URL of the Connect server.
    #[arg(short, long, env = "CONNECT_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// API key of a publisher; `-` reads it from stdin, `fd:N` from an open file. Prefer the environment or a file: this
    /// program takes a key out of its own arguments, a shell's history and a record of what was started may keep it.
    #[arg(short = 'k', long, env = "CONNECT_API_KEY", hide_env_values = true, value_name = "KEY")]
    pub api_key: Option<KeyText>,
    /// File that holds the API key; goes before CONNECT_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// A server saved by `rsconnect add` (read only).
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,
    /// Do not verify the server's certificate.
    #[arg(short, long, env = "CONNECT_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure: bool,
    /// PEM file of certificate authorities to trust besides the system's.
    #[arg(short, long, env = "CONNECT_CA_CERTIFICATE", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Send the key over plain http beyond this machine.
    #[arg(long)]
    pub allow_http: bool,
    /// Put load on this host, which is not this machine, without asking. May be repeated.
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
}

impl ServerArgs {
    /// Whether a host is allowed by its name.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        self.allow_host.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

/// How much harm a run may do.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Safety")]
pub struct RailsArgs {
    /// Say what would be done and how many requests that makes, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The most that this run may do: vus=500,rate=2000,duration=1h,bytes=50GB,items=20. On a server that is not this
    /// machine there are caps already, and this changes them. May be repeated.
    #[arg(long, value_name = "LIST")]
    pub cap: Vec<CapList>,
    /// Go on although most answers are errors, the server refuses us, or its health check fails.
    #[arg(long)]
    pub keep_going: bool,
    /// Load this host although people seem to work on it. May be repeated.
    #[arg(long, value_name = "HOST")]
    pub allow_production: Vec<String>,
}

/// What is loaded instead of a Connect server of one's own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Start our stand-in server and measure that: `small`, `aws-single-server-robust`, `azure-load-balanced`.
    #[arg(long, value_name = "PROFILE", num_args = 0..=1, require_equals = true, default_missing_value = "small")]
    pub sandbox: Option<String>,
    /// Start our stand-in server with this curve per node.
    #[arg(long, value_name = "XMAX,R0_MS,P,KAPPA[,NODES]", conflicts_with = "sandbox", allow_hyphen_values = true)]
    pub sandbox_curve: Option<String>,
    /// What our stand-in answers with: `simulated`, at the speed of the profile or curve; or `processes`, the applications
    /// themselves, restored and started on this machine.
    #[arg(long, value_enum, default_value_t = ContentKind::Simulated)]
    pub sandbox_content: ContentKind,
    /// Fetch this URL, whatever serves it: no Connect API, no key, nothing published.
    #[arg(long, value_name = "URL", conflicts_with_all = ["sandbox", "sandbox_curve", "content", "fetch_bundle"])]
    pub url: Option<String>,
}

/// Who may fetch the content item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FetchAuth {
    /// Anyone: the content item's access type is `all`.
    All,
    /// The key goes with every fetch; the access type stays as the server sets it.
    Key,
}

/// What is published and fetched.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Content")]
pub struct ContentArgs {
    /// Directory of the application that is fetched, instead of the built-in Flask one.
    #[arg(long, value_name = "DIR")]
    pub fetch_bundle: Option<PathBuf>,
    /// Directory of the application that is published again and again, instead of the built-in Plumber one.
    #[arg(long, value_name = "DIR")]
    pub publish_bundle: Option<PathBuf>,
    /// What a bundle without manifest.json is (`python-api`, `python-fastapi`, `api`, `static`, …).
    #[arg(long, value_name = "MODE")]
    pub appmode: Option<String>,
    /// What a bundle without manifest.json starts with (`app`, `module:object`, a file).
    #[arg(long, value_name = "ENTRYPOINT")]
    pub entrypoint: Option<String>,
    /// Fetch this content item, which is deployed already, instead of publishing one.
    #[arg(long, value_name = "GUID|URL", conflicts_with = "fetch_bundle")]
    pub content: Option<String>,
    /// Path below the content item that is fetched [default: /stocks/AAPL of the built-in application, else /].
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Text that every fetched body must contain [default: what tells the built-in application's answer].
    #[arg(long, value_name = "TEXT")]
    pub expect_body: Option<String>,
    /// Who may fetch the content item.
    #[arg(long, value_enum, default_value_t = FetchAuth::All)]
    pub fetch_auth: FetchAuth,
    /// Leave the publish loop out.
    #[arg(long)]
    pub no_publish: bool,
    /// Publish to a new content item each time and delete it afterwards, instead of to the same one.
    #[arg(long)]
    pub publish_new_content: bool,
    /// How the server runs it.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}
