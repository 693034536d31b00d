//! The sandbox, a stand-in Connect server. Shares no code with the client: a shared constant would be a shared mistake.
