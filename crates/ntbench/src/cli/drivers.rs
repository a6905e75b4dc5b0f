//! Which drivers the command line names, which options are whose, and the service key that each finds.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use inf::{Architecture, Service};
use ntbench::wire::{DriverSpec, InstanceSpec};
use thiserror::Error;

use super::args::Run;

/// Why drivers cannot be loaded as the command line has it.
#[derive(Debug, Error)]
pub(super) enum DriverError {
    /// An INF is none, or installs no minifilter on that Windows.
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
    /// Of several drivers, an option before the first one.
    #[error(
        "--{0} stands before the first image: with several drivers, each one's options stand behind its image"
    )]
    Nobodys(&'static str),
    /// An option that a driver has once.
    #[error("{} has --{option} twice: each image has one", .image.display())]
    Twice {
        /// The option.
        option: &'static str,
        /// The driver.
        image: PathBuf,
    },
    /// Two options that say the same.
    #[error("{} has both --service and --inf: the INF names the service", .0.display())]
    NamedTwice(PathBuf),
    /// Two drivers of one service.
    #[error(
        "{first} and {second} are both service {service}: a service has one driver; give one of them another name by --service",
        first = .first.display(), second = .second.display()
    )]
    SameService {
        /// The service.
        service: String,
        /// A driver of it.
        first: PathBuf,
        /// And another.
        second: PathBuf,
    },
}

/// A driver and what is known of it before it is loaded.
#[derive(Clone, Debug)]
pub(super) struct Driver {
    /// What to load it with.
    pub(super) spec: DriverSpec,
    /// Where its default instance stands.
    pub(super) altitude: String,
    /// The instance's name.
    instance: String,
    /// The INF's section.
    section: Option<String>,
}

impl Driver {
    /// What an INF installs, as the first line of a report.
    pub(super) fn installed(&self) -> Option<String> {
        let section = self.section.as_ref()?;
        Some(format!(
            "{:<40} {}, instance {} at {}",
            format!("[{section}] installs"),
            self.spec.service,
            self.instance,
            self.altitude
        ))
    }
}

/// The options of one image, by their places in the command line's lists.
#[derive(Default)]
struct Own {
    inf: Vec<usize>,
    pdb: Vec<usize>,
    service: Vec<usize>,
    parameter: Vec<usize>,
    instance: Vec<usize>,
}

/// The drivers, from the lowest altitude up: the order in which Windows' load order groups start them.
///
/// # Errors
/// Says which option or INF is wrong.
pub(super) fn all(run: &Run, matches: &ArgMatches) -> Result<Vec<Driver>, DriverError> {
    let mut drivers = Vec::new();
    for (image, own) in run.image.iter().zip(owners(run, matches)?) {
        drivers.push(driver(run, image, &own)?);
    }
    for (index, driver) in drivers.iter().enumerate() {
        let same = |other: &&Driver| {
            other
                .spec
                .service
                .eq_ignore_ascii_case(&driver.spec.service)
        };
        if let Some(first) = drivers[..index].iter().find(same) {
            return Err(DriverError::SameService {
                service: driver.spec.service.clone(),
                first: first.spec.image.clone(),
                second: driver.spec.image.clone(),
            });
        }
    }
    drivers.sort_by(|a, b| compare(&a.altitude, &b.altitude));
    Ok(drivers)
}

/// Decimal numbers of any length, perhaps with a fraction.
fn compare(a: &str, b: &str) -> std::cmp::Ordering {
    fn parts(text: &str) -> (usize, &str, &str) {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = whole.trim_start_matches('0');
        (whole.len(), whole, fraction.trim_end_matches('0'))
    }
    parts(a).cmp(&parts(b))
}

/// Whose each option is: the image's that stands before it. With one image, all are its.
fn owners(run: &Run, matches: &ArgMatches) -> Result<Vec<Own>, DriverError> {
    let places = |name: &str| -> Vec<usize> {
        matches
            .indices_of(name)
            .map_or_else(Vec::new, Iterator::collect)
    };
    let images = places("image");
    let mut own: Vec<Own> = images.iter().map(|_| Own::default()).collect();
    for name in ["inf", "pdb", "service", "parameter", "instance"] {
        for (nth, place) in places(name).into_iter().enumerate() {
            let image = match images.iter().rposition(|image| *image < place) {
                Some(image) => image,
                None if images.len() == 1 => 0,
                None => return Err(DriverError::Nobodys(name)),
            };
            let list = match name {
                "inf" => &mut own[image].inf,
                "pdb" => &mut own[image].pdb,
                "service" => &mut own[image].service,
                "parameter" => &mut own[image].parameter,
                _ => &mut own[image].instance,
            };
            list.push(nth);
            if list.len() > 1 && !matches!(name, "parameter" | "instance") {
                return Err(DriverError::Twice {
                    option: name,
                    image: run.image[image].clone(),
                });
            }
        }
    }
    Ok(own)
}

/// What to load one with. What stands on the command line goes before what the INF says.
fn driver(run: &Run, image: &Path, own: &Own) -> Result<Driver, DriverError> {
    let mut driver = match own.inf.first() {
        Some(_) if !own.service.is_empty() => {
            return Err(DriverError::NamedTwice(image.to_owned()));
        }
        Some(inf) => installed(image, &run.inf[*inf], run.windows, !own.instance.is_empty())?,
        None => bare(image, own.service.first().map(|nth| &run.service[*nth])),
    };
    driver.spec.pdb = own.pdb.first().map(|nth| run.pdb[*nth].clone());
    if !own.instance.is_empty() {
        driver.spec.instances = own
            .instance
            .iter()
            .map(|nth| run.instance[*nth].0.clone())
            .collect();
    }
    if let Some(first) = driver.spec.instances.first() {
        driver.altitude.clone_from(&first.altitude);
        driver.instance.clone_from(&first.name);
    }
    for nth in &own.parameter {
        let (name, value) = run.parameter[*nth].0.clone();
        driver
            .spec
            .parameters
            .retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        driver.spec.parameters.push((name, value));
    }
    if let Some(pdb) = ntbench::stale_pdb(image).filter(|_| own.pdb.is_empty()) {
        eprintln!(
            "ntbench: hint: {} holds symbols of another build, and nothing is read from it: build {} again, or name its own with --pdb",
            pdb.display(),
            image.display()
        );
    }
    Ok(driver)
}

/// A driver of which nothing is known but its image.
fn bare(image: &Path, service: Option<&String>) -> Driver {
    if let Some(inf) = beside(image) {
        let inf = inf.display();
        eprintln!(
            "ntbench: hint: {inf} was not read; --inf {inf} takes the service, its instances and its parameters from it"
        );
    }
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let instance = InstanceSpec {
        name: "Default Instance".to_owned(),
        altitude: "370000".to_owned(),
        flags: 0,
    };
    Driver {
        altitude: instance.altitude.clone(),
        instance: instance.name.clone(),
        section: None,
        spec: DriverSpec {
            image: image.to_owned(),
            service: service.cloned().unwrap_or_else(|| stem.into_owned()),
            instances: vec![instance],
            ..DriverSpec::default()
        },
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
) -> Result<Driver, DriverError> {
    let service = read(file, windows)?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    if !service.file_name().eq_ignore_ascii_case(&name) {
        return Err(DriverError::OtherImage {
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
    Ok(Driver {
        spec,
        altitude: service.instances[0].altitude.clone(),
        instance: service.instances[0].name.clone(),
        section: Some(service.section.clone()),
    })
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

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering;

    #[test]
    fn altitudes_compare_as_decimal_numbers() {
        assert_eq!(compare("40000", "370000"), Ordering::Less);
        assert_eq!(compare("370000.5", "370000.45"), Ordering::Greater);
        assert_eq!(compare("0370000", "370000.0"), Ordering::Equal);
    }
}
