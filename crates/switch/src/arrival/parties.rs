//! Who calls and who is called, by what a request from outside says: a provider's word by the rules of its trunk
//! (RFC 3323, RFC 3325), a stranger's word for what it is worth.

use ringfort_guard::callee;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::name_addr::NameAddr;

use crate::line::user_part;
use crate::model::{CalledIn, HeaderRules, NumberForm, NumberPlan};
use crate::number;
use crate::out_of_dialog::named;

const ANONYMOUS: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";

/// The caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Party {
    /// A number in the trunk's form where it has one, or `user@domain` of a stranger; `None`: not told.
    pub address: Option<String>,
    pub name: String,
    /// He does not want to be shown (RFC 3323): the record has his number (RFC 3325 §9.4), the phone does not.
    pub hidden: bool,
    /// What the signature of the number is worth, where it was judged (3GPP TS 24.229 §7.2A.20).
    pub verstat: Option<&'static str>,
}

impl Party {
    /// The From of our INVITE to a phone. A provider's caller gets `realm` as the host: where he really comes from is the
    /// provider's network. A stranger's domain is his address, and it stands in the name as well, because most phones
    /// show that alone.
    pub fn from(&self, realm: &str) -> String {
        match &self.address {
            Some(_) | None if self.hidden => ANONYMOUS.to_owned(),
            None => ANONYMOUS.to_owned(),
            Some(address) => match address.rsplit_once('@') {
                Some((user, host)) => named(address, &format!("sip:{}@{host}", user_part(user))),
                None => {
                    let verstat = self.verstat.map(|verstat| format!(";verstat={verstat}")).unwrap_or_default();
                    named(&self.name, &format!("sip:{}{verstat}@{realm}", user_part(address)))
                }
            },
        }
    }
}

/// The caller of a trunk's call: what the trunk's rules let us believe, in the order P-Asserted-Identity,
/// Remote-Party-ID, From. Its number is in that form (BLACK-5: the phone is shown what the lists have).
pub(crate) fn of_trunk(plan: &NumberPlan, rules: &HeaderRules, form: NumberForm, request: &Message) -> Party {
    let asserted = identities(request, HeaderName::PAssertedIdentity, rules.asserted_identity).next();
    let remote = identities(request, HeaderName::RemotePartyId, rules.remote_party_id)
        // Of the calling side alone (the draft's default).
        .find(|who| who.param("party").is_none_or(|party| party.eq_ignore_ascii_case("calling")));
    let hidden_by_remote = remote.as_ref().and_then(|who| who.param("privacy")).is_some_and(|privacy| {
        privacy.split([',', ' ']).any(|word| ["full", "uri"].iter().any(|hides| word.eq_ignore_ascii_case(hides)))
    });
    let told = asserted.or(remote).unwrap_or_else(|| request.from());
    let address = user_of(&told).map(|user| match form {
        NumberForm::E164 => number::caller_from_trunk(plan, rules, &user),
        NumberForm::Russia => in_russias_form(plan, rules, &user),
        NumberForm::Asis => form.apply(plan, &user),
    });
    let name = told.display.as_deref().or(request.from().display.as_deref()).unwrap_or_default().trim().to_owned();
    Party { address, name, hidden: hidden_by_remote || wants_privacy(request), verstat: None }
}

/// Russia's rules read what the provider wrote, whatever his format is. What is no Russian number stays what it is meant as.
fn in_russias_form(plan: &NumberPlan, rules: &HeaderRules, user: &str) -> String {
    let told = NumberForm::Russia.apply(plan, user);
    let is_russian = |told: &str| {
        let number = told.strip_prefix('8').unwrap_or_default().as_bytes();
        number.len() == 10 && number.iter().all(u8::is_ascii_digit) && (b'2'..=b'9').contains(&number[0])
    };
    if is_russian(&told) {
        return told;
    }
    NumberForm::Russia.apply(plan, &number::caller_from_trunk(plan, rules, user))
}

/// Every number that a trunk's call tells of its caller: the one that is believed first, then all others of
/// P-Asserted-Identity, Remote-Party-ID and From, believed or not (a list stops whoever is on it by any of them).
/// `anonymous` where there is none.
pub(crate) fn numbers(
    caller: &Party,
    rules: &HeaderRules,
    plan: Option<&NumberPlan>,
    request: &Message,
) -> Vec<String> {
    let asserted = identities(request, HeaderName::PAssertedIdentity, true);
    let remote = identities(request, HeaderName::RemotePartyId, true);
    let written = |user: String| plan.map_or(user.clone(), |plan| number::caller_from_trunk(plan, rules, &user));
    let mut numbers: Vec<String> = caller.address.iter().cloned().collect();
    for who in asserted.chain(remote).chain([request.from()]) {
        let Some(user) = user_of(&who) else { continue };
        // As the provider means it, and as it stands there, out of any disguise: rules of a country read that themselves.
        let bare = who.uri().ok().and_then(|uri| callee::decode(uri.user?).ok()).map(|callee| callee.text().to_owned());
        for number in [Some(written(user)), bare].into_iter().flatten() {
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
    }
    if numbers.is_empty() {
        numbers.push("anonymous".to_owned());
    }
    numbers
}

/// The caller of a stranger's call. `is_ours`: whether a host is one of our domains: nobody outside is at home there.
pub(crate) fn guest(request: &Message, is_ours: impl Fn(&str) -> bool) -> Party {
    let from = request.from();
    let hidden = wants_privacy(request);
    let claimed = user_of(&from).zip(from.uri().ok());
    let Some((user, uri)) = claimed.filter(|(_, uri)| !is_ours(uri.host_str())) else {
        return Party { hidden, ..Party::default() };
    };
    let name = from.display.as_deref().unwrap_or_default().trim().to_owned();
    Party { address: Some(format!("{user}@{}", uri.host_str())), name, hidden, verstat: None }
}

/// The called number or name, from where the trunk's provider puts it.
pub(crate) fn called(rules: &HeaderRules, request: &Message) -> Option<String> {
    let user = match rules.called {
        CalledIn::RequestUri => {
            let uri = request.parsed_request_uri().ok()?;
            uri.user_unescaped().map(|user| user.into_owned())
        }
        CalledIn::To => request.to().uri().ok()?.user_unescaped().map(|user| user.into_owned()),
        CalledIn::CalledPartyId => {
            let who = request.name_addrs(HeaderName::PCalledPartyId).next()?.ok()?;
            user_of(&who)
        }
    };
    user.map(|user| bare(&user).to_owned()).filter(|user| !user.is_empty())
}

fn identities(request: &Message, header: HeaderName, believed: bool) -> impl Iterator<Item = NameAddr<'_>> {
    // One `sip` or `sips` URI and one `tel` URI may stand there (RFC 3325 §9.1): the first that has a user is taken.
    let each = believed.then(|| request.name_addrs(header).filter_map(Result::ok));
    each.into_iter().flatten().filter(|who| user_of(who).is_some())
}

/// The user part of an address, or the number of a `tel` URI; none for the anonymous (RFC 3323 §4.1.1.3).
pub(crate) fn user_of(who: &NameAddr<'_>) -> Option<String> {
    let uri = who.uri().ok()?;
    let user = uri.user_unescaped()?;
    let user = bare(&user);
    let anonymous = user.eq_ignore_ascii_case("anonymous") || uri.host_str().eq_ignore_ascii_case("anonymous.invalid");
    (!user.is_empty() && !anonymous).then(|| user.to_owned())
}

/// Without the parameters of a telephone number (RFC 3261 §19.1.6).
fn bare(user: &str) -> &str {
    user.split(';').next().unwrap_or(user)
}

/// RFC 3323 §4.2, RFC 3325 §9.3: each of these keeps the caller's identity from the called person.
fn wants_privacy(request: &Message) -> bool {
    let values = request.headers(HeaderName::Privacy);
    values
        .flat_map(|v| v.split(|b| matches!(b, b';' | b',' | b' ')))
        .any(|word| ["id", "user", "header"].iter().any(|hides| word.eq_ignore_ascii_case(hides.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ringfort_sip::message::Limits;

    fn request(from: &str, more: &str) -> Message {
        let text = format!(
            "INVITE sip:+442079460000;npdi@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKp\r\n\
             From: {from};tag=1\r\nTo: <sip:02079460001@provider.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             P-Called-Party-ID: <sip:7001@192.0.2.1>\r\n{more}Content-Length: 0\r\n\r\n"
        );
        Message::parse_datagram(Bytes::from(text), &Limits::default()).expect("a good request")
    }

    fn plan() -> NumberPlan {
        NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() }
    }

    fn rules() -> HeaderRules {
        HeaderRules::default()
    }

    const FROM: &str = "\"Ann\" <sip:02079460009@203.0.113.1>";
    const PAI: &str = "P-Asserted-Identity: <sip:+442079461111@provider.example>, <tel:+442079462222>\r\n";

    #[test]
    fn the_caller_is_whom_the_trunk_may_vouch_for() {
        let of = |rules: &HeaderRules, more: &str| {
            of_trunk(&plan(), rules, NumberForm::E164, &request(FROM, more)).address.unwrap()
        };
        assert_eq!(of(&rules(), ""), "+442079460009", "From, in canonical form");
        assert_eq!(of(&rules(), PAI), "+442079461111");
        let deaf = HeaderRules { asserted_identity: false, ..rules() };
        assert_eq!(of(&deaf, PAI), "+442079460009", "not believed on this trunk");
        let rpid =
            "Remote-Party-ID: <sip:9@x>;party=called\r\nRemote-Party-ID: <sip:+442079463333@x>;party=calling\r\n";
        assert_eq!(of(&rules(), rpid), "+442079460009");
        let remote = HeaderRules { remote_party_id: true, ..rules() };
        assert_eq!(of(&remote, rpid), "+442079463333");
        assert_eq!(of(&remote, &format!("{rpid}{PAI}")), "+442079461111", "P-Asserted-Identity before it");
    }

    #[test]
    fn a_hidden_caller_is_known_to_the_record_and_not_to_the_phone_rfc_3325() {
        let from = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        let party = of_trunk(&plan(), &rules(), NumberForm::E164, &request(from, &format!("Privacy: id\r\n{PAI}")));
        assert_eq!(party.address.as_deref(), Some("+442079461111"));
        assert_eq!(party.from("pbx.example"), ANONYMOUS);
        let shown = of_trunk(&plan(), &rules(), NumberForm::E164, &request(FROM, "Privacy: none\r\n"));
        assert_eq!(shown.from("pbx.example"), "\"Ann\" <sip:+442079460009@pbx.example>");
        let untold = of_trunk(&plan(), &rules(), NumberForm::E164, &request(from, ""));
        assert_eq!((untold.address.as_deref(), untold.from("pbx.example")), (None, ANONYMOUS.to_owned()));
        let remote = HeaderRules { remote_party_id: true, ..rules() };
        let party =
            of_trunk(&plan(), &remote, NumberForm::E164, &request(FROM, "Remote-Party-ID: <sip:1@x>;privacy=full\r\n"));
        assert!(party.hidden);
    }

    #[test]
    fn the_callers_number_is_shown_in_the_form_that_lists_have_black_5() {
        let russia = NumberPlan { country: "7".into(), national_prefix: "8".into(), ..NumberPlan::default() };
        let shown = |form, user: &str| {
            let party = of_trunk(&russia, &rules(), form, &request(&format!("<sip:{user}@203.0.113.1>"), ""));
            party.from("pbx.example")
        };
        for user in ["89161234567", "79161234567", "+79161234567", "+7(916)123-45-67"] {
            assert_eq!(shown(NumberForm::Russia, user), "<sip:89161234567@pbx.example>", "{user}");
        }
        assert_eq!(shown(NumberForm::Russia, "+442079460009"), "<sip:+442079460009@pbx.example>", "all else stays");
        assert_eq!(shown(NumberForm::E164, "79161234567"), "<sip:+79161234567@pbx.example>");
        assert_eq!(shown(NumberForm::Asis, "8-916-1234567"), "<sip:89161234567@pbx.example>");
        assert_eq!(shown(NumberForm::Asis, "9161234567"), "<sip:9161234567@pbx.example>");
    }

    #[test]
    fn the_called_number_stands_where_the_provider_puts_it() {
        let called_in = |called| super::called(&HeaderRules { called, ..rules() }, &request(FROM, "")).unwrap();
        assert_eq!(called_in(CalledIn::RequestUri), "+442079460000", "without parameters of the number");
        assert_eq!(called_in(CalledIn::To), "02079460001");
        assert_eq!(called_in(CalledIn::CalledPartyId), "7001");
    }

    #[test]
    fn a_stranger_is_shown_with_his_domain_and_never_as_one_of_ours() {
        let ours = |host: &str| host.eq_ignore_ascii_case("pbx.example");
        let party = guest(&request("\"Director\" <sip:bob@other.example>", ""), ours);
        assert_eq!(party.from("pbx.example"), "\"bob@other.example\" <sip:bob@other.example>");
        for claimed in ["\"Director\" <sip:101@pbx.example>", "<sip:101@PBX.example>", "<sip:other.example>"] {
            let party = guest(&request(claimed, ""), ours);
            assert_eq!(party.from("pbx.example"), ANONYMOUS, "{claimed}");
            assert_eq!(party.name, "");
        }
    }
}
