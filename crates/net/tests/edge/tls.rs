use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfort_net::NetConfig;
use ringfort_net::config::{CertificateSource, ClientAuth, PeerCheck};
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::Transport;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::common::*;

type Client = StreamOwned<ClientConnection, TcpStream>;

fn self_signed(dir: &Path) -> NetConfig {
    let mut config = listeners(&[(Transport::Tls, "127.0.0.1:0")]);
    config.tls.certificate = Some(CertificateSource::SelfSigned {
        dir: dir.to_owned(),
        domains: vec!["sip.example.net".to_owned()],
        addresses: vec!["127.0.0.1".parse().unwrap()],
    });
    config
}

fn client_config(ca: &Path, own: Option<(&str, &str)>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    })
}

fn connect(to: SocketAddr, config: Arc<ClientConfig>) -> Client {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("sip.example.net").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), stream)
}

fn ask(client: &mut Client, cseq: u32) -> std::io::Result<String> {
    client.write_all(options(cseq).as_bytes())?;
    let (mut text, mut buffer) = (String::new(), [0; 1024]);
    while !text.ends_with("\r\n\r\n") {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
    }
    Ok(text)
}

#[test]
fn a_client_that_trusts_the_self_signed_certificate_is_served() {
    let scratch = Scratch::new("self-signed");
    let edge = Edge::start(self_signed(&scratch.0));
    let ca = scratch.0.join("self-signed.crt");
    let mut client = connect(edge.local(0), client_config(&ca, None));
    assert!(ask(&mut client, 1).unwrap().contains("CSeq: 1 "));
    let shown = client.conn.peer_certificates().unwrap()[0].clone();
    assert_eq!(shown, CertificateDer::from_pem_file(&ca).unwrap());
    assert_eq!(edge.handle.certificate_fingerprint().unwrap().len(), 95);
    // A message larger than a TLS record, in both directions of the queue.
    client.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    client.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    assert!(ask(&mut client, 2).unwrap().contains("CSeq: 2 "));
}

#[test]
fn a_handshake_that_does_not_end_and_one_that_is_none_are_closed() {
    let scratch = Scratch::new("half-open");
    let mut config = self_signed(&scratch.0);
    config.connections.first_message = Duration::from_millis(30);
    let edge = Edge::start(config);
    let mut silent = TcpStream::connect(edge.local(0)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    let mut plain = TcpStream::connect(edge.local(0)).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    plain.write_all(options(1).as_bytes()).unwrap();
    // Whatever comes back (an alert), it ends.
    let _ = plain.read_to_end(&mut Vec::new());
    wait_for("both", || {
        let stats = edge.handle.stats();
        stats.timed_out + stats.tls_failed == 2
    });
    assert_eq!(edge.handle.stats().parsed, 0);
}

#[test]
fn with_mutual_tls_only_clients_with_a_certificate_of_the_ca_are_served() {
    let scratch = Scratch::new("mutual");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_file = scratch.0.join("ca.pem");
    fs::write(&ca_file, params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["phone.example.net".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let key = key.serialize_pem();
    let mut config = self_signed(&scratch.0);
    config.tls.clients = ClientAuth::Required { ca_file: ca_file.clone() };
    let edge = Edge::start(config);
    let server_ca = scratch.0.join("self-signed.crt");
    let mut with = connect(edge.local(0), client_config(&server_ca, Some((&certificate, &key))));
    assert!(ask(&mut with, 1).unwrap().contains("CSeq: 1 "));
    let mut without = connect(edge.local(0), client_config(&server_ca, None));
    assert!(ask(&mut without, 2).is_err());
    wait_for("the failure", || edge.handle.stats().tls_failed == 1);
    assert_eq!(edge.handle.stats().parsed, 1);
}

#[test]
fn a_server_with_another_name_is_refused_and_the_right_one_gets_the_request_rfc5922_7_3() {
    let scratch = Scratch::new("names");
    let server = Edge::start(self_signed(&scratch.0));
    let mut config = self_signed(&scratch.0);
    let ca_file = Some(scratch.0.join("self-signed.crt"));
    config.tls.servers = PeerCheck::Verify { ca_file, wildcards: false };
    config.tls.targets.insert("anything.example.org".to_owned(), PeerCheck::Off);
    let edge = Edge::start(config);
    let to = server.local(0);
    let send = |name: Option<&str>, token| edge.put_out([connect_to(Transport::Tls, 0, to, name, token)]);
    let arrived = |cseq: u64| {
        server.wait_seen("the request", |seen| match seen {
            Seen::Message { text, .. } if text.contains(&format!("CSeq: {cseq} ")) => Some(()),
            _ => None,
        });
    };
    send(Some("wrong.example.net"), 1);
    assert_eq!(edge.wait_failed(1), TransportError::Tls);
    send(Some("sip.example.net"), 2);
    arrived(2);
    // Without a name the address is what the certificate must be for.
    send(None, 3);
    arrived(3);
    // A connection for one name does not carry what is for another.
    send(Some("wrong.example.net"), 4);
    assert_eq!(edge.wait_failed(4), TransportError::Tls);
    send(Some("Anything.example.org"), 5);
    arrived(5);
    assert_eq!(server.seen().iter().filter(|seen| matches!(seen, Seen::Message { .. })).count(), 3);
}

#[test]
fn a_server_of_an_unknown_authority_is_refused() {
    let (mine, theirs) = (Scratch::new("mine"), Scratch::new("theirs"));
    let server = Edge::start(self_signed(&theirs.0));
    let edge = Edge::start(self_signed(&mine.0));
    edge.put_out([connect_to(Transport::Tls, 0, server.local(0), Some("sip.example.net"), 1)]);
    assert_eq!(edge.wait_failed(1), TransportError::Tls);
}

#[test]
fn a_server_that_does_not_finish_the_handshake_fails_what_waits_for_it() {
    let scratch = Scratch::new("deaf-server");
    let mut config = self_signed(&scratch.0);
    config.connections.connect = Duration::from_millis(40);
    let edge = Edge::start(config);
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    edge.put_out([connect_to(Transport::Tls, 0, deaf.local_addr().unwrap(), Some("sip.example.net"), 1)]);
    assert_eq!(edge.wait_failed(1), TransportError::ConnectTimeout);
}

#[test]
fn a_new_certificate_serves_new_connections_and_open_ones_stay() {
    let scratch = Scratch::new("reload");
    let (chain, key) = (scratch.0.join("chain.pem"), scratch.0.join("key.pem"));
    let renew = || {
        let pair = rcgen::generate_simple_self_signed(vec!["sip.example.net".to_owned()]).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        fs::write(&chain, pair.cert.pem()).unwrap();
    };
    renew();
    let mut config = listeners(&[(Transport::Tls, "127.0.0.1:0")]);
    config.tls.certificate = Some(CertificateSource::Files { chain: chain.clone(), key: key.clone() });
    config.tls.reload_every = Duration::ZERO;
    let edge = Edge::start(config);
    let mut old = connect(edge.local(0), client_config(&chain, None));
    ask(&mut old, 1).unwrap();
    let before = edge.handle.certificate_fingerprint();
    fs::write(&key, "broken").unwrap();
    assert!(edge.handle.reload_tls().is_err());
    assert_eq!(edge.handle.certificate_fingerprint(), before);
    renew();
    assert_ne!(edge.handle.reload_tls().unwrap(), before);
    let mut new = connect(edge.local(0), client_config(&chain, None));
    assert!(ask(&mut new, 2).unwrap().contains("CSeq: 2 "));
    assert!(ask(&mut old, 3).unwrap().contains("CSeq: 3 "));
}

#[test]
fn certificate_files_that_change_are_reloaded_by_themselves() {
    let scratch = Scratch::new("watch");
    let (chain, key) = (scratch.0.join("chain.pem"), scratch.0.join("key.pem"));
    let write = |names: Vec<String>| {
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        fs::write(&chain, pair.cert.pem()).unwrap();
    };
    write(vec!["sip.example.net".to_owned()]);
    let mut config = listeners(&[(Transport::Tls, "127.0.0.1:0")]);
    config.tls.certificate = Some(CertificateSource::Files { chain: chain.clone(), key: key.clone() });
    config.tls.reload_every = Duration::from_millis(5);
    let edge = Edge::start(config);
    let before = edge.handle.certificate_fingerprint();
    write(vec!["sip.example.net".to_owned(), "two.example.net".to_owned()]);
    wait_for("the reload", || edge.handle.certificate_fingerprint() != before);
}
