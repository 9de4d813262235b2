//! Mean opinion score from loss and delay: the E-model of ITU-T G.107 with the codec figures of ITU-T G.113.
//! All parameters that cannot be seen from the network have the default values of G.107 table 3. Called for reports.

use std::time::Duration;

use crate::types::CodecHint;

/// Ro - Is with default values, before the delay impairments (G.107 §7.2, §7.3); with delay 0 the rating is 93.2.
const RO_MINUS_IS: f64 = 93.36;
/// Signal-to-noise ratio with default values (G.107 §7.2).
const RO: f64 = 94.77;
/// Sum of the noise powers with default values, dBm0p (G.107 §7.2).
const NO: f64 = -61.18;
/// Receive loudness rating, dB.
const RLR: f64 = 2.0;
/// Talker echo loudness rating, dB.
const TELR: f64 = 65.0;
/// Weighted echo path loss, dB.
const WEPL: f64 = 110.0;
/// What coding, a packet of 20 ms and a phone's play-out add to the delay in the network.
const TERMINAL_DELAY: Duration = Duration::from_millis(40);

/// How a codec impairs speech (G.113 appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Equipment impairment factor without loss, Ie.
    pub ie: f64,
    /// Packet-loss robustness factor, Bpl.
    pub bpl: f64,
}

/// The figures of a codec. `None`: not audio. G.711 as with packet-loss concealment. G.113 has no narrow-band figures
/// for Opus and G.722: they count as unimpaired without loss (the scale ends at narrow-band quality), with a
/// robustness a little under that of concealed G.711. Unknown codecs are taken for GSM EFR.
pub fn impairment(codec: CodecHint) -> Option<Impairment> {
    let (ie, bpl) = match codec {
        CodecHint::G711 => (0.0, 25.1),
        CodecHint::G722 | CodecHint::Opus => (0.0, 20.0),
        CodecHint::G729 => (11.0, 19.0),
        CodecHint::Gsm => (20.0, 43.0),
        CodecHint::Ilbc => (11.0, 32.0),
        CodecHint::G726 => (7.0, 19.0),
        CodecHint::Amr | CodecHint::Speex | CodecHint::OtherAudio => (5.0, 10.0),
        CodecHint::Video | CodecHint::Text | CodecHint::Other => return None,
    };
    Some(Impairment { ie, bpl })
}

/// Transmission rating R, 0–100 (G.107 §7.1), for random loss (burst ratio 1).
///
/// `loss` is the share of packets lost, 0–1; `one_way` the delay from mouth to ear.
pub fn rating(impairment: Impairment, loss: f64, one_way: Duration) -> f64 {
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    // G.107 §7.5: Ie,eff
    let equipment = impairment.ie + (95.0 - impairment.ie) * percent / (percent + impairment.bpl);
    (RO_MINUS_IS - delay_impairment(1000.0 * one_way.as_secs_f64()) - equipment).clamp(0.0, 100.0)
}

/// Mean opinion score, 1.0–4.5, of a rating (G.107 annex B).
pub fn mos(rating: f64) -> f32 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5) as f32
}

/// The score of one direction of a stream: from loss (0–1), jitter and round trip. The play-out buffer is taken for
/// twice the jitter. `None`: not audio.
pub fn stream_mos(codec: CodecHint, loss: f64, jitter: Duration, round_trip: Option<Duration>) -> Option<f32> {
    let one_way = round_trip.unwrap_or_default() / 2 + 2 * jitter + TERMINAL_DELAY;
    Some(mos(rating(impairment(codec)?, loss, one_way)))
}

/// Id = Idte + Idle + Idd (G.107 §7.4) at a one-way delay in milliseconds.
fn delay_impairment(delay: f64) -> f64 {
    talker_echo(delay) + listener_echo(delay) + absolute_delay(delay)
}

/// Idte (G.107 §7.4.1).
fn talker_echo(t: f64) -> f64 {
    let terv = TELR - 40.0 * ((1.0 + t / 10.0) / (1.0 + t / 150.0)).log10() + 6.0 * (-0.3 * t * t).exp();
    let re = 80.0 + 2.5 * (terv - 14.0);
    let roe = -1.5 * (NO - RLR);
    let half = (roe - re) / 2.0;
    ((half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-t).exp())).max(0.0)
}

/// Idle (G.107 §7.4.2), the echo's round trip being twice the delay.
fn listener_echo(t: f64) -> f64 {
    let rle = 10.5 * (WEPL + 7.0) * (2.0 * t + 1.0).powf(-0.25);
    let half = (RO - rle) / 2.0;
    half + (half * half + 169.0).sqrt()
}

/// Idd (G.107 §7.4.3).
fn absolute_delay(t: f64) -> f64 {
    if t <= 100.0 {
        return 0.0;
    }
    let x = (t / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const G711: Impairment = Impairment { ie: 0.0, bpl: 25.1 };

    fn close(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} is not {b} within {by}");
    }

    #[test]
    fn default_values_give_the_rating_93_2_and_mos_4_41_g_107_table_3() {
        let r = rating(G711, 0.0, Duration::ZERO);
        close(r, 93.2, 0.05);
        close(f64::from(mos(r)), 4.41, 0.01);
    }

    #[test]
    fn mos_follows_the_table_of_g_107_annex_b() {
        for (r, expected) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (0.0, 1.0)] {
            close(f64::from(mos(r)), expected, 0.01);
        }
        assert_eq!(mos(100.0), 4.5);
    }

    #[test]
    fn delay_costs_little_until_150_ms_and_much_after_300_ms_g_107_7_4() {
        let at = |ms| delay_impairment(ms) - delay_impairment(0.0);
        close(at(100.0), 2.4, 1.0);
        close(at(150.0), 3.6, 1.5);
        close(at(300.0), 20.7, 3.0);
        close(at(400.0), 34.1, 5.0);
    }

    #[test]
    fn loss_costs_as_ie_eff_says_g_107_7_5() {
        let none = rating(G711, 0.0, Duration::ZERO);
        close(none - rating(G711, 0.01, Duration::ZERO), 95.0 / 26.1, 1e-9);
        close(none - rating(G711, 0.05, Duration::ZERO), 95.0 * 5.0 / 30.1, 1e-9);
        let g729 = impairment(CodecHint::G729).unwrap();
        close(none - rating(g729, 0.0, Duration::ZERO), 11.0, 1e-9);
        close(f64::from(mos(rating(g729, 0.0, Duration::from_millis(50)))), 4.05, 0.06);
    }

    #[test]
    fn everything_lost_is_the_worst_score_and_video_has_none() {
        assert!(stream_mos(CodecHint::G711, 1.0, Duration::ZERO, None).unwrap() < 1.6);
        assert_eq!(stream_mos(CodecHint::Video, 0.0, Duration::ZERO, None), None);
    }
}
