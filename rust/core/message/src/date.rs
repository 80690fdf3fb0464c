//! The date and time of RFC 5322 3.3 from Unix milliseconds, always in UTC; no clock and no time zones.

use crate::line::push;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // 1 January 1970 was a Thursday
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECONDS: u64 = 86_400;
/// The end of the year 9999: RFC 5322 3.3 would take more digits, few readers do.
const LAST_SECOND: u64 = 253_402_300_799;

/// Appends `Wed, 25 Nov 2026 08:16:40 +0000`.
pub fn write(out: &mut Vec<u8>, millis: u64) {
    let seconds = (millis / 1000).min(LAST_SECOND);
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days % 7) as usize];
    let month = MONTHS[month];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    push(out, format_args!("{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000"));
}

pub fn text(millis: u64) -> String {
    let mut out = Vec::with_capacity(32);
    write(&mut out, millis);
    String::from_utf8(out).unwrap_or_default()
}

/// Year, month (from 0) and day of a day counted from 1 January 1970. Counts in 400-year eras that begin in March,
/// so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, usize, u64) {
    const ERA: u64 = 146_097;
    const TO_MARCH_OF_YEAR_0: u64 = 719_468;
    let shifted = days + TO_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (shifted / ERA, shifted % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    (era * 400 + year_of_era + u64::from(month < 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes() {
        let cases = [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400_000, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_790_000_000_123, "Mon, 21 Sep 2026 14:13:20 +0000"),
            (1_795_594_600_000, "Wed, 25 Nov 2026 08:16:40 +0000"),
            (4_107_542_399_999, "Sun, 28 Feb 2100 23:59:59 +0000"),
            (4_107_542_400_000, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 +0000"),
        ];
        for (millis, want) in cases {
            assert_eq!(text(millis), want);
        }
    }
}
