//! Arguments of `connect-bench sandbox`.

use clap::Args;

/// Arguments of `connect-bench sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {}
