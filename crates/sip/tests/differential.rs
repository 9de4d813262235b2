//! Our parser against crate `sipx-sip`: on the test messages and on mutations of them, wherever both take a message its
//! fields are the same. Where only one takes it, nothing is compared; for the test messages those are listed below with
//! the reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::message::unfold;
use ringfort_sip::{HeaderName, Host, Limits, Message, NameAddr};
use sipx_sip::headers::{Address, CallId, From, To};
use sipx_sip::{CSeq, Via};

/// Taken by one of the two alone.
const DIFFERENCES: [(&str, bool, &str); 3] = [
    ("badvers", false, "we refuse another version when parsing, they leave that to the caller"),
    ("ipv6-bad", true, "we take any Request-URI of URI characters apart when it is asked for: the check answers 400"),
    ("lf", true, "we take LF alone for the end of a line"),
];

fn files() -> Vec<(String, Bytes)> {
    let mut all = Vec::new();
    for folder in ["tests/torture", "tests/torture-ipv6", "../../fuzz/corpus/message"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(&folder).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            all.push((name, std::fs::read(&path).expect("a file").into()));
        }
    }
    all.sort();
    all
}

fn theirs(raw: &Bytes) -> Option<sipx_sip::Message> {
    sipx_sip::parse_datagram(raw.clone(), &sipx_sip::Limits::datagram()).ok()
}

fn ours(raw: &Bytes) -> Option<Message> {
    Message::parse_datagram(raw.clone(), &Limits::default()).ok()
}

/// Whether theirs can also read what ours guarantees.
fn relied_on(message: &sipx_sip::Message) -> bool {
    let headers = message.headers();
    let single = [HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
    single
        .iter()
        .all(|name| headers.count(&sipx_sip::HeaderName::parse(&Bytes::from_static(name.as_str().as_bytes()))) == 1)
        && matches!(headers.typed::<From>(), Some(Ok(_)))
        && matches!(headers.typed::<To>(), Some(Ok(_)))
        && matches!(headers.typed::<CallId>(), Some(Ok(_)))
        && matches!(headers.typed::<CSeq>(), Some(Ok(_)))
        && matches!(headers.typed_all::<Via>().next(), Some(Ok(_)))
}

fn host(host: &Host<'_>) -> Vec<u8> {
    match host.ip() {
        Some(ip) => ip.to_string().into_bytes(),
        None => host.to_string().into_bytes(),
    }
}

fn same_address(ours: &NameAddr<'_>, theirs: &Address) {
    assert_eq!(ours.uri, theirs.uri.to_string());
    assert_eq!(ours.tag().map(str::as_bytes), theirs.tag());
    if let Ok(uri) = ours.uri()
        && uri.scheme.is_sip()
    {
        assert_eq!(uri.user.map(str::as_bytes), theirs.uri.user());
        assert_eq!(uri.port, theirs.uri.port());
        assert_eq!(theirs.uri.host().map(|h| h.to_bytes().to_vec()), Some(host(&uri.host)));
    }
}

fn compare(ours: &Message, theirs: &sipx_sip::Message) {
    match theirs {
        sipx_sip::Message::Request(request) => {
            assert!(ours.is_request());
            assert_eq!(ours.method().as_str().as_bytes(), request.method.as_bytes());
            assert_eq!(ours.request_uri(), request.uri.to_string());
        }
        sipx_sip::Message::Response(response) => {
            assert_eq!(ours.status(), response.status.code());
            // Ours is text, theirs is bytes.
            if std::str::from_utf8(&response.reason).is_ok() {
                assert_eq!(ours.reason_phrase().as_bytes(), &response.reason[..]);
            }
        }
    }
    assert_eq!(ours.body(), &theirs.body()[..]);
    let headers = theirs.headers();
    assert_eq!(ours.all_headers().count(), headers.len());
    for ((_, name, value), header) in ours.all_headers().zip(headers.iter()) {
        let canonical = sipx_sip::HeaderName::parse(&Bytes::copy_from_slice(name.as_bytes()));
        assert_eq!(&canonical, header.name());
        let (mine, other) = (squeeze(&unfold(value)), squeeze(&header.value()));
        assert_eq!(mine, other, "{name}");
    }
    let cseq = headers.typed::<CSeq>().expect("there").expect("readable");
    assert_eq!((ours.cseq().number, ours.cseq().method.as_str().as_bytes()), (cseq.sequence, cseq.method.as_bytes()));
    assert_eq!(ours.call_id().as_bytes(), headers.typed::<CallId>().expect("there").expect("readable").0);
    same_address(&ours.from(), &headers.typed::<From>().expect("there").expect("readable"));
    same_address(&ours.to(), &headers.typed::<To>().expect("there").expect("readable"));
    // A list of which one of the two cannot read a value gives another number of values.
    let (Ok(mine), Ok(other)) =
        (ours.vias().collect::<Result<Vec<_>, _>>(), headers.typed_all::<Via>().collect::<Result<Vec<_>, _>>())
    else {
        return;
    };
    assert_eq!(mine.len(), other.len());
    for (mine, other) in mine.iter().zip(&other) {
        assert_eq!(mine.transport.as_bytes(), other.transport);
        assert_eq!((mine.port, mine.branch().map(str::as_bytes)), (other.port, other.branch()));
        assert_eq!(host(&mine.host), other.host.to_bytes());
    }
}

/// White space at the ends and the width of folds are not compared.
fn squeeze(value: &[u8]) -> Vec<u8> {
    let words = value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

#[test]
fn what_both_take_both_read_alike() {
    let listed: BTreeMap<&str, bool> = DIFFERENCES.iter().map(|(name, ours, _)| (*name, *ours)).collect();
    for (name, raw) in files() {
        let theirs = theirs(&raw).filter(relied_on);
        match (ours(&raw), theirs) {
            (Some(ours), Some(theirs)) => compare(&ours, &theirs),
            (None, None) => {}
            (ours, _) if listed.contains_key(name.as_str()) => {
                assert_eq!(ours.is_some(), listed[name.as_str()], "{name}")
            }
            // What fuzzing has added is as strange as it comes; of the test messages each difference is known.
            (ours, _) => {
                assert!(!of_the_rfcs(&name), "{name}: taken by {}", if ours.is_some() { "us" } else { "them" })
            }
        }
    }
}

fn of_the_rfcs(name: &str) -> bool {
    ["tests/torture", "tests/torture-ipv6"]
        .iter()
        .any(|folder| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.dat")).exists())
}

#[test]
fn what_both_take_of_mutations_both_read_alike() {
    let mut rng = ChaCha8Rng::seed_from_u64(4475);
    let files = files();
    let mut compared = 0;
    for (_, file) in &files {
        for _ in 0..60 {
            let mut data = file.to_vec();
            let at = rng.random_range(0..data.len());
            match rng.random_range(0..3) {
                0 => data[at] = rng.random_range(0x20..0x7f),
                1 => drop(data.remove(at)),
                _ => data.insert(at, b" ;,\"<>\\@:%?="[rng.random_range(0..12)]),
            }
            let raw = Bytes::from(data);
            if let (Some(ours), Some(theirs)) = (ours(&raw), theirs(&raw).filter(relied_on)) {
                compare(&ours, &theirs);
                compared += 1;
            }
        }
    }
    assert!(compared > 1000, "{compared}");
}
