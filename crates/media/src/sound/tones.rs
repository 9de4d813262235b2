//! Tones of the telephone network as each country's callers know them: frequencies and cadences as they are listed in the
//! ITU's "Various tones used in national networks" (annex to Operational Bulletin 781) and ITU-T E.180.

use std::time::Duration;

use super::{Part, Sound, Tone};

/// What a tone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// The other side rings.
    Ringing,
    /// It is talking.
    Busy,
    /// No way there.
    Congestion,
    /// The special information tone before an announcement (E.180 §5).
    Information,
}

/// Whose tones, by ISO 3166 code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Country {
    /// E.180's recommended 425 Hz, for all that are not named.
    #[default]
    Other,
    At,
    Au,
    Ch,
    De,
    Es,
    Fr,
    Gb,
    It,
    Jp,
    Nl,
    Pl,
    Ru,
    Se,
    Us,
}

impl Country {
    /// By its code, in any case; `CA` has the tones of `US`, `KZ` those of `RU`.
    pub fn from_code(code: &str) -> Country {
        match code.to_ascii_uppercase().as_str() {
            "AT" => Country::At,
            "AU" => Country::Au,
            "CH" => Country::Ch,
            "DE" => Country::De,
            "ES" => Country::Es,
            "FR" => Country::Fr,
            "GB" | "UK" | "IE" => Country::Gb,
            "IT" => Country::It,
            "JP" => Country::Jp,
            "NL" => Country::Nl,
            "PL" => Country::Pl,
            "RU" | "KZ" | "BY" => Country::Ru,
            "SE" => Country::Se,
            "US" | "CA" => Country::Us,
            _ => Country::Other,
        }
    }

    /// The tone, until it is stopped.
    pub fn sound(self, signal: Signal) -> Sound {
        let (tone, cadence) = match signal {
            Signal::Ringing => self.ringing(),
            Signal::Busy => self.busy(),
            Signal::Congestion => self.congestion(),
            Signal::Information => {
                let part = |hertz| Part::Tone(Tone::single(hertz), Duration::from_millis(330));
                let parts = vec![part(950), part(1400), part(1800), Part::Silence(Duration::from_millis(1000))];
                return Sound::repeated(parts);
            }
        };
        let part = |(index, &millis): (usize, &u64)| {
            let length = Duration::from_millis(millis);
            if index % 2 == 0 { Part::Tone(tone, length) } else { Part::Silence(length) }
        };
        Sound::repeated(cadence.iter().enumerate().map(part).collect())
    }

    /// On and off in milliseconds.
    fn ringing(self) -> (Tone, &'static [u64]) {
        match self {
            Country::Us => (Tone::dual(440, 480), &[2000, 4000]),
            Country::Gb => (Tone::dual(400, 450), &[400, 200, 400, 2000]),
            Country::Au => (Tone::dual(400, 425), &[400, 200, 400, 2000]),
            Country::Jp => (Tone::dual(384, 416), &[1000, 2000]),
            Country::Fr => (Tone::single(440), &[1500, 3500]),
            Country::Es => (Tone::single(425), &[1500, 3000]),
            Country::At => (Tone::single(420), &[1000, 5000]),
            Country::Se => (Tone::single(425), &[1000, 5000]),
            Country::Ru => (Tone::single(425), &[800, 3200]),
            Country::De | Country::It | Country::Ch | Country::Nl | Country::Pl | Country::Other => {
                (Tone::single(425), &[1000, 4000])
            }
        }
    }

    fn busy(self) -> (Tone, &'static [u64]) {
        match self {
            Country::Us => (Tone::dual(480, 620), &[500, 500]),
            Country::Gb => (Tone::single(400), &[375, 375]),
            Country::Au => (Tone::single(425), &[375, 375]),
            Country::Jp => (Tone::single(400), &[500, 500]),
            Country::Fr => (Tone::single(440), &[500, 500]),
            Country::Es => (Tone::single(425), &[200, 200]),
            Country::At => (Tone::single(420), &[400, 400]),
            Country::Se => (Tone::single(425), &[250, 250]),
            Country::Ru => (Tone::single(425), &[400, 400]),
            Country::De => (Tone::single(425), &[480, 480]),
            Country::It | Country::Ch | Country::Nl | Country::Pl | Country::Other => (Tone::single(425), &[500, 500]),
        }
    }

    fn congestion(self) -> (Tone, &'static [u64]) {
        match self {
            Country::Us => (Tone::dual(480, 620), &[250, 250]),
            Country::Gb => (Tone::single(400), &[400, 350, 225, 525]),
            Country::Au => (Tone::single(425), &[375, 375]),
            Country::Jp => (Tone::single(400), &[500, 500]),
            Country::Fr => (Tone::single(440), &[250, 250]),
            Country::Es => (Tone::single(425), &[200, 200, 200, 200, 200, 600]),
            Country::At => (Tone::single(420), &[200, 200]),
            Country::Se => (Tone::single(425), &[250, 750]),
            Country::Ru => (Tone::single(425), &[200, 200]),
            Country::De => (Tone::single(425), &[240, 240]),
            Country::It | Country::Ch => (Tone::single(425), &[200, 200]),
            Country::Nl => (Tone::single(425), &[250, 250]),
            Country::Pl => (Tone::single(425), &[500, 500]),
            Country::Other => (Tone::single(425), &[250, 250]),
        }
    }
}
