//! G.711, both laws: 16-bit linear samples to octets and back. Called by sounds that we make and by the built-in phones.

/// The two laws of ITU-T G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Law {
    /// PCMU, payload type 0.
    Mu,
    /// PCMA, payload type 8.
    #[default]
    A,
}

impl Law {
    /// Static payload type (RFC 3551 table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Law::Mu => 0,
            Law::A => 8,
        }
    }

    /// The encoding name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        }
    }

    /// The law of a static payload type.
    pub const fn from_payload_type(payload_type: u8) -> Option<Law> {
        match payload_type {
            0 => Some(Law::Mu),
            8 => Some(Law::A),
            _ => None,
        }
    }

    /// One 16-bit linear sample to one octet.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => mu_encode(sample),
            Law::A => a_encode(sample),
        }
    }

    /// One octet to a 16-bit linear sample.
    pub fn decode(self, octet: u8) -> i16 {
        match self {
            Law::Mu => mu_decode(octet),
            Law::A => a_decode(octet),
        }
    }
}

/// ITU-T G.711 §3.2: 14-bit magnitude with a bias of 33, here on 16 bits (bias 132), three segment bits, four of mantissa.
fn mu_encode(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let negative = sample < 0;
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let segment = (31 - magnitude.leading_zeros() as i32) - 7;
    let mantissa = magnitude >> (segment + 3) & 0x0F;
    let code = (if negative { 0x80 } else { 0 }) | segment << 4 | mantissa;
    !(code as u8)
}

fn mu_decode(octet: u8) -> i16 {
    let code = i32::from(!octet);
    let segment = code >> 4 & 7;
    let magnitude = ((code & 0x0F) << 3 | 0x84) << segment;
    let value = magnitude - 0x84;
    (if code & 0x80 != 0 { -value } else { value }) as i16
}

/// ITU-T G.711 §3.1: 13-bit samples, even bits inverted on the line (0x55).
fn a_encode(sample: i16) -> u8 {
    let positive = sample >= 0;
    let value = i32::from(sample) >> 3;
    let magnitude = if positive { value } else { -value - 1 };
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = (31 - magnitude.leading_zeros() as i32) - 4;
        segment << 4 | (magnitude >> segment & 0x0F)
    };
    (code as u8 | if positive { 0x80 } else { 0 }) ^ 0x55
}

fn a_decode(octet: u8) -> i16 {
    let code = i32::from(octet ^ 0x55);
    let segment = code >> 4 & 7;
    let mantissa = (code & 0x0F) << 4;
    let magnitude = match segment {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (segment - 1),
    };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g711_round_trip_keeps_12_bits_of_a_loud_sample() {
        for law in [Law::Mu, Law::A] {
            for sample in (-32_000i16..=32_000).step_by(37) {
                let back = law.decode(law.encode(sample));
                let allowed = (i32::from(sample).abs() / 16).max(16);
                let error = (i32::from(back) - i32::from(sample)).abs();
                assert!(error <= allowed, "{law:?} {sample} came back as {back}");
            }
        }
    }

    /// ITU-T G.711 tables 1a and 2a: the first code of each law, and silence.
    #[test]
    fn g711_codes_of_silence_and_full_scale_are_those_of_the_tables() {
        assert_eq!(Law::Mu.encode(0), 0xFF);
        assert_eq!(Law::A.encode(0), 0xD5);
        assert_eq!(Law::Mu.encode(i16::MAX), 0x80);
        assert_eq!(Law::A.encode(i16::MAX), 0xAA);
        assert_eq!(Law::Mu.encode(i16::MIN), 0x00);
        assert_eq!(Law::A.encode(i16::MIN), 0x2A);
    }

    #[test]
    fn every_g711_code_decodes_and_encodes_to_itself() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255u8 {
                // µ-law has two zeros.
                if law == Law::Mu && code == 0x7F {
                    continue;
                }
                assert_eq!(law.encode(law.decode(code)), code, "{law:?}");
            }
        }
    }
}
