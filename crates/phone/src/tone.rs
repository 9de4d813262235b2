//! A sine tone in G.711 and the detector that finds it again (Goertzel): what proves that audio went from one end
//! to the other, in which direction and how much of it. 8 kHz, frames of 20 ms (RFC 3551 §4.5.14).
//! Called by `media` and by the tests that read recordings.

use std::f32::consts::TAU;

pub use ringfort_media::g711::Law;

/// Samples per second of G.711.
pub const SAMPLE_RATE: u32 = 8000;
/// Samples, and so octets, in one 20 ms frame of G.711.
pub const FRAME: usize = 160;

/// An endless sine, frame by frame.
#[derive(Clone, Debug)]
pub struct Tone {
    law: Law,
    hertz: u16,
    /// Fraction of a turn, 0 to 1.
    phase: f32,
}

impl Tone {
    /// Peak of the sine: 12 dB below full scale.
    const AMPLITUDE: f32 = 8192.0;

    /// A tone of that frequency; it starts at phase zero.
    pub fn new(law: Law, hertz: u16) -> Self {
        Self { law, hertz, phase: 0.0 }
    }

    /// Its frequency.
    pub fn hertz(&self) -> u16 {
        self.hertz
    }

    /// Appends the next 20 ms.
    pub fn write_frame(&mut self, out: &mut Vec<u8>) {
        let step = f32::from(self.hertz) / SAMPLE_RATE as f32;
        for _ in 0..FRAME {
            let sample = (TAU * self.phase).sin() * Self::AMPLITUDE;
            out.push(self.law.encode(sample as i16));
            self.phase = (self.phase + step).fract();
        }
    }
}

/// Power of one frequency in the samples, as a share of all their power: a pure tone gives about 1, noise about 0.
/// Goertzel's recurrence; silence gives 0.
pub fn tone_share(samples: &[i16], sample_rate: u32, hertz: f32) -> f32 {
    let total: f32 = samples.iter().map(|&s| f32::from(s) * f32::from(s)).sum();
    if samples.is_empty() || total < samples.len() as f32 * 16.0 {
        return 0.0;
    }
    let coefficient = 2.0 * (TAU * hertz / sample_rate as f32).cos();
    let (mut s1, mut s2) = (0.0f32, 0.0f32);
    for &sample in samples {
        let s0 = f32::from(sample) + coefficient * s1 - s2;
        (s2, s1) = (s1, s0);
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    (2.0 * power / (samples.len() as f32 * total)).clamp(0.0, 1.0)
}

/// What a [`Detector`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// The frequency of most frames; `None` where no frame had a tone.
    pub hertz: Option<u16>,
    /// Frames with that tone.
    pub frames: u32,
    /// All frames.
    pub total: u32,
}

impl Heard {
    /// Frames with the tone out of all frames, 0 to 1.
    pub fn share(&self) -> f32 {
        if self.total == 0 { 0.0 } else { self.frames as f32 / self.total as f32 }
    }
}

/// Says which one of a few frequencies arrives, frame by frame of 20 ms.
#[derive(Clone, Debug)]
pub struct Detector {
    sample_rate: u32,
    /// Frequency and frames that had it.
    candidates: Vec<(u16, u32)>,
    total: u32,
    frame: Vec<i16>,
}

impl Detector {
    /// A frame has a tone where that much of its power is the tone's.
    const THRESHOLD: f32 = 0.7;

    /// Listens for those frequencies (Hz, below half of `sample_rate`).
    pub fn new(sample_rate: u32, candidates: impl IntoIterator<Item = u16>) -> Self {
        let candidates = candidates.into_iter().map(|hertz| (hertz, 0)).collect();
        Self { sample_rate, candidates, total: 0, frame: Vec::new() }
    }

    fn frame_len(&self) -> usize {
        (self.sample_rate / 50).max(1) as usize
    }

    /// Samples as they come; a frame is judged when it is full.
    pub fn push(&mut self, samples: &[i16]) {
        let frame_len = self.frame_len();
        let mut rest = samples;
        while !rest.is_empty() {
            let take = (frame_len - self.frame.len()).min(rest.len());
            self.frame.extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if self.frame.len() == frame_len {
                let frame = std::mem::take(&mut self.frame);
                self.judge(&frame);
                self.frame = frame;
                self.frame.clear();
            }
        }
    }

    /// G.711 octets as they come.
    pub fn push_g711(&mut self, law: Law, payload: &[u8]) {
        let mut samples = [0i16; FRAME];
        for chunk in payload.chunks(FRAME) {
            for (sample, &octet) in samples.iter_mut().zip(chunk) {
                *sample = law.decode(octet);
            }
            self.push(&samples[..chunk.len()]);
        }
    }

    fn judge(&mut self, frame: &[i16]) {
        self.total += 1;
        // The tone of the frame before comes first: mostly it is the same, and one pass is enough.
        for index in 0..self.candidates.len() {
            if tone_share(frame, self.sample_rate, f32::from(self.candidates[index].0)) >= Self::THRESHOLD {
                self.candidates[index].1 += 1;
                self.candidates.swap(0, index);
                return;
            }
        }
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        let best = self.candidates.iter().filter(|&&(_, frames)| frames > 0).max_by_key(|&&(_, frames)| frames);
        Heard { hertz: best.map(|&(hertz, _)| hertz), frames: best.map_or(0, |&(_, frames)| frames), total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detector_names_the_tone_that_was_sent_and_no_other() {
        for law in [Law::Mu, Law::A] {
            for hertz in [440u16, 1000, 1330, 2100] {
                let mut tone = Tone::new(law, hertz);
                let mut detector = Detector::new(SAMPLE_RATE, [440, 1000, 1330, 2100]);
                for _ in 0..50 {
                    let mut frame = Vec::new();
                    tone.write_frame(&mut frame);
                    detector.push_g711(law, &frame);
                }
                let heard = detector.heard();
                assert_eq!((heard.hertz, heard.frames, heard.total), (Some(hertz), 50, 50));
            }
        }
    }

    #[test]
    fn detector_hears_nothing_in_silence_and_in_another_tone() {
        let mut detector = Detector::new(SAMPLE_RATE, [1000]);
        detector.push(&[0; 8000]);
        let mut tone = Tone::new(Law::A, 620);
        for _ in 0..50 {
            let mut frame = Vec::new();
            tone.write_frame(&mut frame);
            detector.push_g711(Law::A, &frame);
        }
        let heard = detector.heard();
        assert_eq!((heard.hertz, heard.total), (None, 100));
        assert_eq!(heard.share(), 0.0);
    }

    #[test]
    fn detector_takes_frames_of_any_length_and_other_sample_rates() {
        let mut detector = Detector::new(48_000, [1000]);
        let samples: Vec<i16> =
            (0..48_000).map(|n| ((TAU * 1000.0 * n as f32 / 48_000.0).sin() * 5000.0) as i16).collect();
        samples.chunks(777).for_each(|chunk| detector.push(chunk));
        assert_eq!(detector.heard(), Heard { hertz: Some(1000), frames: 50, total: 50 });
    }
}
