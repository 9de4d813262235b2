//! Records for the tests.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::Path;
use std::sync::Arc;

use ringfort_store::keys::Keys;
use ringfort_store::{JournalOptions, JournalWriter, Maintenance, Recovered, Store, StoreOptions};
use ringfort_switch::model::{CallId, ExtensionId, Pii, TenantId};
use ringfort_switch::record::{Binding, CallMore, CallTrunks, Cdr, EndCause, MediaQuality, UnixMillis};

pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

/// A folder that is open, with its journal.
pub struct System {
    pub store: Store,
    pub writer: JournalWriter,
    pub recovered: Recovered,
    pub maintenance: Maintenance,
}

pub fn system(dir: &Path, segment_size: u64) -> System {
    let journal = JournalOptions { segment_size, ..JournalOptions::default() };
    let store = Store::open(dir, StoreOptions { journal, ..StoreOptions::default() }, [1; 32]).unwrap();
    let (writer, recovered, maintenance) = store.open_journal(NOW).unwrap();
    System { store, writer, recovered, maintenance }
}

pub fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive(&[7; 32]))
}

pub fn later(seconds: u64) -> UnixMillis {
    UnixMillis(NOW.0 + seconds * 1000)
}

/// Expires an hour after `NOW`.
pub fn binding(extension: u32, key: &str, cseq: u32) -> Binding {
    Binding {
        tenant: TenantId(1),
        extension: ExtensionId(extension),
        key: key.to_owned(),
        contact: "sip:+8613812345678@192.0.2.77:5062;transport=udp".to_owned(),
        path: vec!["<sip:edge.example.org;lr>".to_owned()],
        instance: Some("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6".to_owned()),
        reg_id: Some(1),
        q: 1000,
        call_id: "843817637684230@998sdasdh09".to_owned(),
        cseq,
        user_agent: "Desk phone 4.1".to_owned(),
        transport: "UDP".to_owned(),
        listener: 0,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "198.51.100.23:5062".parse().unwrap(),
        expires_at: later(3600),
        gruu_epoch: 0,
        credentials: 0,
    }
}

pub fn quality() -> Vec<MediaQuality> {
    let one = |from: &str| MediaQuality {
        from: from.to_owned(),
        kind: "audio".to_owned(),
        packets: 1500,
        bytes: 258_000,
        lost: 3,
        jitter_ms: 1.5,
        rtt_ms: Some(20.25),
        mos: Some(4.375),
        drops: vec![("ssrc".to_owned(), 2)],
    };
    vec![one("caller"), one("callee")]
}

/// An attempt that has begun and nothing more.
pub fn started(call: u64) -> Cdr {
    Cdr {
        call: CallId(call),
        tenant: TenantId(1),
        profile: "phones".to_owned(),
        context: "internal".to_owned(),
        caller: Pii::new("+8613812345678".to_owned()),
        caller_name: Pii::new("Alexandra Smith".to_owned()),
        callee: Pii::new("+442079460018".to_owned()),
        from_extension: Some(ExtensionId(1)),
        to_extension: None,
        source: "198.51.100.23:5062".parse().unwrap(),
        started: UnixMillis(NOW.0 + call),
        ringing: None,
        answered: None,
        ended: None,
        status: 0,
        cause: None,
        reason: String::new(),
        rule: None,
        quality: Vec::new(),
        trunks: CallTrunks::default(),
        more: CallMore::default(),
        cost: None,
    }
}

/// The same attempt, answered and over.
pub fn ended(call: u64) -> Cdr {
    Cdr {
        ringing: Some(UnixMillis(NOW.0 + call + 50)),
        answered: Some(UnixMillis(NOW.0 + call + 2000)),
        ended: Some(UnixMillis(NOW.0 + call + 62_000)),
        status: 200,
        cause: Some(EndCause::Normal),
        reason: "Q.850;cause=16;text=\"bye +8613812345678\"".to_owned(),
        ..started(call)
    }
}
