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

/// A date as it stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Minutes east of Greenwich.
    pub zone: i32,
}

/// Reads a date leniently (RFC 5322 3.3 and 4.3): weekday and seconds may be missing, comments anywhere, years of two
/// and three digits, zones by name; also the order of `ctime` (`Wed Nov 25 08:16:40 2026`).
#[must_use]
pub fn parse(value: &[u8]) -> Option<Date> {
    let text = without_comments(value);
    let words: Vec<&str> = text.split([' ', '\t', '\r', '\n', ',', '-']).filter(|word| !word.is_empty()).collect();
    // A zone with a minus was taken apart at it.
    let minus = text.rsplit([' ', '\t']).find(|word| !word.is_empty()).is_some_and(|word| word.starts_with('-'))
        || text.contains(" -");
    let month_at = words.iter().position(|word| month(word).is_some())?;
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
    let clock_at = words.iter().position(|word| word.contains(':'));
    let (day, year_at) = match month_at.checked_sub(1).and_then(number) {
        Some(day) => (day, month_at + 1),
        // ctime: the day behind the month, the year behind the time.
        None => (number(month_at + 1)?, clock_at? + 1),
    };
    let year = full_year(words.get(year_at)?)?;
    let (hour, minute, second) = match clock_at {
        Some(at) => clock(words[at])?,
        None => (0, 0, 0),
    };
    let zone_word = clock_at.and_then(|at| words[at + 1..].iter().find(|word| !is_year(word, year_at, at, &words)));
    let zone = zone_word.map_or(0, |word| zone(word, minus));
    let good = (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 62;
    good.then(|| Date {
        year,
        month: month(words[month_at]).unwrap_or(1),
        day: day as u8,
        hour: hour as u8,
        minute: minute as u8,
        second: second as u8,
        zone,
    })
}

impl Date {
    /// Unix milliseconds; before 1970: 0.
    pub fn millis(&self) -> u64 {
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        // Years that begin in March, counted in eras of 400, as in `civil`.
        let shifted = if month > 2 { year } else { year - 1 };
        let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
        let minutes = i64::from(self.hour) * 60 + i64::from(self.minute) - i64::from(self.zone);
        let seconds = days * DAY_SECONDS.cast_signed() + minutes * 60 + i64::from(self.second);
        u64::try_from(seconds).unwrap_or(0) * 1000
    }
}

fn is_year(word: &str, year_at: usize, clock_at: usize, words: &[&str]) -> bool {
    year_at == clock_at + 1 && words.get(year_at).is_some_and(|year| std::ptr::eq(*year, word))
}

fn month(word: &str) -> Option<u8> {
    let known = |name: &str| word.get(..3).is_some_and(|front| front.eq_ignore_ascii_case(name));
    let letters = word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'.');
    MONTHS.iter().position(|name| letters && known(name)).map(|at| at as u8 + 1)
}

/// RFC 5322 4.3: two digits from 50 on are of the last century, three digits count from 1900.
fn full_year(word: &str) -> Option<u16> {
    let year: u16 = word.parse().ok()?;
    match word.len() {
        1 | 2 => Some(if year < 50 { 2000 + year } else { 1900 + year }),
        3 => Some(1900 + year),
        4 => Some(year),
        _ => None,
    }
}

fn clock(word: &str) -> Option<(u32, u32, u32)> {
    let mut parts = word.split(':').map(|part| part.split('.').next().unwrap_or(part).parse::<u32>().ok());
    Some((parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?))
}

/// Minutes east of Greenwich; an unknown name is Greenwich (RFC 5322 4.3).
fn zone(word: &str, minus: bool) -> i32 {
    const NAMES: [(&str, i32); 10] = [
        ("EDT", -4),
        ("EST", -5),
        ("CDT", -5),
        ("CST", -6),
        ("MDT", -6),
        ("MST", -7),
        ("PDT", -7),
        ("PST", -8),
        ("CET", 1),
        ("CEST", 2),
    ];
    let digits = word.trim_start_matches('+');
    if digits.len() == 4
        && let Ok(number) = digits.parse::<i32>()
    {
        let minutes = number / 100 * 60 + number % 100;
        return if minus && !word.starts_with('+') { -minutes } else { minutes };
    }
    NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map_or(0, |(_, hours)| hours * 60)
}

fn without_comments(value: &[u8]) -> String {
    let mut depth = 0_usize;
    let mut kept = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(*byte),
            _ => {}
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads() {
        for (text, want) in [
            ("Wed, 25 Nov 2026 08:16:40 +0000", 1_795_594_600_000),
            (" 25 Nov 2026 08:16 +0000 (UTC)", 1_795_594_560_000),
            ("Wed, 25 Nov 26 03:16:40 EST", 1_795_594_600_000),
            ("Wed, 25 Nov 2026 10:46:40 +0230", 1_795_594_600_000),
            ("Wed, 25 Nov 2026 05:16:40 -0300", 1_795_594_600_000),
            ("Wed Nov 25 08:16:40 2026", 1_795_594_600_000),
            ("(comment) Wed,25-Nov-2026 08:16:40 GMT", 1_795_594_600_000),
            ("1 Jan 1970 00:00:00 +0000", 0),
        ] {
            assert_eq!(parse(text.as_bytes()).map(|date| date.millis()), Some(want), "{text}");
        }
        for text in ["", "yesterday", "32 Jan 2026 00:00 +0000", "1 Jan", "1 Jan 2026 25:00"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(seconds in 0_u64..LAST_SECOND) {
            prop_assert_eq!(parse(text(seconds * 1000).as_bytes()).map(|date| date.millis()), Some(seconds * 1000));
        }

        #[test]
        fn any_bytes_survive(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&value).map(|date| date.millis());
        }
    }

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
