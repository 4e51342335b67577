//! Times as RFC 3339 text: of events, and of the settings.

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;

/// Milliseconds since 1970-01-01 UTC of an RFC 3339 time; `None` for every other way of writing one (Organizations and
/// Control Tower have several, and none of them is needed) and for times before 1970.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    // Second 60 is a leap second.
    if !(1..=12).contains(&month) || !(1..=days(year, month)).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let (millisecond, zone) = fraction(rest)?;
    let seconds = days_since_1970(year, month, day) * DAY + hour * 60 * MINUTE + minute * MINUTE + second;
    u64::try_from((seconds - offset(zone)?) * 1000 + millisecond).ok()
}

/// Exactly three decimal numbers of the given widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        *number = digits(parts.next()?, width)?;
    }
    parts.next().is_none().then_some(numbers)
}

fn digits(text: &str, width: usize) -> Option<i64> {
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Milliseconds of an optional fraction, and what follows it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, zone) = rest.split_at(end);
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    (end > 0).then_some((digits(&padded, 3)?, zone))
}

/// Seconds by which a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let (sign, clock) = match zone {
        "Z" | "z" => return Some(0),
        _ => match zone.strip_prefix('+') {
            Some(clock) => (1, clock),
            None => (-1, zone.strip_prefix('-')?),
        },
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    (hour <= 23 && minute <= 59).then_some(sign * (hour * 60 * MINUTE + minute * MINUTE))
}

fn leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days(year: i64, month: i64) -> i64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, negative before it, for a year from 1 to 9999. The year 0 comes out a day late, still
/// negative.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let past = year - 1;
    let whole_years = past * 365 + past / 4 - past / 100 + past / 400;
    let whole_months: i64 = (1..month).map(|month| days(year, month)).sum();
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    whole_years + whole_months + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc_3339_times_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-23T10:00:00Z", 1_795_428_000_000),
            ("2026-11-23t10:00:00z", 1_795_428_000_000),
            ("2026-11-23T10:00:00.5Z", 1_795_428_000_500),
            ("2026-11-23T10:00:00.123456789Z", 1_795_428_000_123),
            ("2026-11-23T12:30:00+02:30", 1_795_428_000_000),
            ("2026-11-23T02:00:00-08:00", 1_795_428_000_000),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
            ("1970-12-31T00:00:00Z", 31_449_600_000),
            ("1972-02-29T00:00:00Z", 68_169_600_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("2400-02-29T00:00:00Z", 13_574_563_200_000),
            ("2401-01-01T00:00:00Z", 13_601_088_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("2026-11-23 10:00:00Z", 1_795_428_000_000),
            ("2026-11-24T09:59:00+23:59", 1_795_428_000_000),
            ("1970-01-01T00:00:00-00:01", 60_000),
            ("1970-01-01T00:00:00.001Z", 1),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn every_other_way_to_write_a_time_is_no_time() {
        for text in [
            "",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00:00+0000",
            "2026-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "2026-00-01T10:00:00Z",
            "2026-01-00T10:00:00Z",
            "2026-04-31T10:00:00Z",
            "2026-12-32T10:00:00Z",
            "2100-02-29T10:00:00Z",
            "2026-11-23T10:60:00Z",
            "2026-11-23T10:00:61Z",
            "2026-11-23T10:00:00+24:00",
            "2026-11-23T10:00:00+10:60",
            "2026-11-23T10:00:00+1:000",
            "0000-01-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "+026-11-23T10:00:00Z",
            "2026-1-123T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "Sep 16, 2020 9:20:50 PM",
            "Jul 17, 2025, 2:53:40 PM",
            "1795428000",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-0-9TtZz:.+ äÄ]{0,40}|.{0,40}") {
            prop_assert!(milliseconds(&text).is_none_or(|time| time < 253_402_400_000_000));
        }

        #[test]
        fn a_later_time_of_the_same_year_has_a_larger_number(month in 1u32..12, day in 1u32..29, hour in 0u32..24) {
            let time = |month| milliseconds(&format!("2028-{month:02}-{day:02}T{hour:02}:00:00Z"));
            prop_assert!(time(month).unwrap() < time(month + 1).unwrap());
        }
    }
}
