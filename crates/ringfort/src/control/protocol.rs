//! What is asked and answered over the control socket.

use ringfort_store::ObjectKind;
use ringfort_store::site::edit::{LineChange, Pair};
use ringfort_switch::io::Command;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One line from a client.
#[derive(Clone, Debug)]
pub enum Request {
    /// For the running switch.
    Switch(Command),
    /// For the store, or the process.
    Admin(AdminRequest),
}

/// What is asked of the store or the process. Those of the store can be asked without a running server too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// Call records, the newest first.
    Cdr {
        limit: u32,
        number: Option<String>,
        /// `None`: of all.
        #[serde(default)]
        tenant: Option<String>,
        unmasked: bool,
    },
    ExtensionList {
        /// `None`: of all.
        #[serde(default)]
        tenant: Option<String>,
    },
    /// Here and below: a number of the default tenant, or `TENANT/NUMBER`.
    ExtensionShow {
        number: String,
        secrets: bool,
    },
    ExtensionAdd {
        number: String,
        fields: Fields,
    },
    ExtensionSet {
        number: String,
        fields: Fields,
    },
    ExtensionDelete {
        number: String,
    },
    ExtensionRotate {
        number: String,
    },
    /// Trunks, routes, inbound routes or aliases; `None`: of all tenants, of all names.
    LineShow {
        kind: ObjectKind,
        tenant: Option<String>,
        name: Option<String>,
        secrets: bool,
    },
    LineChange {
        change: LineChange,
        dry_run: bool,
        /// As of `Apply`.
        allow_reach: Vec<String>,
    },
    /// `text` is the file's contents, `file` the name it has in mistakes.
    Apply {
        file: String,
        text: String,
        dry_run: bool,
        prune: bool,
        /// Trunks that may be reached by whoever has proven nothing.
        #[serde(default)]
        allow_reach: Vec<String>,
    },
    /// Who reaches a trunk in the site that is in force.
    Reach,
    Export {
        with_secrets: bool,
    },
    Rollback {
        revision: Option<u64>,
    },
    /// The price list of a trunk; `text` is the file's contents, `file` the name it has in mistakes.
    RatesImport {
        trunk: String,
        file: String,
        text: String,
        /// `None`: as it is.
        currency: Option<String>,
        dry_run: bool,
    },
    RatesDelete {
        trunk: String,
    },
    RatesExport {
        trunk: String,
    },
    /// Of one trunk or all; with a number, the rate for it.
    RatesShow {
        trunk: Option<String>,
        number: Option<String>,
    },
    Revisions,
    /// Entries of blacklists from the database, and how many each list has. `after`: where the next page begins.
    #[serde(rename = "blacklists")]
    Blacklist {
        tenant: Option<String>,
        list: Option<String>,
        after: Option<ringfort_store::blacklist::Cursor>,
        limit: u32,
        unmasked: bool,
    },
    /// Messages of one extension's mailbox or all, from one number or all.
    VoicemailList {
        mailbox: Option<String>,
        from: Option<String>,
        unmasked: bool,
    },
    /// A message with its sound.
    VoicemailExport {
        id: u64,
    },
    VoicemailDelete {
        id: u64,
    },
    VoicemailHeard {
        id: u64,
    },
    /// What a phone needs to know to register: listeners, domain, fingerprint.
    Access,
    /// Two extensions for a self-test, known to the switch alone: nothing is stored, no revision is made.
    SelftestBegin,
    SelftestEnd,
    Reload,
    Stop,
}

/// Fields of an extension; an absent one stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    pub name: Option<String>,
    pub sip_user: Option<String>,
    pub sip_password: Option<String>,
    pub srtp: Option<ringfort_switch::model::SrtpPolicy>,
    pub max_calls: Option<u32>,
    pub max_contacts: Option<u32>,
    pub enabled: Option<bool>,
    /// What it may do beyond the house: keys of `site.toml` and their values.
    pub keys: Vec<Pair>,
}

const ADMIN: [&str; 28] = [
    "cdr",
    "extension_list",
    "extension_show",
    "extension_add",
    "extension_set",
    "extension_delete",
    "extension_rotate",
    "line_show",
    "line_change",
    "apply",
    "reach",
    "export",
    "rollback",
    "rates_import",
    "rates_delete",
    "rates_export",
    "rates_show",
    "revisions",
    "blacklists",
    "voicemail_list",
    "voicemail_export",
    "voicemail_delete",
    "voicemail_heard",
    "access",
    "selftest_begin",
    "selftest_end",
    "reload",
    "stop",
];

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// In words, for the client.
    pub fn parse(line: &str) -> Result<Request, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
        let name = value.get("command").and_then(Value::as_str).ok_or("the field `command` is missing")?.to_owned();
        let result = if ADMIN.contains(&name.as_str()) {
            serde_json::from_value(value).map(Request::Admin)
        } else {
            serde_json::from_value(value).map(Request::Switch)
        };
        result.map_err(|error| format!("command {name:?}: {error}"))
    }

    /// The line for it, without the newline.
    pub fn to_line(&self) -> String {
        let line = match self {
            Request::Switch(command) => serde_json::to_string(command),
            Request::Admin(request) => serde_json::to_string(request),
        };
        line.expect("requests are plain data")
    }
}

/// One line from the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The object that `--json` prints.
    Ok(Value),
    /// In words.
    Error(String),
}

#[cfg(test)]
mod tests {
    use ringfort_store::site::edit::LineEdit;

    use super::*;

    #[test]
    fn each_request_is_read_back_as_it_was_written() {
        let fields = Fields { name: Some("A".into()), enabled: Some(false), ..Fields::default() };
        let requests = [
            AdminRequest::Cdr { limit: 3, number: None, tenant: None, unmasked: false },
            AdminRequest::ExtensionList { tenant: Some("acme".into()) },
            AdminRequest::ExtensionShow { number: "101".into(), secrets: true },
            AdminRequest::ExtensionAdd { number: "101".into(), fields: fields.clone() },
            AdminRequest::ExtensionSet { number: "101".into(), fields },
            AdminRequest::ExtensionDelete { number: "101".into() },
            AdminRequest::ExtensionRotate { number: "101".into() },
            AdminRequest::LineShow { kind: ObjectKind::Alias, tenant: None, name: Some("a".into()), secrets: true },
            AdminRequest::LineChange {
                change: LineChange {
                    kind: ObjectKind::Route,
                    tenant: None,
                    name: "out".into(),
                    edit: LineEdit::Set(vec![("trunks".into(), "a,b".into())]),
                    before: Some("all".into()),
                },
                dry_run: true,
                allow_reach: Vec::new(),
            },
            AdminRequest::Apply {
                file: "f".into(),
                text: "t\n".into(),
                dry_run: true,
                prune: false,
                allow_reach: vec!["acme".into()],
            },
            AdminRequest::Reach,
            AdminRequest::Export { with_secrets: false },
            AdminRequest::Rollback { revision: Some(2) },
            AdminRequest::RatesImport {
                trunk: "a".into(),
                file: "f".into(),
                text: "t\n".into(),
                currency: None,
                dry_run: true,
            },
            AdminRequest::RatesDelete { trunk: "a".into() },
            AdminRequest::RatesExport { trunk: "a".into() },
            AdminRequest::RatesShow { trunk: None, number: Some("1".into()) },
            AdminRequest::Revisions,
            AdminRequest::Blacklist {
                tenant: None,
                list: Some("allow".into()),
                after: Some((Some(3), vec![1, 255])),
                limit: 10,
                unmasked: false,
            },
            AdminRequest::VoicemailList { mailbox: Some("102".into()), from: None, unmasked: true },
            AdminRequest::VoicemailExport { id: 7 },
            AdminRequest::VoicemailDelete { id: 7 },
            AdminRequest::VoicemailHeard { id: 7 },
            AdminRequest::Access,
            AdminRequest::SelftestBegin,
            AdminRequest::SelftestEnd,
            AdminRequest::Reload,
            AdminRequest::Stop,
        ];
        assert_eq!(requests.len(), ADMIN.len());
        for request in requests {
            let line = Request::Admin(request.clone()).to_line();
            assert!(!line.contains('\n'), "{line}");
            match Request::parse(&line) {
                Ok(Request::Admin(read)) => assert_eq!(read, request),
                other => panic!("{line}: {other:?}"),
            }
        }
        assert!(matches!(Request::parse("{\"command\":\"status\"}"), Ok(Request::Switch(Command::Status))));
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        assert!(Request::parse("hello").unwrap_err().starts_with("not a JSON object"));
        assert_eq!(Request::parse("{}").unwrap_err(), "the field `command` is missing");
        assert!(Request::parse("{\"command\":\"fly\"}").unwrap_err().starts_with("command \"fly\": unknown variant"));
        let wrong = Request::parse("{\"command\":\"cdr\",\"limit\":\"x\"}").unwrap_err();
        assert!(wrong.starts_with("command \"cdr\": "), "{wrong}");
    }
}
