//! The part of a URL that a fetch needs (RFC 3986).

use std::fmt;

/// An `https` or `http` URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) https: bool,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query, from the first slash on.
    pub(super) path: String,
}

impl Url {
    /// `None` for other schemes, for one with a user (a trick to show another host), and for what is none.
    pub(super) fn parse(text: &str) -> Option<Url> {
        if text.len() > 2_048 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (host, rest) = inner.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?)
            }
            None => authority.split_once(':').unwrap_or((authority, "")),
        };
        let is_host = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) || port.contains(':') {
            return None;
        }
        let default = if https { 443 } else { 80 };
        let port = if port.is_empty() { default } else { port.parse().ok().filter(|port| *port != 0)? };
        Some(Url { https, host: host.to_ascii_lowercase(), port, path })
    }

    /// Where a Location leads to: an absolute URL, or a path on the same host.
    pub(super) fn join(&self, location: &str) -> Option<Url> {
        if location.starts_with("//") {
            return Url::parse(&format!("{}:{location}", self.scheme()));
        }
        if location.starts_with('/') {
            return Url::parse(&format!("{}://{}{location}", self.scheme(), self.authority()));
        }
        Url::parse(location)
    }

    const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// As the Host header field has it.
    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_written() {
        for (text, written) in [
            ("HTTPS://Certs.Example.org", "https://certs.example.org/"),
            ("https://a:8443/x?y=z#part", "https://a:8443/x?y=z"),
            ("https://a:443?q", "https://a/?q"),
            ("http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), written);
        }
        for wrong in [
            "https://",
            "https:///x",
            "https://user@host/",
            "https://a b/",
            "https://[::1/",
            "https://[x]/",
            "https://a:0/",
            "https://a:99999/",
            "https://a:1:2/",
            "ftp://a/",
            "a",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_location_is_absolute_or_a_path() {
        let base = Url::parse("https://a:8443/x/y").unwrap();
        let joined = |location| base.join(location).map(|url| url.to_string());
        assert_eq!(joined("/z").as_deref(), Some("https://a:8443/z"));
        assert_eq!(joined("http://b/z").as_deref(), Some("http://b/z"));
        assert_eq!(joined("//b/z").as_deref(), Some("https://b/z"));
        assert_eq!(joined("z"), None);
    }
}
