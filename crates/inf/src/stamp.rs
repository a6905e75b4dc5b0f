//! Filling in an INF template (.inx), as the WDK's stampinf does: architecture, date and version.

use std::fmt;

use thiserror::Error;

use crate::decoration::Architecture;

/// A day, of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl Date {
    /// The day, in UTC, of a time in seconds since 1970.
    #[must_use]
    pub const fn of_unix_time(seconds: i64) -> Self {
        // Counted in eras of 400 years from 1 March 0000, so that a leap day is a year's last.
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let (month, next_year) = if month_from_march < 10 {
            (month_from_march + 3, 0)
        } else {
            (month_from_march - 9, 1)
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 31"
        )]
        let (month, day) = (month as u32, day as u32);
        Self {
            year: era * 400 + year_of_era + next_year,
            month,
            day,
        }
    }
}

/// As DriverVer writes it: month/day/year.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}/{:02}/{:04}", self.month, self.day, self.year)
    }
}

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StampError {
    /// There is no place for it.
    #[error("the template has no line `DriverVer =` to write date and version into")]
    NoDriverVer,
    /// A version of another form.
    #[error("`{0}` is no version for DriverVer: expected up to four numbers up to 65535, w.x.y.z")]
    Version(String),
}

/// Fills in a template: `$ARCH$` everywhere, and `DriverVer`, whatever it says. Versions of three numbers get `.0`.
///
/// # Errors
/// There is no `DriverVer` line, or the version cannot stand there.
pub fn stamp(
    template: &str,
    architecture: Architecture,
    date: Date,
    version: &str,
) -> Result<String, StampError> {
    let wrong = || StampError::Version(version.to_owned());
    let mut numbers = version
        .split('.')
        .map(|number| number.parse::<u16>().map_err(|_| wrong()))
        .collect::<Result<Vec<_>, _>>()?;
    if numbers.len() > 4 {
        return Err(wrong());
    }
    numbers.resize(4, 0);
    let version: Vec<_> = numbers.iter().map(u16::to_string).collect();

    let mut stamped = false;
    let mut text = String::with_capacity(template.len() + 32);
    for line in template.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        let is_driver_ver = content
            .split_once('=')
            .is_some_and(|(key, _)| key.trim().eq_ignore_ascii_case("DriverVer"));
        if is_driver_ver && !stamped {
            let key = content
                .split_once('=')
                .map_or(content, |(key, _)| key.trim_end());
            text.push_str(&format!("{key} = {date},{}", version.join(".")));
            text.push_str(&line[content.len()..]);
            stamped = true;
        } else {
            text.push_str(line);
        }
    }
    if !stamped {
        return Err(StampError::NoDriverVer);
    }
    Ok(text.replace("$ARCH$", architecture.name()))
}
