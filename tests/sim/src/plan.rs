//! What a run does, drawn from one seed: how bad the network is, which phones there are and how they answer, and a
//! list of steps. Plain data, so that a failing run can be made smaller (`shrink`).

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_phone::{AnswerPolicy, SrtpMode};
use ringfort_sip::flow::Transport;

use crate::net::Link;

/// One phone.
#[derive(Clone, Copy, Debug)]
pub struct PhonePlan {
    /// Index of its extension.
    pub extension: usize,
    pub transport: Transport,
    pub link: Link,
    pub answer: AnswerPolicy,
    pub reliable: bool,
    pub session_timer: Option<u32>,
    /// Not every phone knows session timers (RFC 4028).
    pub knows_timer: bool,
    pub expires: Duration,
    pub max_forwards: u8,
    pub srtp: SrtpMode,
    /// Draws what the phone does in calls that come to it.
    pub seed: u64,
}

/// What one phone does, or what befalls the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Register,
    Unregister,
    /// Calls the extension with that index; one beyond the last does not exist.
    Call {
        extension: usize,
        late_offer: bool,
        cancel_after: Option<Duration>,
    },
    Message {
        extension: usize,
    },
    Options,
    SetAnswer(AnswerPolicy),
    /// The phone loses power and starts anew that much later.
    Reboot {
        down: Duration,
    },
    /// The switch dies (`kill -9`) and starts anew that much later.
    CrashSwitch {
        down: Duration,
    },
    /// The administrator disables or enables the extension.
    SetEnabled {
        extension: usize,
        enabled: bool,
    },
}

/// An action at its time.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub at: Duration,
    pub phone: usize,
    pub action: Action,
    /// Draws what follows from it (how long a call lasts, whether it is held …).
    pub seed: u64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub extensions: usize,
    pub phones: Vec<PhonePlan>,
    pub steps: Vec<Step>,
    /// Media packets flow through a real relay.
    pub media: bool,
    /// Faults are rare enough that no transaction may time out.
    pub mild: bool,
    /// Calls last that long and nothing else happens in them. `None`: as `script` draws it for each.
    pub talk: Option<Duration>,
}

impl Plan {
    /// Whether the switch dies in it.
    pub fn crashes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.action, Action::CrashSwitch { .. }))
    }

    /// Calls that it tries.
    pub fn calls(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.action, Action::Call { .. })).count()
    }
}

fn millis(rng: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

fn link(rng: &mut ChaCha8Rng, mild: bool) -> Link {
    let worst = if mild { 0.01 } else { 0.08 };
    let latency = millis(rng, 1, 60);
    Link {
        latency,
        jitter: latency.mul_f64(rng.random_range(0.0..1.5)),
        loss: if rng.random_bool(0.5) { rng.random_range(0.0..worst) } else { 0.0 },
        duplicate: if rng.random_bool(0.3) { rng.random_range(0.0..0.1) } else { 0.0 },
        reorder: if rng.random_bool(0.3) { rng.random_range(0.0..0.2) } else { 0.0 },
    }
}

fn answer(rng: &mut ChaCha8Rng) -> AnswerPolicy {
    match rng.random_range(0..100) {
        0..50 => AnswerPolicy::Answer { after: millis(rng, 0, 4000) },
        50..60 => AnswerPolicy::Answer { after: Duration::ZERO },
        60..75 => AnswerPolicy::EarlyMedia { after: millis(rng, 100, 5000) },
        75..80 => AnswerPolicy::RingOnly,
        80..90 => AnswerPolicy::Reject { status: 486, after: Duration::ZERO },
        90..96 => AnswerPolicy::Reject { status: 603, after: millis(rng, 0, 3000) },
        _ => {
            let status = [480, 404, 488, 500, 503, 408, 302][rng.random_range(0..7)];
            AnswerPolicy::Reject { status, after: millis(rng, 0, 1000) }
        }
    }
}

/// The phones of extension `extension`: one mostly, up to four.
fn phones_of(rng: &mut ChaCha8Rng, extension: usize, mild: bool, secure: bool) -> Vec<PhonePlan> {
    let count = if rng.random_bool(0.3) { rng.random_range(2..=4) } else { 1 };
    (0..count)
        .map(|_| {
            let transport = match rng.random_range(0..10) {
                0..6 => Transport::Udp,
                6..8 => Transport::Tcp,
                _ => Transport::Tls,
            };
            let knows_timer = rng.random_bool(0.7);
            PhonePlan {
                extension,
                transport,
                link: link(rng, mild),
                answer: answer(rng),
                reliable: rng.random_bool(0.3),
                session_timer: (knows_timer && rng.random_bool(0.3)).then(|| rng.random_range(90..600)),
                knows_timer,
                expires: Duration::from_secs([60, 120, 600, 3600][rng.random_range(0..4)]),
                max_forwards: if rng.random_bool(0.9) { 70 } else { rng.random_range(2..70) },
                srtp: if secure && transport == Transport::Tls { SrtpMode::Offer } else { SrtpMode::Off },
                seed: rng.random(),
            }
        })
        .collect()
}

/// The plan of a seed, with about that many calls.
pub fn draw(seed: u64, calls: usize) -> Plan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mild = rng.random_bool(0.7);
    let secure = rng.random_bool(0.5);
    let crash = rng.random_bool(0.2);
    let extensions = rng.random_range(2..=8);
    let phones: Vec<PhonePlan> = (0..extensions).flat_map(|n| phones_of(&mut rng, n, mild, secure)).collect();
    let mut steps = Vec::new();
    let mut step = |rng: &mut ChaCha8Rng, at, phone, action| {
        steps.push(Step { at, phone, action, seed: rng.random() });
    };
    for phone in 0..phones.len() {
        let at = millis(&mut rng, 0, 3000);
        step(&mut rng, at, phone, Action::Register);
    }
    // Between the calls of all phones: 1 s on the average, so that several run at once.
    let mut at = Duration::from_secs(5);
    let mut done = 0;
    while done < calls {
        at += millis(&mut rng, 0, 2500);
        let phone = rng.random_range(0..phones.len());
        let action = match rng.random_range(0..1000) {
            0..880 => {
                done += 1;
                let extension = match rng.random_range(0..50) {
                    0 => extensions,
                    _ => rng.random_range(0..extensions),
                };
                let cancel_after = rng.random_bool(0.15).then(|| millis(&mut rng, 0, 5000));
                Action::Call { extension, late_offer: rng.random_bool(0.05), cancel_after }
            }
            880..905 => Action::Message { extension: rng.random_range(0..extensions) },
            905..915 => Action::Options,
            915..955 => Action::SetAnswer(answer(&mut rng)),
            955..970 => Action::Unregister,
            970..985 => Action::Register,
            985..994 => Action::Reboot { down: millis(&mut rng, 10, 60_000) },
            994..997 if crash => Action::CrashSwitch { down: millis(&mut rng, 10, 20_000) },
            _ => Action::SetEnabled { extension: rng.random_range(0..extensions), enabled: rng.random_bool(0.7) },
        };
        step(&mut rng, at, phone, action);
    }
    Plan { seed, extensions, phones, steps, media: false, mild, talk: None }
}
