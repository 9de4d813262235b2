//! Makes a failing plan smaller: steps are left out in ever smaller groups as long as the rest still fails in some
//! way (delta debugging), then the network is mended and phones are made plain one by one.

use std::time::Duration;

use ringfort_phone::SrtpMode;
use ringfort_sip::flow::Transport;

use crate::net::Link;
use crate::plan::{PhonePlan, Plan, Step};
use crate::run;

/// Runs that are spent on it.
const TRIES: usize = 300;

/// A plan that still fails, with as few steps as could be found.
pub fn shrink(plan: &Plan) -> Plan {
    let mut best = plan.clone();
    let mut tries = TRIES;
    let mut fails = |candidate: &Plan| {
        tries = tries.saturating_sub(1);
        tries > 0 && run(candidate, false).0.is_err()
    };
    let mut size = best.steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < best.steps.len() {
            let steps: Vec<Step> = best
                .steps
                .iter()
                .enumerate()
                .filter(|(at, _)| !(start..start + size).contains(at))
                .map(|(_, step)| *step)
                .collect();
            let candidate = Plan { steps, ..best.clone() };
            if fails(&candidate) {
                best = candidate;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    let simpler: [fn(&mut PhonePlan); 4] = [
        |phone| phone.link = Link::PERFECT,
        |phone| phone.transport = Transport::Udp,
        |phone| (phone.twist, phone.video, phone.chatty, phone.holds_pracks) = (None, 0, 0, Duration::ZERO),
        |phone| {
            (phone.srtp, phone.session_timer, phone.reliable, phone.knows_timer) = (SrtpMode::Off, None, false, true);
        },
    ];
    for index in 0..best.phones.len() {
        for change in simpler {
            let mut candidate = best.clone();
            change(&mut candidate.phones[index]);
            if fails(&candidate) {
                best = candidate;
            }
        }
    }
    for index in 0..best.carriers().len() {
        let mut candidate = best.clone();
        if let Some(lines) = &mut candidate.lines {
            let carrier = &mut lines.carriers[index];
            (carrier.link, carrier.twist) = (Link::PERFECT, None);
        }
        if fails(&candidate) {
            best = candidate;
        }
    }
    best
}
