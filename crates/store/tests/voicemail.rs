//! Messages in the database and beside it: kept, found, read, deleted, and what a kill leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ringfort_store::voicemail::{NewMessage, VoicemailFilter};
use ringfort_store::{Store, StoreOptions};
use ringfort_switch::model::{CallId, ExtensionId, Pii, TenantId};
use ringfort_switch::record::UnixMillis;
use ringfort_switch::voicemail::{MailboxUse, MessageId};

const ONE: ExtensionId = ExtensionId(1);
const TWO: ExtensionId = ExtensionId(2);

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default(), [1; 32]).unwrap()
}

fn message(mailbox: ExtensionId, from: &str, at: u64) -> NewMessage {
    NewMessage {
        tenant: TenantId(1),
        mailbox,
        call: CallId(at),
        from: Pii::new(from.to_owned()),
        at: UnixMillis(at),
        length: Duration::from_millis(7_250),
    }
}

#[test]
fn a_message_comes_back_as_it_was_kept_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sound = b"RIFF of a voice";
    let kept = open(dir.path()).voicemail.add(message(ONE, "+442079460009", 5), sound).unwrap();
    let store = open(dir.path());
    assert_eq!(store.voicemail.get(kept.id).unwrap(), Some(kept.clone()));
    assert_eq!(store.voicemail.list(&VoicemailFilter::default()).unwrap(), std::slice::from_ref(&kept));
    assert_eq!(store.voicemail.sound(kept.id).unwrap(), sound);
    assert!(!kept.heard && store.voicemail.set_heard(kept.id).unwrap());
    assert!(store.voicemail.get(kept.id).unwrap().unwrap().heard);
    assert!(!store.voicemail.set_heard(MessageId(99)).unwrap());
}

#[test]
fn nothing_of_it_is_on_the_disk_for_others_or_in_the_clear() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let kept = store.voicemail.add(message(ONE, "+442079460009", 5), b"RIFF of a voice").unwrap();
    let folder = dir.path().join("voicemail");
    let file = folder.join(format!("{}.sealed", kept.id));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    for path in [file.clone(), dir.path().join("ringfort.db"), dir.path().join("ringfort.db-wal")] {
        let bytes = fs::read(&path).unwrap();
        for secret in [b"of a voice".as_slice(), b"2079460009"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    // A file does not open in another's place.
    let other = store.voicemail.add(message(ONE, "", 6), b"another").unwrap();
    fs::copy(&file, folder.join(format!("{}.sealed", other.id))).unwrap();
    let error = store.voicemail.sound(other.id).unwrap_err().to_string();
    assert!(error.contains("sealed with this key"), "{error}");
}

#[test]
fn mailboxes_are_apart_and_their_messages_are_found_newest_first_and_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let voicemail = open(dir.path()).voicemail.clone();
    let add = |mailbox, from, at| voicemail.add(message(mailbox, from, at), &[7; 100]).unwrap();
    let all = [add(ONE, "+442079460009", 1), add(TWO, "+442079460009", 2), add(ONE, "+442079460077", 3)];
    let ids = |filter: VoicemailFilter| -> Vec<MessageId> {
        voicemail.list(&filter).unwrap().into_iter().map(|message| message.id).collect()
    };
    assert_eq!(ids(VoicemailFilter::default()), [all[2].id, all[1].id, all[0].id]);
    assert_eq!(ids(VoicemailFilter { mailbox: Some(ONE), from: None }), [all[2].id, all[0].id]);
    let from = Some("+44 20 7946-0009".to_owned());
    assert_eq!(ids(VoicemailFilter { mailbox: None, from: from.clone() }), [all[1].id, all[0].id]);
    assert_eq!(ids(VoicemailFilter { mailbox: Some(TWO), from }), [all[1].id]);
    let newest = |before| voicemail.newest(ONE, before).unwrap().map(|message| message.id);
    assert_eq!(
        [newest(None), newest(Some(all[2].id)), newest(Some(all[0].id))],
        [Some(all[2].id), Some(all[0].id), None]
    );
    let size = all[0].octets;
    assert!(size > 100);
    let full = |mailbox, messages| MailboxUse { mailbox, messages, octets: size * u64::from(messages) };
    assert_eq!(voicemail.uses().unwrap(), [full(ONE, 2), full(TWO, 1)]);
    assert!(voicemail.delete(all[0].id).unwrap() && !voicemail.delete(all[0].id).unwrap());
    assert_eq!(voicemail.purge(UnixMillis(3)).unwrap(), 1);
    assert_eq!(voicemail.uses().unwrap(), [full(ONE, 1)]);
    assert_eq!(fs::read_dir(dir.path().join("voicemail")).unwrap().count(), 1, "their files are gone with them");
    assert!(add(ONE, "", 9).id > all[2].id, "an id is never used again");
}

#[test]
fn a_start_deletes_what_a_kill_left_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let voicemail = open(dir.path()).voicemail.clone();
    assert_eq!(voicemail.sweep().unwrap(), 0);
    let kept = voicemail.add(message(ONE, "", 1), b"whole").unwrap();
    let folder = dir.path().join("voicemail");
    fs::write(folder.join("77.sealed"), b"half").unwrap();
    fs::write(folder.join("notes.txt"), b"somebody else's").unwrap();
    assert_eq!(voicemail.sweep().unwrap(), 1);
    assert_eq!(voicemail.sound(kept.id).unwrap(), b"whole");
    assert!(folder.join("notes.txt").exists() && !folder.join("77.sealed").exists());
}

#[test]
fn what_cannot_be_written_is_said_with_its_place_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::write(dir.path().join("voicemail"), b"a file where the folder should be").unwrap();
    let error = store.voicemail.add(message(ONE, "", 1), b"x").unwrap_err().to_string();
    assert!(error.contains("voicemail/1.sealed") && error.contains("making its folder failed"), "{error}");
    assert_eq!(store.voicemail.list(&VoicemailFilter::default()).unwrap(), []);
}

#[test]
fn the_code_and_the_treatment_are_read_exported_and_refused_in_words() {
    use ringfort_store::ChangeNote;
    use ringfort_store::site::export::Secrets;
    use ringfort_switch::model::Treatment;

    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service.clone();
    let text = |code: &str| {
        format!(
            "[[tenant]]\nname = \"default\"\nvoicemail_code = \"{code}\"\n\n[[trunk]]\nname = \"one\"\n\
             server = \"sip:192.0.2.1\"\nblocked = \"voicemail\"\n"
        )
    };
    let plan = |text: &str| service.plan(&ringfort_store::site::parse("site.toml", text).unwrap(), false);
    let note = ChangeNote { author: "a".into(), comment: String::new(), at: UnixMillis(1) };
    let applied = service.apply(plan(&text("*1")).unwrap(), &note).unwrap();
    assert_eq!(applied.site.tenants[0].numbers.voicemail_code, "*1");
    assert!(applied.site.trunks.values().all(|trunk| trunk.blocked == Treatment::Voicemail));
    let exported = service.export(Secrets::Omit);
    assert!(exported.contains("voicemail_code = \"*1\"") && exported.contains("blocked = \"voicemail\""), "{exported}");
    for (code, words) in [("*30", "a code of its own"), ("*67", "a code of its own"), ("voice", "voicemail_code")] {
        let error = plan(&text(code)).unwrap_err().to_string();
        assert!(error.contains(words), "{code}: {error}");
    }
    assert!(plan(&text("")).is_ok());
}
