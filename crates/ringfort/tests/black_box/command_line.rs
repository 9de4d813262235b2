//! Commands that need no server.

use crate::support::{PROGRAM, Place, text};

#[test]
fn extensions_are_managed_without_a_server() {
    let place = Place::new();
    let added = place.json("ctl extension add 101 --name Reception --srtp require --json");
    assert_eq!((&added["number"], &added["srtp"]), (&"101".into(), &"require".into()));
    assert!(!added["sip_user"].as_str().unwrap().contains("101"), "CALL-3");
    let rotated = place.json("ctl extension rotate 101 --json");
    assert_ne!(rotated["sip_password"], added["sip_password"]);
    let hidden = place.ok("ctl extension show 101");
    assert!(!hidden.contains(rotated["sip_password"].as_str().unwrap()), "{hidden}");
    place.ok("ctl extension set 101 --enabled false --max-calls 1");
    let list = place.ok("ctl extension list");
    assert!(list.starts_with("NUMBER  NAME       SIP USER") && list.contains("  no\n"), "{list}");
    assert!(place.fails("ctl extension add 101").contains("use `extension set`"));
    assert!(place.fails("ctl extension add 102 --sip-password 1234").contains("sip_password: expected "));
    assert!(place.ok("ctl extension delete 101").contains("- extension 101"));
    assert!(place.fails("ctl extension show 101").contains("got no such number"));
}

#[test]
fn lines_are_managed_without_a_server_and_what_is_surely_not_meant_so_is_said() {
    let place = Place::new();
    place.ok("ctl extension add 101 groups=office international=true spend_per_day=5");
    let added = place.ok("ctl trunk add acme server=sip:203.0.113.1;transport=tcp kind=peer");
    assert!(added.contains("+ trunk acme") && added.contains("Done: revision 2 in force."), "{added}");
    // The configuration of the place has phones' listeners alone.
    assert!(added.contains("warning: "), "{added}");
    let routed = place.ok("ctl route add all patterns=any trunks=acme");
    assert!(routed.contains("warning: trunk acme has no rates"), "{routed}");
    assert!(routed.contains("warning: no route names the emergency numbers 112, 911"), "{routed}");
    let plan = place.json("ctl route add help patterns=exact:112,exact:911 trunks=acme --before all --dry-run --json");
    assert_eq!((&plan["dry_run"], &plan["changed"]), (&true.into(), &false.into()));
    assert_eq!(plan["advice"].as_array().map(Vec::len), Some(2), "no profile for its calls, no rates: {plan:#}");
    place.ok("ctl route add help patterns=exact:112,exact:911 trunks=acme --before all");
    let shown = place.json("ctl route show --json");
    let names: Vec<_> = shown["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["help", "all"]);
    let told = place.ok("ctl trunk show acme");
    assert!(told.starts_with("trunk acme\n") && told.contains("  server = sip:203.0.113.1;transport=tcp\n"), "{told}");
    place.ok("ctl trunk set acme server=sip:203.0.113.2 calls_per_second=2");
    assert!(place.fails("ctl trunk set acme sever=x").contains("did you mean server?"));
    let wrong = place.run("ctl trunk set acme server");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("expected KEY=VALUE"), "{}", text(&wrong.stderr));
    assert!(place.fails("ctl trunk remove acme").contains("a trunk that is deleted"));
    assert!(place.fails("ctl inbound show desk").contains("expected a name that is there"));
    assert_eq!(place.ok("ctl inbound show"), "No inbound.\n");
    place.ok("ctl route remove all");
    assert!(place.fails("ctl route remove all").contains("expected one of help"));
}

#[test]
fn what_needs_a_server_says_how_to_start_one() {
    let place = Place::new();
    for line in
        ["ctl status", "ctl calls", "ctl registrations", "ctl hangup 1", "ctl cdr", "selftest", "export", "rollback"]
    {
        let error = place.fails(line);
        let data = place.path().join("data").display().to_string();
        let words = format!("no server runs with the data folder {data}; start one with `ringfort run --data {data}`");
        assert!(error.contains(&words), "{line}: {error}");
    }
    assert!(!place.path().join("data").exists(), "a question makes no folder");
}

#[test]
fn check_names_every_mistake_of_both_files() {
    let place = Place::new();
    assert_eq!(place.ok("check"), "ringfort.toml: good (1 profile, 3 listeners)\n");
    std::fs::write(place.path().join("bad.toml"), "[media]\nport = \"1\"\nports = \"2-1\"\n").unwrap();
    std::fs::write(place.path().join("site.toml"), "[[extension]]\nnumber = 101\nsip_password = \"secret\"\n").unwrap();
    let error = place.fails("check --config bad.toml --site site.toml");
    for part in [
        "bad.toml:2:1: media: unknown key `port`; did you mean `ports`?\n  2 | port = \"1\"\n    | ^^^^",
        "bad.toml:3:9: media.ports: expected two UDP ports",
        "site.toml:2:10: extension 1: number: expected text in quotes, got the number 101",
    ] {
        assert!(error.contains(part), "{part} in\n{error}");
    }
    assert!(place.fails("check --config missing.toml").contains("missing.toml: cannot be read"));
    assert!(place.fails("run --config bad.toml").contains("bad.toml:2:1"));
    assert!(place.fails("apply -f site.toml").contains("site.toml:2:10"));
}

#[test]
fn check_says_what_strangers_reach_and_what_is_weak_guard_13() {
    let place = Place::new();
    let site = "[[extension]]\nnumber = \"101\"\ninternational = true\n\
        [[trunk]]\nname = \"acme\"\nkind = \"peer\"\nserver = \"sip:203.0.113.1\"\nsources = [\"0.0.0.0/0\"]\n";
    std::fs::write(place.path().join("site.toml"), site).unwrap();
    let said = place.ok("check --site site.toml");
    for words in [
        "reach: nobody without credentials reaches a trunk\n",
        "warning: trunk acme takes calls from all of 0.0.0.0/0 without credentials",
        "warning: extensions that may call abroad, and nothing limits what they spend: 101",
        "  mend: ",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // The same of the site that is in force, with a server and without.
    let error = place.fails("check --stored");
    assert!(error.contains("no server runs with the data folder"), "{error}");
    place.ok("apply -f site.toml");
    let stored = place.ok("check --stored");
    let weak = said.split_once("reach: ").unwrap().1;
    assert!(stored.contains("stored site: revision 1\n") && stored.ends_with(weak), "{stored}");
}

#[test]
fn check_reads_the_files_that_the_configuration_names() {
    let place = Place::new();
    std::fs::write(place.path().join("not.pem"), "nothing").unwrap();
    std::fs::write(
        place.path().join("ringfort.toml"),
        "[tls]\ncertificate = \"gone.pem\"\nkey = \"not.pem\"\nclient_ca = \"ca.pem\"\n",
    )
    .unwrap();
    let error = place.fails("check");
    for part in [
        "ringfort.toml: tls: cannot read gone.pem: No such file or directory (os error 2)\n",
        "ringfort.toml: tls: not.pem: expected a private key",
        "ringfort.toml: tls: cannot read ca.pem: ",
    ] {
        assert!(error.contains(part), "{part} in\n{error}");
    }
    std::fs::remove_file(place.path().join("ringfort.toml")).unwrap();
    assert_eq!(
        place.fails("check"),
        "there is no ringfort.toml here; `ringfort run` then uses its defaults\n",
        "nothing was checked"
    );
}

#[test]
fn a_change_where_no_server_runs_says_that_it_begins_a_data_folder() {
    let place = Place::new();
    let first = place.run("ctl extension add 101 --json");
    assert!(first.status.success());
    let data = place.path().join("data");
    let words = format!("No server runs with {}; a new data folder was begun there.\n", data.display());
    assert_eq!(text(&first.stderr), words);
    let second = place.run("ctl extension add 102 --json");
    assert!(second.status.success());
    assert_eq!(text(&second.stderr), "", "it is there now");
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let place = Place::new();
    for line in ["completion bash", "man", "config", "check"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place.command(line).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {}", text(&output.stderr));
    }
}

#[test]
fn a_name_without_a_domain_cannot_be_located() {
    let error = Place::new().fails("dns locate alex");
    let words =
        "expected user@domain such as alex@example.org, or a number with its + such as +442079460148, got \"alex\"";
    assert_eq!(error, format!("ringfort: {words}\n"));
}

#[test]
fn the_example_configuration_is_valid() {
    let place = Place::new();
    std::fs::write(place.path().join("all.toml"), place.ok("config")).unwrap();
    assert_eq!(place.ok("check --config all.toml"), "all.toml: good (1 profile, 3 listeners)\n");
}

#[test]
fn dns_records_follow_the_listeners_of_the_configuration() {
    let place = Place::new();
    let error = place.fails("dns records example.org");
    assert!(
        error.contains("nothing listens on a port that could be published"),
        "port 0 is no port to publish: {error}"
    );
    let config = "[[profile]]\nname = \"world\"\nlisten = [\"udp:192.0.2.1:5060\", \"tls:192.0.2.1:5061\"]\n";
    std::fs::write(place.path().join("world.toml"), config).unwrap();
    let printed = place.ok("dns records example.org --config world.toml --ttl 600");
    for line in [
        "example.org. 600 IN NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.org.",
        "_sips._tcp.example.org. 600 IN SRV 10 0 5061 sip.example.org.",
        "sip.example.org. 600 IN A 192.0.2.1",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    assert!(!printed.contains("SIP+D2T"), "nobody listens by TCP: {printed}");
    assert!(place.fails("dns records sip:example.org").contains("is no domain"));
}

#[test]
fn completion_and_manual_page_are_made() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&format!("completion {shell}")).contains("selftest"), "{shell}");
    }
    let page = place.ok("man");
    assert!(page.contains(".TH ringfort 1") && page.contains("ringfort ctl extension rotate"), "{page}");
}

#[test]
fn the_help_texts_are_as_they_were_reviewed() {
    let place = Place::new();
    for (name, line) in [
        ("help", "--help"),
        ("help-run", "run --help"),
        ("help-ctl", "ctl --help"),
        ("help-apply", "apply --help"),
        ("help-audit-cis", "audit cis --help"),
    ] {
        let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let said = place.ok(line);
        if std::env::var_os("RINGFORT_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(said, reviewed, "{path}: RINGFORT_UPDATE_GOLDEN=1 writes it anew");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let output = std::process::Command::new(PROGRAM).args(["ctl", "cdr", "--limit", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("0 is not in 1..=10000"));
}
