//! Telephone numbers in one form inside (E.164 with `+`, RFC 3966 §5.1.4): from what was dialled or what a provider
//! sent, by the tenant's number plan, and back to how a provider wants them. Called by `route` and by calls over trunks.

use crate::model::{Calling, HeaderRules, NumberFormat, NumberPlan, Trunk};

/// Shortest subscriber number that an area code is put before: what is shorter is a service or a short code.
const SHORTEST_SUBSCRIBER: usize = 5;
/// Longest number with its area code: what has more digits was not dialled within an area, whatever it is.
const LONGEST_NATIONAL: usize = 11;
/// Shortest number with its area code in countries without a national prefix.
const SHORTEST_NATIONAL: usize = 7;
/// E.164 §6: the longest number, country code included.
const LONGEST: usize = 15;
/// Shortest number that can be one with its country code, where nothing marks it as such.
const SHORTEST_E164: usize = 8;

/// Area codes of the North American plan (`+1`) that are countries of their own, other than the United States and Canada.
#[rustfmt::skip]
const NANP_ABROAD: [&str; 21] = [
    "242", "246", "264", "268", "284", "345", "441", "473", "649", "658", "664", "721",
    "758", "767", "784", "809", "829", "849", "868", "869", "876",
];

/// The number without visual separators (RFC 3966 §3: `-`, `.`, `(`, `)`; spaces and `/` are dialled as well); unchanged
/// where it is no number at all (`alex.smith`).
pub fn without_separators(dialled: &str) -> String {
    let is_separator = |c: char| matches!(c, '-' | '.' | '(' | ')' | ' ' | '/' | '\u{a0}');
    // `+44 (0)20 …`: the national prefix is written for those within the country, and is no part of the number.
    let dialled_abroad = dialled.starts_with('+').then(|| dialled.replacen("(0)", "", 1));
    let shown = dialled_abroad.as_deref().unwrap_or(dialled);
    let bare: String = shown.chars().filter(|&c| !is_separator(c)).collect();
    if is_number(&bare) { bare } else { dialled.to_owned() }
}

/// Digits, `*` and `#`, perhaps with a `+` in front.
pub fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#'))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// What was dialled as an E.164 number with `+`; `None` for short codes, emergency numbers, names, and for what is no
/// number of any country. Separators have been taken off.
pub fn canonical(plan: &NumberPlan, dialled: &str) -> Option<String> {
    let fits = |digits: &str| is_digits(digits) && !digits.starts_with('0') && digits.len() <= LONGEST;
    if let Some(digits) = dialled.strip_prefix('+') {
        return fits(digits).then(|| dialled.to_owned());
    }
    if !is_digits(dialled) || is_emergency(plan, dialled) {
        return None;
    }
    let prefixed = |prefix: &str| dialled.strip_prefix(prefix).filter(|rest| !prefix.is_empty() && !rest.is_empty());
    if let Some(rest) = prefixed(&plan.international_prefix) {
        return fits(rest).then(|| format!("+{rest}"));
    }
    if plan.country.is_empty() {
        return None;
    }
    let within = |national: &str| Some(format!("+{}{national}", plan.country)).filter(|n| fits(&n[1..]));
    if let Some(rest) = prefixed(&plan.national_prefix).filter(|rest| rest.len() >= SHORTEST_SUBSCRIBER) {
        return within(rest);
    }
    if plan.national_prefix.is_empty() {
        // Spain, Denmark, Norway: the number is the same wherever it is dialled.
        return if dialled.len() >= SHORTEST_NATIONAL { within(dialled) } else { None };
    }
    if plan.country == "1" && dialled.len() == 10 {
        // The North American plan takes ten digits without its prefix.
        return within(dialled);
    }
    let subscriber = !plan.area.is_empty()
        && dialled.len() >= SHORTEST_SUBSCRIBER
        && plan.area.len() + dialled.len() <= LONGEST_NATIONAL;
    if subscriber { within(&format!("{}{dialled}", plan.area)) } else { None }
}

/// A number of a provider's in canonical form, by how numbers are written there.
pub fn from_trunk(plan: &NumberPlan, format: NumberFormat, number: &str) -> Option<String> {
    let number = without_separators(number);
    let bare = is_digits(&number) && !number.starts_with('0') && (SHORTEST_E164..=LONGEST).contains(&number.len());
    match format {
        // Many say E.164 and leave the plus out.
        NumberFormat::E164 | NumberFormat::Digits if bare => Some(format!("+{number}")),
        _ => canonical(plan, &number),
    }
}

/// How a number is written to a provider. `number` is what the route left, `canonical` its canonical form.
pub fn to_trunk(plan: &NumberPlan, format: NumberFormat, number: &str, canonical: Option<&str>) -> String {
    let Some(canonical) = canonical else { return number.to_owned() };
    let digits = canonical.strip_prefix('+').unwrap_or(canonical);
    match format {
        NumberFormat::E164 => canonical.to_owned(),
        NumberFormat::Digits => digits.to_owned(),
        NumberFormat::National => match national(plan, canonical) {
            Some(national) => format!("{}{national}", plan.national_prefix),
            None => format!("{}{digits}", plan.international_prefix),
        },
        NumberFormat::Asis => number.to_owned(),
    }
}

/// The number within the tenant's country; `None` for one of another country.
fn national<'n>(plan: &NumberPlan, canonical: &'n str) -> Option<&'n str> {
    let digits = canonical.strip_prefix('+')?;
    if plan.country.is_empty() { None } else { digits.strip_prefix(plan.country.as_str()) }
}

/// GUARD-1: whether a number in canonical form leaves the tenant's country. Countries that share a code count as
/// abroad to each other: the Caribbean within `+1` is where much fraud goes. Without a country every number does.
pub fn is_international(plan: &NumberPlan, canonical: &str) -> bool {
    let Some(national) = national(plan, canonical) else { return true };
    match plan.country.as_str() {
        // No area begins with 0 or 1: that is `011…` where the plan has another international prefix.
        "1" => national.starts_with(['0', '1']) || NANP_ABROAD.iter().any(|area| national.starts_with(area)),
        // 6 and 7 are Kazakhstan; with 0, 1, 2 and 5 begins no area (`8 10 …` leads abroad).
        "7" => !national.starts_with(['3', '4', '8', '9']),
        _ => false,
    }
}

/// GUARD-1 for what has no canonical form: whether a provider may read a country into it. He has his own rules for what
/// begins with a country's digits and no `+`, and for what comes behind a service code.
pub fn may_be_abroad(plan: &NumberPlan, number: &str) -> bool {
    let tail = number.trim_end_matches('#').rsplit(['*', '#']).next().unwrap_or(number);
    if let Some(canonical) = canonical(plan, tail) {
        return is_international(plan, &canonical);
    }
    let prefix = plan.international_prefix.as_str();
    if tail.contains('+') || !prefix.is_empty() && tail.starts_with(prefix) {
        return true;
    }
    if !is_digits(tail) || is_emergency(plan, tail) {
        return false;
    }
    if plan.country.is_empty() {
        // Nothing is known of what is home.
        return tail.len() >= SHORTEST_NATIONAL;
    }
    tail.len() >= SHORTEST_E164 && (tail.starts_with('0') || is_international(plan, &format!("+{tail}")))
}

/// Emergency numbers are compared as they are dialled; a `+` or the separators of a display do not hide one.
pub fn is_emergency(plan: &NumberPlan, dialled: &str) -> bool {
    let bare = dialled.strip_prefix('+').unwrap_or(dialled);
    plan.emergency.iter().any(|number| number == bare)
}

/// The number that a trunk is told as the caller's, written its way; `None`: neither extension nor trunk has one.
pub fn caller_id(plan: &NumberPlan, trunk: &Trunk, calling: &Calling) -> Option<String> {
    let of_extension = calling.caller_id.as_ref().filter(|_| !trunk.headers.caller_id_only);
    let number = of_extension.or(trunk.caller_id.as_ref())?;
    let number = without_separators(number);
    let e164 = canonical(plan, &number);
    Some(to_trunk(plan, trunk.headers.number_format, &number, e164.as_deref()))
}

/// The caller's number of an incoming call: canonical where it can be, else as it came.
pub fn caller_from_trunk(plan: &NumberPlan, headers: &HeaderRules, number: &str) -> String {
    from_trunk(plan, headers.number_format, number).unwrap_or_else(|| without_separators(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(country: &str, international: &str, national: &str, area: &str) -> NumberPlan {
        NumberPlan {
            country: country.into(),
            area: area.into(),
            international_prefix: international.into(),
            national_prefix: national.into(),
            ..NumberPlan::default()
        }
    }

    #[test]
    fn what_is_dialled_becomes_e164_by_the_plan_of_the_country() {
        let britain = plan("44", "00", "0", "20");
        let russia = plan("7", "810", "8", "495");
        let spain = plan("34", "00", "", "");
        let america = plan("1", "011", "1", "");
        for (plan, dialled, expected) in [
            (&britain, "02079460000", Some("+442079460000")),
            (&britain, "79460000", Some("+442079460000")),
            (&britain, "4930123456", None),
            (&britain, "+442079460000", Some("+442079460000")),
            (&britain, "004930123456", Some("+4930123456")),
            (&britain, "101", None),
            (&britain, "112", None),
            (&britain, "00", None),
            (&britain, "0012", Some("+12")),
            (&britain, "+0123456", None),
            (&britain, "000123456", None),
            (&britain, "director", None),
            (&britain, "*4320", None),
            (&britain, "+44207946000012345", None),
            (&russia, "89161234567", Some("+79161234567")),
            (&russia, "8104930123456", Some("+4930123456")),
            (&russia, "1234567", Some("+74951234567")),
            (&spain, "912345678", Some("+34912345678")),
            (&spain, "091", None),
            (&america, "12125550100", Some("+12125550100")),
            (&america, "2125550100", Some("+12125550100")),
            (&america, "011442079460000", Some("+442079460000")),
            (&america, "911", None),
        ] {
            assert_eq!(canonical(plan, dialled).as_deref(), expected, "{dialled} in +{}", plan.country);
        }
    }

    #[test]
    fn separators_are_taken_off_numbers_and_left_in_names() {
        assert_eq!(without_separators("+44 (20) 7946-0000"), "+442079460000");
        assert_eq!(without_separators("020.7946/0000"), "02079460000");
        assert_eq!(without_separators("+44 (0)20 7946 0000"), "+442079460000");
        assert_eq!(without_separators("alex.smith"), "alex.smith");
        assert_eq!(without_separators("a-101"), "a-101");
    }

    #[test]
    fn a_number_is_written_as_the_provider_wants_it() {
        let plan = plan("44", "00", "0", "");
        let write = |format, number: &str| {
            let e164 = canonical(&plan, number);
            to_trunk(&plan, format, number, e164.as_deref())
        };
        assert_eq!(write(NumberFormat::E164, "02079460000"), "+442079460000");
        assert_eq!(write(NumberFormat::Digits, "02079460000"), "442079460000");
        assert_eq!(write(NumberFormat::National, "+442079460000"), "02079460000");
        assert_eq!(write(NumberFormat::National, "+4930123456"), "004930123456");
        assert_eq!(write(NumberFormat::Asis, "02079460000"), "02079460000");
        assert_eq!(write(NumberFormat::E164, "112"), "112", "a short code has no other form");
    }

    #[test]
    fn a_providers_number_is_read_as_it_writes_them() {
        let plan = plan("44", "00", "0", "");
        let read = |format, number: &str| from_trunk(&plan, format, number);
        assert_eq!(read(NumberFormat::E164, "442079460000").as_deref(), Some("+442079460000"));
        assert_eq!(read(NumberFormat::Digits, "4930123456").as_deref(), Some("+4930123456"));
        assert_eq!(read(NumberFormat::National, "02079460000").as_deref(), Some("+442079460000"));
        assert_eq!(read(NumberFormat::National, "004930123456").as_deref(), Some("+4930123456"));
        assert_eq!(read(NumberFormat::E164, "02079460000").as_deref(), Some("+442079460000"));
        assert_eq!(read(NumberFormat::E164, "anonymous"), None);
    }

    #[test]
    fn abroad_is_what_leaves_the_country_even_within_a_shared_code() {
        let america = plan("1", "011", "1", "");
        assert!(!is_international(&america, "+12125550100"));
        assert!(is_international(&america, "+18765550100"), "Jamaica");
        assert!(is_international(&america, "+442079460000"));
        let russia = plan("7", "810", "8", "");
        assert!(!is_international(&russia, "+79161234567"));
        assert!(is_international(&russia, "+77011234567"), "Kazakhstan");
        assert!(is_international(&NumberPlan::default(), "+442079460000"), "no country is home without a plan");
    }

    #[test]
    fn what_a_provider_may_read_as_abroad_is_abroad() {
        let britain = plan("44", "00", "0", "");
        for number in
            ["49301234567", "*720067712345", "*72+67712345", "*7267712345678", "#31#0049301234567", "12*+4930", "0049"]
        {
            assert!(may_be_abroad(&britain, number), "{number}");
        }
        for number in ["101", "112", "118500", "442079460000", "*4320", "director", "*31#02079460000", ""] {
            assert!(!may_be_abroad(&britain, number), "{number}");
        }
        let none = NumberPlan::default();
        for number in ["01167712345", "8104930123456", "4930123456", "*674930123456"] {
            assert!(may_be_abroad(&none, number), "{number} without a country");
        }
        assert!(!may_be_abroad(&none, "5550") && !may_be_abroad(&none, "911"));
        // The wrong international prefix in a plan.
        let canonical = |country: &str, national: &str, number: &str| {
            let plan = plan(country, "00", national, "");
            canonical(&plan, number).is_none_or(|canonical| is_international(&plan, &canonical))
        };
        assert!(canonical("1", "1", "01167712345") && canonical("1", "", "01167712345"));
        assert!(canonical("7", "8", "8104930123456"));
    }

    #[test]
    fn an_emergency_number_is_known_in_any_dress() {
        let plan = plan("44", "00", "0", "");
        assert!(is_emergency(&plan, "112"));
        assert!(is_emergency(&plan, "+112"));
        assert!(!is_emergency(&plan, "1122"));
    }
}
