//! Whether a number can be anybody's, by the numbering plans of the world (the metadata of crate `phonenumber`).

use phonenumber::Metadata;
use phonenumber::metadata::DATABASE;

/// Whether a country's plan has such a number, in E.164 form (`+442079460009`). Short codes and other texts are nobody's.
pub fn is_somebodys(number: &str) -> bool {
    let digits = number.strip_prefix('+').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let Some(digits) = digits else { return false };
    // No country calling code begins with another one, so that the first that fits is the one.
    let plans = (1..=3).find_map(|length| DATABASE.by_code(&digits.get(..length)?.parse().ok()?).map(|p| (length, p)));
    plans.is_some_and(|(code, plans)| {
        let national = &digits[code..];
        let fits = |plan: &&Metadata| {
            let found = plan.descriptors().general().national_number().find(national);
            found.is_some_and(|found| found.range() == (0..national.len()))
        };
        // The pattern of a whole country finds the shorter of two lengths first: the ones of each kind are asked too.
        plans.iter().any(fits) || phonenumber::parse(None, number).is_ok_and(|number| number.is_valid())
    })
}

#[cfg(test)]
mod tests {
    use super::is_somebodys;

    #[test]
    fn numbers_are_held_against_the_plan_of_their_country() {
        for number in [
            "+442079460009",
            "+4930901820",
            "+79161234567",
            "+78003334455",
            "+77272501234",
            "+12125550123",
            "+390612345678",
        ] {
            assert!(is_somebodys(number), "{number}");
        }
        // No such area, too short, too long, no such country, no number.
        for number in ["+10002345678", "+120255501", "+7916123456789", "+999123456789", "+", "101", "+44207x"] {
            assert!(!is_somebodys(number), "{number}");
        }
    }
}
