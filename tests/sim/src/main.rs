//! `ringfort-sim [--seed N] [--runs N] [--calls N] [--trace]`: runs of random systems from that seed on, with that many
//! calls each. Ends at the first run that breaks an invariant, with its report.

use std::process::ExitCode;

use ringfort_sim::{check, plan, run};

fn main() -> ExitCode {
    match settings() {
        Ok((seed, runs, calls, traced)) => simulate(seed, runs, calls, traced),
        Err(error) => {
            eprintln!("{error}\nusage: ringfort-sim [--seed N] [--runs N] [--calls N] [--trace]");
            ExitCode::from(2)
        }
    }
}

fn settings() -> Result<(u64, u64, usize, bool), String> {
    let (mut seed, mut runs, mut calls, mut traced) = (1, 1, 250, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or(format!("expected a number behind {name}"))?;
            value.parse().map_err(|_| format!("expected a number behind {name}, got {value:?}"))
        };
        match name.as_str() {
            "--seed" => seed = number()?,
            "--runs" => runs = number()?,
            "--calls" => calls = number()? as usize,
            "--trace" => traced = true,
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok((seed, runs, calls, traced))
}

fn simulate(seed: u64, runs: u64, calls: usize, traced: bool) -> ExitCode {
    if traced {
        let (result, trace) = run(&plan::draw(seed, calls), true);
        println!("{trace}\n{result:#?}");
        return if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let (mut done, mut answered, mut messages) = (0, 0, 0);
    for seed in seed..seed + runs {
        match check(seed, calls) {
            Ok(summary) => {
                done += summary.calls;
                answered += summary.answered;
                messages += summary.messages;
            }
            Err(report) => {
                println!("{report}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{runs} runs: {done} calls, {answered} answered, {messages} messages; every invariant held");
    ExitCode::SUCCESS
}
