//! What is peculiar to Posit Connect: its API as a client, bundles, the publish loop, and what is made on a server and
//! deleted from it again. Knows no command line and prints nothing; shares no code with the sandbox.

pub mod address;
pub mod api;
pub mod bundle;
pub mod cleanup;
pub mod error;
pub mod fixtures;
pub mod journal;
pub mod manifest;
pub mod nodes;
pub mod provision;
pub mod publish;
pub mod servers;
pub mod settings;
#[cfg(test)]
mod stub;
mod transport;
pub mod types;
pub mod version;

pub use address::ServerAddress;
pub use api::Client;
pub use error::ApiError;
pub use transport::{ApiCount, ApiCounts, CaCert, ClientConfig, Route};
pub use types::Installations;
pub use version::ConnectVersion;
