//! Services, of which a driver is one.

use windows_service::service::{Service, ServiceAccess, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

use crate::error::of_io;
use crate::{Error, Result};

/// What a service does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing: a driver is not loaded.
    Stopped,
    /// It runs: a driver is loaded.
    Running,
    /// It is on its way from one to the other.
    Changing,
}

/// A service as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What it does now.
    pub state: State,
    /// SERVICE_*: 2 is a file system driver.
    pub service_type: u32,
    /// SERVICE_*_START: 0 boot, 1 system, 2 automatic, 3 on demand, 4 disabled.
    pub start_type: u32,
    /// The image, as the service control manager has it.
    pub image_path: String,
    /// The group that it is loaded with.
    pub group: Option<String>,
    /// The name that people are shown.
    pub display_name: String,
}

const MISSING: u32 = 1060;
const MARKED_FOR_DELETE: u32 = 1072;

/// What is installed under that name, if anything is.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn installed(name: &str) -> Result<Option<Installed>> {
    let access = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
    let Some(service) = open(name, access)? else {
        return Ok(None);
    };
    let status = service.query_status();
    let status = status.map_err(|error| refused("QueryServiceStatusEx", &error))?;
    let config = service.query_config();
    let config = config.map_err(|error| refused("QueryServiceConfigW", &error))?;
    Ok(Some(Installed {
        state: match status.current_state {
            ServiceState::Stopped => State::Stopped,
            ServiceState::Running => State::Running,
            _ => State::Changing,
        },
        service_type: config.service_type.bits(),
        start_type: config.start_type.to_raw(),
        image_path: config.executable_path.to_string_lossy().into_owned(),
        group: config
            .load_order_group
            .map(|group| group.to_string_lossy().into_owned())
            .filter(|group| !group.is_empty()),
        display_name: config.display_name.to_string_lossy().into_owned(),
    }))
}

/// Deletes a service; also where it is missing, or being deleted. One that runs stays until it has stopped.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn delete(name: &str) -> Result<()> {
    let Some(service) = open(name, ServiceAccess::DELETE)? else {
        return Ok(());
    };
    match service
        .delete()
        .map_err(|error| refused("DeleteService", &error))
    {
        Err(error) if error.win32() != Some(MARKED_FOR_DELETE) => Err(error),
        _ => Ok(()),
    }
}

fn open(name: &str, access: ServiceAccess) -> Result<Option<Service>> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT);
    let manager = manager.map_err(|error| refused("OpenSCManagerW", &error))?;
    match manager.open_service(name, access) {
        Ok(service) => Ok(Some(service)),
        Err(error) => match refused("OpenServiceW", &error) {
            error if error.win32() == Some(MISSING) => Ok(None),
            error => Err(error),
        },
    }
}

fn refused(call: &'static str, error: &windows_service::Error) -> Error {
    match error {
        windows_service::Error::Winapi(error) => of_io(call, error),
        _ => Error::Malformed {
            call,
            what: "a name or a value that the library does not take",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_are_there_and_that_are_not() {
        // The remote procedure call service is there on Windows and in Wine.
        let service = installed("RpcSs").unwrap().unwrap();
        assert!(!service.image_path.is_empty(), "{service:?}");
        assert_eq!(installed("no such service"), Ok(None));
        delete("no such service").unwrap();
    }
}
