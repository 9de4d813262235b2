//! What is to be located: the host, port, transport and scheme of a URI (RFC 3263 §4) or of a Via (§5).

use std::net::IpAddr;
use std::time::Duration;

use super::name::{Name, NameError};
use crate::flow::Transport;
use crate::uri::{Host, Scheme, Uri};
use crate::via::Via;

/// The host part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Name(Name),
    Address(IpAddr),
}

/// One thing to locate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub host: Destination,
    pub port: Option<u16>,
    /// As the URI or the Via says; TLS where `sips:` turns TCP into it (RFC 3261 §26.2.2).
    pub transport: Option<Transport>,
    /// `sips:`: nothing but TLS and WSS will do.
    pub secure: bool,
    /// The transports that may be used for it, those preferred first; empty: those of the settings. A request that is too
    /// long for UDP (RFC 3261 §18.1.1) is asked for without UDP.
    pub transports: Vec<Transport>,
    /// How long it may take; `None`: as the settings say.
    pub within: Option<Duration>,
    /// The URI had a `maddr`, which is not followed: with it the sender of a URI would choose any address for our
    /// requests while the domain in it looks harmless. RFC 3263 §4 would take it as the target.
    pub maddr_ignored: bool,
}

/// Why something cannot be located at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("expected a sip: or sips: address, got {0}:")]
    Scheme(String),
    #[error("{host:?} is no host: {why}")]
    Host { host: String, why: NameError },
    #[error("expected transport udp, tcp, tls, ws or wss, got {0:?}")]
    Transport(String),
    #[error("a sips: address cannot be reached by {0}, which does not encrypt (RFC 3261 §26.2.2)")]
    NotSecure(Transport),
}

impl Request {
    /// A request for a domain alone: `sip:domain`.
    pub fn domain(name: Name) -> Request {
        Request {
            host: Destination::Name(name),
            port: None,
            transport: None,
            secure: false,
            transports: Vec::new(),
            within: None,
            maddr_ignored: false,
        }
    }

    /// Of a URI in a Request-URI or Route (RFC 3263 §4).
    ///
    /// # Errors
    /// It is no SIP URI, its host is no domain name, or its transport is unknown or does not go with `sips:`.
    pub fn of_uri(uri: &Uri<'_>) -> Result<Request, RequestError> {
        if !uri.scheme.is_sip() {
            return Err(RequestError::Scheme(uri.scheme.as_str().to_owned()));
        }
        let secure = uri.scheme == Scheme::Sips;
        let named = match uri.param("transport") {
            Some(name) => Some(transport(name).ok_or_else(|| RequestError::Transport(name.to_owned()))?),
            None => None,
        };
        let transport = match (secure, named) {
            (true, Some(Transport::Tcp | Transport::Tls)) => Some(Transport::Tls),
            (true, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
            (true, Some(Transport::Udp)) => return Err(RequestError::NotSecure(Transport::Udp)),
            (_, named) => named,
        };
        Ok(Request {
            host: destination(&uri.host)?,
            port: uri.port,
            transport,
            secure,
            maddr_ignored: uri.has_param("maddr"),
            ..Request::domain(Name::root())
        })
    }

    /// Of the topmost Via, for a response that cannot go back the way its request came (RFC 3263 §5): sent-by with a port
    /// asks for addresses, without one for SRV records, `_sips` where the transport is TLS. `received`, `rport` and `maddr`
    /// are for the transaction to follow before (RFC 3261 §18.2.2).
    ///
    /// # Errors
    /// The host is no domain name, or the transport is unknown.
    pub fn of_via(via: &Via<'_>) -> Result<Request, RequestError> {
        let named = transport(via.transport).ok_or_else(|| RequestError::Transport(via.transport.to_owned()))?;
        Ok(Request {
            host: destination(&via.host)?,
            port: via.port,
            transport: Some(named),
            ..Request::domain(Name::root())
        })
    }
}

fn destination(host: &Host<'_>) -> Result<Destination, RequestError> {
    if let Some(address) = host.ip() {
        return Ok(Destination::Address(address));
    }
    let text = host.to_string();
    match Name::parse(&text) {
        Ok(name) if !name.is_root() => Ok(Destination::Name(name)),
        Ok(_) => Err(RequestError::Host { host: text, why: NameError::BadLabel }),
        Err(why) => Err(RequestError::Host { host: text, why }),
    }
}

fn transport(name: &str) -> Option<Transport> {
    const KNOWN: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    KNOWN.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<Request, RequestError> {
        Request::of_uri(&Uri::parse(uri).unwrap())
    }

    #[test]
    fn the_scheme_and_the_transport_parameter_go_together() {
        for (uri, secure, transport) in [
            ("sip:a@example.org", false, None),
            ("sip:a@example.org;transport=TCP", false, Some(Transport::Tcp)),
            ("sip:a@example.org;transport=tls", false, Some(Transport::Tls)),
            ("sips:a@example.org", true, None),
            ("sips:a@example.org;transport=tcp", true, Some(Transport::Tls)),
            ("sips:a@example.org;transport=ws", true, Some(Transport::Wss)),
        ] {
            let request = of(uri).unwrap();
            assert_eq!((request.secure, request.transport), (secure, transport), "{uri}");
        }
        assert_eq!(of("sips:a@example.org;transport=udp"), Err(RequestError::NotSecure(Transport::Udp)));
        assert_eq!(of("sip:a@example.org;transport=sctp"), Err(RequestError::Transport("sctp".into())));
        assert_eq!(of("tel:+4930123456"), Err(RequestError::Scheme("tel".into())));
    }

    #[test]
    fn maddr_is_noticed_and_not_followed() {
        let request = of("sip:a@example.org;maddr=198.51.100.66").unwrap();
        assert!(request.maddr_ignored);
        assert_eq!(request.host, Destination::Name(Name::parse("example.org").unwrap()));
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(of("sip:a@192.0.2.1").unwrap().host, Destination::Address("192.0.2.1".parse().unwrap()));
        assert_eq!(of("sip:a@[2001:db8::1]:5070").unwrap().port, Some(5070));
        assert!(matches!(of("sip:a@ex..org"), Err(RequestError::Host { why: NameError::BadLabel, .. })));
        assert!(matches!(of(&format!("sip:a@{}", "x".repeat(70))), Err(RequestError::Host { .. })));
    }

    #[test]
    fn rfc_3263_5_a_response_is_located_by_the_sent_by_of_its_via() {
        let via = Via::parse(b"SIP/2.0/TLS client.example.org;branch=z9hG4bK1").unwrap();
        let request = Request::of_via(&via).unwrap();
        assert_eq!((request.transport, request.port, request.secure), (Some(Transport::Tls), None, false));
        assert!(Request::of_via(&Via::parse(b"SIP/2.0/DCCP a.example").unwrap()).is_err());
    }
}
