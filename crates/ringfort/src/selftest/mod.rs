//! `ringfort selftest`: two built-in phones register with the running system and one calls the other. Everything is
//! real: sockets, digest, offer and answer, relay, call record. Says in words what works, and what does not and why.

mod lane;
mod report;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ringfort_phone::{EndedBy, Event};
use serde_json::Value;

use crate::control::{AdminRequest, Client, ClientError, Request};
use crate::node;
use crate::random;
use lane::{Identity, Lane};
pub use report::Report;

const TONES: (u16, u16) = (440, 620);
/// For each step that waits for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the phones talk.
const TALK: Duration = Duration::from_millis(2500);

/// Runs against the server of a data folder.
///
/// # Errors
/// No server runs there, or it refuses to be asked. What does not work is in the report.
pub fn run(data_dir: &Path) -> Result<Report, ClientError> {
    let mut client = Client::connect(data_dir)?;
    let access = client.ask(&Request::Admin(AdminRequest::Access))?;
    let mut report = Report::default();
    let Some((server, domain)) = udp_listener(&access) else {
        report.fail("listener", "no internal profile listens on UDP", "add a \"udp:…\" listener; this test speaks UDP");
        return Ok(report);
    };
    let extensions = client.ask(&Request::Admin(AdminRequest::SelftestBegin))?;
    let identities = [identity(&extensions["items"][0], &domain), identity(&extensions["items"][1], &domain)];
    match Test::open(&identities, server) {
        Ok(mut test) => test.run(&mut report),
        Err(error) => report.fail("sockets", &format!("no UDP sockets for the phones: {error}"), ""),
    }
    let outcome = record(&mut client, &identities[1].number, &mut report);
    let outcome = outcome.and(explain_silence(&mut client, &mut report));
    client.ask(&Request::Admin(AdminRequest::SelftestEnd))?;
    outcome?;
    Ok(report)
}

/// Silence has a reason that the server knows where its own ports could not be bound.
fn explain_silence(client: &mut Client, report: &mut Report) -> Result<(), ClientError> {
    let silent = report.items.iter_mut().filter(|item| !item.ok && item.check.starts_with("audio"));
    let silent: Vec<_> = silent.collect();
    if silent.is_empty() {
        return Ok(());
    }
    let status = client.ask(&Request::Switch(ringfort_switch::io::Command::Status))?;
    let failed = status["media"]["bind_failed"].as_u64().unwrap_or(0);
    if failed > 0 {
        for item in silent {
            item.advice = format!(
                "{failed} times a port of [media] could not be bound: another program has it; \
                 `ss -lunp` names it, or choose other ports"
            );
        }
    }
    Ok(())
}

/// The first UDP listener of an internal profile, as a phone on this machine reaches it, and the domain.
fn udp_listener(access: &Value) -> Option<(SocketAddr, String)> {
    let listeners = access["listeners"].as_array()?;
    let usable = |listener: &&Value| listener["kind"] == "internal" && listener["transport"] == "udp";
    let mut address: SocketAddr = listeners.iter().find(usable)?["local"].as_str()?.parse().ok()?;
    if address.ip().is_unspecified() {
        let ip: IpAddr = node::primary_address(address.is_ipv4());
        address.set_ip(ip);
    }
    Some((address, access["domain"].as_str()?.to_owned()))
}

fn identity(extension: &Value, domain: &str) -> Identity {
    let text = |key: &str| extension[key].as_str().unwrap_or_default().to_owned();
    Identity {
        number: text("number"),
        user: text("sip_user"),
        password: text("sip_password"),
        domain: domain.to_owned(),
    }
}

/// The last check: what was written down about the call.
fn record(client: &mut Client, number: &str, report: &mut Report) -> Result<(), ClientError> {
    if !report.passed("hang-up") {
        report.skip("record", "there was no call to look for");
        return Ok(());
    }
    let number = Some(number.to_owned());
    let found = client.ask(&Request::Admin(AdminRequest::Cdr { limit: 5, number, tenant: None, unmasked: true }))?;
    let Some(item) = found["items"].as_array().and_then(|items| items.first()) else {
        report.fail("record", "there is no record of the call", "is the disk full? the log says what the journal met");
        return Ok(());
    };
    let words = format!(
        "call {}: {}, status {}, talked {:.1} s",
        item["call"],
        item["cause"].as_str().unwrap_or("no cause"),
        item["status"],
        item["talk_ms"].as_f64().unwrap_or_default() / 1000.0
    );
    if item["cause"] == "normal" && item["status"] == 200 {
        report.pass("record", &words);
    } else {
        report.fail("record", &words, "expected cause normal and status 200");
    }
    let mos: Vec<String> = item["quality"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|direction| {
            Some(format!("{:.2} from the {}", direction["mos"].as_f64()?, direction["from"].as_str()?))
        })
        .collect();
    if mos.is_empty() {
        report.fail(
            "quality",
            "the record has no quality figures",
            "the relay reported nothing about the call's media",
        );
    } else {
        report.pass("quality", &format!("MOS {} (4.4 is the best that G.711 can be)", mos.join(", ")));
    }
    Ok(())
}

/// The two phones.
struct Test {
    caller: Lane,
    called: Lane,
    scratch: Vec<u8>,
}

impl Test {
    fn open(identities: &[Identity; 2], server: SocketAddr) -> std::io::Result<Test> {
        let [a, b] = identities;
        Ok(Test {
            caller: Lane::open(a, server, TONES.0, TONES.1, random::number())?,
            called: Lane::open(b, server, TONES.1, TONES.0, random::number())?,
            scratch: lane::scratch(),
        })
    }

    /// Turns both phones until `done` says so; how long it took, or `None` when patience is at its end.
    fn until(&mut self, patience: Duration, mut done: impl FnMut(&mut Lane, &mut Lane) -> bool) -> Option<Duration> {
        let start = clock();
        loop {
            let now = clock();
            self.caller.turn(now, &mut self.scratch);
            self.called.turn(now, &mut self.scratch);
            if done(&mut self.caller, &mut self.called) {
                return Some(now - start);
            }
            if now - start > patience {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn run(&mut self, report: &mut Report) {
        if self.register(report) && self.call(report) {
            self.audio(report);
            self.hang_up(report);
        }
        let now = clock();
        // A phone that did not register has nothing to take back.
        let _ = self.caller.phone.unregister(now).and(self.called.phone.unregister(now));
        self.until(Duration::from_secs(1), |a, b| !a.phone.is_registered() && !b.phone.is_registered());
    }

    fn register(&mut self, report: &mut Report) -> bool {
        let now = clock();
        let sent = self.caller.phone.register(now).and(self.called.phone.register(now));
        if let Err(error) = sent {
            report.fail("registration", &format!("could not be sent: {error}"), "");
            return false;
        }
        let failed = |event: &Event| match event {
            Event::RegisterFailed { status } => Some(*status),
            _ => None,
        };
        let took = self.until(PATIENCE, |a, b| {
            a.phone.is_registered() && b.phone.is_registered() || a.event(failed).or(b.event(failed)).is_some()
        });
        match (took, self.caller.event(failed).or(self.called.event(failed))) {
            (Some(took), None) => {
                let words = format!("both phones, by digest, in {} ms", took.as_millis());
                report.pass("registration", &words);
                true
            }
            (_, Some(status)) => {
                report.fail("registration", &format!("refused with {status}"), advice_for(status));
                false
            }
            (None, None) => {
                report.fail("registration", "nobody answers", "does a firewall on this machine drop the port?");
                false
            }
        }
    }

    fn call(&mut self, report: &mut Report) -> bool {
        let number = self.called.number.clone();
        if let Err(error) = self.caller.phone.call(clock(), &number) {
            report.fail("call", &format!("could not be sent: {error}"), "");
            return false;
        }
        let ended = |event: &Event| match event {
            Event::Ended { status, reason, .. } => Some((*status, reason.clone())),
            _ => None,
        };
        let answered = |event: &Event| matches!(event, Event::Answered { .. }).then_some(());
        let mut rang = false;
        let took = self.until(PATIENCE, |a, b| {
            rang |= a.event(|event| matches!(event, Event::Ringing { .. }).then_some(())).is_some();
            a.event(answered).and(b.event(answered)).is_some() || a.event(ended).is_some()
        });
        match (took, self.caller.event(ended)) {
            (Some(took), None) => {
                let ringing = if rang { "rang and was answered" } else { "was answered without ringing" };
                report.pass("call", &format!("{ringing} after {} ms", took.as_millis()));
                true
            }
            (_, Some((status, reason))) => {
                report.fail("call", &format!("ended with {status} {reason}"), advice_for(status));
                false
            }
            (None, None) => {
                let what = if self.called.event(|e| matches!(e, Event::Incoming { .. }).then_some(())).is_some() {
                    "the called phone rings, but its answer does not arrive"
                } else {
                    "the call does not reach the called phone"
                };
                report.fail("call", what, "`ringfort ctl calls` and the log at level debug show where it stays");
                false
            }
        }
    }

    fn audio(&mut self, report: &mut Report) {
        self.until(TALK, |_, _| false);
        let pairs = [
            ("audio to the called phone", self.called.report(), TONES.0),
            ("audio to the caller", self.caller.report(), TONES.1),
        ];
        for (name, media, tone) in pairs {
            let share = f64::from(media.heard.share()) * 100.0;
            let words = format!(
                "{tone} Hz in {share:.0} % of the time, {} packets, {} lost, longest gap {} ms",
                media.received,
                media.lost,
                media.longest_gap.as_millis()
            );
            if media.received == 0 {
                let advice = "are the ports of [media] open, and is [media] address this machine's? \
                              Behind a router the address of the router cannot be reached from inside with many models.";
                report.fail(name, "nothing arrives", advice);
            } else if media.heard.hertz != Some(tone) || media.heard.share() < 0.5 {
                report.fail(name, &format!("packets arrive, the tone does not: {words}"), "");
            } else {
                report.pass(name, &words);
            }
        }
    }

    fn hang_up(&mut self, report: &mut Report) {
        let Some(call) = self.caller.phone.talking().next() else {
            report.fail("hang-up", "the call ended before somebody hung up", "the log says who ended it");
            return;
        };
        if let Err(error) = self.caller.phone.hang_up(clock(), call) {
            report.fail("hang-up", &format!("could not be sent: {error}"), "");
            return;
        }
        let by_peer = |event: &Event| matches!(event, Event::Ended { by: EndedBy::Peer, .. }).then_some(());
        match self.until(PATIENCE, |a, b| b.event(by_peer).is_some() && a.phone.calls().next().is_none()) {
            Some(took) => report.pass("hang-up", &format!("reached the other side in {} ms", took.as_millis())),
            None => report.fail("hang-up", "the other side was not told", "the log at level debug shows the BYE"),
        }
    }
}

fn advice_for(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => "the credentials are the server's own: is another SIP server listening on this port?",
        408 => "nobody answered: is another program listening on this port, or a firewall in between?",
        488 => "no common codec: does [media] codecs leave out PCMA and PCMU?",
        503 => "the server is full or draining: `ringfort ctl status`",
        _ => "the log at level debug shows the message that was refused",
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge: these phones run in real time")]
fn clock() -> Instant {
    Instant::now()
}
