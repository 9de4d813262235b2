//! `ringfort-sim [--seed N] [--runs N] [--calls N] [--media] [--trace]`: runs of random systems from that seed on, with that many
//! calls each. Ends at the first run that breaks an invariant, with its report.

use std::process::ExitCode;

use ringfort_sim::world::Summary;
use ringfort_sim::{check, of, run};

fn main() -> ExitCode {
    match settings() {
        Ok(settings) => simulate(settings),
        Err(error) => {
            eprintln!("{error}\nusage: ringfort-sim [--seed N] [--runs N] [--calls N] [--media] [--trace]");
            ExitCode::from(2)
        }
    }
}

struct Settings {
    seed: u64,
    runs: u64,
    calls: usize,
    media: bool,
    traced: bool,
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings { seed: 1, runs: 1, calls: 250, media: false, traced: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("expected a number behind {name}"))?;
            value.parse().map_err(|_| format!("expected a number behind {name}, got {value:?}"))
        };
        match name.as_str() {
            "--seed" => settings.seed = number()?,
            "--runs" => settings.runs = number()?,
            "--calls" => settings.calls = number()? as usize,
            "--media" => settings.media = true,
            "--trace" => settings.traced = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(settings)
}

fn simulate(settings: Settings) -> ExitCode {
    let Settings { seed, runs, calls, media, traced } = settings;
    if traced {
        let (result, trace) = run(&of(seed, calls, media), true);
        trace.lines().for_each(|line| println!("{line}"));
        println!("{result:#?}");
        return if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut sum = Summary::default();
    for seed in seed..seed + runs {
        match check(seed, calls, media) {
            Ok(summary) => sum.add(&summary),
            Err(report) => {
                println!("{report}");
                return ExitCode::FAILURE;
            }
        }
    }
    let Summary { calls, answered, left, failed_over, arrived, messages, restarts, .. } = sum;
    println!(
        "{runs} runs: {calls} calls, {answered} answered, {left} by trunks ({failed_over} by another than the first), {arrived} \
         from trunks, {restarts} restarts, {messages} messages; every invariant held"
    );
    ExitCode::SUCCESS
}
