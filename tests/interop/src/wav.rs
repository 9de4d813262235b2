//! WAV files of 16-bit PCM: the tone that goes in, the recording that comes out.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use ringfort_phone::tone::{Detector, Heard, Law, SAMPLE_RATE, Tone};

/// Writes a tone, 8 kHz mono.
pub fn write_tone(path: &Path, hertz: u16, seconds: u32) -> anyhow::Result<()> {
    let mut tone = Tone::new(Law::A, hertz);
    let mut octets = Vec::new();
    for _ in 0..seconds * 50 {
        tone.write_frame(&mut octets);
    }
    let data: Vec<u8> = octets.iter().flat_map(|&octet| Law::A.decode(octet).to_le_bytes()).collect();
    let len = data.len() as u32;
    let mut out = Vec::with_capacity(data.len() + 44);
    out.extend(b"RIFF");
    out.extend((36 + len).to_le_bytes());
    out.extend(b"WAVEfmt ");
    out.extend(16u32.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(SAMPLE_RATE.to_le_bytes());
    out.extend((SAMPLE_RATE * 2).to_le_bytes());
    out.extend(2u16.to_le_bytes());
    out.extend(16u16.to_le_bytes());
    out.extend(b"data");
    out.extend(len.to_le_bytes());
    out.extend(data);
    fs::write(path, out).with_context(|| format!("cannot write {}", path.display()))
}

/// Samples per second and the samples of a mono file. A length of the data chunk that runs past the end is taken as
/// "up to the end": a recorder that was stopped leaves it so.
pub fn read(path: &Path) -> anyhow::Result<(u32, Vec<i16>)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some(mut rest) = bytes.strip_prefix(b"RIFF").and_then(|rest| rest.get(8..)) else {
        bail!("{} is no WAV file", path.display());
    };
    let mut rate = SAMPLE_RATE;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let (id, len) = head.split_at(4);
        let len = u32::from_le_bytes(len.try_into()?) as usize;
        let chunk = &body[..len.min(body.len())];
        match id {
            b"fmt " => {
                let Some(format) = chunk.first_chunk::<16>() else { bail!("a short fmt chunk") };
                if format[2..4] != [1, 0] || format[14..16] != [16, 0] {
                    bail!("expected 16-bit mono");
                }
                rate = u32::from_le_bytes([format[4], format[5], format[6], format[7]]);
            }
            b"data" => {
                return Ok((rate, chunk.as_chunks::<2>().0.iter().map(|&pair| i16::from_le_bytes(pair)).collect()));
            }
            _ => {}
        }
        rest = body.get((len + 1) & !1..).unwrap_or_default();
    }
    bail!("{} has no data chunk", path.display())
}

/// Which of the frequencies is in the samples.
pub fn heard(rate: u32, samples: &[i16], candidates: impl IntoIterator<Item = u16>) -> Heard {
    let mut detector = Detector::new(rate, candidates);
    detector.push(samples);
    detector.heard()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    #[test]
    fn a_tone_that_was_written_is_read_and_found() -> anyhow::Result<()> {
        let place = Place::new()?;
        let path = place.path("tone.wav");
        write_tone(&path, 1000, 2)?;
        let (rate, samples) = read(&path)?;
        assert_eq!((rate, samples.len()), (8000, 16_000));
        let found = heard(rate, &samples, [440, 1000, 1500]);
        assert_eq!((found.hertz, found.frames), (Some(1000), 100));
        Ok(())
    }
}
