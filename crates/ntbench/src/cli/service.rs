//! The service key that a driver finds: as its INF would have written it, or as the command line says, or both.

use std::path::{Path, PathBuf};

use inf::{Architecture, Service};
use ntbench::wire::{DriverSpec, InstanceSpec};
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
}

/// What to load the driver with. What stands on the command line goes before what the INF says.
pub(super) fn spec(run: &Run) -> Result<DriverSpec, ServiceError> {
    let mut spec = match &run.inf {
        Some(file) => installed(&run.image, file, run.windows, !run.instance.is_empty())?,
        None => bare(&run.image),
    };
    spec.pdb = run.pdb.clone();
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

/// A driver of which nothing is known but its image.
fn bare(image: &Path) -> DriverSpec {
    if let Some(inf) = beside(image) {
        let inf = inf.display();
        eprintln!(
            "ntbench: hint: {inf} was not read; --inf {inf} takes the service, its instances and its parameters from it"
        );
    }
    let stem = image.file_stem().unwrap_or_default();
    DriverSpec {
        image: image.to_owned(),
        service: stem.to_string_lossy().into_owned(),
        instances: vec![InstanceSpec {
            name: "Default Instance".to_owned(),
            altitude: "370000".to_owned(),
            flags: 0,
        }],
        ..DriverSpec::default()
    }
}

/// An INF file of the image's name.
fn beside(image: &Path) -> Option<PathBuf> {
    ["inf", "INF"]
        .into_iter()
        .map(|extension| image.with_extension(extension))
        .find(|inf| inf.is_file())
}

/// What the INF installs on this build of Windows; without its instances where others are given.
fn installed(
    image: &Path,
    file: &Path,
    windows: u32,
    without_instances: bool,
) -> Result<DriverSpec, ServiceError> {
    let service = read(file, windows)?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    if !service.file_name().eq_ignore_ascii_case(&name) {
        return Err(ServiceError::OtherImage {
            inf: file.to_path_buf(),
            installs: service.file_name().to_owned(),
            image: name.into_owned(),
        });
    }
    let mut spec = DriverSpec::installed(image, &service);
    if without_instances {
        let below = service.instances_key.to_ascii_lowercase();
        spec.values
            .retain(|value| !value.subkey.to_ascii_lowercase().starts_with(&below));
    }
    println!(
        "{:<40} {}, instance {} at {}",
        format!("[{}] installs", service.section),
        service.name,
        service.instances[0].name,
        service.instances[0].altitude
    );
    Ok(spec)
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
