//! `ringfort ctl voicemail …`: messages that callers left.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Subcommand, ValueHint};
use ringfort_switch::record::UnixMillis;
use serde_json::{Value, json};

use super::table::Table;
use super::{ask_store, print_answer};
use crate::control::AdminRequest;
use crate::time::utc;

#[derive(Debug, Subcommand)]
pub enum VoicemailCommand {
    /// Messages, the newest first
    List {
        /// Of this extension alone
        mailbox: Option<String>,
        /// With this number as caller
        #[arg(long, value_name = "NUMBER")]
        from: Option<String>,
        /// Show numbers in full
        #[arg(long)]
        unmasked: bool,
    },
    /// Write a message to a WAV file
    Export {
        /// As `list` shows it
        id: u64,
        /// The file; one that is there is not touched
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        to: PathBuf,
    },
    /// Delete a message
    Delete {
        /// As `list` shows it
        id: u64,
    },
    /// Mark a message as heard
    Heard {
        /// As `list` shows it
        id: u64,
    },
}

/// Does one verb.
pub fn voicemail(dir: &Path, json: bool, command: VoicemailCommand) -> anyhow::Result<()> {
    match command {
        VoicemailCommand::List { mailbox, from, unmasked } => {
            let request = AdminRequest::VoicemailList { mailbox, from, unmasked };
            print_answer(json, &ask_store(dir, request)?, show_list)
        }
        VoicemailCommand::Export { id, to } => export(dir, json, id, &to),
        VoicemailCommand::Delete { id } => {
            let value = ask_store(dir, AdminRequest::VoicemailDelete { id })?;
            print_answer(json, &value, |_| format!("Message {id} is deleted.\n"))
        }
        VoicemailCommand::Heard { id } => {
            let value = ask_store(dir, AdminRequest::VoicemailHeard { id })?;
            print_answer(json, &value, |_| format!("Message {id} is marked as heard.\n"))
        }
    }
}

fn export(dir: &Path, json: bool, id: u64, to: &Path) -> anyhow::Result<()> {
    let mut value = ask_store(dir, AdminRequest::VoicemailExport { id })?;
    let sound = BASE64.decode(value["wav"].take().as_str().unwrap_or_default()).context("the answer of the server")?;
    let name = to.display().to_string();
    // What somebody said is its owner's alone, here too.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).with_context(|| name.clone())?;
    file.write_all(&sound).with_context(|| name.clone())?;
    let seconds = value["seconds"].as_f64().unwrap_or_default();
    value["file"] = json!(name);
    if let Some(object) = value.as_object_mut() {
        object.remove("wav");
    }
    print_answer(json, &value, |_| format!("Message {id}, {seconds:.0} s: {name}\n"))
}

fn show_list(value: &Value) -> String {
    let mut table = Table::new(&[">id", "mailbox", "from", "received", ">seconds", "heard"]);
    for item in value["items"].as_array().into_iter().flatten() {
        let text = |key: &str, other: &str| item[key].as_str().filter(|s| !s.is_empty()).unwrap_or(other).to_owned();
        table.row([
            item["id"].to_string(),
            text("mailbox", "(deleted)"),
            text("from", "(unknown)"),
            utc(UnixMillis(item["received"].as_u64().unwrap_or_default())),
            format!("{:.0}", item["seconds"].as_f64().unwrap_or_default()),
            if item["heard"] == true { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.render("There are no messages.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_in_a_table() {
        let one = json!({ "id": 7, "mailbox": "102", "from": "+44****0009", "received": 1_790_000_000_000_u64,
                          "seconds": 6.6, "heard": false });
        let gone = json!({ "id": 3, "mailbox": null, "from": "", "received": 0, "seconds": 1.0, "heard": true });
        let text = show_list(&json!({ "items": [one, gone] }));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["ID", "MAILBOX", "FROM", "RECEIVED", "SECONDS", "HEARD"]);
        assert_eq!((lines[1][0], lines[1][1], lines[1][5], lines[1][6]), ("7", "102", "7", "no"));
        assert_eq!((lines[2][1], lines[2][2], lines[2][6]), ("(deleted)", "(unknown)", "yes"));
        assert_eq!(show_list(&json!({ "items": [] })), "There are no messages.\n");
    }
}
