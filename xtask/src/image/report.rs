//! An image as a table for people.

use std::fmt::Write as _;

use object::pe;

use super::Image;

/// The table.
pub(crate) fn table(title: &str, image: &Image) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<16} {value}");
    };
    row("image", title);
    row(
        "size",
        &format!(
            "{} bytes in the file, {:#x} in memory",
            image.file_size, image.size_of_image
        ),
    );
    row(
        "subsystem",
        if image.subsystem == pe::IMAGE_SUBSYSTEM_NATIVE {
            "native"
        } else {
            "not native"
        },
    );
    row(
        "characteristics",
        &dll_characteristics(image.dll_characteristics).join(" "),
    );
    row(
        "entry point",
        &format!(
            "{:#x} {}",
            image.entry,
            image.entry_name.as_deref().unwrap_or("(not exported)")
        ),
    );
    let verdict = if image.checksum == image.computed_checksum {
        "verified"
    } else {
        "WRONG"
    };
    row("checksum", &format!("{:#010x} {verdict}", image.checksum));
    let kind = if image.reproducible {
        "digest of the content"
    } else {
        "time of the link"
    };
    row("time stamp", &format!("{:#010x} {kind}", image.timestamp));
    row("symbols", image.pdb.as_deref().unwrap_or("none"));
    row("version", &version(image));
    row("defences", &defences(image));
    let oldest = image.oldest_windows().map_or_else(
        || "unknown".to_owned(),
        |(windows, name)| format!("Windows {windows}, which has {name}"),
    );
    row("oldest system", &oldest);
    let _ = writeln!(
        text,
        "\n  {:<16} {:>10} {:>10} {:>10}  access",
        "section", "address", "in memory", "in file"
    );
    for section in &image.sections {
        let access = access(section.characteristics);
        let _ = writeln!(
            text,
            "  {:<16} {:>#10x} {:>#10x} {:>#10x}  {access}",
            section.name, section.address, section.virtual_size, section.raw_size
        );
    }
    let _ = writeln!(text, "\n  {:<16} {:>5}  names", "imports from", "count");
    for imports in &image.imports {
        let mut label = format!("  {:<16} {:>5}  ", imports.dll, imports.names.len());
        let indent = " ".repeat(label.len());
        for line in wrap(&imports.names, 110) {
            let _ = writeln!(text, "{label}{line}");
            label.clone_from(&indent);
        }
    }
    text
}

fn version(image: &Image) -> String {
    let Some(Ok(info)) = &image.version else {
        return "none".to_owned();
    };
    let [product, version, company] =
        ["ProductName", "FileVersion", "CompanyName"].map(|name| info.string(name).unwrap_or("?"));
    format!("{product} {version}, {company}")
}

/// Stack cookies and control-flow guard: neither is demanded of a driver, and rustc makes none of the first.
fn defences(image: &Image) -> String {
    let cookie = image
        .load_config
        .is_some_and(|config| config.security_cookie != 0);
    let guard = image.load_config.is_some_and(|config| config.is_guarded());
    let load_config = if image.load_config.is_some() {
        ""
    } else {
        " (no load configuration)"
    };
    let state = |there: bool| if there { "yes" } else { "none" };
    format!(
        "stack cookie {}, control-flow guard {}{load_config}",
        state(cookie),
        state(guard)
    )
}

/// Words in lines of at most `width` characters.
fn wrap(words: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}

/// What a section may be used for.
fn access(characteristics: u32) -> String {
    let letter = |bit, letter| {
        if characteristics & bit != 0 {
            letter
        } else {
            '-'
        }
    };
    let mut text: String = [
        letter(pe::IMAGE_SCN_MEM_READ, 'r'),
        letter(pe::IMAGE_SCN_MEM_WRITE, 'w'),
        letter(pe::IMAGE_SCN_MEM_EXECUTE, 'x'),
    ]
    .iter()
    .collect();
    if characteristics & pe::IMAGE_SCN_MEM_DISCARDABLE != 0 {
        text.push_str(" discardable");
    }
    text
}

/// Names of the bits of `DllCharacteristics`.
pub(crate) fn dll_characteristics(bits: u16) -> Vec<&'static str> {
    [
        (
            pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA,
            "HIGH_ENTROPY_VA",
        ),
        (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE"),
        (
            pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY,
            "FORCE_INTEGRITY",
        ),
        (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT"),
        (pe::IMAGE_DLLCHARACTERISTICS_NO_ISOLATION, "NO_ISOLATION"),
        (pe::IMAGE_DLLCHARACTERISTICS_NO_SEH, "NO_SEH"),
        (pe::IMAGE_DLLCHARACTERISTICS_NO_BIND, "NO_BIND"),
        (pe::IMAGE_DLLCHARACTERISTICS_APPCONTAINER, "APPCONTAINER"),
        (pe::IMAGE_DLLCHARACTERISTICS_WDM_DRIVER, "WDM_DRIVER"),
        (pe::IMAGE_DLLCHARACTERISTICS_GUARD_CF, "GUARD_CF"),
        (
            pe::IMAGE_DLLCHARACTERISTICS_TERMINAL_SERVER_AWARE,
            "TERMINAL_SERVER_AWARE",
        ),
    ]
    .into_iter()
    .filter_map(|(bit, name)| (bits & bit != 0).then_some(name))
    .collect()
}
