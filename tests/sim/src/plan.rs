//! What a run does, drawn from one seed: how bad the network is, which phones there are and how they answer, and a
//! list of steps. Plain data, so that a failing run can be made smaller (`shrink`).

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_phone::{AnswerPolicy, SrtpMode};
use ringfort_sip::flow::Transport;

use crate::lines::{self, LinesPlan};
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
    /// Lines of video that it offers and takes.
    pub video: usize,
    /// How often it says 183 to a call before it does anything else.
    pub chatty: u8,
    /// As a caller it holds its PRACKs back: until so long after the first one of a call, and then they go out at once.
    pub holds_pracks: Duration,
    pub twist: Option<Twist>,
    /// It does not know its password, and stands where nobody is spared.
    pub thief: bool,
    /// Draws what the phone does in calls that come to it.
    pub seed: u64,
}

/// A host whose answers to INVITE come twice: once as they are, and once as of another dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twist {
    /// The other dialog is none that the INVITE could have begun; else it is that of another fork.
    pub foreign: bool,
    /// The other one comes before the right one.
    pub first: bool,
}

impl PhonePlan {
    /// A phone by UDP on a wire without faults that rings for a second and answers.
    pub fn plain(extension: usize) -> Self {
        PhonePlan {
            extension,
            transport: Transport::Udp,
            link: Link { latency: Duration::from_millis(20), ..Link::PERFECT },
            answer: AnswerPolicy::Answer { after: Duration::from_secs(1) },
            reliable: false,
            session_timer: None,
            knows_timer: true,
            expires: Duration::from_secs(3600),
            max_forwards: 70,
            srtp: SrtpMode::Off,
            video: 0,
            chatty: 0,
            holds_pracks: Duration::ZERO,
            twist: None,
            thief: false,
            seed: 1,
        }
    }
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
    /// Calls a number outside by the route with that index.
    CallOut {
        route: usize,
        late_offer: bool,
        cancel_after: Option<Duration>,
    },
    /// A carrier calls an extension.
    CallIn {
        carrier: usize,
        extension: usize,
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
    /// The same of a carrier.
    RestartCarrier {
        carrier: usize,
        down: Duration,
    },
    /// The switch dies (`kill -9`) after so many more things that it has put out, and starts anew that much later.
    CrashSwitch {
        after: u32,
        down: Duration,
    },
    /// The clock of the switch jumps: for so long nobody looks, and then all of it is there at once.
    Freeze {
        lasts: Duration,
    },
    /// The administrator bans the host of the phone, or lets it in again.
    Ban {
        lasts: Option<Duration>,
    },
    Unban,
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
    /// `None`: no trunks.
    pub lines: Option<LinesPlan>,
    /// Media packets flow through a real relay.
    pub media: bool,
    /// Faults are rare enough that no transaction may time out.
    pub mild: bool,
    /// Calls last that long and nothing else happens in them. `None`: as `script` draws it for each.
    pub talk: Option<Duration>,
}

impl Plan {
    /// These phones of so many extensions, and nothing else.
    pub fn of(phones: Vec<PhonePlan>, steps: Vec<Step>) -> Self {
        let extensions = phones.iter().map(|phone| phone.extension + 1).max().unwrap_or_default();
        Plan { seed: 7, extensions, phones, steps, lines: None, media: false, mild: true, talk: None }
    }

    /// Calls that it tries.
    pub fn calls(&self) -> usize {
        let is_call = |action| matches!(action, Action::Call { .. } | Action::CallOut { .. } | Action::CallIn { .. });
        self.steps.iter().filter(|step| is_call(step.action)).count()
    }

    /// The carriers.
    pub fn carriers(&self) -> &[lines::CarrierPlan] {
        self.lines.as_ref().map_or(&[], |lines| &lines.carriers)
    }

    /// The same without lines to the world.
    #[must_use]
    pub fn inside(self) -> Self {
        let of_lines =
            |action| matches!(action, Action::CallOut { .. } | Action::CallIn { .. } | Action::RestartCarrier { .. });
        let steps = self.steps.into_iter().filter(|step| !of_lines(step.action)).collect();
        Plan { steps, lines: None, ..self }
    }
}

pub(crate) fn millis(rng: &mut ChaCha8Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

pub(crate) fn link(rng: &mut ChaCha8Rng, mild: bool) -> Link {
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
                ..odd(rng, extension)
            }
        })
        .collect()
}

/// What only some phones do.
fn odd(rng: &mut ChaCha8Rng, extension: usize) -> PhonePlan {
    let plain = PhonePlan::plain(extension);
    match rng.random_range(0..40) {
        0 | 1 => PhonePlan { video: 1, ..plain },
        2 => PhonePlan { video: 6, ..plain },
        3 => PhonePlan { chatty: rng.random_range(3..40), ..plain },
        4 => PhonePlan { holds_pracks: millis(rng, 1000, 40_000), ..plain },
        5 => PhonePlan { twist: Some(Twist { foreign: true, first: rng.random_bool(0.5) }), ..plain },
        6 => PhonePlan { twist: Some(Twist { foreign: false, first: rng.random_bool(0.5) }), ..plain },
        _ => plain,
    }
}

/// A step that has to do with lines to the world.
fn outside(rng: &mut ChaCha8Rng, lines: &LinesPlan, extensions: usize) -> Action {
    let carriers = lines.carriers.len();
    let cancel_after = rng.random_bool(0.15).then(|| millis(rng, 0, 6000));
    match rng.random_range(0..100) {
        0..70 => {
            let route = rng.random_range(0..lines.routes.len());
            Action::CallOut { route, late_offer: rng.random_bool(0.05), cancel_after }
        }
        70..97 => Action::CallIn {
            carrier: rng.random_range(0..carriers),
            extension: rng.random_range(0..=extensions),
            cancel_after,
        },
        _ => Action::RestartCarrier { carrier: rng.random_range(0..carriers), down: millis(rng, 10, 60_000) },
    }
}

/// The plan of a seed, with about that many calls.
pub fn draw(seed: u64, calls: usize) -> Plan {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mild = rng.random_bool(0.7);
    let secure = rng.random_bool(0.5);
    let crash = rng.random_bool(0.2);
    let extensions = rng.random_range(2..=8);
    let mut phones: Vec<PhonePlan> = (0..extensions).flat_map(|n| phones_of(&mut rng, n, mild, secure)).collect();
    let lines = rng.random_bool(0.5).then(|| lines::draw(&mut rng, mild));
    let jumps = rng.random_bool(0.3);
    if rng.random_bool(0.25) {
        let thief = phones[rng.random_range(0..phones.len())];
        phones.push(PhonePlan { thief: true, ..thief });
    }
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
        let thief = phones[phone].thief;
        let out = lines.as_ref().filter(|_| rng.random_bool(0.4));
        let action = match (rng.random_range(0..1000), out) {
            (0..880, Some(lines)) => {
                let action = outside(&mut rng, lines, extensions);
                done += usize::from(!matches!(action, Action::RestartCarrier { .. }));
                action
            }
            (0..880, None) => {
                done += 1;
                let extension = match rng.random_range(0..50) {
                    0 => extensions,
                    _ => rng.random_range(0..extensions),
                };
                let cancel_after = rng.random_bool(0.15).then(|| millis(&mut rng, 0, 5000));
                Action::Call { extension, late_offer: rng.random_bool(0.05), cancel_after }
            }
            (880..940, _) if thief => {
                Action::Ban { lasts: rng.random_bool(0.5).then(|| millis(&mut rng, 1000, 90_000)) }
            }
            (940..985, _) if thief => Action::Unban,
            (880..905, _) => Action::Message { extension: rng.random_range(0..extensions) },
            (905..915, _) => Action::Options,
            (915..955, _) => Action::SetAnswer(answer(&mut rng)),
            (955..970, _) => Action::Unregister,
            (970..985, _) => Action::Register,
            (985..990, _) => Action::Reboot { down: millis(&mut rng, 10, 60_000) },
            (990..998, _) if crash => {
                Action::CrashSwitch { after: rng.random_range(0..12), down: millis(&mut rng, 10, 20_000) }
            }
            (990..998, _) if jumps => Action::Freeze { lasts: millis(&mut rng, 500, 8000) },
            _ => Action::SetEnabled { extension: rng.random_range(0..extensions), enabled: rng.random_bool(0.7) },
        };
        step(&mut rng, at, phone, action);
    }
    Plan { seed, extensions, phones, steps, lines, media: false, mild, talk: None }
}
