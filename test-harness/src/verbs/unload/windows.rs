//! Unloading from Windows.

use winuser::{Error, Wide, filter};

use super::{Failure, Verdict};
use crate::link::LinkError;
use crate::verbs::{say, say_json};

/// The driver's service, and its filter.
pub(crate) const SERVICE: &str = "headroom";

pub(super) fn run(json: bool) -> Result<Verdict, Failure> {
    let service = Wide::new(SERVICE).map_err(|error| system(&error))?;
    filter::unload(&service).map_err(|error| system(&error))?;
    if json {
        say_json(&serde_json::json!({ "unloaded": SERVICE }))?;
    } else {
        say("Unloaded the driver.\n")?;
    }
    Ok(Verdict::Holds)
}

/// A failure of the Filter Manager's, with what to do about it.
pub(crate) fn system(error: &Error) -> Failure {
    let advice = match error.win32() {
        // ERROR_FILE_NOT_FOUND, ERROR_SERVICE_DOES_NOT_EXIST
        Some(2 | 1060) => {
            "the driver is not installed, or its file is not there: `headroom install` installs it"
        }
        // ERROR_ACCESS_DENIED, ERROR_ELEVATION_REQUIRED, ERROR_PRIVILEGE_NOT_HELD
        Some(5 | 740 | 1314) => {
            "only administrators may do this: run it again from an administrator's prompt"
        }
        // ERROR_ALREADY_EXISTS, ERROR_SERVICE_ALREADY_RUNNING
        Some(183 | 1056) => "it is loaded already: `headroom status` shows how it stands",
        // ERROR_INVALID_IMAGE_HASH, ERROR_DRIVER_BLOCKED
        Some(577 | 1275) => {
            "Windows does not accept the driver's signature: `headroom doctor` says what is missing"
        }
        _ => match error.code().and_then(winuser::Code::name) {
            Some("ERROR_FLT_FILTER_NOT_FOUND") => return LinkError::NotLoaded.into(),
            Some("ERROR_FLT_DO_NOT_DETACH") => "the driver refuses to unload: it stays loaded",
            _ => "`headroom doctor` looks at what can be the matter",
        },
    };
    Failure::System {
        what: error.to_string(),
        advice,
    }
}
