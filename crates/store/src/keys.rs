//! The key file and everything derived from it: sealing of secrets and numbers (AES-256-GCM), the keyed blind index
//! (HMAC-SHA-256), and a key per journal segment. Each purpose has its own key by HKDF-SHA-256 (RFC 5869) and label.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use aws_lc_rs::hmac;
use ringfort_switch::model::TenantId;
use thiserror::Error;

/// Bytes in a key file.
pub const KEY_LEN: usize = 32;
/// Bytes that tell keys apart without saying anything about them.
pub const FINGERPRINT_LEN: usize = 8;
/// Bytes of a blind index: 128 bits of an HMAC-SHA-256.
pub const BLIND_INDEX_LEN: usize = 16;

/// Why the key file cannot be used. All of these are the operator's to mend.
#[derive(Debug, Error)]
pub enum KeyError {
    #[error("key file {path}: expected mode 600 (its owner alone reads it), got {mode:03o}; run: chmod 600 {path}")]
    LaxMode { path: PathBuf, mode: u32 },
    #[error(
        "key file {path}: expected exactly {KEY_LEN} bytes, got {len}; put the right file back from your backup \
         (a key file that was never used may be deleted: a new one is made at the next start)"
    )]
    WrongLength { path: PathBuf, len: u64 },
    #[error(
        "key file {path} is missing, but there is data that was encrypted with it ({because}); put it back from your \
         backup, or move the data away to start afresh"
    )]
    Missing { path: PathBuf, because: String },
    #[error("key file {path}: expected a regular file, got something else; remove it or name another data folder")]
    NotAFile { path: PathBuf },
    #[error("key file {path}: {doing} failed: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

/// What was sealed cannot be opened: another key, another place, or damaged bytes.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("sealed data does not open: it was sealed with another key or for another place, or it is damaged")]
pub struct Unsealed;

/// Which key seals a value. A value sealed for one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// SIP passwords.
    Credential,
    /// Numbers, names and addresses in call records.
    Pii,
    /// Objects of old revisions, with their secrets.
    History,
    /// What callers said.
    Voicemail,
}

/// The derived keys. Debug shows the fingerprint only.
pub struct Keys {
    root: Prk,
    credential: LessSafeKey,
    pii: LessSafeKey,
    history: LessSafeKey,
    voicemail: LessSafeKey,
    blind: hmac::Key,
    fingerprint: [u8; FINGERPRINT_LEN],
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", hex(&self.fingerprint))
    }
}

impl Keys {
    /// Derives everything from the 32 bytes of a key file.
    pub fn derive(secret: &[u8; KEY_LEN]) -> Self {
        let root = Salt::new(HKDF_SHA256, b"ringfort key file v1").extract(secret);
        let mut fingerprint = [0; FINGERPRINT_LEN];
        fingerprint.copy_from_slice(&expand(&root, &[b"fingerprint"])[..FINGERPRINT_LEN]);
        Self {
            credential: aead(&expand(&root, &[b"database credential"])),
            pii: aead(&expand(&root, &[b"database pii"])),
            history: aead(&expand(&root, &[b"database history"])),
            voicemail: aead(&expand(&root, &[b"voicemail"])),
            blind: hmac::Key::new(hmac::HMAC_SHA256, &expand(&root, &[b"blind index"])),
            fingerprint,
            root,
        }
    }

    /// Reads the key file, or makes it where there is none yet and `must_exist` names no data sealed with it.
    ///
    /// # Errors
    /// [`KeyError`]: laxer mode than 0600, wrong length, missing though data exists, or the file system's word.
    pub fn load_or_create(path: &Path, must_exist: Option<&str>) -> Result<Self, KeyError> {
        match read(path) {
            Ok(secret) => Ok(Self::derive(&secret)),
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                if let Some(because) = must_exist {
                    return Err(KeyError::Missing { path: path.to_owned(), because: because.to_owned() });
                }
                create(path)?;
                Ok(Self::derive(&read(path)?))
            }
            Err(e) => Err(e),
        }
    }

    /// Tells keys apart; is stored in the clear beside what was sealed.
    pub fn fingerprint(&self) -> [u8; FINGERPRINT_LEN] {
        self.fingerprint
    }

    /// Random nonce ‖ ciphertext ‖ tag. `place` says where the value belongs (`extension/7/sip_password`): moved
    /// elsewhere it does not open.
    pub fn seal(&self, purpose: Purpose, place: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce);
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + 16);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self
            .purpose(purpose)
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                &mut out[NONCE_LEN..],
            )
            .expect("AES-GCM seals anything shorter than 64 GiB");
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// The plain bytes of what [`Keys::seal`] made.
    ///
    /// # Errors
    /// [`Unsealed`] where it was sealed for another place or key, or is damaged.
    pub fn open(&self, purpose: Purpose, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or(Unsealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealed)?;
        let mut plain = rest.to_vec();
        let len = self
            .purpose(purpose)
            .open_in_place(nonce, Aad::from(place.as_bytes()), &mut plain)
            .map_err(|_| Unsealed)?
            .len();
        plain.truncate(len);
        Ok(plain)
    }

    /// Equal for equal canonical numbers of one tenant, and nothing else to whoever lacks the key: what a search
    /// looks for. Tenants' indexes cannot be matched against each other.
    pub fn blind_index(&self, tenant: TenantId, number: &str) -> [u8; BLIND_INDEX_LEN] {
        let mut context = hmac::Context::with_key(&self.blind);
        context.update(&tenant.0.to_be_bytes());
        context.update(canonical_number(number).as_bytes());
        let tag = context.sign();
        let mut out = [0; BLIND_INDEX_LEN];
        out.copy_from_slice(&tag.as_ref()[..BLIND_INDEX_LEN]);
        out
    }

    /// The key of one journal segment: its salt makes it its own, so that frame numbers can be nonces.
    pub(crate) fn segment(&self, salt: &[u8; 32]) -> LessSafeKey {
        aead(&expand(&self.root, &[b"journal segment", salt]))
    }

    /// A key for something outside the store, by its name: another name gives another key.
    pub fn named(&self, name: &str) -> [u8; KEY_LEN] {
        expand(&self.root, &[b"named", name.as_bytes()])
    }

    fn purpose(&self, purpose: Purpose) -> &LessSafeKey {
        match purpose {
            Purpose::Credential => &self.credential,
            Purpose::Pii => &self.pii,
            Purpose::History => &self.history,
            Purpose::Voicemail => &self.voicemail,
        }
    }
}

/// One spelling for one number, so that equal numbers have equal indexes: `sip:`/`tel:` and everything from `@`, `;`
/// or `?` on is left out; of digits written with spaces, dots, dashes and brackets the digits and a leading `+` are
/// kept; anything else is a name, in lower case.
pub fn canonical_number(number: &str) -> String {
    let number = number.trim();
    let number = match number.split_once(':') {
        Some((scheme, rest)) if ["sip", "sips", "tel"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) => rest,
        _ => number,
    };
    let number = number.split(['@', ';', '?']).next().unwrap_or_default();
    let digits = number.strip_prefix('+').unwrap_or(number);
    let is_number = digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b" .-()/".contains(&b));
    if !is_number {
        return number.to_lowercase();
    }
    number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
}

/// Fills from the operating system's generator.
pub(crate) fn random(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the operating system's random generator answers");
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn expand(root: &Prk, info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    root.expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes are within HKDF-SHA-256's output");
    out
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes make an AES-256 key"))
}

fn read(path: &Path) -> Result<[u8; KEY_LEN], KeyError> {
    let io = |doing| move |source| KeyError::Io { path: path.to_owned(), doing, source };
    let mut file = File::open(path).map_err(io("opening it"))?;
    let meta = file.metadata().map_err(io("reading its mode"))?;
    if !meta.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o177 != 0 {
        return Err(KeyError::LaxMode { path: path.to_owned(), mode });
    }
    if meta.len() != KEY_LEN as u64 {
        return Err(KeyError::WrongLength { path: path.to_owned(), len: meta.len() });
    }
    let mut secret = [0; KEY_LEN];
    file.read_exact(&mut secret).map_err(io("reading it"))?;
    Ok(secret)
}

/// Makes the file whole under another name and links it into place: `link` fails where the name is taken, as O_EXCL
/// would, and a kill in between leaves no short key behind.
fn create(path: &Path) -> Result<(), KeyError> {
    let io = |doing| move |source| KeyError::Io { path: path.to_owned(), doing, source };
    let fresh = path.with_extension("key.new");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io("removing an unfinished one")(e)),
    }
    let mut secret = [0; KEY_LEN];
    random(&mut secret);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(io("making it"))?;
    file.write_all(&secret).and_then(|()| file.sync_all()).map_err(io("writing it"))?;
    fs::hard_link(&fresh, path).map_err(io("putting it in place"))?;
    fs::remove_file(&fresh).map_err(io("removing its first name"))?;
    sync_parent(path).map_err(io("making it durable"))
}

/// Makes new names, renames and removals in the folder of `path` survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::derive(&[7; KEY_LEN])
    }

    #[test]
    fn a_key_file_is_made_once_with_mode_600_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.key");
        let first = Keys::load_or_create(&path, None).unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.permissions().mode() & 0o777, meta.len()), (0o600, 32));
        let second = Keys::load_or_create(&path, Some("a database")).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no second name is left");
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.key");
        Keys::load_or_create(&path, None).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644, 0o700, 0o610] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Keys::load_or_create(&path, None).unwrap_err().to_string();
            assert!(error.contains("chmod 600") && error.contains(&format!("{mode:03o}")), "{error}");
        }
    }

    #[test]
    fn a_key_file_of_the_wrong_length_is_refused_with_both_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.key");
        for len in [0, 31, 33] {
            fs::write(&path, vec![1; len]).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Keys::load_or_create(&path, None).unwrap_err().to_string();
            assert!(error.contains("exactly 32 bytes") && error.contains(&format!("got {len};")), "{error}");
        }
    }

    #[test]
    fn a_missing_key_file_is_not_replaced_where_data_was_sealed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.key");
        let error = Keys::load_or_create(&path, Some("ringfort.db")).unwrap_err();
        assert!(matches!(error, KeyError::Missing { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn an_unfinished_key_file_of_a_killed_first_start_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ringfort.key");
        fs::write(path.with_extension("key.new"), b"short").unwrap();
        Keys::load_or_create(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 32);
    }

    #[test]
    fn what_is_sealed_opens_only_for_its_purpose_place_and_key() {
        let keys = keys();
        let sealed = keys.seal(Purpose::Credential, "extension/1", b"secret");
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(keys.open(Purpose::Credential, "extension/1", &sealed).unwrap(), b"secret");
        assert_eq!(keys.open(Purpose::Credential, "extension/2", &sealed), Err(Unsealed));
        assert_eq!(keys.open(Purpose::Pii, "extension/1", &sealed), Err(Unsealed));
        assert_eq!(Keys::derive(&[8; 32]).open(Purpose::Credential, "extension/1", &sealed), Err(Unsealed));
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(keys.open(Purpose::Credential, "extension/1", &bad), Err(Unsealed));
            assert_eq!(keys.open(Purpose::Credential, "extension/1", &sealed[..i]), Err(Unsealed));
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let keys = keys();
        assert_ne!(keys.seal(Purpose::Pii, "a", b"x"), keys.seal(Purpose::Pii, "a", b"x"));
    }

    #[test]
    fn spellings_of_one_number_share_a_blind_index_and_tenants_do_not() {
        let keys = keys();
        let (one, two) = (TenantId(1), TenantId(2));
        let index = keys.blind_index(one, "+8613812345678");
        for spelling in ["+86 138-1234-5678", "tel:+86-138-1234-5678", "sip:+8613812345678@example.org;user=phone"] {
            assert_eq!(keys.blind_index(one, spelling), index, "{spelling}");
        }
        assert_ne!(keys.blind_index(two, "+8613812345678"), index);
        assert_ne!(keys.blind_index(one, "8613812345678"), index);
        assert_ne!(Keys::derive(&[8; 32]).blind_index(one, "+8613812345678"), index);
    }

    #[test]
    fn canonical_numbers_keep_names_and_do_not_panic_on_odd_input() {
        assert_eq!(canonical_number("Alex.Smith@example.org"), "alex.smith");
        assert_eq!(canonical_number("(020) 7946/0018"), "02079460018");
        assert_eq!(canonical_number("*85"), "*85");
        for odd in ["", "+", ":", "@", "sip:", "+-", "é😀"] {
            canonical_number(odd);
        }
    }
}
