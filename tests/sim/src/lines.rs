//! Lines to the world in a plan: carriers, how each of them takes a call, and the routes that lead to them. Everything that
//! a carrier does with a call follows from its seed and the number, so that whoever judges a run knows it too.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_phone::AnswerPolicy;
use ringfort_sip::digest::Algorithm;
use ringfort_sip::flow::Transport;
use ringfort_switch::model::{
    Destination, InboundRoute, NumberPlan, OutboundRoute, Pattern, Rate, RateTable, Secret, Site, SpendLimits,
    TenantId, Trunk, TrunkCredentials, TrunkId, TrunkKind, TrunkOrder,
};

use crate::net::Link;
use crate::plan::{PhonePlan, Twist, link, millis};

/// How a carrier is on the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nearly every call works.
    Fine,
    Mixed,
    /// Hardly one does.
    Sick,
}

/// What a carrier does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Takes(AnswerPolicy),
    /// Not a word.
    Silent,
    /// Not a word, and an answer long after it was given up.
    Late {
        after: Duration,
    },
    /// It asks for credentials of a realm that is not its own.
    StrangeRealm,
}

impl Manner {
    /// Whether the call is answered in time.
    pub fn works(self) -> bool {
        matches!(self, Manner::Takes(AnswerPolicy::Answer { .. } | AnswerPolicy::EarlyMedia { .. }))
    }
}

/// One carrier and the trunk that leads to it.
#[derive(Clone, Copy, Debug)]
pub struct CarrierPlan {
    pub transport: Transport,
    pub link: Link,
    /// We register with it.
    pub registers: bool,
    /// It asks for credentials: for calls, and now and then within them.
    pub challenges: bool,
    /// The administrator has named its realm.
    pub realm_told: bool,
    pub algorithm: Algorithm,
    pub register_for: Duration,
    pub health_every: Duration,
    pub max_calls: u32,
    /// Zero: no limit.
    pub calls_per_second: u32,
    /// Per minute and connection in millionths, first and further seconds.
    pub rate: Option<(u64, u64, u32, u32)>,
    pub spend: SpendLimits,
    pub mood: Mood,
    pub twist: Option<Twist>,
    /// Draws what it does with each call.
    pub seed: u64,
}

/// The lines of a system.
#[derive(Clone, Debug)]
pub struct LinesPlan {
    pub carriers: Vec<CarrierPlan>,
    /// Indices of carriers, in the order in which they are tried.
    pub routes: Vec<Vec<usize>>,
    /// Limits of the tenant, and of each extension.
    pub spend: SpendLimits,
    pub phone_spend: SpendLimits,
}

impl CarrierPlan {
    /// What it does with the call to that number, in the form that it gets it in.
    pub fn manner(&self, number: &str) -> Manner {
        let mut rng = ChaCha8Rng::seed_from_u64(
            number.bytes().fold(self.seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)),
        );
        let works = match self.mood {
            Mood::Fine => 0.9,
            Mood::Mixed => 0.5,
            Mood::Sick => 0.1,
        };
        if rng.random_bool(works) {
            return Manner::Takes(match rng.random_range(0..4) {
                0 => AnswerPolicy::Answer { after: Duration::ZERO },
                1 => AnswerPolicy::EarlyMedia { after: millis(&mut rng, 100, 3000) },
                _ => AnswerPolicy::Answer { after: millis(&mut rng, 200, 3000) },
            });
        }
        let status = |rng: &mut ChaCha8Rng, from: &[u16]| from[rng.random_range(0..from.len())];
        match rng.random_range(0..12) {
            0..3 => Manner::Silent,
            3 | 4 => Manner::Late { after: millis(&mut rng, 4500, 9000) },
            5..8 => {
                let status = status(&mut rng, &[408, 500, 502, 503, 503, 504]);
                let after = if rng.random_bool(0.5) { Duration::ZERO } else { millis(&mut rng, 200, 2500) };
                Manner::Takes(AnswerPolicy::Reject { status, after })
            }
            8 if self.challenges && self.realm_told => Manner::StrangeRealm,
            9 => Manner::Takes(AnswerPolicy::RingOnly),
            _ => {
                let status = status(&mut rng, &[404, 480, 486, 486, 603, 600]);
                Manner::Takes(AnswerPolicy::Reject { status, after: millis(&mut rng, 0, 1500) })
            }
        }
    }

    /// What it charges.
    pub fn rate(&self) -> Option<Rate> {
        let (per_minute, connection, first_s, step_s) = self.rate?;
        Some(Rate { prefix: "44".into(), per_minute, connection, first_s, step_s })
    }

    /// The telephone at its far end.
    pub fn phone(&self) -> PhonePlan {
        PhonePlan {
            transport: self.transport,
            link: self.link,
            reliable: self.seed.is_multiple_of(3),
            twist: self.twist,
            seed: self.seed,
            ..PhonePlan::plain(0)
        }
    }
}

fn carrier(rng: &mut ChaCha8Rng, mild: bool, limited: bool) -> CarrierPlan {
    let registers = rng.random_bool(0.4);
    let challenges = rng.random_bool(0.5);
    CarrierPlan {
        transport: if rng.random_bool(0.75) { Transport::Udp } else { Transport::Tcp },
        link: link(rng, mild),
        registers,
        challenges,
        realm_told: !registers || rng.random_bool(0.5),
        algorithm: if rng.random_bool(0.5) { Algorithm::Sha256 } else { Algorithm::Md5 },
        register_for: Duration::from_secs([60, 120, 600][rng.random_range(0..3)]),
        health_every: Duration::from_secs([0, 30, 30, 60][rng.random_range(0..4)]),
        max_calls: if rng.random_bool(0.3) { rng.random_range(1..4) } else { Trunk::MAX_CALLS },
        calls_per_second: if rng.random_bool(0.1) { 1 } else { 0 },
        rate: rng.random_bool(0.6).then(|| {
            let connection = if rng.random_bool(0.5) { rng.random_range(0..50_000) } else { 0 };
            let (first, step) = ([0, 1, 30, 60][rng.random_range(0..4)], [1, 6, 30, 60][rng.random_range(0..4)]);
            (rng.random_range(1..200_000), connection, first, step)
        }),
        spend: if limited { limits(rng, 2_000_000) } else { SpendLimits::default() },
        mood: match rng.random_range(0..10) {
            0..4 => Mood::Fine,
            4..8 => Mood::Mixed,
            _ => Mood::Sick,
        },
        twist: match rng.random_range(0..20) {
            0 => Some(Twist { foreign: true, first: rng.random_bool(0.5) }),
            1 => Some(Twist { foreign: false, first: rng.random_bool(0.5) }),
            _ => None,
        },
        seed: rng.random(),
    }
}

fn limits(rng: &mut ChaCha8Rng, most: u64) -> SpendLimits {
    let mut one = |most: u64| rng.random_bool(0.3).then(|| rng.random_range(most / 20..most));
    SpendLimits { per_call: one(most / 10), per_day: one(most), per_month: one(2 * most) }
}

/// Draws the lines of a system.
pub(crate) fn draw(rng: &mut ChaCha8Rng, mild: bool) -> LinesPlan {
    let limited = rng.random_bool(0.3);
    let count = rng.random_range(1..=4);
    let carriers: Vec<CarrierPlan> = (0..count).map(|_| carrier(rng, mild, limited)).collect();
    let mut any = |most| if limited { limits(rng, most) } else { SpendLimits::default() };
    let (spend, phone_spend) = (any(5_000_000), any(1_000_000));
    let routes = (0..rng.random_range(1..=3))
        .map(|_| {
            let mut left: Vec<usize> = (0..count).collect();
            (0..rng.random_range(1..=count)).map(|_| left.remove(rng.random_range(0..left.len()))).collect()
        })
        .collect();
    LinesPlan { carriers, routes, spend, phone_spend }
}

/// What a phone dials for a call by that route: no two calls of a run have the same.
pub(crate) fn dialled(route: usize, serial: usize) -> String {
    format!("0{}79{serial:05}", route + 1)
}

/// The same as it goes to a carrier.
pub(crate) fn canonical(dialled: &str) -> String {
    format!("+44{}", dialled.trim_start_matches('0'))
}

/// The route of a dialled number that leads outside.
pub(crate) fn route_of(dialled: &str) -> Option<usize> {
    let digits = dialled.strip_prefix('0')?;
    let route = digits.get(..1)?.parse::<usize>().ok()?;
    route.checked_sub(1)
}

/// The number of an extension as carriers know it.
pub(crate) fn direct(extension: usize) -> String {
    format!("+4420794601{extension:02}")
}

/// Who calls from a carrier.
pub(crate) fn caller_of(carrier: usize) -> String {
    format!("+493055500{carrier:02}")
}

pub(crate) fn name(carrier: usize) -> String {
    format!("line{carrier}")
}

pub(crate) fn realm(carrier: usize) -> String {
    format!("carrier{carrier}.example")
}

pub(crate) fn account(carrier: usize) -> String {
    format!("acct{carrier}zz")
}

pub(crate) fn password(carrier: usize) -> String {
    format!("secret-of-line-{carrier}")
}

pub(crate) fn address(carrier: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10 + carrier as u8))
}

/// Whether the trunk proves itself to the carrier.
fn has_credentials(plan: &CarrierPlan) -> bool {
    plan.registers || plan.challenges
}

/// Puts trunks, routes, rates and limits into a site.
pub(crate) fn lay(site: &mut Site, lines: &LinesPlan) {
    let tenant = TenantId(1);
    site.tenants[0].numbers =
        NumberPlan { country: "44".into(), national_prefix: "0".into(), spend: lines.spend, ..NumberPlan::default() };
    for (extension, index) in site.extensions.values_mut().zip(0..) {
        extension.calling.spend = lines.phone_spend;
        extension.calling.caller_id = Some(direct(index));
        site.inbound.push(InboundRoute {
            tenant,
            name: format!("to {}", extension.number),
            trunk: None,
            called: Pattern::Exact(direct(index)),
            identity: Vec::new(),
            hours: Vec::new(),
            to: Destination::Extension(extension.number.clone()),
        });
    }
    for (plan, index) in lines.carriers.iter().zip(0..) {
        let id = TrunkId(index as u32 + 1);
        let server = format!("sip:{};transport={}", address(index), plan.transport.as_str().to_ascii_lowercase());
        let credentials = has_credentials(plan).then(|| TrunkCredentials {
            user: account(index),
            auth_user: None,
            password: Secret::new(password(index)),
            realm: plan.realm_told.then(|| realm(index)),
        });
        let trunk = Trunk {
            kind: if plan.registers { TrunkKind::Register } else { TrunkKind::Peer },
            credentials,
            register_for: plan.register_for,
            health_every: plan.health_every,
            max_calls: plan.max_calls,
            calls_per_second: plan.calls_per_second,
            spend: plan.spend,
            ..Trunk::new(id, tenant, name(index), server)
        };
        site.trunks.insert(id, trunk);
        if let Some(rate) = plan.rate() {
            site.rates.insert(id, Arc::new(RateTable { currency: "EUR".into(), rates: vec![rate] }));
        }
    }
    for (trunks, index) in lines.routes.iter().zip(0..) {
        site.outbound.push(OutboundRoute {
            tenant,
            name: format!("out{index}"),
            patterns: vec![Pattern::Prefix(format!("0{}", index + 1))],
            groups: Vec::new(),
            hours: Vec::new(),
            strip: 0,
            prepend: String::new(),
            enum_domain: None,
            trunks: trunks.iter().map(|&carrier| TrunkId(carrier as u32 + 1)).collect(),
            order: TrunkOrder::Listed,
            attempts: None,
            ring_for: None,
        });
    }
}

/// The administrator gives all lines up.
pub(crate) fn lift(site: &mut Site) {
    site.trunks.clear();
    site.outbound.clear();
    site.inbound.clear();
    site.rates.clear();
}
