//! The package's INF, really installed and uninstalled by Wine's SetupAPI: the third reader of that file, and one that we did not write.
//!
//! What it writes is held to what `crates/inf` says of the same file. Wine has gaps, which are allowed for by name:
//!
//! * it does not write `DependOnService`;
//! * it knows no driver store, and puts a file for directory 13 into a folder called `unknown`;
//! * it does not look at decorations with a version, so that each section is named to it by its whole name;
//! * it adds `ObjectName` and `PreshutdownTimeout`, and refuses nothing: signatures and rules are checked elsewhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use inf::{Architecture, Data, Service};

use crate::run::Tool;

/// Windows 10, version 22H2, and Windows 11, version 24H2.
const BUILDS: [u32; 2] = [19_045, 26_100];
/// Values that Wine writes by itself.
const ADDED: [&str; 2] = ["ObjectName", "PreshutdownTimeout"];
/// A value that is set by hand, to see whether a second installation leaves it alone.
const BY_HAND: (&str, &str, &str) = ("Parameters", "ReservationBytes", "dword:00008000");

/// A Wine to install in.
pub(crate) struct Wine<'a> {
    /// What runs a program in the prefix.
    pub(crate) run: &'a Path,
    /// The prefix.
    pub(crate) prefix: PathBuf,
}

/// Values by key, relative to the service's, and name, as `reg export` writes them.
type Values = BTreeMap<(String, String), String>;

/// Installs each form twice, compares, and uninstalls it.
pub(crate) fn check(wine: &Wine<'_>, folder: &Path) -> Result<()> {
    let inf = inf::read(&folder.join("headroom.inf"))?;
    for build in BUILDS {
        let service = inf::minifilter(&inf, Architecture::Amd64, build)?;
        wine.uninstall(folder)?;
        wine.install(folder, &service)?;
        compare(&service, &wine.values(&service)?)?;
        let copy = wine.copy_of(folder, &service)?;

        let (key, name, value) = BY_HAND;
        wine.set(&service, key, name, "0x8000")?;
        wine.install(folder, &service)?;
        let again = wine.values(&service)?;
        if again
            .get(&(key.to_lowercase(), name.to_lowercase()))
            .map(String::as_str)
            != Some(value)
        {
            bail!("a second installation wrote over {key}\\{name}, which somebody had set");
        }

        wine.uninstall(folder)?;
        if wine.exported(&service)?.is_some() {
            bail!("the service's key is still there after [DefaultUninstall]");
        }
        let in_store = service.binary.starts_with("%13%");
        if in_store {
            fs::remove_file(&copy)?;
        } else if copy.exists() {
            bail!("{} is still there after [DefaultUninstall]", copy.display());
        }
        println!(
            "  [{}]: {} values and the file as the INF says; set values kept; nothing left after uninstalling",
            service.section,
            again.len()
        );
    }
    Ok(())
}

impl Wine<'_> {
    fn tool(&self, step: &str, program: &str) -> Tool {
        Tool::new(step, self.run)
            .arg(program)
            .env("WINEDEBUG", "-all")
    }

    fn section(&self, step: &str, folder: &Path, section: &str) -> Result<()> {
        self.tool(step, "rundll32.exe")
            .args(["setupapi.dll,InstallHinfSection", section, "132"])
            .arg(windows_path(&folder.join("headroom.inf"))?)
            .output()
            .map(drop)
    }

    fn install(&self, folder: &Path, service: &Service) -> Result<()> {
        self.section("install under Wine", folder, &service.section)
    }

    fn uninstall(&self, folder: &Path) -> Result<()> {
        self.section("uninstall under Wine", folder, "DefaultUninstall")
    }

    fn set(&self, service: &Service, key: &str, name: &str, value: &str) -> Result<()> {
        let key = format!("{}\\{key}", key_of(service));
        self.tool("set a value under Wine", "reg.exe")
            .args([
                "add",
                &key,
                "/v",
                name,
                "/t",
                "REG_DWORD",
                "/d",
                value,
                "/f",
            ])
            .output()
            .map(drop)
    }

    /// The service's key in the form of a .reg file, if it is there.
    fn exported(&self, service: &Service) -> Result<Option<String>> {
        let file = self.prefix.join("exported.reg");
        if file.exists() {
            fs::remove_file(&file)?;
        }
        // It fails where there is no such key, and says why on the wrong stream: what is there tells.
        if !self.services()?.contains(&service.name) {
            return Ok(None);
        }
        self.tool("export a key under Wine", "reg.exe")
            .args(["export", &key_of(service)])
            .arg(windows_path(&file)?)
            .arg("/y")
            .output()?;
        let bytes = fs::read(&file)?;
        let (pairs, _) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
        Ok(Some(String::from_utf16_lossy(&units)))
    }

    /// The names of all services.
    fn services(&self) -> Result<Vec<String>> {
        let text = self
            .tool("list services under Wine", "reg.exe")
            .args(["query", SERVICES])
            .output()?;
        let names = text
            .lines()
            .filter_map(|line| line.trim().rsplit('\\').next());
        Ok(names.map(str::to_owned).collect())
    }

    fn values(&self, service: &Service) -> Result<Values> {
        let text = self.exported(service)?;
        let text = text.context("Wine installed no service: its key is not there")?;
        Ok(values(&text, &key_of(service)))
    }

    /// The driver where Wine put it, the same file as the package's.
    fn copy_of(&self, folder: &Path, service: &Service) -> Result<PathBuf> {
        let directory = match service.binary.split('\\').next() {
            Some("%12%") => "drivers",
            _ => "unknown",
        };
        let copy = self
            .prefix
            .join("drive_c/windows/system32")
            .join(directory)
            .join(service.file_name());
        let there =
            fs::read(&copy).with_context(|| format!("Wine copied no {}", copy.display()))?;
        if there != fs::read(folder.join(service.file_name()))? {
            bail!("{} is not the package's driver", copy.display());
        }
        Ok(copy)
    }
}

/// Where services have their keys.
const SERVICES: &str = r"HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services";

fn key_of(service: &Service) -> String {
    format!(r"{SERVICES}\{}", service.name)
}

/// A path as Wine's programs see it.
fn windows_path(path: &Path) -> Result<String> {
    let path = std::path::absolute(path)?;
    let path = path.to_str().context("a path is not UTF-8")?;
    Ok(format!("Z:{}", path.replace('/', "\\")))
}

/// The values in a .reg file below `root`, keys and names in lower case. Lines that `\` continues are one.
fn values(text: &str, root: &str) -> Values {
    let mut values = Values::new();
    let mut key = None;
    let text = text.replace("\r\n", "\n").replace("\\\n  ", "");
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            let below = name
                .get(..root.len())
                .filter(|start| start.eq_ignore_ascii_case(root))
                .map(|_| name[root.len()..].trim_start_matches('\\').to_lowercase());
            key = below;
        } else if let (Some(key), Some((name, value))) = (&key, line.split_once("\"=")) {
            let name = name.trim_start_matches('"').to_lowercase();
            values.insert((key.clone(), name), value.to_owned());
        }
    }
    values
}

/// Fails unless Wine wrote what the INF says, its known gaps aside.
fn compare(service: &Service, written: &Values) -> Result<()> {
    let mut left = written.clone();
    let mut wrong = Vec::new();
    for value in service.key("unknown") {
        if value.subkey.is_empty() && value.name == "DependOnService" {
            continue;
        }
        let found = left.remove(&(value.subkey.to_lowercase(), value.name.to_lowercase()));
        let expected = match &value.data {
            // Wine writes the path of a running system.
            Data::ExpandSz(path) => path
                .replace(r"\SystemRoot\System32", r"C:\windows\system32")
                .replace("unknown\\", r"C:\windows\system32\unknown\"),
            Data::Sz(text) => text.clone(),
            Data::Dword(number) => format!("dword:{number:08x}"),
            other => bail!("{} has a type that is not compared: {other:?}", value.name),
        };
        let text = |text: &str| text.trim_matches('"').replace(r"\\", "\\");
        if found.as_deref().map(text).as_deref() != Some(&expected) {
            wrong.push(format!(
                "{}\\{}: the INF says {expected}, Wine wrote {}",
                value.subkey,
                value.name,
                found.as_deref().unwrap_or("nothing")
            ));
        }
    }
    for ((key, name), value) in left {
        if !(key.is_empty() && ADDED.iter().any(|added| added.eq_ignore_ascii_case(&name))) {
            wrong.push(format!(
                "{key}\\{name}: Wine wrote {value}, and the INF does not say so"
            ));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        bail!(
            "[{}] under Wine:\n  {}",
            service.section,
            wrong.join("\n  ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTED: &str = "Windows Registry Editor Version 5.00\r\n\r\n\
        [HKEY_LOCAL_MACHINE\\System\\CurrentControlSet\\Services\\f]\r\n\"Type\"=dword:00000002\r\n\
        \"ImagePath\"=\"C:\\\\x.sys\"\r\n\"Long\"=hex(7):46,00,\\\r\n  6c,00\r\n\r\n\
        [HKEY_LOCAL_MACHINE\\System\\CurrentControlSet\\Services\\f\\Parameters\\Instances]\r\n\"DefaultInstance\"=\"I\"\r\n";

    #[test]
    fn an_exported_key_is_read() {
        let read = values(
            EXPORTED,
            r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\f",
        );
        let find = |key: &str, name: &str| read.get(&(key.to_owned(), name.to_owned())).cloned();
        assert_eq!(find("", "type").as_deref(), Some("dword:00000002"));
        assert_eq!(find("", "imagepath").as_deref(), Some("\"C:\\\\x.sys\""));
        assert_eq!(find("", "long").as_deref(), Some("hex(7):46,00,6c,00"));
        assert_eq!(
            find(r"parameters\instances", "defaultinstance").as_deref(),
            Some("\"I\"")
        );
    }

    #[test]
    fn another_value_a_missing_one_and_one_too_many_are_found() {
        let date = inf::Date::of_unix_time(0);
        let template = include_str!("../../../inf/headroom.inx");
        let text = inf::stamp(template, Architecture::Amd64, date, "1.0").unwrap();
        let inf = inf::parse(text.as_bytes()).unwrap();
        let service = inf::minifilter(&inf, Architecture::Amd64, 19_045).unwrap();
        let mut written = Values::new();
        for value in service.key("unknown") {
            let text = match &value.data {
                Data::Dword(number) => format!("dword:{number:08x}"),
                Data::Sz(text) => format!("\"{text}\""),
                Data::ExpandSz(_) => r#""C:\\windows\\system32\\drivers\\headroom.sys""#.to_owned(),
                _ => continue,
            };
            let place = (value.subkey.to_lowercase(), value.name.to_lowercase());
            written.insert(place, text);
        }
        compare(&service, &written).unwrap();
        let place = |name: &str| ("parameters".to_owned(), name.to_owned());
        written.insert(place("unconly"), "dword:00000000".to_owned());
        written.remove(&place("debugprint"));
        written.insert(place("more"), "dword:00000001".to_owned());
        let error = compare(&service, &written).unwrap_err().to_string();
        for expected in [
            "UncOnly: the INF says dword:00000001, Wine wrote dword:00000000",
            "DebugPrint: the INF says dword:00000000, Wine wrote nothing",
            "more: Wine wrote dword:00000001",
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
