//! From a sound to frames of 20 ms in G.711 or G.722.

use std::sync::Arc;
use std::time::Duration;

use super::{Part, Sound, Tone};
use crate::g711::Law;
use crate::g722;

/// Milliseconds of a frame.
const FRAME_MS: usize = 20;
/// A tone swells and fades for so long, or it would click.
const RAMP_MS: usize = 4;

/// A codec that sounds can be played in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoiceCodec {
    Pcmu,
    Pcma,
    G722,
}

impl VoiceCodec {
    /// By its name in SDP, in any case.
    pub fn from_name(name: &str) -> Option<VoiceCodec> {
        [("PCMU", VoiceCodec::Pcmu), ("PCMA", VoiceCodec::Pcma), ("G722", VoiceCodec::G722)]
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, codec)| codec)
    }

    fn is_wide(self) -> bool {
        self == VoiceCodec::G722
    }

    /// Samples of a frame.
    fn frame(self) -> usize {
        if self.is_wide() { 320 } else { 160 }
    }
}

enum Coder {
    G711(Law),
    G722(Box<g722::Encoder>),
}

/// A sound while it is played.
pub struct Voice {
    sound: Arc<Sound>,
    codec: VoiceCodec,
    coder: Coder,
    /// Index of the part, and the next sample in it.
    part: usize,
    at: usize,
    /// Samples that are left by [`Sound::longest`].
    left: Option<usize>,
    /// Of the tone's sines, in turns.
    phases: [f32; 3],
    /// Something has been heard since the beginning: a repeated sound of no length ends.
    moved: bool,
}

impl Voice {
    /// Octets of a frame, in each of the codecs: 160 (RFC 3551 §4.5.14, and §4.5.2 with a clock of 8 kHz for G.722).
    pub const OCTETS: usize = 160;
    /// RTP clock units of a frame.
    pub const UNITS: u32 = 160;
    /// Length of a frame.
    pub const LENGTH: Duration = Duration::from_millis(FRAME_MS as u64);

    pub fn new(sound: Arc<Sound>, codec: VoiceCodec) -> Self {
        let coder = match codec {
            VoiceCodec::Pcmu => Coder::G711(Law::Mu),
            VoiceCodec::Pcma => Coder::G711(Law::A),
            VoiceCodec::G722 => Coder::G722(Box::default()),
        };
        let left = sound.longest.map(|longest| samples_of(longest, codec.is_wide()));
        Self { sound, codec, coder, part: 0, at: 0, left, phases: [0.0; 3], moved: false }
    }

    /// Writes the next frame. `false`: the sound is over and nothing was written. A last frame is filled with silence.
    pub fn frame(&mut self, out: &mut [u8; Self::OCTETS]) -> bool {
        let mut samples = [0i16; 320];
        let samples = &mut samples[..self.codec.frame()];
        if self.fill(samples) == 0 {
            return false;
        }
        match &mut self.coder {
            Coder::G711(law) => out.iter_mut().zip(&*samples).for_each(|(octet, &sample)| *octet = law.encode(sample)),
            Coder::G722(encoder) => encoder.encode(samples, out),
        }
        true
    }

    /// How many samples there were.
    fn fill(&mut self, samples: &mut [i16]) -> usize {
        let wanted = self.left.map_or(samples.len(), |left| left.min(samples.len()));
        let mut filled = 0;
        while filled < wanted {
            let Some(part) = self.sound.parts.get(self.part) else {
                if !self.sound.repeat || !self.moved {
                    break;
                }
                (self.part, self.at, self.moved) = (0, 0, false);
                continue;
            };
            let wide = self.codec.is_wide();
            let length = match part {
                Part::Silence(length) | Part::Tone(_, length) => samples_of(*length, wide),
                Part::Prompt(prompt) => prompt.samples(wide).len(),
            };
            let count = (length - self.at).min(wanted - filled);
            let out = &mut samples[filled..filled + count];
            match part {
                Part::Silence(_) => out.fill(0),
                Part::Tone(tone, _) => play_tone(tone, &mut self.phases, self.at, length, wide, out),
                Part::Prompt(prompt) => out.copy_from_slice(&prompt.samples(wide)[self.at..self.at + count]),
            }
            filled += count;
            self.at += count;
            self.moved |= count > 0;
            if self.at == length {
                (self.part, self.at, self.phases) = (self.part + 1, 0, [0.0; 3]);
            }
        }
        if let Some(left) = &mut self.left {
            *left -= filled;
        }
        filled
    }
}

fn samples_of(length: Duration, wide: bool) -> usize {
    let per_second = if wide { 16_000 } else { 8_000 };
    usize::try_from(length.as_micros().saturating_mul(per_second) / 1_000_000).unwrap_or(usize::MAX)
}

/// Samples from `at` of a tone that is `length` samples long.
fn play_tone(tone: &Tone, phases: &mut [f32; 3], at: usize, length: usize, wide: bool, out: &mut [i16]) {
    let rate = if wide { 16_000.0 } else { 8_000.0 };
    // ITU-T G.711 §5: a sine at full scale has 3.17 dBm0 in µ-law, 3.14 in A-law.
    let amplitude = 32_767.0 * 10f32.powf((f32::from(tone.level) - 3.17) / 20.0);
    let ramp = RAMP_MS * if wide { 16 } else { 8 };
    for (index, sample) in out.iter_mut().enumerate() {
        let mut sum = 0.0;
        for (phase, &hertz) in phases.iter_mut().zip(&tone.frequencies) {
            if hertz > 0 {
                sum += (*phase * std::f32::consts::TAU).sin();
                *phase = (*phase + f32::from(hertz) / rate).fract();
            }
        }
        let position = at + index;
        let from_edge = position.min(length - 1 - position);
        let swell = if from_edge < ramp { (from_edge + 1) as f32 / (ramp + 1) as f32 } else { 1.0 };
        *sample = (sum * amplitude * swell) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Country, Prompt, Signal};
    use super::*;

    fn frames(sound: Sound, codec: VoiceCodec, most: usize) -> Vec<[u8; 160]> {
        let mut voice = Voice::new(Arc::new(sound), codec);
        let mut out = Vec::new();
        let mut frame = [0; 160];
        while out.len() < most && voice.frame(&mut frame) {
            out.push(frame);
        }
        out
    }

    fn decoded(frames: &[[u8; 160]], law: Law) -> Vec<i16> {
        frames.iter().flatten().map(|&octet| law.decode(octet)).collect()
    }

    /// Which share of the power is at `hertz` (Goertzel).
    fn share(samples: &[i16], rate: f64, hertz: f64) -> f64 {
        let turn = std::f64::consts::TAU * hertz / rate;
        let (mut re, mut im, mut power) = (0.0, 0.0, 0.0);
        for (n, &sample) in samples.iter().enumerate() {
            let sample = f64::from(sample);
            re += sample * (turn * n as f64).cos();
            im += sample * (turn * n as f64).sin();
            power += sample * sample;
        }
        2.0 * (re * re + im * im) / (power * samples.len() as f64).max(1.0)
    }

    #[test]
    fn busy_of_the_united_states_is_half_a_second_of_two_sines_and_half_a_second_of_nothing() {
        let samples = decoded(&frames(Country::Us.sound(Signal::Busy), VoiceCodec::Pcmu, 100), Law::Mu);
        assert_eq!(samples.len(), 16_000);
        for second in samples.chunks(8_000) {
            let on = &second[..4_000];
            assert!(share(on, 8_000.0, 480.0) > 0.45 && share(on, 8_000.0, 620.0) > 0.45);
            assert!(second[4_000..].iter().all(|&s| s.abs() < 16));
        }
    }

    #[test]
    fn every_country_has_every_signal_at_a_level_that_is_heard_and_does_not_clip() {
        for code in ["AT", "AU", "CA", "CH", "de", "ES", "FR", "GB", "IT", "JP", "NL", "PL", "RU", "SE", "US", "XX"] {
            for signal in [Signal::Ringing, Signal::Busy, Signal::Congestion, Signal::Information] {
                let sound = Country::from_code(code).sound(signal);
                let samples = decoded(&frames(sound, VoiceCodec::Pcma, 300), Law::A);
                let peak = samples.iter().map(|s| s.unsigned_abs()).max().expect("six seconds");
                assert!((3_000..16_000).contains(&peak), "{code} {signal:?}: {peak}");
            }
        }
    }

    #[test]
    fn a_tone_in_g722_comes_out_of_a_decoder_at_its_pitch() {
        let sound = Sound::once(vec![Part::Tone(Tone::single(1000), Duration::from_secs(1))]);
        let octets: Vec<u8> = frames(sound, VoiceCodec::G722, 1000).concat();
        assert_eq!(octets.len(), 8_000);
        let mut decoder =
            ezk_g722::libg722::decoder::Decoder::new(ezk_g722::libg722::Bitrate::Mode1_64000, false, false);
        let samples = decoder.decode(&octets);
        assert!(share(&samples[1_600..14_400], 16_000.0, 1_000.0) > 0.99);
    }

    #[test]
    fn parts_follow_each_other_without_a_gap_and_the_last_frame_is_filled_up() {
        let prompt = Arc::new(Prompt::from_samples(&[5_000; 100], false));
        let sound = Sound::once(vec![
            Part::Silence(Duration::from_millis(5)),
            Part::Prompt(prompt),
            Part::Silence(Duration::ZERO),
            Part::Tone(Tone::single(400), Duration::from_millis(10)),
        ]);
        let samples = decoded(&frames(sound, VoiceCodec::Pcma, 10), Law::A);
        assert_eq!(samples.len(), 320, "220 samples are two frames");
        assert!(samples[..40].iter().all(|s| s.abs() < 16));
        assert!(samples[40..140].iter().all(|&s| (4_800..5_200).contains(&s)));
        assert!(samples[150..210].iter().any(|s| s.abs() > 1_000));
        assert!(samples[220..].iter().all(|s| s.abs() < 16));
    }

    #[test]
    fn a_sound_ends_when_its_time_is_over_even_if_it_repeats() {
        let ring = || Country::De.sound(Signal::Ringing);
        assert_eq!(frames(ring().at_most(Duration::from_secs(5)), VoiceCodec::Pcma, 1_000).len(), 250);
        assert_eq!(frames(ring(), VoiceCodec::Pcma, 1_000).len(), 1_000);
        assert_eq!(frames(Sound::confirmation(), VoiceCodec::Pcmu, 1_000).len(), 35);
        assert_eq!(frames(Sound::repeated(Vec::new()), VoiceCodec::Pcma, 10).len(), 0);
        let nothing = Sound::repeated(vec![Part::Silence(Duration::ZERO)]);
        assert_eq!(frames(nothing, VoiceCodec::Pcma, 10).len(), 0, "a sound of no length does not turn for ever");
    }
}
