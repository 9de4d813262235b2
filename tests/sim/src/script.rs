//! What people do in a call that is up: how long they talk, whether they hold, who hangs up. Drawn from a seed.

use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_phone::tone::Law;
use ringfort_phone::{CallRef, Phone, PhoneError};
use ringfort_sip::session_timer::SessionTimer;

/// One thing to do in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Cancel,
    /// 183 to a call that waits for an answer.
    Progress,
    HangUp,
    /// Both ends at the same moment.
    BothHangUp,
    Hold,
    /// Both ends at the same moment: glare.
    BothHold,
    Resume,
    Reinvite,
    Update,
    Codec(Law),
    Info,
}

impl Op {
    /// Whether the other end does the same at the same moment.
    pub fn is_mutual(self) -> bool {
        matches!(self, Op::BothHangUp | Op::BothHold)
    }
}

/// The ops of a call that has just been answered, each with its time from now; the last one hangs up.
pub fn talk(seed: u64) -> Vec<(Duration, Op)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let talk = if rng.random_bool(0.1) { 0 } else { rng.random_range(0..30_000) };
    let mut ops = Vec::new();
    if rng.random_bool(0.35) {
        for _ in 0..rng.random_range(1..=3) {
            let at = Duration::from_millis(rng.random_range(0..=talk));
            let op = match rng.random_range(0..14) {
                0..4 => {
                    ops.push((at + Duration::from_millis(rng.random_range(200..4000)), Op::Resume));
                    Op::Hold
                }
                4..6 => Op::BothHold,
                6..8 => Op::Reinvite,
                8..10 => Op::Update,
                10 => Op::Codec(Law::Mu),
                11 => Op::Codec(Law::A),
                _ => Op::Info,
            };
            ops.push((at, op));
        }
    }
    let end = if rng.random_bool(0.1) { Op::BothHangUp } else { Op::HangUp };
    ops.push((Duration::from_millis(talk), end));
    ops
}

/// Carries out an op.
pub fn act(phone: &mut Phone, now: Instant, call: CallRef, op: Op) -> Result<(), PhoneError> {
    match op {
        Op::Cancel => phone.cancel(now, call),
        Op::Progress => phone.early_media(now, call),
        Op::HangUp | Op::BothHangUp => phone.hang_up(now, call),
        Op::Hold | Op::BothHold => phone.hold(now, call),
        Op::Resume => phone.resume(now, call),
        Op::Reinvite => phone.reinvite(now, call),
        Op::Update => phone.update(now, call),
        Op::Codec(law) => phone.change_codec(now, call, law),
        Op::Info => phone.info(now, call, "application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n"),
    }
}

/// A session timer of that many seconds.
pub fn session_timer(expires: u32) -> SessionTimer {
    SessionTimer { expires, min_se: 90, refresher: None }
}
