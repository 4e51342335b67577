//! Epoch milliseconds as the text that AWS shows.

/// `2026-11-23T10:00:00Z`, the fraction of the second dropped.
pub fn iso8601(epoch_ms: u64) -> String {
    let (year, month, day) = civil(epoch_ms / 86_400_000);
    let second = epoch_ms / 1000 % 86_400;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// `2026-11-23T10:00:00.000Z`, as EC2 writes it.
pub fn iso8601_ms(epoch_ms: u64) -> String {
    format!("{}.{:03}Z", iso8601(epoch_ms).trim_end_matches('Z'), epoch_ms % 1000)
}

/// Year, month and day of a day since 1970-01-01, by the era method of the proleptic Gregorian calendar.
pub fn civil(days_since_epoch: u64) -> (u64, u64, u64) {
    let days = days_since_epoch + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_leap_years_are_right() {
        assert_eq!(iso8601(crate::world::START_MS), "2026-11-23T10:00:00Z");
        assert_eq!(iso8601_ms(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(iso8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso8601(4_107_542_399_000), "2100-02-28T23:59:59Z");
    }
}
