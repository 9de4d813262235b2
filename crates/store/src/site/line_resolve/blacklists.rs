//! What a tenant says about its blacklists, and other codes that phones dial.

use ringfort_switch::model::{BlacklistPlan, NumberPlan};

use super::{FORMS, Given, MAX_TENANT, is_name};

/// What a tenant says about its blacklists.
pub(super) fn blacklists(given: &mut Given<'_>, plan: &mut BlacklistPlan) {
    plan.form = given.word("blacklist_form", FORMS);
    for text in given.texts("blacklist_names") {
        let read = text.value.split_once('=').and_then(|(id, name)| Some((id.trim().parse().ok()?, name.trim())));
        let is_free = |name: &str| !plan.names.values().any(|n| n == name) && name != "allow";
        match read {
            Some((id, name)) if is_name(name, MAX_TENANT) && is_free(name) && name.parse::<u32>().is_err() => {
                plan.names.insert(id, name.to_owned());
            }
            Some(_) | None => {
                let expected = "a list's number and a name of its own, of a-z 0-9 . _ -";
                given.wrong("blacklist_names", text.at, expected, &text.value, "write it like \"1=salesmen\"");
            }
        }
    }
    let help = "for example *30; \"\" where there is to be no such code";
    let codes = [plan.add_code.clone(), plan.delete_code.clone(), plan.add_all_code.clone()];
    let keys = ["blacklist_add_code", "blacklist_delete_code", "blacklist_add_all_code"];
    for (index, (key, code)) in keys.into_iter().zip(&codes).enumerate() {
        given.check_digits(key, code, "*#", 8, help);
        if !code.is_empty() && codes[..index].contains(code) {
            given.wrong(key, given.at(key), "a code of its own", code, "each code does one thing");
        }
    }
}

/// The code by which a phone hears its messages.
pub(super) fn voicemail_code(given: &mut Given<'_>, plan: &NumberPlan) {
    const KEY: &str = "voicemail_code";
    let code = &plan.voicemail_code;
    given.check_digits(KEY, code, "*#", 8, "for example *97; \"\" where there is to be no such code");
    let lists = &plan.blacklists;
    let others = [&lists.add_code, &lists.delete_code, &lists.add_all_code, &plan.hide_code];
    if !code.is_empty() && others.contains(&code) {
        given.wrong(KEY, given.at(KEY), "a code of its own", code, "each code does one thing");
    }
}
