//! A WAV file of what was recorded.

use std::io::Cursor;

use hound::{SampleFormat, WavSpec, WavWriter};

/// 16-bit PCM, mono, at 16 kHz (`wide`) or 8 kHz; `Prompt::from_wav` reads it.
pub fn wav(samples: &[i16], wide: bool) -> Vec<u8> {
    const HEAD: usize = 44;
    let sample_rate = if wide { 16_000 } else { 8_000 };
    let spec = WavSpec { channels: 1, sample_rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::with_capacity(HEAD + 2 * samples.len()));
    let written = WavWriter::new(&mut file, spec).and_then(|mut writer| {
        samples.iter().try_for_each(|&sample| writer.write_sample(sample))?;
        writer.finalize()
    });
    written.expect("memory takes what is written, and the samples are fewer than 4 GB");
    file.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::Prompt;

    #[test]
    fn what_was_recorded_can_be_played() {
        let samples: Vec<i16> = (0..1_600).map(|n| n * 20 - 16_000).collect();
        for wide in [false, true] {
            let prompt = Prompt::from_wav(&wav(&samples, wide)).expect("it is a prompt");
            assert_eq!(prompt.samples(wide), samples);
        }
        assert_eq!(wav(&[], true).len(), 44);
    }
}
