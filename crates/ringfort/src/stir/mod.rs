//! `ringfort stir …`: what an Identity header field says, whether it is believed, and making one. Works without a server.

pub mod args;
pub mod calls;
pub mod card;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ringfort_net::stir::{FetchConfig, StirClient, now};
use ringfort_sip::NameAddr;
use ringfort_stir::certificate::MAX_CHAIN_BYTES;
use ringfort_stir::date::SipDate;
use ringfort_stir::{
    Attestation, Event, Fetch, Identity, Now, NumberPlan, OrigId, Outcome, Party, Question, Settings, Signer, Token,
    TrustAnchors, UnixTime, Verdict, Verifier, sign,
};
use serde_json::{Value, json};

use crate::cli::{print, print_answer, printable};
use crate::random;
use args::{Attest, SignArgs, StirArgs, StirCommand, VerifyArgs};

/// Nothing was there to be validated.
const NOT_VALIDATED: u8 = 2;

/// Does one command.
///
/// # Errors
/// In words for the user: a file that cannot be read, a value that is none.
pub fn stir(args: StirArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        StirCommand::Show { value, json } => {
            let value = show(&given(&value)?)?;
            print_answer(json, &value, shown)?;
            Ok(ExitCode::SUCCESS)
        }
        StirCommand::Verify(args) => {
            let verdict = verify(&args)?;
            print_answer(args.json, &verdict_object(&verdict), |_| verdict_words(&verdict))?;
            Ok(match verdict.outcome {
                Outcome::Passed(_) => ExitCode::SUCCESS,
                Outcome::Failed(_) => ExitCode::FAILURE,
                Outcome::NotValidated(_) => ExitCode::from(NOT_VALIDATED),
            })
        }
        StirCommand::Sign(args) => {
            let identity = sign(&args)?.to_string();
            if args.json {
                print(&format!("{:#}\n", json!({ "identity": identity })))?;
            } else {
                print(&format!("{identity}\n"))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The argument, or standard input for `-`; without the name of the header field.
fn given(value: &str) -> anyhow::Result<String> {
    let mut text = value.to_owned();
    if value == "-" {
        text.clear();
        std::io::stdin().take(64 * 1024).read_to_string(&mut text).context("standard input")?;
    }
    Ok(without_name(text.trim()).to_owned())
}

fn without_name(value: &str) -> &str {
    match value.split_once(':') {
        Some((name, rest)) if matches!(name.trim().to_ascii_lowercase().as_str(), "identity" | "y") => rest.trim(),
        _ => value,
    }
}

fn show(value: &str) -> anyhow::Result<Value> {
    let (token, identity) = if value.contains(';') {
        let identity = Identity::parse(value).context("the Identity header field cannot be read")?;
        (identity.token.clone(), Some(identity))
    } else {
        (value.to_owned(), None)
    };
    let mut object = match Token::parse(&token).context("the PASSporT cannot be read")? {
        Token::Compact { .. } => json!({ "form": "compact" }),
        Token::Full(passport) => json!({
            "form": "full",
            "type": passport.ppt_name.as_deref().unwrap_or("base"),
            "type_known": passport.ppt().is_some(),
            "x5u": passport.x5u,
            "issued": SipDate(passport.claims.iat).to_string(),
            "canonical": passport.canonical,
            "claims": passport.all_claims(),
        }),
    };
    if let Some(identity) = identity {
        object["info"] = identity.info.into();
        object["ppt"] = identity.ppt.into();
    }
    Ok(object)
}

fn shown(value: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out.push_str(&format!("{name:<12}{}\n", printable(value)));
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    match text("form") {
        "compact" => line("form", "compact: header and claims are those of the request"),
        form => {
            line("form", form);
            line("type", text("type"));
            line("certificate", text("x5u"));
            line("issued", text("issued"));
            if let Some(claims) = value["claims"].as_object() {
                for (name, claim) in claims {
                    line(name, &claim.as_str().map_or_else(|| claim.to_string(), str::to_owned));
                }
            }
            if value["canonical"] == false {
                line("note", "not in the deterministic form of RFC 8225 section 9");
            }
            if value["type_known"] == false {
                line("note", "of a type that is passed over (known are base, shaken and div)");
            }
        }
    }
    if !text("info").is_empty() && text("info") != text("x5u") {
        line("info", text("info"));
    }
    out.push_str("The signature was not checked: `ringfort stir verify` does that.\n");
    out
}

/// A header field's value, a URI, `user@host` or a number.
fn address(value: &str) -> String {
    let value = value.trim();
    if value.contains(['<', ':']) {
        value.to_owned()
    } else if value.contains('@') {
        format!("<sip:{value}>")
    } else {
        format!("<tel:{value}>")
    }
}

fn party(name: &str, value: &str) -> anyhow::Result<Party> {
    NumberPlan::default().party(&address(value)).with_context(|| format!("{name} {value:?}"))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn verify(args: &VerifyArgs) -> anyhow::Result<Verdict> {
    let name = args.trust.display();
    let anchors = TrustAnchors::from_bytes(&read(&args.trust)?).with_context(|| name.to_string())?;
    let chain = args.cert.as_deref().map(read).transpose()?;
    let settings = Settings {
        freshness: Duration::from_secs(args.freshness),
        patience: Duration::from_secs(10),
        fetch_within: Duration::from_secs(10),
        ..Settings::default()
    };
    let mut verifier = Verifier::new(settings, anchors);
    let (from, to) = (address(&args.from), address(&args.to));
    party("--from", &from)?;
    party("--to", &to)?;
    let target = match &args.request_uri {
        Some(uri) => uri.clone(),
        None => NameAddr::parse(to.as_bytes()).context("--to")?.uri.to_owned(),
    };
    let identities: Vec<&str> = args.identity.iter().map(|value| without_name(value.trim())).collect();
    let question = Question {
        method: "INVITE",
        from: &from,
        to: &to,
        request_uri: &target,
        date: args.date.as_deref(),
        identities: &identities,
        ..Question::default()
    };
    let moment = Now { unix: args.at.map_or(now().unix, UnixTime), ..now() };
    match chain {
        Some(bytes) => {
            ensure!(bytes.len() <= MAX_CHAIN_BYTES, "expected at most {MAX_CHAIN_BYTES} octets in the file of --cert");
            verifier.handle_question(moment, &question);
            while let Some(query) = verifier.poll_query() {
                verifier.handle_fetched(moment, query.id, Fetch::Body { bytes: bytes.clone(), max_age: None });
            }
            match verifier.poll_event() {
                Some(Event::Verdict { verdict, .. }) => Ok(verdict),
                Some(Event::Card { .. }) | None => anyhow::bail!("no verdict, although every query was answered"),
            }
        }
        None => {
            let config = FetchConfig {
                ca_file: args.web_ca.clone(),
                allow_private: args.allow_private,
                ..FetchConfig::default()
            };
            Ok(StirClient::new(&config)?.verify_at(&mut verifier, moment.unix, &question))
        }
    }
}

fn verdict_object(verdict: &Verdict) -> Value {
    let (status, phrase) = verdict.refusal().map_or((Value::Null, Value::Null), |(s, p)| (s.into(), p.into()));
    let passed = verdict.passed();
    json!({
        "verstat": verdict.verstat(),
        "rule": verdict.rule(),
        "words": verdict.to_string(),
        "attestation": passed.and_then(|passed| passed.attestation).map(Attestation::as_str),
        "origid": passed.and_then(|passed| passed.origid.clone()),
        "signer": passed.map(|passed| passed.signer.clone()),
        "service_provider_codes": passed.map(|passed| passed.spcs.clone()).unwrap_or_default(),
        "diverted_from": passed.map(|p| p.diverted.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_or_default(),
        "refusal": { "status": status, "phrase": phrase },
        "reason": verdict.reason().map(|reason| reason.to_string()),
        "failures": verdict.failures.iter().map(|failure| json!({
            "rule": failure.kind.rule(),
            "words": failure.words,
            "url": failure.url,
        })).collect::<Vec<_>>(),
    })
}

fn verdict_words(verdict: &Verdict) -> String {
    let mut out = format!("{}: {}\n", verdict.verstat(), printable(&verdict.to_string()));
    if let Some((status, phrase)) = verdict.refusal() {
        out.push_str(&format!(
            "Where a signature is required the answer is {status} {phrase} (rule {}).\n",
            verdict.rule()
        ));
    }
    let told = match &verdict.outcome {
        Outcome::Failed(failure) => Some(failure),
        Outcome::Passed(_) | Outcome::NotValidated(_) => None,
    };
    for failure in verdict.failures.iter().filter(|failure| Some(*failure) != told) {
        out.push_str(&format!("Also {}: {}\n", failure.kind.rule(), printable(&failure.to_string())));
    }
    out
}

fn sign(args: &SignArgs) -> anyhow::Result<Identity> {
    let key = String::from_utf8(read(&args.key)?).unwrap_or_default();
    let chain = args.cert.as_deref().map(read).transpose()?;
    let signer = Signer::new(&key, &args.info, chain.as_deref())?;
    let attest = match args.attest {
        None => None,
        Some(level) => {
            let origid = match &args.origid {
                Some(text) => {
                    OrigId::parse(text).with_context(|| format!("expected a UUID as --origid, got {text:?}"))?
                }
                None => {
                    let mut chance = [0; 16];
                    chance.copy_from_slice(&random::seed()?[..16]);
                    OrigId::from_chance(chance)
                }
            };
            let level = match level {
                Attest::A => Attestation::A,
                Attest::B => Attestation::B,
                Attest::C => Attestation::C,
            };
            Some((level, origid))
        }
    };
    let call = sign::Outgoing {
        orig: party("--from", &args.from)?,
        dest: party("--to", &args.to)?,
        attest,
        date: None,
        fingerprints: &[],
    };
    Ok(signer.sign(args.at.map_or(now().unix, UnixTime), &call)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9.eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19.VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw";

    #[test]
    fn a_passport_is_shown_as_it_is_and_with_the_header_field_around_it() {
        let value = show(TOKEN).unwrap();
        assert_eq!(value["claims"]["orig"]["tn"], "12155551212");
        let words = shown(&value);
        assert!(words.contains("certificate https://cert.example.org/passport.cer\n"), "{words}");
        assert!(words.contains("issued      Tue, 16 Aug 2016 19:23:38 GMT\n"), "{words}");
        let header = format!("Identity: {TOKEN};info=<https://other.example/c>;ppt=shaken");
        let value = show(&given(&header).unwrap()).unwrap();
        assert!(
            value["info"] == "https://other.example/c" && shown(&value).contains("info        https://other.example/c")
        );
        assert!(show("..x").is_err() && show("hello").is_err());
    }

    #[test]
    fn callers_are_given_as_header_fields_addresses_or_numbers() {
        for value in
            ["+12155551212", "<sip:+12155551212@x;user=phone>", "tel:+1-215-555-1212", "+12155551212@example.com"]
        {
            assert_eq!(party("--from", value).unwrap(), Party::Number("12155551212".into()), "{value}");
        }
        assert_eq!(party("--to", "alice@Example.com").unwrap(), Party::Uri("sip:alice@example.com".into()));
        assert!(party("--to", "").is_err());
    }
}
