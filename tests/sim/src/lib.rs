//! Whole telephone systems in virtual time: the real switch, phones and carriers over the real message layer, and a network
//! that loses, delays, doubles and reorders. Everything is drawn from a seed, so a failure replays:
//! `make sim SIM_SEED=… SIM_RUNS=1`, or `RINGFORT_SIM_SEED=… cargo nextest run -p ringfort-sim`.

pub mod audit;
mod front;
pub mod lines;
pub mod media;
pub mod net;
pub mod plan;
pub mod script;
mod setup;
pub mod shrink;
pub mod trace;
pub mod world;

use crate::plan::Plan;
use crate::trace::Trace;
pub use crate::world::Outcome;
use crate::world::{Failure, Summary, World};

/// Runs a plan; the trace has lines only where `traced`.
pub fn run(plan: &Plan, traced: bool) -> (Result<Summary, Failure>, Trace) {
    let outcome = World::new(plan, traced).run();
    (outcome.result, outcome.trace)
}

/// Runs a plan, traced, and gives everything that came of it.
pub fn run_whole(plan: &Plan) -> Outcome {
    World::new(plan, true).run()
}

/// The plan of a seed, with about that many calls. What is heard, with `media`, is between phones alone.
pub fn of(seed: u64, calls: usize, media: bool) -> Plan {
    let plan = plan::draw(seed, calls);
    if media { Plan { media, ..plan.inside() } } else { plan }
}

/// Runs the plan of a seed, with about that many calls.
///
/// # Errors
/// Where an invariant is broken: a report with what was broken, a smaller plan that breaks it too, the ladder of its
/// messages and the command that replays the seed.
pub fn check(seed: u64, calls: usize, media: bool) -> Result<Summary, String> {
    let plan = of(seed, calls, media);
    let failure = match run(&plan, false).0 {
        Ok(summary) => return Ok(summary),
        Err(failure) => failure,
    };
    let smaller = shrink::shrink(&plan);
    let (result, trace) = run(&smaller, true);
    let broken = result.err().map_or(failure.violations.clone(), |failure| failure.violations);
    let phones = smaller.phones.iter().zip(0..).map(|(phone, index)| format!("phone {index}: {phone:?}\n"));
    let carriers = smaller.carriers().iter().zip(0..).map(|(plan, index)| format!("carrier {index}: {plan:?}\n"));
    let routes = smaller.lines.as_ref().map(|lines| format!("routes: {:?}\n", lines.routes));
    let hosts: String = phones.chain(carriers).chain(routes).collect();
    Err(format!(
        "seed {seed} with {calls} calls broke: {}\nreplay: make sim SIM_SEED={seed} SIM_RUNS=1 SIM_CALLS={calls}{}\n\
         smaller: {} phones, {} of {} steps broke: {}\n{trace}\n{hosts}",
        failure.violations.join("\n"),
        if media { " (with --media)" } else { "" },
        smaller.phones.len(),
        smaller.steps.len(),
        plan.steps.len(),
        broken.join("\n"),
    ))
}
