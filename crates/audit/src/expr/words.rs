//! What stands in scalars: quantities, image references, command lines.

/// A Kubernetes quantity (`500m`, `1.5Gi`, `2e3`) as a number of its unit; `None` where it is none.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let factor = match &text[digits..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        exponent => 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    Some(number * factor)
}

/// The parts of an image reference: registry, repository, tag, digest.
pub(super) struct Image<'t> {
    pub registry: &'t str,
    pub repository: &'t str,
    pub tag: Option<&'t str>,
    pub digest: Option<&'t str>,
}

pub(super) fn image(text: &str) -> Option<Image<'_>> {
    let text = text.trim();
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match name[last..].split_once(':') {
        Some((short, tag)) => (&name[..last + short.len()], Some(tag)),
        None => (name, None),
    };
    if name.is_empty() {
        return None;
    }
    let (registry, repository) = match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        Some(_) | None => ("docker.io", name),
    };
    Some(Image { registry, repository, tag, digest })
}

/// A capability's short name.
pub(super) fn capability(text: &str) -> String {
    let name = text.trim().to_ascii_uppercase();
    name.strip_prefix("CAP_").map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_their_units() {
        let cases = [
            ("1", 1.0),
            ("500m", 0.5),
            ("1.5Gi", 1_610_612_736.0),
            ("2e3", 2000.0),
            ("10k", 1e4),
            (" 1Mi ", 1_048_576.0),
        ];
        for (text, expected) in cases {
            assert_eq!(quantity(text), Some(expected), "{text}");
        }
        for text in ["", "lots", "1Xi", "1 Gi", "--1", "e"] {
            assert_eq!(quantity(text), None, "{text}");
        }
    }

    #[test]
    fn image_references_come_apart() {
        let parts = |text| image(text).map(|image| (image.registry, image.repository, image.tag, image.digest));
        assert_eq!(parts("nginx"), Some(("docker.io", "nginx", None, None)));
        assert_eq!(parts("a/b:1"), Some(("docker.io", "a/b", Some("1"), None)));
        assert_eq!(parts("localhost:5000/b"), Some(("localhost:5000", "b", None, None)));
        assert_eq!(parts("r.io:1/a/b:t@sha256:0"), Some(("r.io:1", "a/b", Some("t"), Some("sha256:0"))));
        assert_eq!(parts(""), None);
    }
}
