//! Spoken prompts: a WAV file in the two sample rates that codecs want, so that nothing is resampled while it plays.

use std::fmt;
use std::io::Cursor;
use std::time::Duration;

use hound::{SampleFormat, WavReader};

/// The longest prompt.
const LONGEST: Duration = Duration::from_secs(600);

/// Why octets are no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    #[error("expected a WAV file, got something else: {0}")]
    NotWav(String),
    #[error(
        "expected 16-bit PCM, one channel, 8000 or 16000 Hz; got {bits}-bit {what}, {channels} channels, {rate} Hz"
    )]
    Format { bits: u16, what: &'static str, channels: u16, rate: u32 },
    #[error("expected at most {} minutes, got {seconds} seconds", LONGEST.as_secs() / 60)]
    TooLong { seconds: u64 },
    #[error("expected samples, got none")]
    Empty,
}

/// Speech or music, ready to be played.
#[derive(Clone, PartialEq)]
pub struct Prompt {
    /// 8 kHz.
    narrow: Box<[i16]>,
    /// 16 kHz.
    wide: Box<[i16]>,
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({:?})", self.length())
    }
}

impl Prompt {
    /// From the octets of a WAV file: 16-bit PCM, mono, 8 or 16 kHz, ten minutes at most.
    ///
    /// # Errors
    /// What was expected, and what came.
    pub fn from_wav(file: &[u8]) -> Result<Prompt, PromptError> {
        let mut reader = WavReader::new(Cursor::new(file)).map_err(|error| PromptError::NotWav(error.to_string()))?;
        let spec = reader.spec();
        let integers = spec.sample_format == SampleFormat::Int;
        if !integers || spec.bits_per_sample != 16 || spec.channels != 1 || !matches!(spec.sample_rate, 8000 | 16000) {
            return Err(PromptError::Format {
                bits: spec.bits_per_sample,
                what: if integers { "integers" } else { "floating point" },
                channels: spec.channels,
                rate: spec.sample_rate,
            });
        }
        let seconds = u64::from(reader.duration() / spec.sample_rate);
        if seconds > LONGEST.as_secs() {
            return Err(PromptError::TooLong { seconds });
        }
        let samples: Result<Vec<i16>, _> = reader.samples().collect();
        let samples = samples.map_err(|error| PromptError::NotWav(error.to_string()))?;
        if samples.is_empty() {
            return Err(PromptError::Empty);
        }
        Ok(Self::from_samples(&samples, spec.sample_rate == 16000))
    }

    /// From linear samples at 16 kHz (`wide`) or 8 kHz.
    pub fn from_samples(samples: &[i16], wide: bool) -> Prompt {
        if wide {
            Prompt { narrow: halved(samples), wide: samples.into() }
        } else {
            Prompt { narrow: samples.into(), wide: doubled(samples) }
        }
    }

    /// The samples at 16 kHz (`wide`) or 8 kHz.
    pub fn samples(&self, wide: bool) -> &[i16] {
        if wide { &self.wide } else { &self.narrow }
    }

    pub fn length(&self) -> Duration {
        Duration::from_micros(self.narrow.len() as u64 * 125)
    }
}

/// Half-band low-pass, 31 taps: every other one but the middle is zero, the rest are these, mirrored (windowed sinc,
/// Blackman; pass band to 3.4 kHz at 16 kHz, in 2^-15).
fn half_band() -> [f32; 8] {
    std::array::from_fn(|i| {
        let n = (2 * i + 1) as f32;
        let turn = std::f32::consts::PI * n;
        let sinc = (turn / 2.0).sin() / turn;
        let at = turn / 16.0;
        sinc * (0.42 + 0.5 * at.cos() + 0.08 * (2.0 * at).cos())
    })
}

fn sample(samples: &[i16], at: isize) -> f32 {
    usize::try_from(at).ok().and_then(|at| samples.get(at)).map_or(0.0, |&s| f32::from(s))
}

/// 16 kHz to 8 kHz.
fn halved(samples: &[i16]) -> Box<[i16]> {
    let taps = half_band();
    let filtered = |middle: usize| {
        let middle = middle as isize;
        let sides = taps.iter().zip((1..).step_by(2));
        let sum: f32 = sides.map(|(tap, n)| tap * (sample(samples, middle - n) + sample(samples, middle + n))).sum();
        (0.5 * sample(samples, middle) + sum).round() as i16
    };
    (0..samples.len()).step_by(2).map(filtered).collect()
}

/// 8 kHz to 16 kHz.
fn doubled(samples: &[i16]) -> Box<[i16]> {
    let taps = half_band();
    let between = |left: usize| {
        let left = left as isize;
        let sides = taps.iter().zip(0..);
        let sum: f32 = sides.map(|(tap, n)| tap * (sample(samples, left - n) + sample(samples, left + 1 + n))).sum();
        (2.0 * sum).round() as i16
    };
    (0..samples.len()).flat_map(|at| [samples[at], between(at)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u16, rate: u32, bits: u16, samples: usize) -> Vec<u8> {
        let spec =
            hound::WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: SampleFormat::Int };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).expect("a header");
        (0..samples).for_each(|n| writer.write_sample((n % 100) as i32).expect("it fits"));
        writer.finalize().expect("it ends");
        file.into_inner()
    }

    fn sine(hertz: f32, rate: f32, samples: usize) -> Vec<i16> {
        let sample = |n: usize| (n as f32 * hertz / rate * std::f32::consts::TAU).sin() * 10_000.0;
        (0..samples).map(|n| sample(n) as i16).collect()
    }

    fn peak(samples: &[i16]) -> u16 {
        let edge = samples.len() / 4;
        samples[edge..samples.len() - edge].iter().map(|s| s.unsigned_abs()).max().expect("there are some")
    }

    #[test]
    fn a_file_is_there_in_both_rates_whichever_it_has() {
        for (rate, samples) in [(8000, 8000), (16000, 16000)] {
            let prompt = Prompt::from_wav(&wav(1, rate, 16, samples)).expect("it is a prompt");
            assert_eq!(prompt.length(), Duration::from_secs(1));
            assert_eq!((prompt.samples(false).len(), prompt.samples(true).len()), (8000, 16000));
        }
    }

    #[test]
    fn speech_keeps_its_level_and_what_the_lower_rate_cannot_hold_is_gone() {
        let of = |hertz: f32| Prompt::from_samples(&sine(hertz, 16_000.0, 4_000), true);
        assert!((9_800..=10_100).contains(&peak(of(1_000.0).samples(false))));
        assert!((9_000..=10_200).contains(&peak(of(3_000.0).samples(false))));
        // At 8 kHz it would be heard as 2 kHz.
        assert!(peak(of(6_000.0).samples(false)) < 100, "{}", peak(of(6_000.0).samples(false)));
        let narrow = Prompt::from_samples(&sine(1_000.0, 8_000.0, 2_000), false);
        let exact = sine(1_000.0, 16_000.0, 4_000);
        let off = narrow.samples(true)[500..3_500].iter().zip(&exact[500..]).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off.is_some_and(|off| off < 100), "{off:?}");
    }

    #[test]
    fn a_wrong_file_is_refused_with_what_it_is() {
        let error = |file: &[u8]| Prompt::from_wav(file).expect_err("it is none").to_string();
        assert!(error(b"OggS").contains("expected a WAV file"));
        assert!(error(&wav(2, 8000, 16, 8)).contains("got 16-bit integers, 2 channels, 8000 Hz"));
        assert!(error(&wav(1, 44100, 16, 8)).contains("44100 Hz"));
        assert!(error(&wav(1, 8000, 8, 8)).contains("8-bit"));
        assert!(error(&wav(1, 8000, 16, 0)).contains("got none"));
        let whole = wav(1, 8000, 16, 100);
        for cut in 0..whole.len() - 1 {
            let _ = Prompt::from_wav(&whole[..cut]);
        }
    }
}
