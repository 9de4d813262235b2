//! The `ringfort` program: configuration, wiring, signals, command line. What it does for a call is in the crates.

mod admin;
mod cli;
mod config;
mod control;
mod demo;
mod dns;
mod firewall;
mod guard_edge;
mod http;
mod kernel_bans;
mod logging;
mod memory;
mod metrics;
mod node;
mod offence_log;
mod random;
mod reach_gate;
mod run;
mod selftest;
mod stir;
mod time;
mod voicemail;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    memory::return_large_blocks();
    match cli::dispatch(cli::args::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringfort: {}", cli::in_words(&error));
            ExitCode::FAILURE
        }
    }
}
