//! Which version a cluster has.

use kube::Client;

use super::{ClusterError, ClusterOptions, config, in_words};

/// What the API server says that it is: `v1.31.2-eks-7f9249a`.
///
/// # Errors
/// There is no configuration, or the API server does not answer.
pub fn version(options: &ClusterOptions) -> Result<String, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClusterError::Config(error.to_string()))?;
    runtime.block_on(async {
        let (config, _) = config(options).await?;
        let url = config.cluster_url.to_string();
        let unreachable = |error: kube::Error| ClusterError::Unreachable { url: url.clone(), why: in_words(&error) };
        let client = Client::try_from(config).map_err(unreachable)?;
        client.apiserver_version().await.map(|info| info.git_version).map_err(unreachable)
    })
}
