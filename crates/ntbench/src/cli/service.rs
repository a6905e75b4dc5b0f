//! The service key that a driver finds: as its INF would have written it, or as the command line says, or both.

use std::path::{Path, PathBuf};

use inf::{Architecture, Data, Service};
use ntbench::wire::{DriverSpec, InstanceSpec, RegistryValue};
use thiserror::Error;

use super::args::Run;

/// Why an INF cannot be used.
#[derive(Debug, Error)]
pub(super) enum ServiceError {
    /// It is none, or installs no minifilter on that Windows.
    #[error(transparent)]
    Inf(#[from] inf::Error),
    /// It installs another file.
    #[error("{inf} installs {installs}, not {image}: name that driver's image, or another INF", inf = .inf.display())]
    OtherImage {
        /// The INF.
        inf: PathBuf,
        /// The file that it installs.
        installs: String,
        /// The image that is to be run.
        image: String,
    },
    /// A value that the bench's registry has no form for.
    #[error("{inf}: the bench has no registry value like {name}: {data:?}", inf = .inf.display())]
    Value {
        /// The INF.
        inf: PathBuf,
        /// The value's name.
        name: String,
        /// What it is.
        data: Data,
    },
}

/// What to load the driver with. What stands on the command line goes before what the INF says.
pub(super) fn spec(run: &Run) -> Result<DriverSpec, ServiceError> {
    let mut spec = DriverSpec {
        image: run.image.clone(),
        pdb: run.pdb.clone(),
        service: String::new(),
        parameters: Vec::new(),
        instances: Vec::new(),
    };
    match &run.inf {
        Some(file) => installed(&mut spec, file, run.windows)?,
        None => spec.instances.push(InstanceSpec {
            name: "Default Instance".to_owned(),
            altitude: "370000".to_owned(),
            flags: 0,
        }),
    }
    if !run.instance.is_empty() {
        spec.instances = run.instance.iter().map(|given| given.0.clone()).collect();
    }
    for parameter in &run.parameter {
        let (name, value) = parameter.0.clone();
        spec.parameters
            .retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        spec.parameters.push((name, value));
    }
    Ok(spec)
}

/// Takes over what the INF installs on this build of Windows.
fn installed(spec: &mut DriverSpec, file: &Path, windows: u32) -> Result<(), ServiceError> {
    let service = read(file, windows)?;
    let image = spec.image.file_name().unwrap_or_default().to_string_lossy();
    if !service.file_name().eq_ignore_ascii_case(&image) {
        return Err(ServiceError::OtherImage {
            inf: file.to_path_buf(),
            installs: service.file_name().to_owned(),
            image: image.into_owned(),
        });
    }
    for (name, data) in service.parameters() {
        let value = match data {
            Data::Dword(number) => RegistryValue::Dword(*number),
            Data::Qword(number) => RegistryValue::Qword(*number),
            Data::Sz(text) => RegistryValue::Sz(text.clone()),
            Data::MultiSz(texts) => RegistryValue::MultiSz(texts.clone()),
            Data::Binary(bytes) => RegistryValue::Binary(bytes.clone()),
            Data::ExpandSz(_) | Data::None(_) => {
                return Err(ServiceError::Value {
                    inf: file.to_path_buf(),
                    name: name.to_owned(),
                    data: data.clone(),
                });
            }
        };
        spec.parameters.push((name.to_owned(), value));
    }
    spec.instances = service
        .instances
        .iter()
        .map(|instance| InstanceSpec {
            name: instance.name.clone(),
            altitude: instance.altitude.clone(),
            flags: instance.flags,
        })
        .collect();
    println!(
        "{:<40} {}, instance {} at {}",
        format!("[{}] installs", service.section),
        service.name,
        service.instances[0].name,
        service.instances[0].altitude
    );
    spec.service = service.name;
    Ok(())
}

/// Reads an INF, or a template of one, in which the architecture is still to be filled in: it is the bench's.
fn read(file: &Path, windows: u32) -> Result<Service, inf::Error> {
    let in_file = |error: inf::Error| error.in_file(file);
    let mut inf = inf::read(file)?;
    let is_template = |section: &inf::Section| section.name.contains("$ARCH$");
    if inf.sections.iter().any(is_template) {
        for section in &mut inf.sections {
            section.name = section.name.replace("$ARCH$", Architecture::Amd64.name());
        }
    }
    inf::minifilter(&inf, Architecture::Amd64, windows).map_err(in_file)
}
