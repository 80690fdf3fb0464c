//! Moments of FUTURERELEASE as text: the internet date and time of RFC 3339 5.6, in seconds since 1970.

/// `2006-11-11T11:11:11Z`, also with an offset and a fraction; `None` when it is no such text or before 1970.
pub(crate) fn read(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize| -> Option<i64> {
        let part = text.get(at..at + digits)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let well_formed = separators.iter().all(|&(at, mark)| bytes.get(at) == Some(&mark))
        && bytes.get(10).is_some_and(|mark| mark.eq_ignore_ascii_case(&b'T'));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_of_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !well_formed || !in_range {
        return None;
    }
    let fraction = text.get(19..)?;
    let digits = fraction.strip_prefix('.').map_or(0, |f| 1 + f.bytes().take_while(u8::is_ascii_digit).count());
    let offset = zone(fraction.get(digits..).filter(|_| digits != 1)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()
}

/// As `2006-11-11T11:11:11Z`.
pub(crate) fn write(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400).cast_signed(), seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// Seconds east of Greenwich.
fn zone(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let part = |text: &str, limit: i64| -> Option<i64> {
        let good = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        good.then(|| text.parse().ok())?.filter(|number| *number < limit)
    };
    Some(sign * (part(hours, 24)? * 3_600 + part(minutes, 60)? * 60))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, years beginning in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while days_before(year + 1) <= days {
        year += 1;
    }
    let mut rest = days - days_before(year);
    let mut month = 1;
    while rest >= days_of_month(year, month) {
        rest -= days_of_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

fn days_before(year: i64) -> i64 {
    days(year, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_and_refuses() {
        #[rustfmt::skip]
        let table = [
            ("1970-01-01T00:00:00Z", Some(0)), ("2006-11-11T11:11:11Z", Some(1_163_243_471)),
            ("2000-02-29T23:59:60z", Some(951_868_800)), ("2026-11-25T11:00:00.250+01:00", Some(1_795_600_800)),
            ("2026-11-25t11:00:00-00:30", Some(1_795_606_200)), ("1969-12-31T23:59:59Z", None),
            ("2006-13-11T11:11:11Z", None), ("2006-02-29T11:11:11Z", None), ("2006-11-11 11:11:11Z", None),
            ("2006-11-11T11:11:11", None), ("2006-11-11T11:11:11.Z", None), ("2006-11-11T24:00:00Z", None),
            ("2006-11-11T11:11:11+1:00", None), ("2006-1\u{fc}-11T11:11:11Z", None), ("", None),
        ];
        for (text, seconds) in table {
            assert_eq!(read(text), seconds, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(seconds in 0_u64..253_402_300_800) {
            prop_assert_eq!(read(&write(seconds)), Some(seconds));
        }
    }
}
