//! The driver's settings as people write them: names, words and numbers.

use protocol::{Config, Reason, Rejection, Setting};

/// MAXIMUM_EXPANSION_SIZE of x64: a large stack less half a page. The driver has the last word.
pub const MAXIMUM_EXPANSION: u32 = 0x1_1800;

/// The setting of that name, letters of either case being the same.
///
/// # Errors
/// Says which ones there are.
pub fn named(name: &str) -> Result<Setting, String> {
    let known = Setting::ALL
        .iter()
        .find(|setting| name.eq_ignore_ascii_case(self::name(**setting)));
    known.copied().ok_or_else(|| {
        let names: Vec<&str> = Setting::ALL
            .iter()
            .map(|&setting| self::name(setting))
            .collect();
        format!("there is no setting {name}; there are {}", names.join(", "))
    })
}

/// A setting's name.
#[must_use]
pub fn name(setting: Setting) -> &'static str {
    setting.name().unwrap_or("?")
}

/// A value as a person writes it: one of the setting's words, or a number, decimal or hexadecimal; `default`: the driver's own.
///
/// # Errors
/// Says what it can be.
pub fn value(setting: Setting, text: &str) -> Result<u32, String> {
    let refused = || {
        format!(
            "{} cannot be {text}: it takes {}",
            name(setting),
            allowed(setting)
        )
    };
    if text.eq_ignore_ascii_case("default") {
        return Ok(default(setting));
    }
    let words = setting.words();
    let number = if words.is_empty() {
        number(text)
    } else {
        let word = words
            .iter()
            .find(|(word, _)| text.eq_ignore_ascii_case(word));
        word.map(|&(_, number)| number)
    };
    let number = number.ok_or_else(refused)?;
    setting
        .check(number, MAXIMUM_EXPANSION)
        .map_err(|_| refused())?;
    Ok(number)
}

/// A value as a person reads it.
#[must_use]
pub fn shown(setting: Setting, value: u32) -> String {
    let words = setting.words();
    match words.iter().find(|&&(_, number)| number == value) {
        Some((word, _)) => (*word).to_owned(),
        None if is_bytes(setting) => format!("{value:#x}"),
        None => value.to_string(),
    }
}

/// What the driver does when nobody says otherwise.
#[must_use]
pub fn default(setting: Setting) -> u32 {
    Config::DEFAULT.get(setting).unwrap_or(0)
}

/// Whether the value is a number of bytes of stack.
#[must_use]
pub const fn is_bytes(setting: Setting) -> bool {
    matches!(
        setting,
        Setting::RESERVATION_BYTES | Setting::RED_ZONE_BYTES | Setting::MINIMUM_STACK_BYTES
    )
}

/// Whether the driver takes a new value only when it is loaded again: what its own rule says.
#[must_use]
pub fn takes_a_reload(setting: Setting) -> bool {
    let mut changed = Config::DEFAULT;
    let other = (1..=3)
        .find(|&value| value != default(setting))
        .unwrap_or(1);
    let fixed = |rejection: Rejection| rejection.reason == Reason::FIXED;
    changed.set(setting, other, MAXIMUM_EXPANSION).is_ok()
        && changed
            .validate_change(&Config::DEFAULT, MAXIMUM_EXPANSION)
            .is_err_and(fixed)
}

/// What a setting takes, in words.
#[must_use]
pub fn allowed(setting: Setting) -> String {
    let words: Vec<&str> = setting.words().iter().map(|(word, _)| *word).collect();
    match setting {
        Setting::RESERVATION_BYTES => format!("1 to {MAXIMUM_EXPANSION:#x} bytes"),
        _ if is_bytes(setting) => format!("0 to {MAXIMUM_EXPANSION:#x} bytes"),
        Setting::MAX_NEST_DEPTH => format!("0 to {}", protocol::MAXIMUM_NEST_DEPTH),
        Setting::LOG_CAPACITY => {
            format!("a power of two up to {}", protocol::MAXIMUM_LOG_CAPACITY)
        }
        _ if words.is_empty() => "0 or 1".to_owned(),
        _ => words.join(", "),
    }
}

/// What a setting is for.
#[must_use]
pub const fn meaning(setting: Setting) -> &'static str {
    match setting {
        Setting::EXPAND_POLICY => "when an inspection asks for stack",
        Setting::RESERVATION_BYTES => "how much stack it asks for",
        Setting::RED_ZONE_BYTES => "with less left than this, policy RedZone asks",
        Setting::MINIMUM_STACK_BYTES => "with less left than this, nothing is inspected",
        Setting::ON_EXPAND_FAILURE => "what becomes of a create that gets no stack",
        Setting::MAX_NEST_DEPTH => "how many inspections may nest",
        Setting::ANCESTOR_OPENS => "where opens of ancestors enter the stack of filters",
        Setting::UNC_ONLY => "1: local volumes are left alone",
        Setting::LOG_CAPACITY => "records kept",
        Setting::DEBUG_PRINT => "1: a line per record on the debugger's console",
        _ => "",
    }
}

/// A number, decimal or hexadecimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_read_as_people_write_them() {
        assert_eq!(named("expandpolicy"), Ok(Setting::EXPAND_POLICY));
        assert!(named("Policy").unwrap_err().contains("ExpandPolicy, "));
        assert_eq!(value(Setting::EXPAND_POLICY, "redzone"), Ok(2));
        assert_eq!(value(Setting::RESERVATION_BYTES, "0x6000"), Ok(0x6000));
        assert_eq!(value(Setting::UNC_ONLY, "default"), Ok(1));
        assert_eq!(
            value(Setting::EXPAND_POLICY, "2"),
            Err("ExpandPolicy cannot be 2: it takes Always, RedZone, Never".to_owned())
        );
        for (setting, text) in [
            (Setting::RESERVATION_BYTES, "0"),
            (Setting::RESERVATION_BYTES, "0x11801"),
            (Setting::LOG_CAPACITY, "1000"),
            (Setting::MAX_NEST_DEPTH, "deep"),
            (Setting::DEBUG_PRINT, "2"),
        ] {
            assert!(value(setting, text).is_err(), "{setting} {text}");
        }
    }

    /// What is shown of a value is read as that value again.
    #[test]
    fn each_setting_has_words_for_itself() {
        for &setting in Setting::ALL {
            assert_eq!(named(name(setting)), Ok(setting));
            assert_eq!(
                value(setting, &shown(setting, default(setting))),
                Ok(default(setting))
            );
            assert!(!meaning(setting).is_empty() && !allowed(setting).is_empty());
            assert_eq!(
                takes_a_reload(setting),
                setting == Setting::LOG_CAPACITY,
                "{setting}"
            );
        }
    }
}
