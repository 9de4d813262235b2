//! SIP user names and passwords (CALL-3): generated ones, and what is asked of those set by hand.

use rand::{Rng, RngExt};
use ringfort_switch::model::Secret;
use thiserror::Error;

/// Characters of a generated password: 57 kinds, so that 24 of them are 139 bits. None that looks like another.
const PASSWORD_ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
const PASSWORD_LEN: usize = 24;
/// Characters of a generated user name: no digits (it cannot contain a number then) and no vowels (nor a word).
const USER_ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz";
const USER_LEN: usize = 14;

const MIN_PASSWORD: usize = 12;
const MAX_PASSWORD: usize = 128;
const MIN_DISTINCT: usize = 6;
/// What must be left of a password when each word of the list below and each sequence counts as one character.
const MIN_EFFECTIVE: usize = 9;
const MAX_USER: usize = 64;

/// Parts of passwords that are tried first, in lower case with digits read as the letters they stand for.
const COMMON: &[&str] = &[
    "passwort",
    "password",
    "passwd",
    "pass",
    "secret",
    "geheim",
    "administrator",
    "admin",
    "root",
    "welcome",
    "letmein",
    "changeme",
    "change",
    "default",
    "asterisk",
    "freeswitch",
    "kamailio",
    "ringfort",
    "telephone",
    "phone",
    "extension",
    "voip",
    "test",
    "guest",
    "login",
    "user",
    "hello",
    "monkey",
    "dragon",
    "iloveyou",
    "master",
    "summer",
    "winter",
    "spring",
    "autumn",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "shadow",
    "superman",
    "batman",
    "starwars",
    "whatever",
    "trustno",
    "company",
    "office",
    "qwerty",
    "qwertz",
    "azerty",
    "asdf",
    "zxcv",
    "yxcv",
];
const KEYBOARD_ROWS: &[&str] =
    &["qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "1234567890"];

/// Whom a password is for: it must not contain any of this.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub user: &'a str,
    pub number: &'a str,
    /// Display name.
    pub name: &'a str,
}

/// Why a password set by hand is refused. The words never repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WeakPassword {
    #[error("an empty one")]
    Empty,
    #[error("one of {0} characters")]
    Short(usize),
    #[error("one of {0} characters")]
    Long(usize),
    #[error("one with a character that is not printable ASCII (phones differ in how they encode it)")]
    NotAscii,
    #[error("one that contains the SIP user name")]
    ContainsUser,
    #[error("one that contains the extension's number")]
    ContainsNumber,
    #[error("one that contains a part of the extension's name")]
    ContainsName,
    #[error("one made of only {0} different characters")]
    FewDistinct(usize),
    #[error("one that repeats itself")]
    Repeats,
    #[error("one that is mostly a sequence (like 12345 or qwert)")]
    Sequence,
    #[error("one that is mostly common words")]
    Common,
}

impl WeakPassword {
    /// What a good one is.
    pub fn expected(&self) -> String {
        match self {
            Self::Empty | Self::Short(_) | Self::Long(_) => {
                format!("a password of {MIN_PASSWORD} to {MAX_PASSWORD} characters")
            }
            Self::NotAscii => "a password of printable ASCII characters".to_owned(),
            Self::ContainsUser | Self::ContainsNumber | Self::ContainsName => {
                "a password that says nothing about its owner".to_owned()
            }
            Self::FewDistinct(_) => format!("a password of at least {MIN_DISTINCT} different characters"),
            Self::Repeats | Self::Sequence | Self::Common => "a password that is hard to guess".to_owned(),
        }
    }
}

/// Why a SIP user name set by hand is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadUser {
    #[error("an empty one")]
    Empty,
    #[error("one of {0} characters")]
    Long(usize),
    #[error("one with the character {0:?}")]
    Character(char),
    #[error("one that contains the extension's number {0}")]
    ContainsNumber(String),
}

impl BadUser {
    /// What a good one is.
    pub fn expected(&self) -> String {
        match self {
            Self::Empty | Self::Long(_) => format!("a SIP user name of 1 to {MAX_USER} characters"),
            Self::Character(_) => "a SIP user name of letters, digits and . _ ~ ! + -".to_owned(),
            Self::ContainsNumber(_) => "a SIP user name that cannot be guessed from the extension's number".to_owned(),
        }
    }
}

/// A user name that contains neither the number nor, by chance, anything else that means something. `taken` tells
/// names that are in use.
pub fn generate_user(rng: &mut impl Rng, number: &str, taken: impl Fn(&str) -> bool) -> String {
    loop {
        let user = pick(rng, USER_ALPHABET, USER_LEN);
        if check_user(&user, number).is_ok() && !taken(&user) {
            return user;
        }
    }
}

/// A password of 24 characters, 139 bits, that passes [`check_password`].
pub fn generate_password(rng: &mut impl Rng, owner: &Owner<'_>) -> Secret {
    loop {
        let password = pick(rng, PASSWORD_ALPHABET, PASSWORD_LEN);
        // By chance it can hold a three-digit number or a short name. A name of one letter cannot be avoided.
        if check_password(&password, owner).is_ok() {
            return Secret::new(password);
        }
    }
}

/// # Errors
/// [`BadUser`].
pub fn check_user(user: &str, number: &str) -> Result<(), BadUser> {
    if user.is_empty() {
        return Err(BadUser::Empty);
    }
    if user.len() > MAX_USER {
        return Err(BadUser::Long(user.chars().count()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._~!+-".contains(c);
    if let Some(c) = user.chars().find(|&c| !allowed(c)) {
        return Err(BadUser::Character(c));
    }
    if contains(user, number) {
        return Err(BadUser::ContainsNumber(number.to_owned()));
    }
    Ok(())
}

/// # Errors
/// [`WeakPassword`].
pub fn check_password(password: &str, owner: &Owner<'_>) -> Result<(), WeakPassword> {
    if password.is_empty() {
        return Err(WeakPassword::Empty);
    }
    if password.chars().any(|c| !(' '..='~').contains(&c)) {
        return Err(WeakPassword::NotAscii);
    }
    match password.len() {
        n if n < MIN_PASSWORD => return Err(WeakPassword::Short(n)),
        n if n > MAX_PASSWORD => return Err(WeakPassword::Long(n)),
        _ => {}
    }
    if contains_part(password, owner.user, 3) {
        return Err(WeakPassword::ContainsUser);
    }
    if contains_part(password, owner.number, 3) {
        return Err(WeakPassword::ContainsNumber);
    }
    if owner.name.split(|c: char| !c.is_alphanumeric()).any(|part| contains_part(password, part, 4)) {
        return Err(WeakPassword::ContainsName);
    }
    let mut distinct = password.as_bytes().to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < MIN_DISTINCT {
        return Err(WeakPassword::FewDistinct(distinct.len()));
    }
    if repeats(password.as_bytes()) {
        return Err(WeakPassword::Repeats);
    }
    guessable(password)
}

fn pick(rng: &mut impl Rng, alphabet: &[u8], len: usize) -> String {
    (0..len).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}

fn contains(text: &str, part: &str) -> bool {
    !part.is_empty() && text.to_lowercase().contains(&part.to_lowercase())
}

/// A shorter part than `least` is in many passwords by chance.
fn contains_part(text: &str, part: &str, least: usize) -> bool {
    part.chars().count() >= least && contains(text, part)
}

/// The same few characters over and over.
fn repeats(password: &[u8]) -> bool {
    (1..=password.len() / 2).any(|unit| password.iter().zip(&password[unit..]).all(|(a, b)| a == b))
}

/// Counts each sequence and each common word as one character.
fn guessable(password: &str) -> Result<(), WeakPassword> {
    let lower = password.to_lowercase();
    let letters: String = lower.chars().map(unleet).collect();
    let (mut effective, mut saved_by_words, mut saved_by_sequences, mut at) = (0, 0, 0, 0);
    while at < lower.len() {
        let word = COMMON.iter().filter(|w| letters[at..].starts_with(**w)).map(|w| w.len()).max().unwrap_or(1);
        let sequence = sequence_len(&lower.as_bytes()[at..]);
        let step = word.max(sequence);
        if word >= sequence {
            saved_by_words += step - 1;
        } else {
            saved_by_sequences += step - 1;
        }
        effective += 1;
        at += step;
    }
    match () {
        () if effective >= MIN_EFFECTIVE => Ok(()),
        () if saved_by_words >= saved_by_sequences => Err(WeakPassword::Common),
        () => Err(WeakPassword::Sequence),
    }
}

/// How long the front is a run of equal, rising or falling characters or of keyboard neighbours; 1 where it is none
/// of at least four.
fn sequence_len(text: &[u8]) -> usize {
    let steps =
        [0i16, 1, -1].map(|step| 1 + text.windows(2).take_while(|w| i16::from(w[1]) - i16::from(w[0]) == step).count());
    let rows = KEYBOARD_ROWS.iter().map(|row| {
        let from = row.as_bytes().iter().position(|b| Some(b) == text.first()).unwrap_or(row.len());
        text.iter().zip(&row.as_bytes()[from..]).take_while(|(a, b)| a == b).count()
    });
    let longest = steps.into_iter().chain(rows).max().unwrap_or(1);
    if longest >= 4 { longest } else { 1 }
}

fn unleet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    const OWNER: Owner<'static> = Owner { user: "qkvbxwpmzc", number: "4711", name: "Alexandra Smith" };

    #[test]
    fn weak_passwords_set_by_hand_are_refused_with_the_reason() {
        use WeakPassword::*;
        let cases = [
            ("", Empty),
            ("short", Short(5)),
            ("elevenchars", Short(11)),
            ("pässwörter-lang", NotAscii),
            ("x-qkvbxwpmzc-y!", ContainsUser),
            ("the-QKVBXWPMZC-one", ContainsUser),
            ("h8f4711kwq0zn3", ContainsNumber),
            ("h8f-smith-kwq0zn3", ContainsName),
            ("aabbaabbbaab1", FewDistinct(3)),
            ("abcdef1abcdef1", Repeats),
            ("xyzw!qxyzw!qxyz", Repeats),
            ("1234567890ab", Sequence),
            ("abcdefghijklmnop", Sequence),
            ("qwertyuiopasdfghjkl", Sequence),
            ("P@ssw0rdP@ssw0rd1", Common),
            ("Password1234567", Common),
            ("welcome2admin!", Common),
            ("Secret-Password-2024", Common),
        ];
        for (password, why) in cases {
            assert_eq!(check_password(password, &OWNER), Err(why), "{password}");
        }
    }

    #[test]
    fn passwords_of_load_tests_that_contain_their_user_are_refused() {
        let owner = Owner { user: "u00000", number: "20000", name: "" };
        assert_eq!(check_password("bench-secret-of-u00000", &owner), Err(WeakPassword::ContainsUser));
    }

    #[test]
    fn good_passwords_set_by_hand_are_taken() {
        for password in ["correct horse battery staple", "tR7#pq!Zm2wK", "mauve-cactus-orbit-71", "f3b1c0ffee9d8a7e"] {
            assert_eq!(check_password(password, &OWNER), Ok(()), "{password}");
        }
    }

    #[test]
    fn a_user_name_set_by_hand_that_contains_the_number_is_refused() {
        assert_eq!(check_user("phone4711", "4711"), Err(BadUser::ContainsNumber("4711".to_owned())));
        assert_eq!(check_user("DIRECTOR-x", "director"), Err(BadUser::ContainsNumber("director".to_owned())));
        assert_eq!(check_user("a@b", "4711"), Err(BadUser::Character('@')));
        assert_eq!(check_user("", "4711"), Err(BadUser::Empty));
        assert_eq!(check_user("a.phone-of+mine", "4711"), Ok(()));
    }

    #[test]
    fn generated_credentials_are_long_unique_and_never_contain_the_number() {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let mut seen = std::collections::HashSet::new();
        for number in 0..3000u32 {
            let number = if number % 7 == 0 { "b".to_owned() } else { number.to_string() };
            let user = generate_user(&mut rng, &number, |_| false);
            let owner = Owner { user: &user, number: &number, name: "Xu" };
            let password = generate_password(&mut rng, &owner);
            assert!(!user.contains(&number), "{user} {number}");
            assert!(password.reveal().len() >= 20);
            assert_eq!(check_password(password.reveal(), &owner), Ok(()));
            assert!(seen.insert(user), "twice");
            assert!(seen.insert(password.reveal().to_owned()), "twice");
        }
    }

    #[test]
    fn a_name_in_use_is_not_generated_again() {
        let rng = || ChaCha20Rng::from_seed([3; 32]);
        let first = generate_user(&mut rng(), "1", |_| false);
        assert_eq!(generate_user(&mut rng(), "1", |_| false), first);
        assert_ne!(generate_user(&mut rng(), "1", |user| user == first), first);
    }
}
