//! Signed calls against OpenSSL: what it signs with its own certificates our verifier believes, what we sign it verifies; and
//! certificates fetched from a real web server, well and badly behaved.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use ringfort_interop::stir::{WebServer, make_carrier, signature, verifies};
use ringfort_interop::{Place, need, ringfort};
use ringfort_net::stir::{FetchConfig, Fetcher, StirClient, now};
use ringfort_stir::*;
use serde_json::Value;

const CALLER: &str = "12155551212";
const CALLED: &str = "12155551213";

/// `ringfort stir …` with `--json`: its exit status and object.
fn stir(place: &Place, arguments: &[&str]) -> anyhow::Result<(Option<i32>, Value)> {
    let output = Command::new(ringfort::binary()?)
        .arg("stir")
        .args(arguments)
        .arg("--json")
        .current_dir(place.dir())
        .output()?;
    let value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{arguments:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })?;
    Ok((output.status.code(), value))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

/// An Identity header field whose JSON is written here and whose signature is OpenSSL's.
fn signed_by_openssl(place: &Place, url: &str, iat: u64) -> anyhow::Result<String> {
    // Neither sorted nor without blanks: it is the text that is signed.
    let header = format!(r#"{{"typ":"passport", "alg":"ES256", "ppt":"shaken", "x5u":"{url}"}}"#);
    let claims = format!(
        r#"{{"orig":{{"tn":"{CALLER}"}}, "dest":{{"tn":["{CALLED}"]}}, "iat":{iat}, "attest":"B", "origid":"123e4567-e89b-12d3-a456-426655440000"}}"#
    );
    let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let signature = base64url(&signature(place, &text)?);
    Ok(format!("{text}.{signature};info=<{url}>;alg=ES256;ppt=\"shaken\""))
}

#[test]
fn what_openssl_signed_with_its_own_certificate_is_believed() -> anyhow::Result<()> {
    need!("openssl");
    let place = Place::new()?;
    make_carrier(&place, CALLER)?;
    let identity = signed_by_openssl(&place, "https://certs.example.org/sp.pem", now().unix.0)?;
    let common = ["--trust", "ca.pem", "--cert", "sp.pem", "--identity", &identity, "--to", "+12155551213"];
    let verify = |from| stir(&place, &[&["verify", "--from", from], &common[..]].concat());
    let (status, verdict) = verify("\"A\" <sip:+12155551212@example.com;user=phone>;tag=1")?;
    ensure!(status == Some(0), "{verdict:#}");
    assert_eq!(verdict["verstat"], "TN-Validation-Passed");
    assert_eq!((&verdict["attestation"], &verdict["signer"]), (&"B".into(), &"OpenSSL-Carrier".into()));
    let (status, verdict) = verify("+12025550100")?;
    assert_eq!((status, &verdict["rule"]), (Some(1), &"stir.origin".into()));
    assert_eq!(verdict["refusal"]["status"], 438);
    let (_, shown) = stir(&place, &["show", &identity])?;
    assert_eq!((&shown["claims"]["orig"]["tn"], &shown["canonical"]), (&CALLER.into(), &false.into()));
    Ok(())
}

#[test]
fn what_we_sign_openssl_verifies() -> anyhow::Result<()> {
    need!("openssl");
    let place = Place::new()?;
    make_carrier(&place, CALLER)?;
    let sign = |from: &str| {
        let line = ["sign", "--key", "sp.key", "--cert", "sp.pem", "--info", "https://certs.example.org/sp.pem"];
        stir(&place, &[&line[..], &["--from", from, "--to", CALLED, "--attest", "A"]].concat())
    };
    // Several, since r and s are now and then shorter than 32 octets.
    for _ in 0..8 {
        let (_, signed) = sign(CALLER)?;
        let identity = Identity::parse(signed["identity"].as_str().context("an identity")?)?;
        let (text, encoded) = identity.token.rsplit_once('.').context("a signature")?;
        let Token::Full(passport) = Token::parse(&identity.token)? else { anyhow::bail!("expected the full form") };
        assert_eq!(passport.claims.attest, Some(Attestation::A));
        let octets = decoded(encoded);
        ensure!(verifies(&place, text, &octets)?, "openssl does not believe {identity}");
        ensure!(!verifies(&place, &text.replacen('e', "f", 1), &octets)?, "openssl believes anything");
    }
    assert!(sign("+12025550100").is_err(), "the certificate is for another number");
    Ok(())
}

fn decoded(text: &str) -> Vec<u8> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 6 | u32::from(value(*b))) << (6 * (4 - chunk.len()));
        out.extend_from_slice(&bits.to_be_bytes()[1..chunk.len()]);
    }
    out
}

#[test]
fn certificates_are_fetched_from_a_web_server_within_limits() -> anyhow::Result<()> {
    need!("openssl", "python3");
    let place = Place::new()?;
    make_carrier(&place, CALLER)?;
    let web = WebServer::start(&place, place.ip(0))?;
    let anchors = TrustAnchors::from_bytes(&std::fs::read(place.path("ca.pem"))?)?;
    let config = FetchConfig { ca_file: Some(web.ca.clone()), allow_private: true, ..FetchConfig::default() };
    let client = StirClient::new(&config)?;
    let judge = |client: &StirClient, path: &str| -> anyhow::Result<Verdict> {
        let settings = Settings { fetch_within: Duration::from_secs(3), ..Settings::default() };
        let mut verifier = Verifier::new(settings, anchors.clone());
        let identity = signed_by_openssl(&place, &web.url(path), now().unix.0)?;
        let question = Question {
            method: "INVITE",
            from: "<sip:+12155551212@example.com;user=phone>",
            to: "<sip:+12155551213@example.net;user=phone>",
            request_uri: "sip:+12155551213@example.net;user=phone",
            identities: &[&identity],
            ..Question::default()
        };
        Ok(client.verify(&mut verifier, &question))
    };
    for path in ["sp.pem", "moved/1", "moved/2"] {
        let verdict = judge(&client, path)?;
        ensure!(verdict.passed().is_some(), "{path}: {verdict}");
    }
    for (path, words) in [
        ("gone.pem", "answered 404"),
        ("moved/3", "answered 302"),
        ("page", "got \"text/html\""),
        ("large", "expected at most 262144 octets"),
        ("slow", "did not come in time"),
        ("inside", "http://169.254.169.254/latest is not an address"),
    ] {
        let verdict = judge(&client, path)?;
        ensure!(verdict.to_string().contains(words), "{path}: {verdict}");
        assert_eq!(verdict.refusal(), Some((436, "Bad Identity Info")));
    }
    let careful = StirClient::new(&FetchConfig { ca_file: Some(web.ca.clone()), ..FetchConfig::default() })?;
    let verdict = judge(&careful, "sp.pem")?;
    ensure!(verdict.to_string().contains(&format!("{} is not an address", place.ip(0))), "{verdict}");
    let strangers = StirClient::new(&FetchConfig { allow_private: true, ..FetchConfig::default() })?;
    let verdict = judge(&strangers, "sp.pem")?;
    ensure!(
        verdict.to_string().contains("no connection to the certificate's server: invalid peer certificate"),
        "{verdict}"
    );
    // By the threads that the running system has.
    let (sender, answers) = std::sync::mpsc::channel();
    let fetcher = Fetcher::start(&config, move |id, fetch| {
        let _ = sender.send((id, fetch));
    })?;
    for (id, path) in [(1, "sp.pem"), (2, "gone.pem")] {
        let deadline = now().instant + Duration::from_secs(5);
        fetcher.ask(Query { id: QueryId(id), url: web.url(path), deadline });
    }
    let mut fetched = BTreeMap::new();
    for _ in 0..2 {
        fetched.extend([answers.recv_timeout(Duration::from_secs(10))?]);
    }
    let bytes = std::fs::read(place.path("sp.pem"))?;
    assert_eq!(fetched.remove(&QueryId(1)), Some(Fetch::Body { bytes, max_age: None }));
    assert_eq!(fetched.remove(&QueryId(2)), Some(Fetch::Failed(FetchFailure::Status(404))));
    // As its users run it.
    let identity = signed_by_openssl(&place, &web.url("sp.pem"), now().unix.0)?;
    let line = ["verify", "--trust", "ca.pem", "--identity", &identity, "--from", CALLER, "--to", CALLED];
    let (status, verdict) = stir(&place, &[&line[..], &["--web-ca", "web.pem", "--allow-private"]].concat())?;
    ensure!(status == Some(0), "{verdict:#}");
    let (status, verdict) = stir(&place, &line)?;
    assert_eq!((status, &verdict["rule"]), (Some(1), &"stir.fetch".into()));
    Ok(())
}

/// Two systems that are each other's trunk: `alpha` signs with the carrier's key, `beta` lets in what is signed by whom `trust`
/// believes. Gives what beta's record says of one call of alpha's, and its status.
fn call_between(place: &Place, web: &WebServer, trust: &str) -> anyhow::Result<(Value, u64)> {
    let (alpha_ip, beta_ip) = (place.ip(1), place.ip(2));
    let start = |name: &'static str, ip, other, stir: String, trunk: &str, rest: &str| {
        let extra = format!("[stir]\n{stir}[[profile]]\nname = \"world\"\nlisten = [\"udp:{ip}:5080\"]\n",);
        let site = format!(
            "[[tenant]]\nname = \"default\"\ncountry = \"1\"\ninternational_prefix = \"011\"\nnational_prefix = \"1\"\n\n\
             [[trunk]]\nname = \"other\"\nserver = \"sip:{other}:5080\"\nhealth_every = \"0s\"\n{trunk}\n{rest}"
        );
        ringfort_interop::Ringfort::start(
            place,
            ringfort_interop::Options { ip: Some(ip), extra, site, name, ..Default::default() },
        )
    };
    let dir = place.dir().display();
    let signing = format!("key = \"{dir}/sp.key\"\ncertificate = \"{dir}/sp.pem\"\ninfo = \"{}\"\n", web.url("sp.pem"));
    let judging = format!("trust = \"{dir}/{trust}\"\nweb_ca = {:?}\ninner = true\n", web.ca);
    let route = "[[route]]\nname = \"out\"\npatterns = [\"any\"]\ntrunks = [\"other\"]\n";
    let inbound = "[[inbound]]\nname = \"in\"\ncalled = \"any\"\nto = \"extension 102\"\n";
    let alpha = start("alpha", alpha_ip, beta_ip, signing, &format!("caller_id = \"+{CALLER}\""), route)?;
    let beta = start("beta", beta_ip, alpha_ip, judging, "verify_identity = \"require\"", inbound)?;
    let caller = ringfort_interop::sipp::Sipp::new("uac_unknown", place.ip(3), 5081, &alpha)
        .user(alpha.extension("101"))
        .calls(CALLED);
    // Nobody is at home at beta's: the call fails, and the records tell how far it came.
    let _ = caller.run(place);
    let record = beta.records(1)?.remove(0);
    let signed = alpha.records(1)?.remove(0);
    assert_eq!(signed["identity"]["rule"], "stir.signed", "{signed:#}");
    Ok((record.clone(), record["status"].as_u64().unwrap_or(0)))
}

#[test]
fn a_call_between_two_systems_is_signed_verified_by_a_certificate_that_is_fetched_and_refused_where_nobody_vouches_for_it()
-> anyhow::Result<()> {
    need!("openssl");
    need!("python3");
    need!("sipp");
    let place = Place::new()?;
    make_carrier(&place, CALLER)?;
    let web = WebServer::start(&place, place.ip(0))?;
    let (record, status) = call_between(&place, &web, "ca.pem")?;
    assert_eq!(record["identity"]["verstat"], "TN-Validation-Passed", "{record:#}");
    assert_eq!((&record["identity"]["attest"], status), (&"A".into(), 480), "verified, and nobody at home");

    let other = Place::new()?;
    make_carrier(&other, CALLER)?;
    std::fs::copy(other.path("ca.pem"), place.path("stranger.pem"))?;
    for folder in ["alpha-data", "beta-data"] {
        std::fs::remove_dir_all(place.path(folder))?;
    }
    let (record, status) = call_between(&place, &web, "stranger.pem")?;
    assert_eq!((&record["identity"]["rule"], status), (&"stir.untrusted".into(), 437), "{record:#}");
    assert_eq!(record["rule"], "stir.untrusted");
    Ok(())
}
