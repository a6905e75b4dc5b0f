//! Times: as fields of a calendar, as seconds of other clocks, and back.

use super::memory::Guest;

const TICKS_PER_SECOND: i64 = 10_000_000;
/// Seconds from 1601 to 1970, and to 1980.
const EPOCH_1970: i64 = 11_644_473_600;
const EPOCH_1980: i64 = 11_960_006_400;

/// Year, month, day, hour, minute, second, milliseconds, weekday of a time.
fn fields(time: i64) -> [i16; 8] {
    let milliseconds = time / 10_000;
    let (days, left) = (
        milliseconds.div_euclid(86_400_000),
        milliseconds.rem_euclid(86_400_000),
    );
    // Days since 1 March of year 0, in eras of 400 years; 1 January 1601 is day 584,694 of that count.
    let count = days + 584_694;
    let era = count.div_euclid(146_097);
    let day = count.rem_euclid(146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    [
        year,
        month,
        day_of_year - (153 * shifted + 2) / 5 + 1,
        left / 3_600_000,
        left / 60_000 % 60,
        left / 1000 % 60,
        left % 1000,
        // 1 January 1601 was a Monday.
        (days + 1).rem_euclid(7),
    ]
    .map(|field| i16::try_from(field).unwrap_or(0))
}

/// Days from 1601 to a date of the calendar; `None`: there is no such day.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let count = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = count - 584_694;
    let back = fields(days * 86_400 * TICKS_PER_SECOND);
    let shifted = if month < 10 { month + 3 } else { month - 9 };
    (i64::from(back[1]) == shifted && i64::from(back[2]) == day).then_some(days)
}

/// The time of fields; `None`: they name none.
fn time(fields: [i16; 8]) -> Option<i64> {
    let [year, month, day, hour, minute, second, milliseconds, _] = fields.map(i64::from);
    let bounds = [
        (year, 1601, 30_827),
        (month, 1, 12),
        (day, 1, 31),
        (hour, 0, 23),
        (minute, 0, 59),
        (second, 0, 59),
        (milliseconds, 0, 999),
    ];
    if bounds
        .iter()
        .any(|(value, least, most)| !(least..=most).contains(&value))
    {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * TICKS_PER_SECOND + milliseconds * 10_000)
}

/// Seconds since an epoch, where 32 bits can say.
fn since(time: i64, epoch: i64, seconds: Guest<u32>) -> u8 {
    let since = u32::try_from(time.div_euclid(TICKS_PER_SECOND) - epoch);
    if let Ok(since) = since {
        seconds.write(since);
    }
    u8::from(since.is_ok())
}

exports! { "ntoskrnl.exe";
    /// A time's fields (`TIME_FIELDS`).
    fn RtlTimeToTimeFields(time: Guest<i64>, result: Guest<[i16; 8]>) {
        result.write(fields(time.read()));
    }

    /// The time of fields, whose weekday is not looked at; FALSE: they name none.
    fn RtlTimeFieldsToTime(fields: Guest<[i16; 8]>, result: Guest<i64>) -> u8 {
        let time = time(fields.read());
        if let Some(time) = time {
            result.write(time);
        }
        u8::from(time.is_some())
    }

    /// Seconds since 1970; FALSE where 32 bits cannot say.
    fn RtlTimeToSecondsSince1970(time: Guest<i64>, seconds: Guest<u32>) -> u8 {
        since(time.read(), EPOCH_1970, seconds)
    }

    /// Seconds since 1980; FALSE where 32 bits cannot say.
    fn RtlTimeToSecondsSince1980(time: Guest<i64>, seconds: Guest<u32>) -> u8 {
        since(time.read(), EPOCH_1980, seconds)
    }

    /// The time that is so many seconds after 1970.
    fn RtlSecondsSince1970ToTime(seconds: u32, time: Guest<i64>) {
        time.write((i64::from(seconds) + EPOCH_1970) * TICKS_PER_SECOND);
    }

    /// The time that is so many seconds after 1980.
    fn RtlSecondsSince1980ToTime(seconds: u32, time: Guest<i64>) {
        time.write((i64::from(seconds) + EPOCH_1980) * TICKS_PER_SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::{EPOCH_1970, EPOCH_1980, TICKS_PER_SECOND, days, fields, time};

    #[test]
    fn times_have_their_fields() {
        assert_eq!(fields(0), [1601, 1, 1, 0, 0, 0, 0, 1]);
        // 29 February 2024, 23:59:59.123, a Thursday
        assert_eq!(
            fields(133_537_247_991_230_000),
            [2024, 2, 29, 23, 59, 59, 123, 4]
        );
    }

    #[test]
    fn fields_lead_back_to_their_time() {
        for days in [0, 58, 59, 145_731, 154_000, 900_000] {
            let moment = (days * 86_400 + 3_723) * TICKS_PER_SECOND + 4 * 10_000;
            assert_eq!(time(fields(moment)), Some(moment), "{days}");
        }
        for wrong in [
            [2023, 2, 29, 0, 0, 0, 0, 0],
            [2024, 4, 31, 0, 0, 0, 0, 0],
            [2024, 13, 1, 0, 0, 0, 0, 0],
            [1600, 1, 1, 0, 0, 0, 0, 0],
            [2024, 1, 1, 24, 0, 0, 0, 0],
        ] {
            assert_eq!(time(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn other_clocks_begin_where_they_do() {
        assert_eq!(days(1970, 1, 1), Some(EPOCH_1970 / 86_400));
        assert_eq!(days(1980, 1, 1), Some(EPOCH_1980 / 86_400));
    }
}
