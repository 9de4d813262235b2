//! Fail-over in virtual time (UC-12): providers that answer, refuse, ring, fall silent or answer too late, drawn from a seed,
//! over a network that loses packets. No call is doubled, each caller hears one end, and none is lost while a trunk works.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::*;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const STEP: Duration = Duration::from_millis(250);
const PROVIDERS: usize = 4;

/// What a provider does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// 100, rings, answers.
    Good,
    /// 200 at once.
    Quick,
    /// Not a word.
    Silent,
    /// A 200 long after it was given up, and nothing before.
    Late,
    /// Its own trouble.
    Trouble(u16),
    /// Rings first, then has trouble.
    RingsThenTrouble,
    /// A person's word.
    Final(u16),
}

impl Manner {
    fn draw(rng: &mut ChaCha12Rng) -> Self {
        match rng.random_range(0..10u8) {
            0 | 1 => Manner::Good,
            2 => Manner::Quick,
            3 | 4 => Manner::Silent,
            5 => Manner::Late,
            6 => Manner::Trouble([500, 502, 503, 504][rng.random_range(0..4usize)]),
            7 => Manner::Trouble(503),
            8 => Manner::RingsThenTrouble,
            _ => Manner::Final([404, 480, 486, 603][rng.random_range(0..4usize)]),
        }
    }

    /// Status and delay of what it says, in order.
    fn words(self) -> Vec<(u16, u64)> {
        match self {
            Manner::Good => vec![(100, 50), (180, 800), (200, 3_000)],
            Manner::Quick => vec![(200, 100)],
            Manner::Silent => vec![],
            Manner::Late => vec![(200, 6_500)],
            Manner::Trouble(status) => vec![(100, 50), (status, 400)],
            Manner::RingsThenTrouble => vec![(100, 50), (180, 500), (503, 2_500)],
            Manner::Final(status) => vec![(100, 50), (status, 900)],
        }
    }

    fn works(self) -> bool {
        matches!(self, Manner::Good | Manner::Quick)
    }

    fn decides(self) -> bool {
        matches!(self, Manner::Final(_))
    }
}

/// One INVITE at a provider.
struct Branch {
    provider: usize,
    invite: Message,
    answered: bool,
    over: bool,
    acked: bool,
    hung_up: bool,
}

struct Run {
    w: World,
    rng: ChaCha12Rng,
    loss: f64,
    manners: [Manner; PROVIDERS],
    /// By Call-ID.
    branches: BTreeMap<String, Branch>,
    /// What is said when: the Call-ID and the status.
    due: BTreeSet<(Instant, String, u16)>,
    /// Distinct final answers that the caller got, by tag and status.
    finals: BTreeSet<(u16, String)>,
    call: Option<Established>,
}

fn provider(index: usize) -> SocketAddr {
    at(&format!("203.0.113.{}:5060", index + 1))
}

fn lines() -> Site {
    let mut site = site();
    (site.tenants[0].numbers.country, site.tenants[0].numbers.national_prefix) = ("44".into(), "0".into());
    let trunks: Vec<TrunkId> = (0..PROVIDERS as u32).map(|n| TrunkId(n + 1)).collect();
    for &id in &trunks {
        let server = format!("sip:203.0.113.{}", id.0);
        // No limit and no memory of earlier calls is in the way.
        site.trunks.insert(
            id,
            Trunk {
                health_every: std::time::Duration::ZERO,
                ..Trunk::new(id, TenantId(1), format!("t{}", id.0), server)
            },
        );
    }
    site.outbound.push(route("outside", vec![Pattern::Prefix("0".into())], trunks));
    site
}

impl Run {
    fn new(seed: u64, loss: f64) -> Run {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut w = World::with(config(), lines());
        w.register("user-a", A);
        let manners = std::array::from_fn(|_| Manner::draw(&mut rng));
        Run {
            w,
            rng,
            loss,
            manners,
            branches: BTreeMap::new(),
            due: BTreeSet::new(),
            finals: BTreeSet::new(),
            call: None,
        }
    }

    fn lost(&mut self) -> bool {
        self.loss > 0.0 && self.rng.random_bool(self.loss)
    }

    fn run(&mut self, seed: u64) {
        let call_id = self.w.invite("user-a", A, "02079461234", &sdp("198.51.100.10", 4000, "0 8 101"), "");
        let gives_up = self.rng.random_bool(0.1).then(|| self.rng.random_range(1..40u32));
        let mut talked = 0;
        for step in 0..400u32 {
            if gives_up == Some(step) && self.finals.is_empty() {
                self.w.cancel("user-a", A, "sip:02079461234@pbx.example", &call_id);
            }
            self.deliver(&call_id);
            // Clocks jump: now and then nobody looks for two seconds.
            let jump = if self.rng.random_bool(0.02) { 8 } else { 1 };
            self.w.pass(STEP * jump);
            self.speak();
            let up = self.branches.values().filter(|b| b.answered && b.acked && !b.hung_up).count();
            assert!(up <= 1, "seed {seed}: {up} providers think that they carry the call; {:?}", self.manners);
            if let Some(call) = &self.call {
                talked += 1;
                if talked == 40 {
                    let bye = call.of_a("BYE", 3, "", "");
                    self.w.send(A, &bye);
                }
            }
        }
        self.deliver(&call_id);
    }

    /// Everything that was sent arrives, or is lost.
    fn deliver(&mut self, call_id: &str) {
        while let Some(sent) = self.w.sent.pop_front() {
            let at_provider = (0..PROVIDERS).find(|&p| provider(p) == sent.to);
            match at_provider {
                Some(index) if !self.lost() => self.at_provider(index, &sent.message),
                Some(_) => {}
                None => self.at_caller(&sent.message, call_id),
            }
        }
    }

    fn at_provider(&mut self, index: usize, message: &Message) {
        let method = first_line(message).split(' ').next().unwrap_or_default().to_owned();
        let id = message.call_id().to_owned();
        let now = self.w.now;
        match method.as_str() {
            "INVITE" if !self.branches.contains_key(&id) => {
                for (status, delay) in self.manners[index].words() {
                    self.due.insert((now + Duration::from_millis(delay), id.clone(), status));
                }
                let branch = Branch {
                    provider: index,
                    invite: message.clone(),
                    answered: false,
                    over: false,
                    acked: false,
                    hung_up: false,
                };
                self.branches.insert(id, branch);
            }
            "ACK" => {
                if let Some(branch) = self.branches.get_mut(&id) {
                    branch.acked |= branch.answered;
                }
            }
            "CANCEL" => {
                self.answer(index, message, 200, "");
                if let Some(branch) = self.branches.get_mut(&id).filter(|b| !b.answered && !b.over) {
                    branch.over = true;
                    let invite = branch.invite.clone();
                    self.due.retain(|(_, due, _)| *due != id);
                    self.answer(index, &invite, 487, "p");
                }
            }
            "BYE" => {
                self.answer(index, message, 200, "");
                if let Some(branch) = self.branches.get_mut(&id) {
                    branch.hung_up = true;
                }
            }
            _ => {}
        }
    }

    fn at_caller(&mut self, message: &Message, call_id: &str) {
        if message.is_request() || message.call_id() != call_id || message.cseq().number != 2 {
            if first_line(message).starts_with("BYE ") {
                let ok = reply(message, 200, "", "", "");
                self.w.send(A, &ok);
            }
            return;
        }
        let is_invite = message.cseq().method.as_str() == "INVITE";
        if !is_invite || message.status() < 200 {
            return;
        }
        let tag = message.to_tag().unwrap_or_default().to_owned();
        self.finals.insert((message.status(), tag));
        if message.status() == 200 {
            let call = Established {
                a: A.into(),
                b: String::new(),
                call_id: call_id.to_owned(),
                invite: message.clone(),
                ok: message.clone(),
                ack_b: message.clone(),
                cseq_a: 2,
                cseq_b: 1,
            };
            let ack = call.of_a("ACK", 2, "", "");
            self.w.send(A, &ack);
            self.call.get_or_insert(call);
        } else {
            let to = String::from_utf8_lossy(message.header(HeaderName::To).expect("To")).into_owned();
            let n = call_id.trim_start_matches("call-").split('@').next().expect("ours").to_owned();
            let uri = "sip:02079461234@pbx.example";
            let ack = format!(
                "ACK {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKi{n}x2;rport\r\nFrom: <sip:user-a@{DOMAIN}>;tag=t{call_id}\r\n\
                 To: {to}\r\nCall-ID: {call_id}\r\nCSeq: 2 ACK\r\nMax-Forwards: 70\r\n\r\n"
            );
            self.w.send(A, &ack);
        }
    }

    /// What providers have to say by now.
    fn speak(&mut self) {
        let now = self.w.now;
        while let Some(word) = self.due.first().filter(|(at, ..)| *at <= now).cloned() {
            self.due.remove(&word);
            let (_, id, status) = word;
            let Some(branch) = self.branches.get_mut(&id).filter(|b| !b.over) else { continue };
            // A 200 is repeated until it is acknowledged (RFC 3261 §13.3.1.4).
            if status == 200 && !branch.acked {
                branch.answered = true;
                if !branch.hung_up {
                    self.due.insert((now + Duration::from_millis(500), id.clone(), 200));
                }
            } else if status == 200 {
                continue;
            }
            branch.over |= status > 200;
            let (index, invite) = (branch.provider, branch.invite.clone());
            self.answer(index, &invite, status, "p");
        }
    }

    fn answer(&mut self, index: usize, request: &Message, status: u16, tag: &str) {
        if self.lost() {
            return;
        }
        let from = provider(index).to_string();
        let (contact, body) = match status {
            200 if !tag.is_empty() => (format!("Contact: <sip:{from}>\r\n"), sdp("203.0.113.1", 6000, "8 101")),
            180 => (format!("Contact: <sip:{from}>\r\n"), String::new()),
            _ => (String::new(), String::new()),
        };
        let tag = if status == 100 { "" } else { tag };
        self.w.send_to(1, OUTSIDE, &from, &reply(request, status, tag, &contact, &body));
    }

    /// What the caller must hear of these providers, where nothing was lost and nobody gave up.
    fn expected(&self) -> Option<bool> {
        self.manners.iter().find(|m| m.works() || m.decides()).map(|m| m.works())
    }
}

#[test]
fn no_call_is_doubled_and_each_caller_hears_one_end() {
    for seed in 0..150 {
        let mut run = Run::new(seed, 0.15);
        run.run(seed);
        assert!(run.finals.len() <= 1, "seed {seed}: {:?} with {:?}", run.finals, run.manners);
        for branch in run.branches.values().filter(|b| b.answered && b.acked) {
            assert!(branch.hung_up, "seed {seed}: provider {} was left talking; {:?}", branch.provider, run.manners);
        }
        run.w.sent.clear();
        run.w.assert_empty();
        assert_eq!(run.w.cdrs().len(), 1, "seed {seed}");
    }
}

#[test]
fn no_call_is_lost_while_a_trunk_works() {
    let mut carried = 0;
    for seed in 1_000..1_150 {
        let mut run = Run::new(seed, 0.0);
        run.run(seed);
        let cancelled = run.w.cdrs().iter().any(|c| c.status == 487);
        if cancelled {
            continue;
        }
        let heard = run.finals.first().map(|(status, _)| *status);
        match run.expected() {
            Some(true) => {
                assert_eq!(heard, Some(200), "seed {seed}: {:?}", run.manners);
                carried += 1;
            }
            Some(false) => {
                assert!(matches!(heard, Some(404 | 480 | 486 | 603)), "seed {seed}: {heard:?} {:?}", run.manners)
            }
            None => assert!(matches!(heard, Some(500..=599)), "seed {seed}: {heard:?} {:?}", run.manners),
        }
    }
    assert!(carried > 40, "{carried} of 150 calls were carried");
}
