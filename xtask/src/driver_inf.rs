//! `cargo xtask inf`: the INF as its readers understand it, and what is wrong with it.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, bail};
use inf::{Architecture, Data, Date, Inf, Mode, OsVersion, Service};

use crate::{
    image::Image,
    layout::Layout,
    run::{Tool, which},
    setup::say,
};

/// The template of the driver's INF.
pub(crate) const TEMPLATE: &str = "inf/headroom.inx";
/// The version of the workspace, which the INF and the driver bear.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One Windows for each form of a minifilter's INF: Windows 10, version 22H2, and Windows 11, version 24H2.
const BUILDS: [(u32, &str); 2] = [
    (19_045, "Windows 10, version 22H2"),
    (26_100, "Windows 11, version 24H2"),
];

/// Prints what the INF installs, and fails if a rule is broken: the driver's own, or the one named.
pub(crate) fn run(layout: &Layout, file: Option<&Path>) -> Result<()> {
    let (name, text) = match file {
        None => (TEMPLATE.into(), stamped(layout)?.into_bytes()),
        Some(file) => {
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            (file.display().to_string(), bytes)
        }
    };
    let inf = inf::parse(&text).map_err(|error| error.in_file(Path::new(&name)))?;
    let mut findings = Vec::new();
    for (mode, option) in [(Mode::Windows, "/w"), (Mode::Signature, "/h")] {
        for finding in inf::check(&inf, mode) {
            findings.push(format!("{name}:{finding} ({option})"));
        }
    }
    for (build, windows) in BUILDS {
        match inf::minifilter(&inf, Architecture::Amd64, build) {
            Ok(service) => print!("{}", table(windows, &service)),
            Err(error) => findings.push(format!("{name}:{error} (on {windows})")),
        }
    }
    if !findings.is_empty() {
        bail!(
            "{name} breaks rules:\n  {}\n  to do:   the number is that of InfVerif's documentation, `INF Validation Errors and Warnings`",
            findings.join("\n  ")
        );
    }
    println!("\n{name}: no rule of InfVerif's documentation is broken (/w and /h)");
    Ok(())
}

/// The driver's INF, filled in.
pub(crate) fn stamped(layout: &Layout) -> Result<String> {
    let file = layout.root.join(TEMPLATE);
    let template =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let date = Date::of_unix_time(source_date(layout)?);
    inf::stamp(&template, Architecture::Amd64, date, VERSION)
        .with_context(|| format!("{} cannot be filled in", file.display()))
}

/// The time that stands for the source's in everything that is packed, in seconds since 1970: `SOURCE_DATE_EPOCH`, or the last commit's.
pub(crate) fn source_date(layout: &Layout) -> Result<i64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().with_context(|| {
            format!("SOURCE_DATE_EPOCH is `{text}`, and should be seconds since 1970")
        });
    }
    if which("git").is_some() {
        let commit = Tool::new("find the last commit's time", "git")
            .args(["log", "-1", "--format=%ct"])
            .dir(&layout.root)
            .output();
        if let Some(time) = commit.ok().and_then(|text| text.parse().ok()) {
            return Ok(time);
        }
    }
    say(
        "neither SOURCE_DATE_EPOCH nor a git repository says when this source is from: today's date is taken",
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seconds = i64::try_from(now.as_secs())?;
    Ok(seconds - seconds % 86_400)
}

/// Fails if the image needs a newer Windows than the driver is said to be for.
pub(crate) fn check_oldest(image: &Image) -> Result<()> {
    let stated = OsVersion::build(protocol::OLDEST_BUILD);
    let Some((needed, import)) = image.oldest_windows() else {
        bail!("it is not known which Windows the image needs");
    };
    if stated < needed {
        bail!(
            "the driver is for Windows {stated} and later (protocol::OLDEST_BUILD), and imports {import}, which came with {needed}\n  \
             to do:   raise it there, or call something older"
        );
    }
    println!(
        "\n  Windows {stated}, the oldest that the driver is for, has all imports ({import}: {needed})"
    );
    Ok(())
}

/// Fails if an install section is for a Windows that lacks something the image imports. A section without a version says nothing of that, and
/// no INF can: a version is not known to be read before the builds that need none of this.
pub(crate) fn check_sections(inf: &Inf, image: &Image) -> Result<()> {
    let Some((needed, import)) = image.oldest_windows() else {
        bail!("it is not known which Windows the image needs");
    };
    let mut found = false;
    for section in &inf.sections {
        let (Some(start), Some(rest)) = (section.name.get(..14), section.name.get(14..)) else {
            continue;
        };
        let decoration = inf::Decoration::parse(rest);
        let Some(decoration) = decoration.filter(|_| start.eq_ignore_ascii_case("DefaultInstall"))
        else {
            continue;
        };
        found = true;
        let offered = decoration.version;
        if offered == OsVersion::default() {
            println!(
                "  [{}] names no version: what installs it has to see to it that Windows is {needed} or later ({import})",
                section.name
            );
        } else if offered < needed {
            bail!(
                "[{}] offers the driver to Windows {offered}, which lacks {import}: it came with {needed}",
                section.name
            );
        }
    }
    if found {
        Ok(())
    } else {
        bail!("the INF has no section [DefaultInstall.NT…]")
    }
}

/// What is installed on one Windows.
fn table(windows: &str, service: &Service) -> String {
    let mut text = format!("  {windows}: [{}]\n", service.section);
    let mut row = |name: &str, value: &str| {
        text.push_str(&format!("    {name:<20} {value}\n"));
    };
    row("service", &service.name);
    row("image", &service.image_path("<driver store>"));
    let start = ["boot", "system", "automatic", "demand", "disabled"];
    let start = usize::try_from(service.start_type)
        .ok()
        .and_then(|index| start.get(index));
    row("start", start.unwrap_or(&"unknown"));
    row(
        "group",
        service.load_order_group.as_deref().unwrap_or("none"),
    );
    row("depends on", &service.dependencies.join(", "));
    for instance in &service.instances {
        row(
            &service.instances_key,
            &format!(
                "{} at {}, flags {:#x}",
                instance.name, instance.altitude, instance.flags
            ),
        );
    }
    let parameters = service.parameters().map(|(name, data)| match data {
        Data::Sz(text) => format!("{name}={text}"),
        Data::Dword(number) => format!("{name}={number:#x}"),
        other => format!("{name}={other:?}"),
    });
    for (index, line) in parameters.collect::<Vec<_>>().chunks(4).enumerate() {
        row(if index == 0 { "Parameters" } else { "" }, &line.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Imports;

    fn inf(text: &str) -> Inf {
        inf::parse(text.as_bytes()).unwrap()
    }

    fn image(names: &[&str]) -> Image {
        Image {
            imports: vec![Imports {
                dll: "ntoskrnl.exe".to_owned(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
            }],
            ..Image::default()
        }
    }

    #[test]
    fn a_section_for_a_windows_without_an_import_is_refused() {
        let image = image(&["DbgPrintEx", "IoOpenDriverRegistryKey"]);
        let check = |decoration: &str| {
            check_sections(&inf(&format!("[DefaultInstall{decoration}]")), &image)
        };
        check(".NTamd64.10.0...25952").unwrap();
        check(".NTamd64").unwrap();
        let error = check(".NTamd64.10.0...17133").unwrap_err().to_string();
        assert!(
            error.contains(
                "10.0.17133, which lacks IoOpenDriverRegistryKey: it came with 10.0.17134"
            ),
            "{error}"
        );
        check_sections(&inf("[x]"), &image).unwrap_err();
    }

    #[test]
    fn an_image_that_needs_a_newer_windows_than_is_stated_is_refused() {
        check_oldest(&image(&["ExAllocatePool2"])).unwrap();
        check_oldest(&image(&["NoSuchThing"])).unwrap_err();
        let stated = OsVersion::build(protocol::OLDEST_BUILD);
        let needed = image(&["ExAllocatePool2"]).oldest_windows().unwrap().0;
        assert_eq!(
            stated, needed,
            "state no newer Windows than the driver needs"
        );
    }
}
