//! Whether bans go to the kernel too (GUARD-7): by `[guard] nftables`, and by what this process may.

use ringfort_net::enforce::{Bans, EnforceConfig, EnforceError, Enforcer};

use crate::config::Config;
use crate::config::firewall::KernelMode;

/// `None`: they stay in this process; the log says why. `bans` gives the list as it is whenever it is asked.
///
/// # Errors
/// `nftables = "on"`, and it cannot be.
pub fn start(config: &Config, bans: impl Fn() -> Bans + Send + 'static) -> anyhow::Result<Option<Enforcer>> {
    if !is_wanted(config) {
        return Ok(None);
    }
    let kernel = config.guard.kernel;
    let enforcer = Enforcer::start(EnforceConfig { remove_at_stop: kernel.remove_at_stop, ..EnforceConfig::new(bans) });
    match (enforcer, kernel.mode) {
        (Ok(enforcer), _) => {
            tracing::info!(rule = "ban", "bans are in the kernel too, in the nftables table `inet ringfort`");
            Ok(Some(enforcer))
        }
        (Err(error), KernelMode::On) => Err(refusal(&error)),
        (Err(error), KernelMode::Auto | KernelMode::Off) => {
            tracing::warn!(
                rule = "start",
                mend = error.mend(),
                "bans are not in the kernel: {error}. They go on in this process, which drops banned sources unread"
            );
            Ok(None)
        }
    }
}

fn refusal(error: &EnforceError) -> anyhow::Error {
    anyhow::anyhow!("[guard] nftables = \"on\", but bans cannot go to the kernel: {error}\n  {}", error.mend())
}

/// Who can only be reached by this machine itself has nobody to keep out.
fn is_wanted(config: &Config) -> bool {
    let mut listeners = config.profiles.iter().flat_map(|profile| &profile.listen);
    match config.guard.kernel.mode {
        KernelMode::On => true,
        KernelMode::Off => false,
        KernelMode::Auto => listeners.any(|listen| !listen.address.ip().is_loopback()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_on_loopback_alone_leaves_the_kernel_alone_unless_it_is_told() {
        let wanted = |guard: &str, listen: &str| {
            let text = format!(
                "[guard]\n{guard}\n[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:5060\", \"udp:{listen}\"]"
            );
            is_wanted(&Config::parse("t", &text).unwrap())
        };
        assert!(!wanted("", "[::1]:5060") && wanted("", "0.0.0.0:5070") && wanted("", "[::]:5060"));
        assert!(wanted("nftables = \"on\"", "[::1]:5060") && !wanted("nftables = \"off\"", "0.0.0.0:5070"));
    }

    #[test]
    fn a_refusal_says_what_is_missing_and_what_mends_it() {
        let words = refusal(&EnforceError::NoProgram).to_string();
        assert!(words.contains("nft is not installed") && words.contains("apt install nftables"), "{words}");
        assert!(refusal(&EnforceError::NoCapability).to_string().contains("AmbientCapabilities=CAP_NET_ADMIN"));
    }
}
