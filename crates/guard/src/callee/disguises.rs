//! Callees that the default rules forbid, and ways to hide one. Shared with the tests of calls.

use std::collections::BTreeSet;

/// What is forbidden by default, for guests and for extensions that may not call abroad.
pub const FORBIDDEN: [&str; 14] = [
    "0049301234567",
    "+49301234567",
    "00",
    "+",
    "0088161234567",
    "+88161234567",
    "001900555",
    "+1900555",
    "1234567890123",
    "0900123456789",
    "9011442079460000",
    "8810442079460",
    "*7200442079460000",
    "+#31#4930",
];

/// All of them in every two dresses, one over the other: thousands.
pub fn corpus() -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    for number in FORBIDDEN {
        for first in dresses() {
            for second in dresses() {
                users.insert(second(&first(number)));
            }
        }
    }
    users
}

/// Ways to write the same text differently, each applied to the whole of it or to a part.
pub fn dresses() -> Vec<fn(&str) -> String> {
    fn each(text: &str, dress: impl Fn(usize, char) -> String) -> String {
        text.chars().enumerate().map(|(i, c)| dress(i, c)).collect()
    }
    fn escape(c: char) -> String {
        let mut buffer = [0; 4];
        c.encode_utf8(&mut buffer).bytes().map(|b| format!("%{b:02X}")).collect()
    }
    fn script(text: &str, zero: u32) -> String {
        each(text, |_, c| match c.to_digit(10) {
            Some(digit) => char::from_u32(zero + digit).expect("a digit").to_string(),
            None => c.to_string(),
        })
    }
    vec![
        |t| t.to_owned(),
        |t| each(t, |_, c| escape(c)),
        |t| each(t, |i, c| if i % 2 == 0 { escape(c) } else { c.to_string() }),
        |t| each(t, |i, c| if i == 0 { escape(c) } else { c.to_string() }),
        |t| each(t, |_, c| escape(c).replace('%', "%25")),
        |t| each(t, |i, c| if i == 0 { escape(c).replace('%', "%25") } else { c.to_string() }),
        |t| each(t, |_, c| escape(c).to_lowercase()),
        |t| each(t, |_, c| format!("{c}-")),
        |t| each(t, |_, c| format!("{c}.")),
        |t| each(t, |i, c| if i == 1 { format!("({c})") } else { c.to_string() }),
        |t| each(t, |_, c| format!("{c}%20")),
        |t| each(t, |_, c| format!("{c}%2D")),
        |t| format!("({t})"),
        |t| format!("-{t}"),
        |t| format!("%20{t}"),
        |t| each(t, |_, c| format!("{c}\u{200B}")),
        |t| format!("\u{FEFF}{t}"),
        |t| format!("\u{202E}{t}"),
        |t| each(t, |_, c| format!("{c}\u{00AD}")),
        |t| each(t, |_, c| format!("{c}\u{FE0F}\u{20E3}")),
        |t| each(t, |_, c| format!("{c}\u{00A0}")),
        |t| each(t, |_, c| format!("{c}\u{2011}")),
        |t| script(t, 0xFF10),
        |t| script(t, 0x0660),
        |t| script(t, 0x06F0),
        |t| script(t, 0x0966),
        |t| script(t, 0x0E50),
        |t| script(t, 0x1D7CE),
        |t| script(t, 0x1D7F6),
        |t| script(t, 0x2080),
        |t| t.replace('+', "\u{FF0B}"),
        |t| t.replace('+', "\u{207A}"),
        |t| t.replace('+', "\u{2795}"),
        |t| t.replace('+', "%EF%BC%8B"),
        |t| format!("{t};user=phone"),
        |t| format!("{t};isub=1;postd=p22"),
        |t| format!("{t};phone-context=example.com"),
        |t| format!("{t}:password"),
        |t| format!("{t}%3Bx=1"),
    ]
}
