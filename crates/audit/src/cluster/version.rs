//! Which version a cluster has.

use serde_json::Value;

use super::connection::{Connection, Got};
use super::{ClusterError, ClusterOptions, runtime};

/// What the API server says that it is: `v1.31.2-eks-7f9249a`.
///
/// # Errors
/// There is no configuration, or the API server does not answer or does not tell.
pub fn version(options: &ClusterOptions) -> Result<String, ClusterError> {
    runtime()?.block_on(async {
        let connection = Connection::open(options).await?;
        let unreachable = |why: String| ClusterError::Unreachable { url: connection.name.clone(), why };
        match connection.get("/version").await {
            Got::Answer(body) => {
                let info: Value = serde_json::from_slice(&body).unwrap_or_default();
                let version = info["gitVersion"].as_str().map(str::to_owned);
                version.ok_or_else(|| unreachable("expected a gitVersion in /version, got none".to_owned()))
            }
            Got::Nothing | Got::Gone => Err(unreachable("it has no /version".to_owned())),
            Got::Refused { why, .. } | Got::Unanswered(why) => Err(unreachable(why)),
        }
    })
}
