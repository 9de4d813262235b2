//! `ringfort ctl …`

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use ringfort_store::ObjectKind;
use ringfort_store::site::edit::{LineChange, LineEdit};
use ringfort_switch::io::{Command as SwitchCommand, GuardCommand};
use ringfort_switch::model::{CallId, SrtpPolicy};
use serde_json::Value;

use super::args::{
    Ctl, CtlArgs, DataArgs, ExtensionCommand, ExtensionFields, GuardVerb, LineCommand, RatesCommand, RouteCommand,
    Srtp, TrunkCommand,
};
use super::{ask_store, data_dir, guard, print_answer, show};
use crate::control::{AdminRequest, Client, Fields, Request};

/// How often the result of a test is asked for, and how many times.
const TEST_POLL: Duration = Duration::from_millis(200);
const TEST_POLLS: u32 = 600;

/// Does one verb.
pub fn ctl(args: CtlArgs) -> anyhow::Result<ExitCode> {
    let dir = data_dir(&DataArgs { data: args.data.clone() })?;
    let switch = |command: SwitchCommand| -> anyhow::Result<Value> {
        Ok(Client::connect(&dir)?.ask(&Request::Switch(command))?)
    };
    let process =
        |request: AdminRequest| -> anyhow::Result<Value> { Ok(Client::connect(&dir)?.ask(&Request::Admin(request))?) };
    let json = args.json;
    let done = |value: &Value, none: &str, some: &str| {
        let changed = value["changed"].as_u64().unwrap_or(0);
        if changed == 0 { format!("{none}\n") } else { format!("{some} ({changed})\n") }
    };
    match args.command {
        Ctl::Status => print_answer(json, &switch(SwitchCommand::Status)?, show::status)?,
        Ctl::Registrations { number, tenant } => {
            print_answer(json, &switch(SwitchCommand::Registrations { tenant, number })?, show::registrations)?;
        }
        Ctl::Calls { tenant } => print_answer(json, &switch(SwitchCommand::Calls { tenant })?, show::calls)?,
        Ctl::Hangup { call } => {
            let value = switch(SwitchCommand::Hangup { call: CallId(call) })?;
            print_answer(json, &value, |value| done(value, "There is no such call.", "Hung up."))?;
        }
        Ctl::Unregister { number, contact } => {
            let value = switch(SwitchCommand::Unregister { number, contact })?;
            print_answer(json, &value, |value| done(value, "No phone was registered.", "Forgotten."))?;
        }
        Ctl::Drain => {
            let words = |value: &Value| match value["changed"].as_u64() {
                Some(1) => "No new calls; 1 goes on.\n".to_owned(),
                changed => format!("No new calls; {} go on.\n", changed.unwrap_or(0)),
            };
            print_answer(json, &switch(SwitchCommand::Drain)?, words)?;
        }
        Ctl::Cdr { limit, number, tenant, unmasked } => {
            print_answer(json, &ask_store(&dir, AdminRequest::Cdr { limit, number, tenant, unmasked })?, show::cdr)?;
        }
        Ctl::Extension(command) => extension(&dir, json, command)?,
        Ctl::Route(RouteCommand::Explain { from, to, at }) => {
            print_answer(json, &switch(SwitchCommand::RouteExplain { from, to, at })?, show::route)?;
        }
        Ctl::Route(RouteCommand::Line(command)) => line(&dir, json, ObjectKind::Route, command)?,
        Ctl::Inbound(command) => line(&dir, json, ObjectKind::Inbound, command)?,
        Ctl::Alias(command) => line(&dir, json, ObjectKind::Alias, command)?,
        Ctl::Trunk(TrunkCommand::Line(command)) => line(&dir, json, ObjectKind::Trunk, command)?,
        Ctl::Trunks { name } => print_answer(json, &switch(SwitchCommand::Trunks { name })?, show::trunks)?,
        Ctl::Trunk(TrunkCommand::Test { name, number }) => {
            let mut value = switch(SwitchCommand::TrunkTest { name, number })?;
            // Each step has its own bound in the switch; this one is for a switch that is gone.
            for _ in 0..TEST_POLLS {
                if value["done"] == true {
                    break;
                }
                std::thread::sleep(TEST_POLL);
                value = switch(SwitchCommand::TrunkTestResult { test: value["test"].as_u64().unwrap_or(0) })?;
            }
            print_answer(json, &value, show::trunk_test)?;
            if value["passed"] != true {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ctl::Guard(verb) => {
            let (command, words): (_, fn(&Value) -> String) = match verb {
                GuardVerb::Status => (GuardCommand::Status, guard::status),
                GuardVerb::Bans { limit } => (GuardCommand::Bans { limit: limit as usize }, guard::bans),
                GuardVerb::Log { limit } => (GuardCommand::Log { limit: limit as usize }, guard::log),
                GuardVerb::Ban { address, time } => {
                    let for_s = time.map(|time| time.as_secs().max(1));
                    (GuardCommand::Ban { address, for_s }, |_| "Banned.\n".to_owned())
                }
                GuardVerb::Unban { address } => (GuardCommand::Unban { address }, |value| {
                    guard::changed(
                        value,
                        "Neither banned nor under suspicion.",
                        "Let in again; what it did is forgotten.",
                    )
                }),
                GuardVerb::Allow { range } => (GuardCommand::Allow { range }, |value| {
                    guard::changed(value, "It was allowed already.", "Never banned from now on; bans in it are lifted.")
                }),
                GuardVerb::Unallow { range } => (GuardCommand::Unallow { range }, |value| {
                    let none = "No such range was allowed: `ctl guard status` lists those that are.";
                    guard::changed(value, none, "It can be banned again.")
                }),
                GuardVerb::Why { address } => (GuardCommand::Why { address }, guard::why),
            };
            print_answer(json, &switch(SwitchCommand::Guard(command))?, words)?;
        }
        Ctl::Rates(command) => rates(&dir, json, command)?,
        Ctl::Spending { account } => {
            print_answer(json, &switch(SwitchCommand::Spending { account, extensions: true })?, show::spending)?;
        }
        Ctl::Voicemail(command) => super::voicemail::voicemail(&dir, json, command)?,
        Ctl::Blacklist(command) => super::blacklist::blacklist(&dir, json, command)?,
        Ctl::Reload => {
            let words = |value: &Value| format!("Read again; revision {} in force.\n", value["revision"]);
            print_answer(json, &process(AdminRequest::Reload)?, words)?;
        }
        Ctl::Stop => print_answer(json, &process(AdminRequest::Stop)?, |_| "Stopping.\n".to_owned())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn extension(dir: &std::path::Path, json: bool, command: ExtensionCommand) -> anyhow::Result<()> {
    match command {
        ExtensionCommand::List { tenant } => {
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionList { tenant })?, show::extensions)
        }
        ExtensionCommand::Show { number, secrets } => {
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionShow { number, secrets })?, show::extension)
        }
        ExtensionCommand::Add { number, fields } => {
            let fields = read_fields(fields, None)?;
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionAdd { number, fields })?, show::extension)
        }
        ExtensionCommand::Set { number, fields, enabled } => {
            let fields = read_fields(fields, enabled)?;
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionSet { number, fields })?, change)
        }
        ExtensionCommand::Delete { number } => {
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionDelete { number })?, change)
        }
        ExtensionCommand::Rotate { number } => {
            print_answer(json, &ask_store(dir, AdminRequest::ExtensionRotate { number })?, show::extension)
        }
    }
}

/// Trunks, routes, inbound routes and aliases.
fn line(dir: &std::path::Path, json: bool, kind: ObjectKind, command: LineCommand) -> anyhow::Result<()> {
    let (name, edit, args) = match command {
        LineCommand::Show { name, tenant, secrets } => {
            let value = ask_store(dir, AdminRequest::LineShow { kind, tenant, name, secrets })?;
            return print_answer(json, &value, |value| show::lines(kind.name(), value));
        }
        LineCommand::Add { name, keys, edit } => (name, LineEdit::Add(from_input(keys)?), edit),
        LineCommand::Set { name, keys, edit } => (name, LineEdit::Set(from_input(keys)?), edit),
        LineCommand::Remove { name, edit } => (name, LineEdit::Remove, edit),
    };
    let change = LineChange { kind, tenant: args.tenant, name, edit, before: args.before };
    let request = AdminRequest::LineChange { change, dry_run: args.dry_run, allow_reach: args.allow_reach };
    print_answer(json, &ask_store(dir, request)?, self::change)
}

/// A password that is `-` is read from standard input, so that it stands in no list of processes.
fn from_input(mut keys: Vec<(String, String)>) -> anyhow::Result<Vec<(String, String)>> {
    for (key, value) in &mut keys {
        if key.ends_with("password") && value == "-" {
            *value = line_of_input()?;
        }
    }
    Ok(keys)
}

fn line_of_input() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn rates(dir: &std::path::Path, json: bool, command: RatesCommand) -> anyhow::Result<()> {
    match command {
        RatesCommand::Import { trunk, file, currency, dry_run } => {
            let name = file.display().to_string();
            let size = std::fs::metadata(&file).with_context(|| name.clone())?.len();
            anyhow::ensure!(
                size <= ringfort_store::site::rates::MAX_FILE as u64,
                "{name}: expected a file of at most {} octets, got {size}; leave out what is not called",
                ringfort_store::site::rates::MAX_FILE
            );
            let text = std::fs::read_to_string(&file).with_context(|| name.clone())?;
            let request = AdminRequest::RatesImport { trunk, file: name, text, currency, dry_run };
            print_answer(json, &ask_store(dir, request)?, change)
        }
        RatesCommand::Delete { trunk } => {
            print_answer(json, &ask_store(dir, AdminRequest::RatesDelete { trunk })?, change)
        }
        RatesCommand::Export { trunk } => {
            let value = ask_store(dir, AdminRequest::RatesExport { trunk })?;
            print_answer(json, &value, |value| value["text"].as_str().unwrap_or_default().to_owned())
        }
        RatesCommand::Show { trunk, number } => {
            let human = if number.is_some() { show::costs } else { show::rates };
            print_answer(json, &ask_store(dir, AdminRequest::RatesShow { trunk, number })?, human)
        }
        RatesCommand::Lookup { number } => {
            let request = AdminRequest::RatesShow { trunk: None, number: Some(number) };
            print_answer(json, &ask_store(dir, request)?, show::costs)
        }
    }
}

fn read_fields(fields: ExtensionFields, enabled: Option<bool>) -> anyhow::Result<Fields> {
    let sip_password = match fields.sip_password.as_deref() {
        Some("-") => Some(line_of_input()?),
        _ => fields.sip_password,
    };
    Ok(Fields {
        name: fields.name,
        sip_user: fields.sip_user,
        sip_password,
        srtp: fields.srtp.map(|srtp| match srtp {
            Srtp::Off => SrtpPolicy::Off,
            Srtp::Offer => SrtpPolicy::Offer,
            Srtp::Require => SrtpPolicy::Require,
        }),
        max_calls: fields.max_calls,
        max_contacts: fields.max_contacts,
        enabled,
        keys: fields.keys,
    })
}

/// A change of the site: the plan, and what became of it.
pub fn change(value: &Value) -> String {
    let mut out = format!("{}\n", value["text"].as_str().unwrap_or_default().trim_end());
    for item in value["generated"].as_array().into_iter().flatten() {
        let text = |key: &str| item[key].as_str().unwrap_or_default();
        out.push_str(&format!("  {}: user {}, password {}\n", text("number"), text("sip_user"), text("sip_password")));
    }
    for advice in value["advice"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out.push_str(&format!("{advice}\n"));
    }
    if value["dry_run"] == true {
        out.push_str("Nothing was changed (--dry-run).\n");
    } else if value["changed"] == true {
        out.push_str(&format!("Done: revision {} in force.\n", value["revision"]));
    }
    out
}
