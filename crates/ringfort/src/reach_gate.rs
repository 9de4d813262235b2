//! What stands before every change of the site (GUARD-13): one by which whoever has proven nothing would reach a trunk is
//! refused, unless the operator names that trunk. What is surely not meant so is said of all others.

use ringfort_store::Gate;
use ringfort_switch::advice;
use ringfort_switch::config::SwitchConfig;
use ringfort_switch::model::Site;
use ringfort_switch::reach::{self, Level, Report};
use serde_json::{Value, json};

/// Every way from somebody without credentials to a trunk, and what is easy to misuse.
fn look(config: &SwitchConfig, site: &Site) -> Report {
    #[allow(clippy::disallowed_methods, reason = "the edge of the system; nothing in the search depends on it")]
    reach::check(std::time::Instant::now(), config, site)
}

/// The same with what does not work as it is written, as it goes over the control socket.
pub fn value(config: &SwitchConfig, site: &Site) -> Value {
    let report = look(config, site);
    let paths = report.paths.iter().map(|path| json!({ "trunk": path.name(), "path": path.to_string() }));
    let weak =
        |weak: &reach::Weakness| json!({ "level": weak.level.to_string(), "text": weak.text, "mend": weak.mend });
    let advice = advice::advice(config, site);
    let all: Vec<Value> = report.weak.iter().chain(&advice).map(weak).collect();
    json!({ "paths": paths.collect::<Vec<_>>(), "weak": all })
}

/// The gate of a node with these profiles.
pub fn gate(config: SwitchConfig) -> Gate {
    Box::new(move |site, allow| {
        let report = look(&config, site);
        refusal(report.paths.iter().map(|path| (path.name().to_owned(), path.to_string())), allow)?;
        let advice = advice::advice(&config, site);
        let warnings = advice.iter().filter(|advice| advice.level == Level::Warning);
        Ok(warnings.map(|advice| format!("{}: {}; mend: {}", advice.level, advice.text, advice.mend)).collect())
    })
}

/// Words for the ways that nobody has allowed.
fn refusal(paths: impl Iterator<Item = (String, String)>, allow: &[String]) -> Result<(), String> {
    let open: Vec<(String, String)> = paths.filter(|(trunk, _)| !allow.contains(trunk)).collect();
    let Some((first, _)) = open.first() else { return Ok(()) };
    let mut words = "nothing was changed: anybody could call at your expense\n".to_owned();
    for (trunk, path) in &open {
        words.push_str(&format!("  by trunk {trunk}: {path}\n"));
    }
    words.push_str(&format!("close that way, or apply with --allow-reach {first} if it is meant"));
    Err(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_a_trunk_is_refused_with_the_call_unless_that_trunk_is_named() {
        let paths = || [("acme", "anybody -> world -> acme"), ("zeta", "anybody -> zeta")].into_iter();
        let asked = |allow: &[&str]| {
            let allow: Vec<String> = allow.iter().map(|name| (*name).to_owned()).collect();
            refusal(paths().map(|(trunk, path)| (trunk.to_owned(), path.to_owned())), &allow)
        };
        let words = asked(&[]).unwrap_err();
        assert!(
            words.contains("by trunk acme: anybody -> world -> acme") && words.contains("--allow-reach acme"),
            "{words}"
        );
        let words = asked(&["acme"]).unwrap_err();
        assert!(!words.contains("by trunk acme") && words.contains("--allow-reach zeta"), "{words}");
        assert_eq!(asked(&["zeta", "acme"]), Ok(()));
        assert_eq!(refusal(std::iter::empty(), &[]), Ok(()));
    }
}
