//! G.722 at 64 kbit/s (ITU-T G.722 §3, §4): 16 kHz linear samples to one octet for each two of them, and back. Block names
//! and tables are those of the recommendation. Called by sounds that we make ourselves and by recordings.

/// Predictor and quantiser of one sub-band (blocks 3L/3H and 4L/4H).
#[derive(Clone, Debug)]
struct Band {
    /// Predicted signal, and the zero section's part of it.
    s: i32,
    sz: i32,
    /// Reconstructed signal, partially reconstructed signal and quantised difference, the newest first.
    r: [i32; 3],
    p: [i32; 3],
    d: [i32; 7],
    /// Pole (from 1) and zero (from 1) coefficients.
    a: [i32; 3],
    b: [i32; 7],
    /// Logarithmic scale factor, and the factor itself.
    nb: i32,
    det: i32,
}

impl Band {
    fn new(det: i32) -> Self {
        Band { s: 0, sz: 0, r: [0; 3], p: [0; 3], d: [0; 7], a: [0; 3], b: [0; 7], nb: 0, det }
    }

    /// LOGSCL/LOGSCH and SCALEL/SCALEH: the next scale factor.
    fn scale(&mut self, step: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, most);
        let mantissa = ILB[(self.nb >> 6 & 31) as usize];
        let shift = shift - (self.nb >> 11);
        let factor = if shift < 0 { mantissa << -shift } else { mantissa >> shift };
        self.det = factor << 2;
    }

    /// Block 4: the predictor takes the quantised difference in and predicts the next sample.
    fn predict(&mut self, difference: i32) {
        self.d[0] = difference;
        self.r[0] = saturate(self.s + difference);
        self.p[0] = saturate(self.sz + difference);

        // UPPOL2
        let sign = |value: i32| value >> 15;
        let same = |a: i32, b: i32| sign(a) == sign(b);
        let first = saturate(self.a[1] << 2);
        let turned = if same(self.p[0], self.p[1]) { -first } else { first }.min(32767);
        let step = if same(self.p[0], self.p[2]) { 128 } else { -128 };
        let second = (step + (turned >> 7) + product(self.a[2], 32512)).clamp(-12288, 12288);
        // UPPOL1
        let step = if same(self.p[0], self.p[1]) { 192 } else { -192 };
        let limit = saturate(15360 - second);
        let first = saturate(step + product(self.a[1], 32640)).clamp(-limit, limit);
        // UPZERO
        let step = if difference == 0 { 0 } else { 128 };
        for i in 1..7 {
            let step = if same(self.d[i], difference) { step } else { -step };
            self.b[i] = saturate(step + product(self.b[i], 32640));
        }
        // DELAYA
        self.d.copy_within(0..6, 1);
        self.r.copy_within(0..2, 1);
        self.p.copy_within(0..2, 1);
        (self.a[1], self.a[2]) = (first, second);
        // FILTEP, FILTEZ, PREDIC
        let doubled = |value: i32| saturate(value + value);
        let poles = saturate(product(self.a[1], doubled(self.r[1])) + product(self.a[2], doubled(self.r[2])));
        self.sz = saturate((1..7).map(|i| product(self.b[i], doubled(self.d[i]))).sum());
        self.s = saturate(poles + self.sz);
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(-32768, 32767)
}

/// Of two numbers in 2^-15.
fn product(a: i32, b: i32) -> i32 {
    (a * b) >> 15
}

/// Table 11: coefficients of the quadrature mirror filter, every other one; the rest mirror these.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Table 14: decision levels of the lower band's 6-bit quantiser.
const Q6: [i32; 31] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
    1458, 1612, 1765, 1980, 2195, 2557, 2919, 0,
];
/// Table 18: scale factor multipliers and their indexes.
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const WH: [i32; 3] = [0, -214, 798];
const RH2: [usize; 4] = [2, 1, 2, 1];
/// Table 20: 2^(i/32) in steps of 2^-11.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
/// Tables 16 and 17: output levels of the inverse quantisers.
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
/// The same for all six bits of the lower band, which the decoder hears and the predictor does not.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// The code word of the lower band's interval `level` (1 to 30).
fn lower_code(level: usize, negative: bool) -> u8 {
    match (level as u8, negative) {
        // Table 15: the first two negative ones stand at the end of the range.
        (1, true) => 63,
        (2, true) => 62,
        (level, true) => 34 - level,
        (level, false) => 62 - level,
    }
}

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The last 24 samples, the oldest first.
    history: [i32; 24],
    lower: Band,
    higher: Band,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder { history: [0; 24], lower: Band::new(32), higher: Band::new(8) }
    }
}

impl Encoder {
    /// 16 kHz samples into `out`, an octet for each pair; an odd one at the end is left out.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) {
        for (pair, octet) in samples.as_chunks::<2>().0.iter().zip(out) {
            *octet = self.pair(i32::from(pair[0]), i32::from(pair[1]));
        }
    }

    fn pair(&mut self, first: i32, second: i32) -> u8 {
        self.history.copy_within(2.., 0);
        (self.history[22], self.history[23]) = (first, second);
        let odd: i32 = (0..12).map(|i| self.history[2 * i] * QMF[i]).sum();
        let even: i32 = (0..12).map(|i| self.history[2 * i + 1] * QMF[11 - i]).sum();
        let low = self.lower_band((even + odd) >> 14);
        let high = self.higher_band((even - odd) >> 14);
        high << 6 | low
    }

    fn lower_band(&mut self, sample: i32) -> u8 {
        let band = &mut self.lower;
        let difference = saturate(sample - band.s);
        let magnitude = if difference < 0 { -(difference + 1) } else { difference };
        let level = (1..30).find(|&i| magnitude < (Q6[i] * band.det) >> 12).unwrap_or(30);
        let code = lower_code(level, difference < 0);
        let index = usize::from(code >> 2);
        let quantised = product(band.det, QM4[index]);
        band.scale(WL[RL42[index]], 18432, 8);
        band.predict(quantised);
        code
    }

    fn higher_band(&mut self, sample: i32) -> u8 {
        let band = &mut self.higher;
        let difference = saturate(sample - band.s);
        let magnitude = if difference < 0 { -(difference + 1) } else { difference };
        let outer = magnitude >= (564 * band.det) >> 12;
        let code = match (difference < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        let quantised = product(band.det, QM2[usize::from(code)]);
        band.scale(WH[RH2[usize::from(code)]], 22528, 10);
        band.predict(quantised);
        code
    }
}

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Sums and differences of the bands, the oldest first.
    history: [i32; 24],
    lower: Band,
    higher: Band,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder { history: [0; 24], lower: Band::new(32), higher: Band::new(8) }
    }
}

impl Decoder {
    /// The two samples at 16 kHz of an octet.
    pub fn decode(&mut self, octet: u8) -> [i16; 2] {
        let low = self.lower_band(octet & 0x3F);
        let high = self.higher_band(octet >> 6);
        self.history.copy_within(2.., 0);
        (self.history[22], self.history[23]) = (low + high, low - high);
        let odd: i32 = (0..12).map(|i| self.history[2 * i + 1] * QMF[11 - i]).sum();
        let even: i32 = (0..12).map(|i| self.history[2 * i] * QMF[i]).sum();
        [saturate(odd >> 11) as i16, saturate(even >> 11) as i16]
    }

    fn lower_band(&mut self, code: u8) -> i32 {
        let band = &mut self.lower;
        let heard = limit(band.s + product(band.det, QM6[usize::from(code)]));
        let index = usize::from(code >> 2);
        let quantised = product(band.det, QM4[index]);
        band.scale(WL[RL42[index]], 18432, 8);
        band.predict(quantised);
        heard
    }

    fn higher_band(&mut self, code: u8) -> i32 {
        let band = &mut self.higher;
        let quantised = product(band.det, QM2[usize::from(code)]);
        let heard = limit(band.s + quantised);
        band.scale(WH[RH2[usize::from(code)]], 22528, 10);
        band.predict(quantised);
        heard
    }
}

/// Block LIMIT.
fn limit(value: i32) -> i32 {
    value.clamp(-16384, 16383)
}

#[cfg(test)]
mod tests {
    use ezk_g722::libg722::Bitrate;
    use ezk_g722::libg722::decoder::Decoder as Theirs;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn encode(samples: &[i16]) -> Vec<u8> {
        let mut out = vec![0; samples.len() / 2];
        Encoder::default().encode(samples, &mut out);
        out
    }

    fn sine(hertz: f32, amplitude: f32, samples: usize) -> Vec<i16> {
        let sample = |n: usize| (n as f32 * hertz / 16_000.0 * std::f32::consts::TAU).sin() * amplitude;
        (0..samples).map(|n| sample(n) as i16).collect()
    }

    /// Signal to noise in decibels, once the filters (a delay of 22 samples) and the predictor have settled.
    fn quality(samples: &[i16]) -> f64 {
        let decoded = Theirs::new(Bitrate::Mode1_64000, false, false).decode(&encode(samples));
        assert_eq!(decoded.len(), samples.len());
        let (mut error, mut power) = (0.0, 0.0);
        for (a, b) in samples.iter().zip(&decoded[22..]).skip(1_000) {
            error += (f64::from(*a) - f64::from(*b)).powi(2);
            power += f64::from(*a).powi(2);
        }
        10.0 * (power / error).log10()
    }

    #[test]
    fn tones_of_both_bands_come_out_of_a_decoder_as_they_went_in() {
        for (hertz, at_least) in [(300.0, 30.0), (1_000.0, 30.0), (2_500.0, 25.0), (5_500.0, 12.0)] {
            let decibels = quality(&sine(hertz, 8_000.0, 16_000));
            assert!(decibels > at_least, "{hertz} Hz: signal to noise {decibels:.1} dB");
        }
    }

    #[test]
    fn noise_and_full_scale_do_not_upset_the_predictor() {
        let mut rng = rand::rngs::ChaCha12Rng::seed_from_u64(722);
        let noise: Vec<i16> = (0..32_000).map(|_| rng.random_range(-9_000..9_000)).collect();
        assert!(quality(&noise) > 8.0, "noise: {:.1} dB", quality(&noise));
        let mut mixed: Vec<i16> = (0..8_000).map(|n| if n / 37 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        mixed.extend(sine(1_000.0, 8_000.0, 16_000));
        let decoded = Theirs::new(Bitrate::Mode1_64000, false, false).decode(&encode(&mixed));
        let tail: Vec<i16> = decoded[12_000..].to_vec();
        let peak = tail.iter().map(|s| s.unsigned_abs()).max();
        assert!(peak.is_some_and(|p| (7_000..9_000).contains(&p)), "after a square wave at full scale: {peak:?}");
    }

    #[test]
    fn silence_is_silent() {
        let decoded = Theirs::new(Bitrate::Mode1_64000, false, false).decode(&encode(&[0; 3_200]));
        assert!(decoded.iter().all(|s| s.unsigned_abs() < 64));
    }

    /// Noise at eight levels; the octets are those that FFmpeg's encoder gives (`-f g722 -trellis 0`), here by their
    /// FNV-1a hash.
    #[test]
    fn every_octet_is_that_of_another_implementation() {
        let mut state = 1u32;
        let samples: Vec<i16> = (0..32_000)
            .map(|n| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as i16) >> (n / 4_000 % 8)
            })
            .collect();
        let hash = |hash: u64, octet: &u8| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        assert_eq!(encode(&samples).iter().fold(0xcbf2_9ce4_8422_2325, hash), 0xb90b_5498_99df_fda3);
    }

    /// Octets of every kind; the samples are those that FFmpeg's decoder gives, here by the hash of their octets.
    #[test]
    fn every_sample_is_that_of_another_implementation() {
        let mut state = 1u32;
        let mut decoder = Decoder::default();
        let samples = (0..16_000).flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            decoder.decode((state >> 24) as u8)
        });
        let hash = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
        assert_eq!(samples.flat_map(i16::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, hash), 0x57db_14aa_b0aa_b689);
    }

    #[test]
    fn what_was_encoded_comes_back() {
        let samples = sine(1_000.0, 8_000.0, 16_000);
        let mut decoder = Decoder::default();
        let decoded: Vec<i16> = encode(&samples).into_iter().flat_map(|octet| decoder.decode(octet)).collect();
        let off = samples[1_000..].iter().zip(&decoded[1_022..]).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off.is_some_and(|off| off < 500), "{off:?}");
    }

    /// ITU-T G.722 §3.6.2.5 and §3.6.3.4: the scale factors begin at 32 and 8.
    #[test]
    fn the_first_octet_of_silence_is_that_of_the_initial_state() {
        assert_eq!(encode(&[0; 2]), [250]);
    }
}
