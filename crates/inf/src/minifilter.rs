//! What a minifilter's INF installs: the service, and what stands in its key.

use crate::{
    decoration::{Architecture, Decoration, OsVersion, best_install_section},
    document::{Entry, Inf, Section, same},
    error::{Error, ErrorKind, Position},
    number,
    registry::{self, Data, Value},
};

/// A file-system minifilter's service as an INF installs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, which is its key's and, by convention, its filter's.
    pub name: String,
    /// `DisplayName`.
    pub display_name: Option<String>,
    /// `Description`.
    pub description: Option<String>,
    /// `ServiceType`: 2.
    pub service_type: u32,
    /// `StartType`: 0 boot, 1 system, 2 automatic, 3 demand, 4 disabled.
    pub start_type: u32,
    /// `ErrorControl`.
    pub error_control: u32,
    /// `ServiceBinary` as it stands, a directory's number between `%` signs.
    pub binary: String,
    /// `LoadOrderGroup`.
    pub load_order_group: Option<String>,
    /// `Dependencies`.
    pub dependencies: Vec<String>,
    /// The instances, the default one first.
    pub instances: Vec<Instance>,
    /// The key of the instances, relative to the service's: `Instances`, or `Parameters\Instances` (from Windows 11, version 24H2).
    pub instances_key: String,
    /// Everything that AddReg writes below the service's key, in the order of the file.
    pub values: Vec<Value>,
    /// The install section that was taken.
    pub section: String,
    /// Its decoration.
    pub decoration: Decoration,
}

/// An instance that Filter Manager attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its altitude, a decimal number of any precision.
    pub altitude: String,
    /// 1: no automatic attachment, 2: no manual one.
    pub flags: u32,
}

impl Service {
    /// The file name of the driver.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.binary.rsplit('\\').next().unwrap_or(&self.binary)
    }

    /// `ImagePath` as it would stand in the registry: SetupAPI writes driver directories relative to the system's root. A driver in the
    /// driver store (`%13%`) has a path that only Windows knows; `store` takes its place.
    #[must_use]
    pub fn image_path(&self, store: &str) -> String {
        let known = [
            ("%10%", r"\SystemRoot".to_owned()),
            ("%11%", r"\SystemRoot\System32".to_owned()),
            ("%12%", r"\SystemRoot\System32\drivers".to_owned()),
            ("%13%", store.to_owned()),
        ];
        known
            .into_iter()
            .find_map(|(directory, path)| {
                let rest = self.binary.strip_prefix(directory)?;
                Some(path + rest)
            })
            .unwrap_or_else(|| self.binary.clone())
    }

    /// The values of the service's `Parameters` key itself.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Data)> {
        self.values
            .iter()
            .filter(|value| same(&value.subkey, "Parameters"))
            .map(|value| (&*value.name, &value.data))
    }

    /// Every value of the service's key: its own, then those that AddReg writes.
    #[must_use]
    pub fn key(&self, store: &str) -> Vec<Value> {
        let own = |name: &str, data| Value {
            subkey: String::new(),
            name: name.to_owned(),
            data,
        };
        let mut key = vec![
            own("Type", Data::Dword(self.service_type)),
            own("Start", Data::Dword(self.start_type)),
            own("ErrorControl", Data::Dword(self.error_control)),
            own("ImagePath", Data::ExpandSz(self.image_path(store))),
        ];
        for (name, text) in [
            ("DisplayName", &self.display_name),
            ("Description", &self.description),
            ("Group", &self.load_order_group),
        ] {
            key.extend(text.clone().map(|text| own(name, Data::Sz(text))));
        }
        if !self.dependencies.is_empty() {
            key.push(own(
                "DependOnService",
                Data::MultiSz(self.dependencies.clone()),
            ));
        }
        key.extend(self.values.iter().cloned());
        key
    }
}

/// The minifilter service that the INF installs on Windows 10 or 11 of a build.
///
/// # Errors
/// No install section is for such a Windows, or what it installs is no minifilter.
pub fn minifilter(inf: &Inf, architecture: Architecture, build: u32) -> Result<Service, Error> {
    let windows = OsVersion::build(build);
    let (section, decoration) = best_install_section(inf, "DefaultInstall", architecture, windows)
        .ok_or_else(|| no_install_section(inf, architecture, windows))?;
    let services = format!("{}.Services", section.name);
    let list = inf
        .section(&services)
        .ok_or_else(|| Error::new(section.at, ErrorKind::NoSection(services.clone())))?;
    for entry in list.directives("AddService") {
        let (name, install) = service_of(inf, entry)?;
        if required(install, "ServiceType").and_then(number_in)? == 2 {
            return service(inf, name, install, section, decoration);
        }
    }
    Err(Error::new(list.at, ErrorKind::NoFilterService(services)))
}

fn no_install_section(inf: &Inf, architecture: Architecture, windows: OsVersion) -> Error {
    // Those whose decoration is not understood, too: they are what to look at.
    let is_install = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("defaultinstall") && !name.ends_with(".services")
    };
    let names = inf.sections.iter().map(|section| &section.name);
    let have: Vec<_> = names
        .filter(|name| is_install(name))
        .map(|name| format!("[{name}]"))
        .collect();
    let kind = ErrorKind::NoInstallSection {
        decoration: format!(
            ".NT{}.{}.{}...{}",
            architecture.name(),
            windows.major,
            windows.minor,
            windows.build
        ),
        have: if have.is_empty() {
            "none at all".to_owned()
        } else {
            have.join(", ")
        },
    };
    Error::new(Position::START, kind)
}

/// `AddService = name, flags, section`.
fn service_of<'a>(inf: &'a Inf, entry: &'a Entry) -> Result<(&'a str, &'a Section), Error> {
    let expected = |what| Error::new(entry.at, ErrorKind::Expected(what));
    let name = entry.field(0).ok_or_else(|| expected("a service's name"))?;
    let install = entry
        .field(2)
        .ok_or_else(|| expected("the service's install section as third field"))?;
    let section = inf
        .section(&install.text)
        .ok_or_else(|| Error::new(install.at, ErrorKind::NoSection(install.text.clone())))?;
    Ok((&name.text, section))
}

fn required<'a>(section: &'a Section, directive: &'static str) -> Result<&'a Entry, Error> {
    section.directive(directive).ok_or_else(|| {
        let section_name = section.name.clone();
        let kind = ErrorKind::NoDirective {
            section: section_name,
            directive,
        };
        Error::new(section.at, kind)
    })
}

fn number_in(entry: &Entry) -> Result<u32, Error> {
    let field = entry
        .field(0)
        .ok_or_else(|| Error::new(entry.at, ErrorKind::Expected("a number")))?;
    number::of(field)
}

fn service(
    inf: &Inf,
    name: &str,
    install: &Section,
    section: &Section,
    decoration: Decoration,
) -> Result<Service, Error> {
    let text = |directive: &str| {
        let entry = install.directive(directive)?;
        Some(entry.field(0)?.text.clone())
    };
    let binary = required(install, "ServiceBinary")?;
    let values = values(inf, install)?;
    let (instances, instances_key) = instances(&values, install.at)?;
    Ok(Service {
        name: name.to_owned(),
        display_name: text("DisplayName"),
        description: text("Description"),
        service_type: 2,
        start_type: number_in(required(install, "StartType")?)?,
        error_control: install.directive("ErrorControl").map_or(Ok(1), number_in)?,
        binary: binary
            .field(0)
            .ok_or_else(|| Error::new(binary.at, ErrorKind::Expected("the driver's path")))?
            .text
            .clone(),
        load_order_group: text("LoadOrderGroup"),
        dependencies: install
            .directives("Dependencies")
            .flat_map(|entry| &entry.fields)
            .filter(|field| !field.text.is_empty())
            .map(|field| field.text.clone())
            .collect(),
        instances,
        instances_key,
        values: values.into_iter().map(|(value, _)| value).collect(),
        section: section.name.clone(),
        decoration,
    })
}

/// What the service's AddReg sections write below its key, and where each value stands.
fn values(inf: &Inf, install: &Section) -> Result<Vec<(Value, Position)>, Error> {
    let mut values: Vec<(Value, Position)> = Vec::new();
    let names = install
        .directives("AddReg")
        .flat_map(|entry| &entry.fields)
        .filter(|field| !field.text.is_empty());
    for name in names {
        let section = inf
            .section(&name.text)
            .ok_or_else(|| Error::new(name.at, ErrorKind::NoSection(name.text.clone())))?;
        for line in registry::lines(section)? {
            let Some(value) = line.value.filter(|_| line.root == "HKR") else {
                continue;
            };
            // A later line writes over an earlier one.
            values.retain(|(earlier, _)| {
                !(same(&earlier.subkey, &value.subkey) && same(&earlier.name, &value.name))
            });
            let place = line.entry.field(4).map_or(line.entry.at, |data| data.at);
            values.push((value, place));
        }
    }
    Ok(values)
}

/// The instances, and the key in which they stand.
fn instances(values: &[(Value, Position)], at: Position) -> Result<(Vec<Instance>, String), Error> {
    let find = |subkey: &str, name: &str| {
        values
            .iter()
            .find(|(value, _)| same(&value.subkey, subkey) && same(&value.name, name))
            .map(|(value, place)| (&value.data, *place))
    };
    // Where both are written, the newer place is the one that the newest Windows reads.
    let (key, default, default_at) = [r"Parameters\Instances", "Instances"]
        .into_iter()
        .find_map(|key| match find(key, "DefaultInstance")? {
            (Data::Sz(name), place) => Some((key, name.clone(), place)),
            _ => None,
        })
        .ok_or_else(|| Error::new(at, ErrorKind::NoInstances))?;

    let below = format!(r"{key}\");
    let mut names = vec![default];
    for (value, _) in values {
        let (Some(head), Some(name)) = (
            value.subkey.get(..below.len()),
            value.subkey.get(below.len()..),
        ) else {
            continue;
        };
        if same(head, &below) && !names.iter().any(|known| same(known, name)) {
            names.push(name.to_owned());
        }
    }
    let instance = |name: String| {
        let subkey = format!("{below}{name}");
        let (altitude, place) = match find(&subkey, "Altitude") {
            Some((Data::Sz(altitude), place)) => (altitude.clone(), place),
            _ => return Err(Error::new(default_at, ErrorKind::NoAltitude(name))),
        };
        if !is_altitude(&altitude) {
            return Err(Error::new(place, ErrorKind::Altitude(altitude)));
        }
        let flags = match find(&subkey, "Flags") {
            Some((Data::Dword(flags), _)) => *flags,
            _ => 0,
        };
        Ok(Instance {
            name,
            altitude,
            flags,
        })
    };
    let instances = names.into_iter().map(instance).collect::<Result<_, _>>()?;
    Ok((instances, key.to_owned()))
}

/// Digits, with at most one point among them.
pub(crate) fn is_altitude(text: &str) -> bool {
    let mut parts = text.split('.');
    let digits = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let whole = digits(parts.next());
    let fraction = parts.next();
    whole && (fraction.is_none() || digits(fraction)) && parts.next().is_none()
}
