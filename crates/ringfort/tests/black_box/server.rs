//! A running server: configuration, signals, crashes.

use serde_json::json;

use crate::support::{Place, register};

const SITE: &str = "[[extension]]\nnumber = \"101\"\nname = \"Reception\"\n\n[[extension]]\nnumber = \"102\"\n";

#[test]
fn a_site_is_planned_applied_and_rolled_back_while_the_server_runs() {
    let mut place = Place::new();
    place.start();
    std::fs::write(place.path().join("site.toml"), SITE).unwrap();
    let plan = place.ok("apply -f site.toml --dry-run");
    assert!(plan.contains("+ extension 101") && plan.contains("Nothing was changed (--dry-run)."), "{plan}");
    assert_eq!(place.json("ctl extension list --json")["items"], json!([]));

    let done = place.ok("apply -f site.toml");
    assert!(done.contains("2 to create") && done.contains("Done: revision 1 in force."), "{done}");
    assert_eq!(place.json("ctl status --json")["extensions"], 2);
    assert!(place.ok("apply -f site.toml").contains("Nothing to do"));

    let password = place.json("ctl extension show 101 --secrets --json")["sip_password"].clone();
    std::fs::write(place.path().join("site.toml"), "[[extension]]\nnumber = \"101\"\nname = \"Front desk\"\n").unwrap();
    let done = place.ok("apply -f site.toml");
    assert!(
        done.contains("name: Reception -> Front desk") && done.contains("1 that the file does not name is kept"),
        "{done}"
    );
    assert_eq!(
        place.json("ctl extension show 101 --secrets --json")["sip_password"],
        password,
        "an absent secret is kept"
    );
    place.ok("apply -f site.toml --prune");
    assert_eq!(place.json("ctl extension list --json")["items"].as_array().unwrap().len(), 1);

    assert!(place.ok("rollback").contains("+ extension 102"));
    assert_eq!(place.json("ctl status --json")["extensions"], 2);
    assert!(place.ok("rollback 1").contains("name: Front desk -> Reception"));
    let revisions = place.json("revisions --json");
    assert_eq!(revisions["items"][0]["revision"], 5);
    assert_eq!(revisions["items"][0]["rollback_to"], 1);
    let export = place.ok("export");
    assert!(export.contains("Reception") && !export.contains("sip_password"), "{export}");
    assert_eq!(place.stop_by("-TERM"), Some(0));
}

#[test]
fn registrations_records_and_the_site_survive_kill_9() {
    let mut place = Place::new();
    place.start();
    place.ok("ctl extension add 101");
    register(&place, "101");
    let report = place.json("selftest --json");
    assert_eq!(report["ok"], true, "{report:#}");
    let before = place.json("ctl cdr --limit 5 --json");
    assert_eq!((&before["items"][0]["cause"], &before["items"][0]["status"]), (&json!("normal"), &json!(200)));
    place.kill();

    place.start();
    assert_eq!(place.json("ctl cdr --limit 5 --json"), before);
    let after = place.json("ctl registrations --json");
    let items = after["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{after:#}");
    assert_eq!(items[0]["number"], "101");
    assert_eq!(place.json("ctl extension list --json")["items"].as_array().unwrap().len(), 1);
    assert_eq!(place.json("ctl unregister 101 --json")["changed"], 1);
    assert_eq!(place.ok("ctl registrations"), "No phone is registered.\n");
}

#[test]
fn a_record_whose_journal_was_not_read_before_the_kill_is_there_after_it() {
    let mut place = Place::new();
    place.start();
    assert_eq!(place.json("selftest --json")["ok"], true);
    place.kill();
    // No server: the store alone is asked.
    let items = place.json("ctl cdr --json");
    assert_eq!(items["items"].as_array().unwrap().len(), 1, "{items:#}");
}

#[test]
fn the_selftest_says_what_works_and_leaves_no_extension_behind() {
    let mut place = Place::new();
    place.start();
    let said = place.ok("selftest");
    for check in
        ["registration", "call", "audio to the called phone", "audio to the caller", "hang-up", "record", "quality"]
    {
        assert!(said.contains(&format!("works  {check} ")), "{said}");
    }
    assert!(said.ends_with("Everything works.\n"));
    assert_eq!(place.json("revisions --json")["items"], json!([]), "and no revision");
    assert_eq!(place.json("ctl status --json")["extensions"], 0);
    assert_eq!(place.json("ctl registrations --json")["items"], json!([]));
    let status = place.json("ctl status --json");
    for zero in ["calls", "dialogs", "media_streams"] {
        assert_eq!(status[zero], 0, "{zero}");
    }
}

#[test]
fn metrics_and_health_are_served() {
    let mut place = Place::new();
    place.start();
    assert!(place.page("/healthz").ends_with("\r\n\r\nok\n"));
    let metrics = place.page("/metrics");
    for name in ["ringfort_registrations 0", "ringfort_calls_attempted_total 0", "ringfort_net_udp_received_total"] {
        assert!(metrics.contains(name), "{name} in {metrics}");
    }
    place.ok("ctl drain");
    assert!(place.page("/healthz").starts_with("HTTP/1.1 503 "), "a load balancer sends no more calls here");
}

#[test]
fn sigterm_sigint_and_ctl_stop_end_with_0() {
    for signal in ["-TERM", "-INT"] {
        let mut place = Place::new();
        place.start();
        assert_eq!(place.stop_by(signal), Some(0), "{signal}: {}", place.log());
        assert!(!place.path().join("data/ringfort.sock").exists());
    }
    let mut place = Place::new();
    place.start();
    assert_eq!(place.ok("ctl stop"), "Stopping.\n");
    assert_eq!(place.wait(), Some(0));
}

#[test]
fn sighup_reads_again_and_the_server_goes_on() {
    let mut place = Place::new();
    place.start();
    place.signal("-HUP");
    let answer = place.json("ctl reload --json");
    assert_eq!(answer["restart_needed"], false);
    let config = std::fs::read_to_string(place.path().join("ringfort.toml")).unwrap();
    std::fs::write(place.path().join("ringfort.toml"), format!("product = \"X\"\n{config}")).unwrap();
    assert_eq!(place.json("ctl reload --json")["restart_needed"], true);
    std::fs::write(place.path().join("ringfort.toml"), format!("prodct = \"X\"\n{config}")).unwrap();
    assert!(place.fails("ctl reload --data data").contains("did you mean `product`?"));
    std::fs::write(place.path().join("ringfort.toml"), config).unwrap();
    place.ok("ctl status");
}

#[test]
fn keys_for_signed_numbers_are_read_again_and_sign_the_cards_of_608() {
    let mut place = Place::new();
    let key = || rcgen::KeyPair::generate().unwrap().serialize_pem();
    let file = place.path().join("stir.key");
    std::fs::write(&file, key()).unwrap();
    let config = std::fs::read_to_string(place.path().join("ringfort.toml")).unwrap();
    let stir = "[stir]\nkey = \"stir.key\"\ninfo = \"https://pbx.example/stir.pem\"\ncard_url = \"https://pbx.example/rejected\"\n\
        card_name = \"Example\"\ncard_contacts = [\"mailto:calls@pbx.example\"]\n";
    std::fs::write(place.path().join("ringfort.toml"), format!("{config}{stir}")).unwrap();
    place.start();
    let second = || {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        since.as_secs()
    };
    let card = |second: u64| {
        let answer = place.page(&format!("/rejected/{second}"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("application/jose"), "{answer}");
        let (_, jws) = answer.split_once("\r\n\r\n").unwrap();
        let signed = ringfort_stir::rejection::SignedCard::parse(jws.trim()).unwrap();
        assert_eq!(signed.x5u, "https://pbx.example/stir.pem");
        jws.to_owned()
    };
    let asked = second();
    card(asked);
    assert!(place.page(&format!("/rejected/{}", asked - 4000)).starts_with("HTTP/1.1 404 "));
    std::fs::write(&file, "no key").unwrap();
    let error = place.fails("ctl reload");
    assert!(error.contains("[stir] key = \"stir.key\""), "{error}");
    card(asked);
    std::fs::write(&file, key()).unwrap();
    place.ok("ctl reload");
    card(asked);
    place.signal("-HUP");
    place.ok("ctl status");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_with_the_number_of_the_first() {
    let mut place = Place::new();
    place.start();
    let error = place.fails("run");
    assert!(error.contains("is in use by process"), "{error}");
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let place = Place::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = format!("[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:{port}\"]\n");
    std::fs::write(place.path().join("ringfort.toml"), config).unwrap();
    let error = place.fails("run");
    assert!(error.contains(&format!("cannot listen on UDP 127.0.0.1:{port}")), "{error}");
    assert!(error.contains(&format!("ss -lunp 'sport = :{port}'")), "{error}");
}
